"""Compare two models on one cohort, study by study and by group, and publish tables and pages.

Phenotypes of both are derived here by the rules of the derive stage; those of the cohort stay as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.coarsening import lie_close
from cmr_models.analysis.disclosure.gate import Gate, GateRules
from cmr_models.contracts.identifiers import study_key
from cmr_models.contracts.names import nearest
from cmr_models.estimates.groups import INTERSECTION, intersection, labels, with_groups
from cmr_models.evaluation.summary import Summariser
from tasks.derive.derive_stage import LandmarkSources, landmark_sources, read_body_sizes
from tasks.evaluation.cohort import prediction_names
from tasks.evaluation.comparison_limits import Counts, judge
from tasks.evaluation.comparison_page import ModelFacts, render_page
from tasks.evaluation.comparison_settings import CompareSettings
from tasks.evaluation.comparison_study import compare_study
from tasks.evaluation.comparison_tables import COMPARED, COMPARISON, VERDICTS
from tasks.evaluation.comparison_worst import render_worst, worst_studies
from tasks.evaluation.references import group_columns, read_references
from tasks.evaluation.release import Publication, count_rules, release_summary
from tasks.evaluation.summary_claims import studies_counted, summary_says
from tasks.inference.model_record import licences_of, recorded_speed
from tasks.report.pages import asset
from tasks.sources.withdrawn import withdrawn_people, without_withdrawn
from tasks.state.csv_text import csv_text
from tasks.state.disclosure_record import keep_record, keep_released, released_counts
from tasks.state.ledger import open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.parquet_tables import publish_table
from tasks.state.published_beside import all_beside, comparison_name, keep_beside
from tasks.state.store import Cohort, digest, model_name, publish_bytes, published_attributes

Advance = Callable[[int], None]
_NUMBERS = ("age_years", "height_cm", "weight_kg")


@dataclass(frozen=True)
class ComparisonInputs:
    """What is compared, in which groups, and within which limits.

    Attributes:
        first: model A as the user names it: of the zoo, or a folder.
        second: model B.
        limits: section ``[compare]`` of the settings.
        participants: table of people, for groups and body sizes.
        participant_columns: our name -> name in that table.
        withdrawn: list of people who withdrew; no study of theirs is compared.
        group_by: columns of the groups; those that nobody has are left out.
        chosen: whether the user named just these, so that one that nobody has is a mistake.
        age_edges_years: lower edges of the age bands.
        minimum_cell: the smallest number of studies of a group that may be shown.
        resamples: number of bootstrap resamples.
        seed: random seed of the bootstrap.
    """

    first: str
    second: str
    limits: CompareSettings = field(default_factory=CompareSettings)
    participants: Path | None = None
    participant_columns: Mapping[str, str] | None = None
    withdrawn: Path | None = None
    group_by: tuple[str, ...] = ("sex", "age_band", "bmi_class", "ethnicity", "centre")
    chosen: bool = False
    age_edges_years: tuple[float, ...] = (55.0, 65.0, 75.0)
    minimum_cell: int = 5
    resamples: int = 1000
    seed: int = 0

    @property
    def names(self) -> tuple[str, str]:
        """Folders of the two models' predictions."""
        return model_name(self.first), model_name(self.second)


class ComparisonResult(NamedTuple):
    """The folder of the results, their tables as published, and what is missing.

    ``unpredicted`` tells how many studies lack a prediction of each model.
    """

    folder: Path
    summary: pd.DataFrame
    verdicts: pd.DataFrame
    unpredicted: dict[str, int]


def results_folder(cohort: Cohort, names: tuple[str, str]) -> Path:
    """Folder of the results for these predictions."""
    return cohort.tables / "comparisons" / "_vs_".join(names)


def check_models(cohort: Cohort, inputs: ComparisonInputs) -> None:
    """Two different models, both with predictions of labels.

    Raises:
        UserMistake: otherwise; the message says what to type.
    """
    if inputs.names[0] == inputs.names[1]:
        raise UserMistake(
            f"{inputs.first} and {inputs.second} are both {inputs.names[0]!r}: predictions go by the last part of a"
            " model's name; give two models"
        )
    for given, name in zip((inputs.first, inputs.second), inputs.names, strict=True):
        first = next((cohort.predictions / name).glob("*/*/*.zarr.zip"), None)
        if first is None:
            others = [known for known in prediction_names(cohort) if known != "perfusion"]
            raise UserMistake(
                f"there are no predictions of {given!r} in {cohort.root}{nearest(name, others)};"
                f" {to_type(cohort, given)}"
            )
        if "segmenter_version" not in (published_attributes(first) or {"segmenter_version": 0}):
            raise UserMistake(f"predictions of {given!r} are no labels of a short axis; give models that segment")


