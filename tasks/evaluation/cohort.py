"""Evaluate the predictions of a model for a cohort against references, and publish tables and a page."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.gate import Gate
from cmr_models.analysis.disclosure.masking import SUPPRESSED
from cmr_models.contracts.identifiers import study_key
from cmr_models.contracts.names import nearest
from cmr_models.estimates.groups import labels
from cmr_models.evaluation import cases
from cmr_models.evaluation.summary import Summariser
from cmr_models.phenotypes.states import states_of
from tasks.evaluation import studies
from tasks.evaluation.references import group_columns, parse_number, read_references
from tasks.evaluation.release import Publication, count_rules, missing_text, release_summary
from tasks.evaluation.summary_claims import studies_counted, summary_says
from tasks.report.markdown import number
from tasks.report.markdown import table as markdown
from tasks.sources.withdrawn import withdrawn_people, without_withdrawn
from tasks.state.csv_text import csv_text
from tasks.state.disclosure_record import keep_record, keep_released, released_counts
from tasks.state.ledger import open_ledger
from tasks.state.parquet_tables import publish_table, read_table
from tasks.state.published_beside import all_beside, evaluation_name, keep_beside
from tasks.state.store import Cohort, digest, open_tree, publish_bytes

Kind = Literal["segmentation", "landmark", "classification", "regression"]
Advance = Callable[[int], None]

_TARGETS: Final = {
    "classification_cvd": "diagnosis", "classification_sex": "sex", "classification_vendor": "vendor",
    "regression_ef": "lvef_pct", "regression_age": "age_years", "regression_bmi": "bmi_kg_m2",
}  # fmt: skip
_UNITS: Final = {"lvef_pct": "%", "age_years": "years", "bmi_kg_m2": "kg/m²"}
_REPEATED_SET: Final = "rescan"
_FIRST_WORDS: Final = {"m": "male", "f": "female"}


@dataclass(frozen=True)
class EvaluateSettings:
    """What is evaluated, against what, in which groups.

    Attributes:
        predictions: name of the folder under ``predictions/``.
        reference: table of reference values, besides those in the store.
        participants: table of people, for groups.
        participant_columns: our name -> name in that table.
        withdrawn: list of people who withdrew; no study of theirs is evaluated.
        group_by: columns by which every value is repeated; None takes the usual ones in which people differ.
        split: only studies of this split ("train", "validation", "test"); empty for all.
        target: column of the reference class or value; empty takes the usual one of the task.
        minimum_cell: the smallest number of studies of a group that may be shown.
        repeats: whether the visits of a participant are repeated acquisitions; always so in the data set Rescan.
        resamples: number of bootstrap resamples.
        seed: random seed of the bootstrap.
    """

    predictions: str
    reference: Path | None = None
    participants: Path | None = None
    participant_columns: Mapping[str, str] | None = None
    withdrawn: Path | None = None
    group_by: tuple[str, ...] | None = None
    split: str = ""
    target: str = ""
    minimum_cell: int = 5
    repeats: bool = False
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class EvaluationResult:
    """The folder of the results, and their table after masking (:func:`tasks.evaluation.release.release_summary`)."""

    folder: Path
    summary: pd.DataFrame


def evaluate(cohort: Cohort, settings: EvaluateSettings, advance: Advance = lambda _: None) -> EvaluationResult:
    """Measure predictions, and publish ``summary`` (Parquet, CSV, Markdown), ``cases`` and the settings.

    Raises:
        FileNotFoundError: if there are no such predictions.
        ValueError: if there is no reference to compare them with, or a column is missing.
    """
    task, classes = _read_task(cohort, settings.predictions)
    with open_ledger(cohort.ledger) as ledger:
        people = read_references(
            cohort, ledger, settings.reference, settings.participants, settings.participant_columns
        )
    people = _without_withdrawn(people, withdrawn_people(cohort.root, settings.withdrawn))
    people = _select_split(people, settings.split)
    by = group_columns(people, settings.group_by)
    summariser = Summariser(people, by, seed=settings.seed, n_resamples=settings.resamples)
    kind = _kind(task)
    if kind == "classification":
        case_table = _class_cases(cohort, settings, people, task, classes)
        parts = [summariser.classes(case_table, classes)]
    else:
        case_table = _cases(cohort, settings, people, task, kind, advance)
        parts = [summariser.cases(case_table)]
    if kind == "segmentation" and (repeats := _repeats(cohort, settings, people)) is not None:
        parts.append(summariser.repeats(repeats))
    summary = pd.concat([part for part in parts if len(part)], ignore_index=True)
    groups = pd.DataFrame({name: labels(people[name]) for name in by}, index=people.index.map(study_key))
    return _publish(cohort, settings, task, summary.assign(**_doubted(cohort, people, settings)), case_table, groups)


def _without_withdrawn(people: pd.DataFrame, withdrawn: frozenset[str]) -> pd.DataFrame:
    """Studies, by their ids, that are not of people who withdrew."""
    return without_withdrawn(people.reset_index(), withdrawn).set_index(people.index.name)


def _doubted(cohort: Cohort, people: pd.DataFrame, settings: EvaluateSettings) -> dict[str, Any]:
    """Columns that say how many of the studies the cohort's table of phenotypes doubts; an evaluation takes them in."""
    path = cohort.tables / "phenotypes.parquet"
    if not path.exists():
        return {"doubted": "taken_in", "n_doubted": math.nan}
    table = read_table(path)
    n = int((states_of(table).eq("doubted") & table["study"].isin(people.index)).sum())
    return {"doubted": "taken_in", "n_doubted": math.nan if 0 < n < settings.minimum_cell else float(n)}


