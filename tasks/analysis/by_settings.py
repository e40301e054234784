"""From phenotypes, participants and outcomes to the tables of estimates.

Associate is about disease at the visit, risk about the time to an event after it. Every table lies under
``tables/estimates/`` and has passed the disclosure gate: a count of 1 to ``minimum_cell - 1`` is never there, nor is a
number from which it could be had by subtraction. One row is one number with its uncertainty; what could not be
estimated is a row too, with NaN, a status and a reason.

Columns that every table has, in this order:

===============  =======  ============================================================================================
exposure         str      phenotype column (``lvef_pct``); ``""`` where a row is about no phenotype
unit             str      unit of the exposure (``%``, ``mL``, ``g``, ``mL/m²`` ...)
scale            str      ``per_sd`` | ``per_unit`` (ratios), ``absolute`` (everything else)
outcome          str      condition (``heart_failure`` ... ``death``); ``""`` where a row is about no condition
model            str      which model or metric, see below
measure          str      ``odds_ratio`` | ``hazard_ratio`` | ``concordance`` | ``mean`` | ``proportion`` |
                          ``survival`` | ``gap``
group_by         str      ``overall`` | ``sex`` | ``age_band`` | ``bmi_class`` | ``ethnicity`` | ``centre`` |
                          ``quartile``
group            str      ``all`` or the group's label (``female``, ``55-64``, ``obese``, ``Q1`` ...)
n                float    people in the model (complete cases); NaN if suppressed
n_events         float    cases or events among them; NaN if suppressed or meaningless
estimate         float    on the scale of ``measure`` (odds and hazard ratios as ratios, not logs)
se               float    of the log for ratios, else of the estimate
ci_low, ci_high  float    95 % interval, scale of the estimate
z                float    Wald statistic against no effect (1 for ratios, 0.5 for concordance)
minus_log10_p    float    two-sided; finite for any z
q                float    Benjamini-Hochberg within ``family``; NaN on rows that are not tested
family           str      the declared family, ``""`` for untested rows
status           str      ``ok`` | ``failed`` | ``suppressed``
reason           str      ``""``, or why there is no number: ``too_few_cases``, ``too_few_controls``,
                          ``separation``, ``not_converged``, ``constant_exposure``, ``collinear``, ``no_data``,
                          ``small_cell``, ``secondary`` (suppressed lest a small cell be found by subtraction)
spec_digest      str      digest of the analysis settings
===============  =======  ============================================================================================

The tables:

``associations``     prevalent disease on phenotype. model ``logistic``; two rows a pair, ``per_sd`` and ``per_unit``.
``hazards``          incident disease and death. model ``cox_age``; two rows a pair, ``per_sd`` and ``per_unit``.
``discrimination``   model ``harrell_phenotype`` (the phenotype alone, age scale), ``harrell_adjusted`` (the Cox
                     model's linear predictor, age scale), ``uno_adjusted`` (years since imaging, age in the model).
``survival_curves``  model ``kaplan_meier``, group_by ``quartile``, group ``Q1``..``Q4``; more columns: ``years``
                     (since imaging), ``n_at_risk``; ``n`` people in the quartile, ``n_events`` up to ``years``;
                     estimate = survival. Draw steps through the rows with status ``ok``; other rows have no number
                     to draw.
``fairness``         the same numbers by group: model ``logistic``, ``cox_age`` (``per_sd``), those of
                     ``discrimination``, ``mean`` (raw), ``adjusted_mean`` (at common age, sex and body size),
                     ``qc_pass`` (share of all studies with status ok; exposure and outcome ``""``). Besides one row a
                     group there is one row a grouping (but of adjusted scores) with group ``max_gap`` and measure
                     ``gap``: estimate = the largest difference between two estimable groups (of logs for ratios),
                     minus_log10_p against the null of no gap, q within its family; more columns:
                     ``gap_groups`` (``"black - white"``),
                     ``null_q95`` (95 % point of the null), ``margin``, ``equivalence_p`` (small: all groups within the
                     margin of each other), ``not_estimable`` (names of the groups without a published estimate,
                     ``; `` between them).

``example_tables()`` of :mod:`cmr_models.simulate.measured` makes inputs to try this on without any image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from cmr_models.analysis.matching import LOSSES
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.contracts.tables import PEOPLE_FLOW
from tasks.analysis.features import NO_FEATURES
from tasks.analysis.makers import Inputs
from tasks.analysis.publishing import Results, publish_tables, results_key
from tasks.analysis.settings import AnalysisSettings
from tasks.analysis.spec_tables import SpecTables
from tasks.derive.perfusion_tables import perfusion_columns, perfusion_path, with_perfusion
from tasks.state.parquet_tables import publish_table, read_table
from tasks.state.store import Cohort, digest
from tasks.state.user_tables import read_user_table

VERSION = 3

Part = Literal["associate", "risk"]
TABLES: Mapping[Part, tuple[str, ...]] = {
    "associate": ("associations",),
    "risk": ("hazards", "discrimination", "survival_curves", "fairness"),
}


@dataclass(frozen=True)
class UserFiles:
    """The user's tables of people (CSV); without both there are no statistics."""

    participants: Path | None = None
    outcomes: Path | None = None


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
    return results_key(VERSION, there, settings=settings.model_dump())


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
        tables = _read_tables(cohort_dir, settings, files.participants, files.outcomes)
        inputs = Inputs.of(settings.study_spec(), tables, sets_named=False)
        publish_tables(outdated, results, inputs, spec_digest(settings))
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


def _read_tables(cohort_dir: Path, settings: AnalysisSettings, participants: Path, outcomes: Path) -> SpecTables:
    cohort = Cohort(cohort_dir)
    return SpecTables(
        phenotypes=with_perfusion(pd.read_parquet(_phenotypes_path(cohort_dir)), cohort, settings.phenotypes),
        participants=read_user_table(participants, reading=settings.reading(settings.participant_columns)),
        outcomes=read_user_table(outcomes, reading=settings.reading(settings.outcome_columns)),
        flow=pd.DataFrame(),
        features=NO_FEATURES,
    )


def _phenotypes_path(cohort_dir: Path) -> Path:
    return Cohort(cohort_dir).tables / "phenotypes.parquet"