def to_type(cohort: Cohort, model: str) -> str:
    """What to type where predictions are missing."""
    return f"type `cmr-cohort segment --cohort {cohort.root} --model {model}`, then the same command again"


class _Measured(NamedTuple):
    """Rows of every study, frames of the studies with labels of both models, number of studies without predictions."""

    cases: pd.DataFrame
    frames: dict[str, dict[str, int]]
    unpredicted: dict[str, int]


def compare(cohort: Cohort, inputs: ComparisonInputs, advance: Advance = lambda _: None) -> ComparisonResult:
    """Compare two models, and publish ``summary``, ``cases``, ``limits``, the settings and the pages.

    Raises:
        UserMistake: if predictions are missing, or a column to group by.
        ValueError: if the table of people does not identify studies.
    """
    check_models(cohort, inputs)
    with open_ledger(cohort.ledger) as ledger:
        people = read_references(cohort, ledger, None, inputs.participants, inputs.participant_columns)
        landmarks = landmark_sources(ledger)
        speeds = [recorded_speed(cohort, ledger, name) for name in inputs.names]
    people = _without_withdrawn(people, withdrawn_people(cohort.root, inputs.withdrawn))
    people, by = grouped(people, inputs)
    found = _measure(cohort, inputs, [str(study) for study in people.index], landmarks, advance)
    if not found.frames:
        raise UserMistake(
            f"no study, as it is now, was segmented by both {inputs.first} and {inputs.second}; type"
            " `cmr-cohort segment` with --model for each of them, then the same command again"
        )
    summariser = Summariser(people, by, seed=inputs.seed, n_resamples=inputs.resamples)
    groups = pd.DataFrame({name: labels(people[name]) for name in by}, index=people.index.map(study_key))
    name = comparison_name(*inputs.names)
    counted = studies_counted(found.cases, name)
    beside = all_beside(cohort, name, {exposure for _, exposure in counted})
    publication = Publication(name, counted, groups, beside)
    return _publish(cohort, inputs, found, summariser.differences(found.cases), (speeds[0], speeds[1]), publication)


def _measure(
    cohort: Cohort, inputs: ComparisonInputs, studies: Sequence[str], landmarks: LandmarkSources, advance: Advance
) -> _Measured:
    sizes = read_body_sizes(inputs.participants, inputs.participant_columns) if inputs.participants else {}
    rows: list[dict[str, Any]] = []
    frames: dict[str, dict[str, int]] = {}
    unpredicted = dict.fromkeys(inputs.names, 0)
    for study in studies:
        found = compare_study(cohort, inputs.names, study, sizes, landmarks)
        rows += [{"study": study, **row} for row in found.rows]
        frames |= {study: found.frames} if found.frames else {}
        for name in found.unpredicted:
            unpredicted[name] += 1
        advance(1)
    return _Measured(pd.DataFrame(rows), frames, unpredicted)


def grouped(people: pd.DataFrame, inputs: ComparisonInputs) -> tuple[pd.DataFrame, list[str]]:
    """People with the columns of their groups, and the names of those columns that there are.

    Raises:
        UserMistake: if the user named a column that is not there.
    """
    table = people.assign(**{name: pd.to_numeric(people[name], errors="coerce") for name in _NUMBERS if name in people})
    table = with_groups(table, inputs.age_edges_years) if "age_years" in table else table
    by = []
    for name in inputs.group_by:
        parts = name.split(INTERSECTION)
        absent = [part for part in parts if part not in table]
        if absent and inputs.chosen:
            raise UserMistake(f"--by {name}: no column {absent[0]}{nearest(absent[0], map(str, table.columns))}")
        if not absent:
            table[name] = intersection(table, parts) if len(parts) > 1 else table[name]
            by.append(name)
    usual = [] if inputs.chosen else group_columns(table, None)
    return table, list(dict.fromkeys((*by, *usual)))