def prediction_names(cohort: Cohort) -> list[str]:
    """Names of the predictions in the cohort."""
    folder = cohort.root / "predictions"
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def results_folder(cohort: Cohort, predictions: str) -> Path:
    """Folder of the results for these predictions."""
    return cohort.tables / "evaluations" / predictions


# what is predicted


def _read_task(cohort: Cohort, name: str) -> tuple[str, list[str]]:
    """Task and classes of published predictions; labels have the task ``segmentation``."""
    folder = cohort.root / "predictions" / name
    first = next((path for path in sorted(folder.glob("*/*/*.zarr.zip"))), None)
    if first is None:
        near = nearest(name, prediction_names(cohort))
        raise FileNotFoundError(f"there are no predictions {name!r}{near}; run segment or predict first")
    with open_tree(first) as tree:
        classes = tree.attrs.get("classes", [])
        return str(tree.attrs.get("task", "segmentation")), list(classes) if isinstance(classes, list) else []


def _kind(task: str) -> Kind:
    found: dict[str, Kind] = {
        "segmentation": "segmentation", "landmark": "landmark", "classification": "classification",
        "regression": "regression",
    }  # fmt: skip
    first = task.split("_")[0]
    if first not in found:
        raise ValueError(f"predictions of the task {task!r} cannot be evaluated: there is no reference for this task")
    return found[first]


def _select_split(people: pd.DataFrame, split: str) -> pd.DataFrame:
    if not split:
        return people
    if "split" not in people or not (people["split"] == split).any():
        known = sorted(set(people["split"].dropna())) if "split" in people else []
        raise ValueError(f"no study belongs to the split {split!r}; known splits are {known}")
    return people[people["split"] == split]


# cases


