"""Known effects of a simulated cohort: how disease depends on the heart, and which group differs from the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

TRUE_PHENOTYPES = (
    "lvedv_ml",
    "lvesv_ml",
    "lvsv_ml",
    "lvef_pct",
    "lvm_g",
    "lvco_l_min",
    "rvedv_ml",
    "rvesv_ml",
    "rvsv_ml",
    "rvef_pct",
    "heart_rate_bpm",
)

INDEXED = ("lvedv_ml", "lvesv_ml", "lvsv_ml", "lvm_g", "rvedv_ml", "rvesv_ml", "rvsv_ml")


class Incidence(NamedTuple):
    """How often a condition occurs: Gompertz hazard ``rate_at_65 * exp(growth * (age - 65))`` per year."""

    rate_at_65: float
    growth: float
    prevalence: float


# Similar to UK Biobank imaging participants; about 0.5 % have incident heart failure in the first years.
INCIDENCE: Mapping[str, Incidence] = {
    "heart_failure": Incidence(0.004, 0.10, 0.012),
    "atrial_fibrillation": Incidence(0.008, 0.09, 0.03),
    "myocardial_infarction": Incidence(0.004, 0.06, 0.03),
    "diabetes": Incidence(0.006, 0.03, 0.05),
    "hypertension": Incidence(0.020, 0.04, 0.25),
    "cancer": Incidence(0.012, 0.07, 0.08),
    "death": Incidence(0.006, 0.10, 0.0),
}

# Per SD of the true phenotype, of sizes that published UK Biobank CMR studies report. Cancer is the negative control.
_HAZARD_RATIOS: Mapping[str, Mapping[str, float]] = {
    "heart_failure": {"lvef_pct": 0.55},
    "atrial_fibrillation": {"lvesv_ml": 1.40},
    "myocardial_infarction": {"lvm_g": 1.45},
    "diabetes": {"lvsv_ml": 0.75},
    "hypertension": {"lvm_g": 1.50},
    "cancer": {},
    "death": {"lvef_pct": 0.70},
}
_ODDS_RATIOS: Mapping[str, Mapping[str, float]] = {
    "heart_failure": {"lvef_pct": 0.40},
    "atrial_fibrillation": {"lvesv_ml": 1.35},
    "myocardial_infarction": {"lvef_pct": 0.55},
    "diabetes": {"lvsv_ml": 0.75},
    "hypertension": {"lvm_g": 1.60},
    "cancer": {},
    "death": {},
}

# Log hazard (and log odds) per unit of covariate, the same for every condition.
COVARIATE_EFFECTS: Mapping[str, float] = {
    "male": 0.30,
    "systolic_per_20_mmhg": 0.15,
    "bmi_per_5": 0.15,
    "smoking_current": 0.50,
    "smoking_previous": 0.15,
    "deprivation_per_3": 0.08,
}

ETHNICITY: Mapping[str, float] = {
    "white": 0.90,
    "asian": 0.035,
    "black": 0.03,
    "mixed": 0.01,
    "other": 0.015,
    "unknown": 0.01,
}
CENTRE: Mapping[str, float] = {"Cheadle": 0.45, "Newcastle": 0.28, "Reading": 0.19, "Bristol": 0.08}
SMOKING: Mapping[str, float] = {"never": 0.62, "previous": 0.33, "current": 0.05}


@dataclass(frozen=True)
class GroupGap:
    """A planted difference between one group and everybody else, which an audit should find.

    Attributes:
        group_by: column of the participants (``sex``, ``ethnicity``, ``centre``, ``smoking``).
        group: its value, e.g. ``"female"``.
        ef_bias_pct: added to the measured (never the true) LV ejection fraction, in points.
        noise_factor: factor on the measurement noise of every phenotype.
        effect_factor: factor on the log hazard ratios of the phenotypes; with 0 they predict nothing in the group.
        failure_factor: factor on the share of studies that cannot be measured.
    """

    group_by: str
    group: str
    ef_bias_pct: float = 0.0
    noise_factor: float = 1.0
    effect_factor: float = 1.0
    failure_factor: float = 1.0


@dataclass(frozen=True)
class CohortSettings:
    """Effects, incidence, missing values and dates of a simulated cohort.

    Attributes:
        hazard_ratios: condition -> phenotype -> hazard ratio per SD of the true phenotype in the cohort.
        odds_ratios: condition -> phenotype -> odds ratio of prevalent disease per SD.
        hazard_factor: factor on every incidence; a small demonstration cohort needs more events than a real one has.
        prevalence_factor: factor on every prevalence.
        gap: a planted difference between groups, or None.
        missing_share: share of missing values in blood pressure, weight, height, smoking and deprivation.
        failure_share: share of studies without measurable images (used by :func:`measure_phenotypes` only).
        noise_sd: measurement noise, in SDs of the true phenotype (used by :func:`measure_phenotypes` only).
        imaging_from, imaging_to: first and last imaging day.
        censoring_date: end of the linked records.
        lost_per_year: hazard of loss to follow-up before that date.
    """

    hazard_ratios: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: _HAZARD_RATIOS)
    odds_ratios: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: _ODDS_RATIOS)
    hazard_factor: float = 1.0
    prevalence_factor: float = 1.0
    gap: GroupGap | None = None
    missing_share: float = 0.02
    failure_share: float = 0.04
    noise_sd: float = 0.1
    imaging_from: str = "2014-05-01"
    imaging_to: str = "2021-12-31"
    censoring_date: str = "2024-10-31"
    lost_per_year: float = 0.003
