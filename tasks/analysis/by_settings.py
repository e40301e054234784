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

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from cmr_models.analysis.disclosure.gate import Gate, GateRules
from cmr_models.analysis.disclosure.masking import mask_small_cells
from cmr_models.analysis.estimates_by_group import fairness_rows
from cmr_models.analysis.people import AnalysisSpec, analysis_people
from cmr_models.analysis.regressions import association_rows, discrimination_rows, hazard_rows, overall_family, with_q
from cmr_models.analysis.survival_curves import curve_rows
from tasks.derive.perfusion_tables import perfusion_columns, perfusion_path, with_perfusion
from tasks.state.disclosure_record import keep_record
from tasks.state.parquet_tables import publish_table, table_key
from tasks.state.store import Cohort, digest, digest_bytes
from tasks.state.user_tables import read_user_table

VERSION = 2
TABLES: Mapping[str, tuple[str, ...]] = {
    "associate": ("associations",),
    "risk": ("hazards", "discrimination", "survival_curves", "fairness"),
}

Stage = Literal["associate", "risk"]
ONE_CURVE = ("exposure", "outcome", "group")
_Maker = Callable[[pd.DataFrame, pd.DataFrame, AnalysisSpec], pd.DataFrame]


@dataclass(frozen=True)
class AnalysisSettings(AnalysisSpec):
    """What is estimated (:class:`~cmr_models.analysis.people.AnalysisSpec`) and from which files.

    Attributes:
        participants_csv: participants; None: no statistics.
        outcomes_csv: outcomes; None: no statistics.
        participant_columns: our column -> the file's column, where they differ.
        outcome_columns: the same for the outcomes.
    """

    participants_csv: Path | None = None
    outcomes_csv: Path | None = None
    participant_columns: Mapping[str, str] = field(default_factory=dict)
    outcome_columns: Mapping[str, str] = field(default_factory=dict)


def associate(cohort_dir: Path, settings: AnalysisSettings) -> dict[str, Any]:
    """Write ``associations.parquet``.

    Args:
        cohort_dir: the cohort's folder; reads ``tables/phenotypes.parquet`` there.
        settings: what to estimate from which files.

    Returns:
        ``{"status": "done" | "current" | "skipped", "reason": ..., "counts": {table: {row status: rows}}}``.

    Raises:
        FileNotFoundError: a configured file, or the phenotype table, is not there.
        ValueError: a table lacks columns, holds text where numbers should be, or is about none of the studies.
    """
    return _run("associate", cohort_dir, settings)


def risk(cohort_dir: Path, settings: AnalysisSettings) -> dict[str, Any]:
    """Write ``hazards``, ``discrimination``, ``survival_curves`` and ``fairness``; see :func:`associate`."""
    return _run("risk", cohort_dir, settings)


def estimates_key(cohort_dir: Path, settings: AnalysisSettings) -> str:
    """Digest of all that the estimates depend on: the input files and the settings."""
    perfusion = perfusion_path(Cohort(cohort_dir)) if perfusion_columns(settings.phenotypes) else None
    files = (_phenotypes_path(cohort_dir), settings.participants_csv, settings.outcomes_csv, perfusion)
    contents = [digest_bytes(path.read_bytes()) for path in files if path is not None and path.exists()]
    return digest({"version": VERSION, "inputs": contents, "settings": _plain(settings)})


def is_current(cohort_dir: Path, settings: AnalysisSettings, stage: Stage) -> bool:
    """Whether every table of a stage is there and carries the key of these inputs and settings."""
    if not _configured(settings) or not _phenotypes_path(cohort_dir).exists():
        return False
    key = estimates_key(cohort_dir, settings)
    return all(table_key(Cohort(cohort_dir).estimates / f"{name}.parquet") == key for name in TABLES[stage])


def spec_digest(settings: AnalysisSettings) -> str:
    """Digest of what is estimated, without the paths: the same analysis of two cohorts has the same."""
    names = {item.name for item in dataclasses.fields(AnalysisSpec)}
    return digest({name: value for name, value in _plain(settings).items() if name in names})


def _run(stage: Stage, cohort_dir: Path, settings: AnalysisSettings) -> dict[str, Any]:
    if not _configured(settings):
        reason = "no participants_csv and outcomes_csv in the settings"
        return {"status": "skipped", "reason": reason, "counts": {}}
    if not _phenotypes_path(cohort_dir).exists():
        raise FileNotFoundError("tables/phenotypes.parquet is not there; run derive first")
    folder = Cohort(cohort_dir).estimates
    files = {name: folder / f"{name}.parquet" for name in TABLES[stage]}
    key = estimates_key(cohort_dir, settings)
    todo = [name for name, file in files.items() if table_key(file) != key]
    if todo:
        people, outcomes = _read_inputs(cohort_dir, settings)
    gate = Gate(GateRules(settings.minimum_cell), spec_digest(settings))
    for name in todo:
        made = _MAKERS[name](people, outcomes, settings)
        table = gate.curve(name, made, ONE_CURVE) if name == "survival_curves" else gate.table(name, made)
        keep_record(gate, folder)
        publish_table(table.assign(spec_digest=spec_digest(settings)), files[name], key)
    counts = {name: _counts(pd.read_parquet(file)) for name, file in files.items()}
    return {"status": "done" if todo else "current", "reason": "", "counts": counts}


def _associations(people: pd.DataFrame, outcomes: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    return _gated(association_rows(people, outcomes, spec), spec)


def _hazards(people: pd.DataFrame, outcomes: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    return _gated(hazard_rows(people, outcomes, spec), spec)


def _discrimination(people: pd.DataFrame, outcomes: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    return _gated(discrimination_rows(people, outcomes, spec), spec)


def _gated(table: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    masked = mask_small_cells(table, spec.minimum_cell)
    return with_q(masked, overall_family(masked, spec))


_MAKERS: Mapping[str, _Maker] = {
    "associations": _associations,
    "hazards": _hazards,
    "discrimination": _discrimination,
    "survival_curves": curve_rows,
    "fairness": fairness_rows,
}


def _configured(settings: AnalysisSettings) -> bool:
    return settings.participants_csv is not None and settings.outcomes_csv is not None


def _phenotypes_path(cohort_dir: Path) -> Path:
    return Cohort(cohort_dir).tables / "phenotypes.parquet"


def _read_inputs(cohort_dir: Path, settings: AnalysisSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    assert settings.participants_csv is not None
    assert settings.outcomes_csv is not None
    phenotypes = with_perfusion(pd.read_parquet(_phenotypes_path(cohort_dir)), Cohort(cohort_dir), settings.phenotypes)
    participants = read_user_table(settings.participants_csv, settings.participant_columns)
    outcomes = read_user_table(settings.outcomes_csv, settings.outcome_columns)
    return analysis_people(phenotypes, participants, settings), outcomes


def _plain(settings: AnalysisSettings) -> dict[str, Any]:
    """Settings as plain values without the paths; what the files hold is in their digests."""
    values = {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings)}
    plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    return {name: value for name, value in plain.items() if not name.endswith("_csv")}


def _counts(table: pd.DataFrame) -> dict[str, int]:
    return {str(status): int(n) for status, n in table["status"].value_counts().sort_index().items()}