def _iterate_studies(people: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    for study, row in zip(people.index, people.to_dict("records"), strict=True):
        yield str(study), {str(name): value for name, value in row.items()}


def _cases(
    cohort: Cohort, settings: EvaluateSettings, people: pd.DataFrame, task: str, kind: Kind, advance: Advance
) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    if kind == "regression":
        rows = _value_rows(cohort, settings, people, task)
    else:
        measure = _STUDY_ROWS[kind]
        for study, reference in _iterate_studies(people):
            found = measure(cohort, settings.predictions, study, reference)
            rows += [{"study": study, **row} for row in found]
            advance(1)
    if not any(math.isfinite(row["reference"]) or row["measure"] != "agreement" for row in rows):
        raise ValueError(
            f"no study has a reference for {task}: convert a data set with labels, or give --reference a table by study"
        )
    return pd.DataFrame(rows)


_STUDY_ROWS: Final[Mapping[str, Callable[[Cohort, str, str, Mapping[str, Any]], list[cases.Row]]]] = {
    "segmentation": studies.segmentation_rows,
    "landmark": studies.landmark_study_rows,
}


def _target(settings: EvaluateSettings, task: str, people: pd.DataFrame) -> str:
    target = settings.target or _TARGETS.get(task, "")
    if not target:
        raise ValueError(
            f"the reference column of {task} is unknown; give --target, one of {sorted(map(str, people.columns))}"
        )
    return target


def _read_predictions(cohort: Cohort, name: str, people: pd.DataFrame) -> pd.DataFrame:
    """The table of the predict stage for these people; a study that is not in it has the reason ``no_prediction``."""
    path = cohort.tables / "predictions" / f"{name}.parquet"
    if not path.exists():
        raise FileNotFoundError(f"there is no table of the predictions {name!r}; run `cmr-cohort predict` again")
    table = read_table(path).set_index("study").reindex(people.index)
    table["reason"] = table["reason"].where(table["status"].notna(), "no_prediction")
    return table


def _value_rows(cohort: Cohort, settings: EvaluateSettings, people: pd.DataFrame, task: str) -> list[dict[str, Any]]:
    """One row for each study. An EF that is in no table is computed from the reference labels."""
    target = _target(settings, task, people)
    column = task.removeprefix("regression_")
    table = _read_predictions(cohort, settings.predictions, people)
    rows = []
    for study, reference in _iterate_studies(people):
        known = parse_number(reference.get(target))
        if not math.isfinite(known):
            known = studies.label_value(cohort, study, reference, target)
        ours = parse_number(table[column].get(study)) if column in table else math.nan
        reason = str(table["reason"].get(study, ""))
        rows.append({"study": study, **cases.value_row(target, _UNITS.get(target, ""), ours, known, reason)})
    return [row for row in rows if math.isfinite(row["reference"])]


def _class_cases(
    cohort: Cohort, settings: EvaluateSettings, people: pd.DataFrame, task: str, classes: Sequence[str]
) -> pd.DataFrame:
    target = _target(settings, task, people)
    if target not in people or people[target].isna().all():
        raise ValueError(f"no study has the reference {target!r}; columns are {sorted(map(str, people.columns))}")
    people = people[people[target].notna()]
    table = _read_predictions(cohort, settings.predictions, people)
    names = {_normalise_class(name): name for name in classes}
    found = pd.DataFrame(
        {"study": people.index, "true": [names.get(_normalise_class(str(x)), "") for x in people[target]]}
    )
    for name in classes:
        column = f"p_{name}"
        found[column] = table[column].to_numpy(float) if column in table else np.nan
    found["reference"] = people[target].astype(str).to_numpy()
    unknown = (found["true"] == "").to_numpy()
    found["reason"] = np.where(unknown, "class_unknown", table["reason"].to_numpy(object))
    return found


def _normalise_class(name: str) -> str:
    """First word of a class name in lower case, so that F equals female and SIEMENS equals Siemens Healthineers."""
    word = name.strip().casefold().split(" ")[0]
    return _FIRST_WORDS.get(word, word)


# repeated acquisitions


def _repeats(cohort: Cohort, settings: EvaluateSettings, people: pd.DataFrame) -> pd.DataFrame | None:
    """One row for each quantity and person with two acquisitions; None if no visits are repeats."""
    chosen = (
        people if settings.repeats else people[people.get("data_set", pd.Series(index=people.index)) == _REPEATED_SET]
    )
    rows: list[dict[str, Any]] = []
    for _, visits in chosen.sort_values("visit").groupby("participant"):
        if len(visits) >= 2:
            rows += _repeat_rows(cohort, settings.predictions, visits.iloc[:2])
    return pd.DataFrame(rows) if rows else None


def _repeat_rows(cohort: Cohort, name: str, visits: pd.DataFrame) -> Iterator[dict[str, Any]]:
    found = [studies.repeat_values(cohort, name, str(study)) for study in visits.index]
    reason = next((value for value in found if isinstance(value, str)), "")
    known = visits.to_dict("records")
    for quantity in studies.REPEATED:
        first, second = (math.nan if isinstance(v, str) else v.get(quantity, math.nan) for v in found)
        about = {"study": visits.index[0], "of": quantity}
        yield {**about, "source": "predicted", "first": first, "second": second, "reason": reason or "view_missing"}
        pair = [parse_number(row.get(quantity)) for row in known]
        if all(math.isfinite(value) for value in pair):
            yield {**about, "source": "reference", "first": pair[0], "second": pair[1], "reason": ""}


# results


def _publish(
    cohort: Cohort,
    settings: EvaluateSettings,
    task: str,
    summary: pd.DataFrame,
    case_table: pd.DataFrame,
    groups: pd.DataFrame,
) -> EvaluationResult:
    folder, name = results_folder(cohort, settings.predictions), evaluation_name(settings.predictions)
    counted = studies_counted(case_table, name)
    beside = all_beside(cohort, name, {exposure for _, exposure in counted})
    publication = Publication(name, counted, groups, beside)
    plain = json.dumps({"task": task, **asdict(settings)}, indent=1, sort_keys=True, default=str)
    rules = count_rules(summary, settings.minimum_cell, released_counts(folder, "summary"), publication)
    gate = Gate(rules, digest(plain))
    summary = release_summary(gate, "summary", summary, publication)
    keep_record(gate, folder)
    keep_released(summary, folder, "summary")
    keep_beside(cohort, name, publication.counted, summary_says(summary, rules, name))
    publish_table(case_table, folder / "cases.parquet")
    publish_table(summary, folder / "summary.parquet")
    publish_bytes(csv_text(summary).encode(), folder / "summary.csv")
    publish_bytes(_page(settings, task, summary).encode(), folder / "summary.md")
    publish_bytes(plain.encode(), folder / "settings.json")
    return EvaluationResult(folder, summary)


def _page(settings: EvaluateSettings, task: str, summary: pd.DataFrame) -> str:
    parts = [f"# {settings.predictions}: {task}\n", _NOTE, _doubted_note(summary)]
    for by in summary["group_by"].unique():
        table = summary[summary["group_by"] == by]
        parts += [
            f"\n## {'Overall' if not by else f'By {by}'}\n",
            markdown(HEAD, format_rows(table)),
        ]
    return "\n".join(parts)


def _doubted_note(summary: pd.DataFrame) -> str:
    """How many doubted studies the numbers take in; nothing where no study was measured."""
    n = summary["n_doubted"].max()
    return "" if math.isnan(n) else f"{n:,.0f} of the studies are doubted by a quality rule, and taken in.\n"


_NOTE: Final = (
    "Value with its 95 % bootstrap interval over studies. n: studies with a value; missing: studies with a reference\n"
    "but without a value, and why. A missing value never counts as 0. small_cell: too few studies to be published;\n"
    "secondary: masked so that such a value cannot be computed by subtraction; dominated: one study would be told.\n"
)
HEAD: Final = ("group", "measure", "of", "view", "phase", "value (95 %)", "unit", "sd", "n", "missing")


def format_rows(summary: pd.DataFrame) -> list[list[str]]:
    """Format the rows of the summary as text under :data:`HEAD`, for a page or a terminal."""
    rows = []
    for row in summary.to_dict("records"):
        interval = f" ({number(row['ci_low'])} to {number(row['ci_high'])})" if math.isfinite(row["ci_low"]) else ""
        value = row["reason"] if row["status"] == SUPPRESSED else f"{number(row['value'])}{interval}"
        why = missing_text(row["n_missing"], row["reasons"])
        cells = [row[name] for name in ("group", "measure", "of", "view", "phase")]
        rows.append([*cells, value, row["unit"], number(row["sd"]), number(row["n"]), why])
    return rows
