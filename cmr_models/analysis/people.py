"""From phenotypes, participants and outcomes to the rows that a model is fitted on; what is to be fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cmr_models.contracts import CONDITIONS
from cmr_models.estimates.groups import INTERSECTION, intersection, with_groups

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "left_ventricle": ("lvedv_ml", "lvesv_ml", "lvsv_ml", "lvef_pct", "lvm_g"),
    "right_ventricle": ("rvedv_ml", "rvesv_ml", "rvsv_ml", "rvef_pct"),
    "rate_and_output": ("lvco_l_min", "heart_rate_bpm"),
}

# Gaps that would not change a decision: 2 points of ejection fraction, 0.05 of concordance, 2 % of studies, a ratio
# of 1.25 between two hazard or odds ratios (the bound used for bioequivalence).
MARGINS: Mapping[str, float] = {
    "adjusted_mean/lvef_pct": 2.0,
    "adjusted_mean/rvef_pct": 2.0,
    "harrell_phenotype": 0.05,
    "qc_pass": 0.02,
    "cox_age": 0.2231,
    "logistic": 0.2231,
}

OUTCOME_COLUMNS = ("prevalent", "event", "entry_years", "exit_years", "follow_up_years")
_REQUIRED_OUTCOMES = ("participant", "visit", "condition", "prevalent", "entry_years", "exit_years", "event", "cause")


@dataclass(frozen=True)
class AnalysisSpec:
    """What is estimated; every estimate carries the digest of this.

    Attributes:
        phenotypes: exposures, columns of the phenotype table.
        conditions: outcomes, values of ``condition`` in the outcome table.
        covariates: columns of the participants in every model. Age is added where time is not age.
        strata: columns whose combinations have baseline hazards of their own (models of time to event).
        families: name -> phenotypes whose tests are corrected together; the rest are the family ``other``.
        group_by: columns by which every estimate is given again; ``age_band`` and ``bmi_class`` are derived;
            ``sex x age_band`` is the intersection of two.
        age_edges_years: lower edges of the age bands from the second on.
        margins: ``model`` or ``model/phenotype`` -> the largest gap between groups that does not matter.
        curve_groups: phenotype quantile groups of the survival curves.
        curve_step_years: distance of the times at which curves are published.
        horizon_years: events later than this do not count in Uno's concordance.
        minimum_cell: the smallest number that may be published.
        minimum_events: fewer cases, events or people without are not modelled.
        minimum_events_per_term: nor are models with fewer of them a term.
        permutations: label permutations of the gaps between means.
        seed: of everything random.
    """

    phenotypes: tuple[str, ...] = tuple(name for names in FAMILIES.values() for name in names)
    conditions: tuple[str, ...] = CONDITIONS
    covariates: tuple[str, ...] = ("sex", "height_cm", "weight_kg", "systolic_mmhg", "smoking", "deprivation")
    strata: tuple[str, ...] = ()
    families: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: FAMILIES)
    group_by: tuple[str, ...] = ("sex", "age_band", "bmi_class", "ethnicity", "centre")
    age_edges_years: tuple[float, ...] = (55.0, 65.0, 75.0)
    margins: Mapping[str, float] = field(default_factory=lambda: MARGINS)
    curve_groups: int = 4
    curve_step_years: float = 0.5
    horizon_years: float = 5.0
    minimum_cell: int = 5
    minimum_events: int = 10
    minimum_events_per_term: float = 3.0
    permutations: int = 499
    seed: int = 0

    def margin_of(self, model: str, phenotype: str) -> float:
        """The stated margin of equivalence; NaN if none is."""
        return self.margins.get(f"{model}/{phenotype}", self.margins.get(model, float("nan")))

    def family_of(self, phenotype: str) -> str:
        """The declared family of a phenotype."""
        return next((name for name, members in self.families.items() if phenotype in members), "other")


def analysis_people(phenotypes: pd.DataFrame, participants: pd.DataFrame, spec: AnalysisSpec) -> pd.DataFrame:
    """One row a person: the first visit with a study, its phenotypes, covariates and groups.

    Args:
        phenotypes: one row a study; only rows with status ``ok`` have phenotypes, the others count as not measured.
        participants: one row a participant and visit.
        spec: which columns.

    Returns:
        ``participant, visit``, boolean ``measured``, the phenotypes, covariates and groups of ``spec``. Studies whose
        participant is not listed are kept with missing covariates.

    Raises:
        ValueError: missing columns; text where numbers should be; two rows of participants for one visit; no row of
            participants that is about any of the studies.
    """
    named = {part for name in spec.group_by for part in name.split(INTERSECTION)}
    needed = {"age_years", *spec.covariates, *spec.strata, *(named - {"age_band", "bmi_class"})}
    needed |= {"height_cm", "weight_kg"} if "bmi_class" in named else set()
    _require(phenotypes, ("participant", "visit", "status", *spec.phenotypes), "phenotypes")
    _require(participants, ("participant", "visit", *sorted(needed)), "participants")
    people = _with_keys(participants)[["participant", "visit", *sorted(needed)]]
    repeated = int(people.duplicated(["participant", "visit"]).sum())
    if repeated:
        raise ValueError(f"participants: {repeated} rows repeat a participant and visit; keep one of each")
    for name in sorted({"age_years", "height_cm", "weight_kg"} & needed):
        people[name] = _numbers(people, name, "participants")
    studies = _with_keys(phenotypes)[["participant", "visit", "status", *spec.phenotypes]]
    studies["measured"] = studies.pop("status").eq("ok")
    for name in spec.phenotypes:
        studies[name] = pd.to_numeric(studies[name]).where(studies["measured"])
    # The first visit: people with two would count twice, and the second visit is conditional on survival.
    studies = studies.sort_values(["participant", "visit"]).drop_duplicates("participant")
    _check_they_meet(studies, people)
    table = studies.merge(people, on=["participant", "visit"], how="left", validate="one_to_one")
    table = with_groups(table, spec.age_edges_years)
    for name in spec.group_by:
        table[f"group {name}"] = intersection(table, name.split(INTERSECTION))
    return table.reset_index(drop=True)


def analysis_outcome(people: pd.DataFrame, outcomes: pd.DataFrame, condition: str) -> pd.DataFrame:
    """``people`` with the outcome of one condition: ``prevalent, event, entry_years, exit_years, follow_up_years``.

    People without a row for the condition are left out.

    Raises:
        ValueError: missing columns, repeated rows, flags other than 0 and 1, ages that are no numbers.
    """
    _require(outcomes, _REQUIRED_OUTCOMES, "outcomes")
    rows = _with_keys(outcomes[outcomes["condition"] == condition])
    if rows.duplicated(["participant", "visit"]).any():
        raise ValueError(f"outcomes: {condition} has more than one row for a participant and visit")
    for name in ("prevalent", "event"):
        rows[name] = pd.to_numeric(rows[name]).astype(float)
        if not rows[name].isin((0, 1)).all():
            raise ValueError(f"outcomes: {name} of {condition} must be 0 or 1")
    for name in ("entry_years", "exit_years"):
        rows[name] = _numbers(rows, name, "outcomes")
    rows["follow_up_years"] = rows["exit_years"] - rows["entry_years"]
    columns = ["participant", "visit", *OUTCOME_COLUMNS]
    return people.merge(rows[columns], on=["participant", "visit"], how="inner")


def complete_rows(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Rows in which none of ``columns`` is missing."""
    return table.dropna(subset=list(columns))