def _without_withdrawn(people: pd.DataFrame, withdrawn: frozenset[str]) -> pd.DataFrame:
    return without_withdrawn(people.reset_index(), withdrawn).set_index(people.index.name)


def _counts(cases: pd.DataFrame) -> Counts:
    """Of the phenotype that loses the largest share of its studies, the first of several."""
    pairs = cases[cases["measure"] == "agreement"]
    first, second = np.isfinite(pairs["reference"]), np.isfinite(pairs["predicted"])
    known = pairs.assign(measured=first, lost=first & ~second)
    by_phenotype = known.groupby("of", sort=False)[["measured", "lost"]].sum()
    share = by_phenotype["lost"] / by_phenotype["measured"].where(by_phenotype["measured"] > 0)
    if not share.max() > 0:
        return Counts(int(by_phenotype["measured"].max()), 0)
    worst = int(share.argmax())
    measured, lost = (int(by_phenotype[name].iloc[worst]) for name in ("measured", "lost"))
    return Counts(measured, lost, str(by_phenotype.index[worst]))


def _rules(
    raw: pd.DataFrame, minimum: int, earlier: Sequence[pd.DataFrame], publication: Publication, found: _Measured
) -> GateRules:
    """As for an evaluation; the studies that a model lost, or was not asked about, are among those without a number."""
    missing = raw.loc[(raw["measure"] == "bias") & (raw["group_by"] == ""), "n_missing"]
    beside_them = [0.0, *missing, _counts(found.cases).lost, *found.unpredicted.values()]
    if minimum > 1 and lie_close(beside_them, minimum):
        return GateRules(minimum, minimum)
    return count_rules(raw, minimum, earlier, publication)


def _publish(
    cohort: Cohort,
    inputs: ComparisonInputs,
    found: _Measured,
    raw: pd.DataFrame,
    speeds: tuple[float | None, float | None],
    publication: Publication,
) -> ComparisonResult:
    folder = results_folder(cohort, inputs.names)
    plain = json.dumps({**asdict(inputs), "limits": inputs.limits.model_dump()}, indent=1, sort_keys=True, default=str)
    rules = _rules(raw, inputs.minimum_cell, released_counts(folder, "summary"), publication, found)
    gate = Gate(rules, digest(plain))
    released = release_summary(gate, "summary", raw, publication)
    released = released[list(COMPARISON.names)].astype(COMPARISON.pandas_types)
    verdicts = judge(released, _counts(found.cases), speeds, inputs.limits, rules)
    keep_record(gate, folder)
    keep_released(released, folder, "summary")
    keep_beside(cohort, publication.name, publication.counted, summary_says(released, rules, publication.name))
    told = found.cases.rename(columns={"reference": "first", "predicted": "second"})[list(COMPARED.names)]
    publish_table(told.astype(COMPARED.pandas_types), folder / "cases.parquet", contract=COMPARED)
    for name, table, contract in (("summary", released, COMPARISON), ("limits", verdicts, VERDICTS)):
        publish_table(table, folder / f"{name}.parquet", contract=contract)
        publish_bytes(csv_text(table).encode(), folder / f"{name}.csv")
    publish_bytes(plain.encode(), folder / "settings.json")
    facts = [_facts(cohort, *about, list(found.frames)) for about in zip(inputs.names, speeds, strict=True)]
    page = render_page(facts, released, verdicts, rules, found.unpredicted)
    publish_bytes(asset("report.css"), folder / "assets" / "report.css")
    publish_bytes(page.encode(), folder / "index.html")
    worst = worst_studies(told, list(found.frames), inputs.limits.worst)
    internal = render_worst(cohort, inputs.names, told, {study: found.frames[study] for study in worst})
    publish_bytes(internal.encode(), folder / "studies" / "index.html")
    return ComparisonResult(folder, released, verdicts, found.unpredicted)


def _facts(cohort: Cohort, name: str, speed: float | None, studies: Sequence[str]) -> ModelFacts:
    attributes = published_attributes(cohort.prediction(name, studies[0])) or {}
    return ModelFacts(name, licences_of(attributes), math.nan if speed is None else speed)
