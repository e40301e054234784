"""From phenotypes, participants and outcomes to the tables of estimates.

Associate is about disease at the visit, risk about the time to an event after it. Every table lies under
``tables/estimates/`` and has passed the disclosure gate: a count of 1 to ``minimum_cell - 1`` is never there, nor is a
number from which it could be had by subtraction. One row is one number with its uncertainty; what could not be
estimated is a row too, with NaN, a status and a reason.

The tables and their columns are rows of :mod:`cmr_models.contracts.tables`, and a page of the documentation,
``docs/data_model.md``.

``example_tables()`` of :mod:`cmr_models.simulate.measured` makes inputs to try this on without any image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cmr_models.analysis.matching import LOSSES
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.contracts.tables import PEOPLE_FLOW
from tasks.analysis.features import NO_FEATURES
from tasks.analysis.makers import Inputs
from tasks.analysis.publishing import Results, publish_tables, results_key
from tasks.analysis.settings import AnalysisSettings
from tasks.analysis.spec_tables import SpecTables, leave_out_withdrawn, told_times
from tasks.derive.perfusion_tables import perfusion_columns, perfusion_path, with_perfusion
from tasks.sources.visit_times import with_visit_times
from tasks.sources.withdrawn import withdrawn_people
from tasks.state.mistakes import faults_in_files
from tasks.state.parquet_tables import publish_table, read_table
from tasks.state.published_beside import ESTIMATES, evaluations_beside, keep_studies
from tasks.state.store import Cohort, digest
from tasks.state.user_tables import read_user_table

VERSION = 4

Part = Literal["associate", "risk"]
TABLES: Mapping[Part, tuple[str, ...]] = {
    "associate": ("associations",),
    "risk": ("hazards", "discrimination", "survival_curves", "fairness"),
}


@dataclass(frozen=True)
class UserFiles:
    """The user's tables of people (CSV), without both of which there are no statistics, and the list of withdrawals."""

    participants: Path | None = None
    outcomes: Path | None = None
    withdrawn: Path | None = None


def associate(cohort_dir: Path, settings: AnalysisSettings, files: UserFiles) -> dict[str, Any]:
    """Write ``associations.parquet``.

    Args:
        cohort_dir: the cohort's folder; reads ``tables/phenotypes.parquet`` there.
        settings: what to estimate.
        files: from which tables of people.

    Returns:
        ``{"status": "done" | "current" | "skipped", "reason": ..., "counts": {table: {row status: rows}}}``.

    Raises:
        FileNotFoundError: a file that is named, or the phenotype table, is not there.
        ValueError: a table lacks columns, holds text where numbers should be, or is about none of the studies.
    """
    return _run("associate", cohort_dir, settings, files)


def risk(cohort_dir: Path, settings: AnalysisSettings, files: UserFiles) -> dict[str, Any]:
    """Write ``hazards``, ``discrimination``, ``survival_curves`` and ``fairness``; see :func:`associate`."""
    return _run("risk", cohort_dir, settings, files)


def estimates_key(cohort_dir: Path, settings: AnalysisSettings, files: UserFiles) -> str:
    """Digest of all that the estimates depend on: what the files hold, wherever they lie, and the settings."""
    perfusion = perfusion_path(Cohort(cohort_dir)) if perfusion_columns(settings.phenotypes) else None
    paths = (_phenotypes_path(cohort_dir), files.participants, files.outcomes, perfusion)
    there = [path for path in paths if path is not None and path.exists()]
    withdrawn = withdrawn_people(cohort_dir, files.withdrawn)
    more: dict[str, Any] = {"withdrawn": sorted(withdrawn)} if withdrawn else {}
    if times := told_times(cohort_dir):
        more["acquired"] = times
    return results_key(VERSION, there, settings=settings.model_dump(), **more)


def is_current(cohort_dir: Path, settings: AnalysisSettings, files: UserFiles, part: Part) -> bool:
    """Whether every table of a part is there and carries the key of these inputs and settings."""
    if not (files.participants and files.outcomes) or not _phenotypes_path(cohort_dir).exists():
        return False
    return not _results(part, cohort_dir, settings, files).outdated


def spec_digest(settings: AnalysisSettings) -> str:
    """Digest of what is estimated, without the names of columns: the same analysis of two cohorts has the same."""
    return digest(settings.model_dump(include=set(AnalysisSpec.model_fields)))


def _results(part: Part, cohort_dir: Path, settings: AnalysisSettings, files: UserFiles) -> Results:
    return Results(Cohort(cohort_dir).estimates, TABLES[part], estimates_key(cohort_dir, settings, files))


def _run(part: Part, cohort_dir: Path, settings: AnalysisSettings, files: UserFiles) -> dict[str, Any]:
    if not (files.participants and files.outcomes):
        return {"status": "skipped", "reason": "no participants and outcomes in the settings", "counts": {}}
    if not _phenotypes_path(cohort_dir).exists():
        raise FileNotFoundError("tables/phenotypes.parquet does not exist; run derive first")
    results = _results(part, cohort_dir, settings, files)
    outdated = results.outdated
    if outdated:
        names = {"participants": files.participants.name, "outcomes": files.outcomes.name}
        with faults_in_files(names):
            tables = _read_tables(cohort_dir, settings, files)
            inputs = Inputs.of(settings.study_spec(), tables, sets_named=False)
            cohort = Cohort(cohort_dir)
            publish_tables(outdated, results, inputs, spec_digest(settings), evaluations_beside(cohort))
            keep_studies(cohort, ESTIMATES, inputs.has_phenotype, "mean")
            publish_table(inputs.flow.drop(columns="group"), people_flow_path(cohort_dir), results.key, PEOPLE_FLOW)
    return {"status": "done" if outdated else "current", "reason": "", "counts": results.counts}


def people_flow_path(cohort_dir: Path) -> Path:
    """The table of how many studies and people each join kept and left out."""
    return Cohort(cohort_dir).tables / "people_flow.parquet"


def people_line(cohort_dir: Path) -> str:
    """A line on who takes part: people, those left out as doubted, those whom a join lost; empty without a table."""
    path = people_flow_path(cohort_dir)
    if not path.exists():
        return ""
    table = read_table(path, PEOPLE_FLOW)
    overall = table[table["outcome"] == ""]
    counts = {(row["group_by"], row["step"]): int(row["n"]) for row in overall.to_dict("records")}
    lost = [f"{group_by} {step}: {n}" for (group_by, step), n in counts.items() if n and step in LOSSES]
    return "; ".join([f"{counts['visits', 'first visit']} people", *lost])


def _read_tables(cohort_dir: Path, settings: AnalysisSettings, files: UserFiles) -> SpecTables:
    assert files.participants is not None  # the caller has seen to it
    assert files.outcomes is not None
    cohort = Cohort(cohort_dir)
    read = {
        "studies": with_visit_times(
            with_perfusion(read_table(_phenotypes_path(cohort_dir)), cohort, settings.phenotypes), cohort
        ),
        "rows of participants": read_user_table(
            files.participants, reading=settings.reading(settings.participant_columns)
        ),
        "rows of outcomes": read_user_table(files.outcomes, reading=settings.reading(settings.outcome_columns)),
    }
    (phenotypes, participants, outcomes), flow = leave_out_withdrawn(
        read, withdrawn_people(cohort_dir, files.withdrawn)
    )
    return SpecTables(phenotypes, participants, outcomes, flow, NO_FEATURES)


def _phenotypes_path(cohort_dir: Path) -> Path:
    return Cohort(cohort_dir).tables / "phenotypes.parquet"