def at_risk_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of people without the condition at entry who were followed for any time."""
    followed = np.isfinite(table["entry_years"]) & (table["exit_years"] > table["entry_years"])
    at_risk: pd.DataFrame = table.loc[(table["prevalent"] == 0) & followed]
    return at_risk


def _with_keys(table: pd.DataFrame) -> pd.DataFrame:
    """A copy whose participant and visit are text, however the file stored them."""
    table = table.copy()
    for name in ("participant", "visit"):
        table[name] = table[name].astype(str)
    return table


def _numbers(table: pd.DataFrame, name: str, what: str) -> pd.Series:
    """A column as numbers; empty cells are missing, anything else that is no number is an error."""
    numbers = pd.to_numeric(table[name], errors="coerce").astype(float)
    n_text = int((numbers.isna() & table[name].notna()).sum())
    if n_text:
        unit = name.rpartition("_")[2]
        raise ValueError(
            f"{what}: {n_text} of {len(table)} values of {name} are no numbers ({unit});"
            " correct them or leave them empty"
        )
    return numbers


def _check_they_meet(studies: pd.DataFrame, people: pd.DataFrame) -> None:
    if len(studies) and len(people) and studies.merge(people, on=["participant", "visit"]).empty:
        raise ValueError(
            f"participants: none of the {len(people)} rows has the participant and visit of one of the {len(studies)}"
            " studies; tables/studies.parquet tells how those are written"
        )


def _require(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(f"{what}: columns {missing} are missing; map them in the settings, it has {list(table)}")
