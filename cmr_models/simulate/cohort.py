"""A simulated imaging cohort with known truth: people, their hearts and their outcomes.

Drawn in this order: covariates; true phenotypes given sex, age and body size; prevalent disease given the true
phenotypes (logistic model); time to each incident condition and to death given the true phenotypes (log-linear Gompertz
hazards on the age scale, with entry at imaging); censoring; missing covariates. Given covariates and phenotypes, all
events are independent, so a Cox model of one condition on its phenotype and the covariates estimates the planted ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.contracts import CONDITIONS
from cmr_models.phenotypes.body_size import body_surface_m2
from cmr_models.simulate.planted import (
    CENTRE,
    COVARIATE_EFFECTS,
    ETHNICITY,
    INCIDENCE,
    SMOKING,
    TRUE_PHENOTYPES,
    CohortSettings,
    GroupGap,
)

Floats = npt.NDArray[np.float64]

_DAYS_PER_YEAR = 365.25
_MALE = "male"


class SimulatedCohort(NamedTuple):
    """The tables of a simulated cohort.

    Attributes:
        participants: one row for each person, as a study would export it (with missing values).
        outcomes: one row for each person and condition.
        truth: one row for each person: complete covariates, true phenotypes, linear predictors ``lp_<condition>``, and
            the age at which each condition would occur without death or censoring, ``age_<condition>``. For tests only.
    """

    participants: pd.DataFrame
    outcomes: pd.DataFrame
    truth: pd.DataFrame


def simulate_cohort(n: int, rng: np.random.Generator, settings: CohortSettings | None = None) -> SimulatedCohort:
    """Draw a cohort of ``n`` people.

    Args:
        n: number of people, at least 2.
        rng: source of all randomness; the same state gives the same cohort.
        settings: what is planted; the defaults of :class:`CohortSettings` if None.

    Returns:
        :class:`SimulatedCohort`.

    Raises:
        ValueError: ``n`` under 2, an unknown condition or phenotype, a ratio that is not positive, an
            unknown gap column.
    """
    settings = settings or CohortSettings()
    _check(n, settings)
    people = _draw_covariates(n, rng, settings)
    truth = pd.concat([people, _draw_hearts(people, rng)], axis=1)
    prevalent = _draw_prevalent(truth, rng, settings)
    truth = pd.concat([truth, _event_ages(truth, rng, settings), prevalent.add_prefix("prevalent_")], axis=1)
    outcomes = _observe(truth, prevalent, rng, settings)
    participants = _remove_values(people, rng, settings.missing_share)
    return SimulatedCohort(participants, outcomes, truth)


def _check(n: int, settings: CohortSettings) -> None:
    if n < 2:
        raise ValueError(f"a cohort needs at least 2 people, got {n}")
    for planted in (settings.hazard_ratios, settings.odds_ratios):
        for condition, ratios in planted.items():
            if condition not in CONDITIONS:
                raise ValueError(f"unknown condition {condition!r}; known are {CONDITIONS}")
            for phenotype, ratio in ratios.items():
                if phenotype not in TRUE_PHENOTYPES:
                    raise ValueError(f"unknown phenotype {phenotype!r}; known are {TRUE_PHENOTYPES}")
                if not ratio > 0:
                    raise ValueError(f"the ratio of {condition} per SD of {phenotype} must be positive, got {ratio}")
    if settings.gap is not None and settings.gap.group_by not in ("sex", "ethnicity", "centre", "smoking"):
        raise ValueError(f"a gap must be by sex, ethnicity, centre or smoking, got {settings.gap.group_by!r}")


def _choose(shares: Mapping[str, float], n: int, rng: np.random.Generator) -> npt.NDArray[np.object_]:
    weights = np.array(list(shares.values()))
    return rng.choice(np.array(list(shares), dtype=object), size=n, p=weights / weights.sum())


def _draw_covariates(n: int, rng: np.random.Generator, settings: CohortSettings) -> pd.DataFrame:
    """Covariates distributed as in participants of UK Biobank imaging (age 64 ± 7.7, 48 % men)."""
    male = rng.random(n) < 0.48
    age_years = np.clip(64 + 7.7 * rng.standard_normal(n), 45, 82)
    height_cm = np.where(male, 176.5, 163.0) + np.where(male, 6.6, 6.2) * rng.standard_normal(n)
    height_cm -= 0.08 * (age_years - 64)
    bmi = np.exp(np.log(np.where(male, 26.8, 25.8)) + np.where(male, 0.14, 0.17) * rng.standard_normal(n))
    deprivation = np.clip(-2.0 + 2.7 * rng.gamma(2.0, 1.0, n) / np.sqrt(2) - 2.7 * np.sqrt(2), -6.3, 10)
    stiffness = rng.standard_normal(n)
    systolic = 137 + 0.55 * (age_years - 64) + 0.9 * (bmi - 26) + 4 * male + 15 * stiffness
    diastolic = 79 - 0.1 * (age_years - 64) + 0.5 * (bmi - 26) + 2 * male + 6 * stiffness + 7 * rng.standard_normal(n)
    first, last = (np.datetime64(day, "D") for day in (settings.imaging_from, settings.imaging_to))
    imaging = first + rng.integers(0, int((last - first).astype(int)) + 1, n).astype("timedelta64[D]")
    return pd.DataFrame(
        {
            "participant": _identifiers(n, rng),
            "visit": 2,
            "sex": np.where(male, _MALE, "female").astype(object),
            "age_years": np.round(age_years, 2),
            "height_cm": np.round(height_cm, 1),
            "weight_kg": np.round(bmi * (height_cm / 100) ** 2, 1),
            "systolic_mmhg": np.round(np.clip(systolic, 85, 230)),
            "diastolic_mmhg": np.round(np.clip(diastolic, 45, 130)),
            "ethnicity": _choose(ETHNICITY, n, rng),
            "centre": _choose(CENTRE, n, rng),
            "deprivation": np.round(deprivation, 2),
            "smoking": _choose(SMOKING, n, rng),
            "imaging_date": np.datetime_as_string(imaging, unit="D").astype(object),
        }
    )


def _identifiers(n: int, rng: np.random.Generator) -> npt.NDArray[np.object_]:
    numbers = 1_000_000 + np.cumsum(rng.integers(1, 9, n))
    return numbers.astype(str).astype(object)


def _draw_hearts(people: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """True phenotypes.

    Three per cent have a dilated ventricle with poor function, so that the ejection fraction has a heavy tail as in a
    population. The stroke volumes of the two ventricles differ by about 5 %.

    Reference:
        Means and SDs by sex: Petersen 2017 (10.1186/s12968-017-0327-9). The slopes on body size are our choice.
    """
    n = len(people)
    male = (people["sex"] == _MALE).to_numpy()
    age = people["age_years"].to_numpy(float) - 64
    height_cm, weight_kg = people["height_cm"].to_numpy(float), people["weight_kg"].to_numpy(float)
    size = body_surface_m2(height_cm, weight_kg) - np.where(male, 2.0, 1.73)
    systolic = people["systolic_mmhg"].to_numpy(float) - 137
    dilated = rng.random(n) < 0.03
    noise = rng.standard_normal((6, n))
    lvedv = np.where(male, 164, 125) + 70 * size - 0.5 * age + np.where(male, 23, 15) * noise[0] + 45 * dilated
    lvef = np.where(male, 58.5, 60.5) + np.where(male, 5.2, 4.6) * noise[1] - 16 * dilated
    lvm = np.where(male, 103, 70) + 45 * size + 0.17 * systolic + 20 * dilated
    lvm = lvm + np.where(male, 15, 9) * (0.5 * noise[0] + np.sqrt(0.75) * noise[2])
    rvef = np.where(male, 55, 57.5) + 5 * (0.4 * noise[1] + np.sqrt(0.84) * noise[3]) - 6 * dilated
    heart_rate = np.where(male, 62, 64) + 9 * noise[4] + 4 * dilated
    return consistent_phenotypes(lvedv, lvef, lvm, rvef, heart_rate, 1 + 0.05 * noise[5])


def consistent_phenotypes(
    lvedv_ml: Floats, lvef_pct: Floats, lvm_g: Floats, rvef_pct: Floats, heart_rate_bpm: Floats, ratio: Floats
) -> pd.DataFrame:
    """All phenotypes from the independent ones; ``ratio`` is right over left stroke volume."""
    lvedv, lvef = np.clip(lvedv_ml, 60, 350), np.clip(lvef_pct, 15, 80)
    rvef, heart_rate = np.clip(rvef_pct, 20, 75), np.clip(heart_rate_bpm, 40, 110)
    lvsv = lvedv * lvef / 100
    rvsv = lvsv * np.clip(ratio, 0.85, 1.15)
    rvedv = 100 * rvsv / rvef
    return pd.DataFrame(
        {
            "lvedv_ml": lvedv,
            "lvesv_ml": lvedv - lvsv,
            "lvsv_ml": lvsv,
            "lvef_pct": lvef,
            "lvm_g": np.clip(lvm_g, 35, 300),
            "lvco_l_min": lvsv * heart_rate / 1000,
            "rvedv_ml": rvedv,
            "rvesv_ml": rvedv - rvsv,
            "rvsv_ml": rvsv,
            "rvef_pct": rvef,
            "heart_rate_bpm": heart_rate,
        }
    )


def _covariate_effect(people: pd.DataFrame) -> Floats:
    """Log hazard of the covariates, relative to a woman of average blood pressure and size who never smoked."""
    bmi = people["weight_kg"].to_numpy(float) / (people["height_cm"].to_numpy(float) / 100) ** 2
    terms = {
        "male": (people["sex"] == _MALE).to_numpy(float),
        "systolic_per_20_mmhg": (people["systolic_mmhg"].to_numpy(float) - 137) / 20,
        "bmi_per_5": (bmi - 26) / 5,
        "smoking_current": (people["smoking"] == "current").to_numpy(float),
        "smoking_previous": (people["smoking"] == "previous").to_numpy(float),
        "deprivation_per_3": (people["deprivation"].to_numpy(float) + 2) / 3,
    }
    effects = np.array([COVARIATE_EFFECTS[name] for name in terms])
    return np.asarray(effects @ np.array(list(terms.values())), np.float64)


def _phenotype_effect(truth: pd.DataFrame, ratios: Mapping[str, float]) -> Floats:
    effect = np.zeros(len(truth))
    for phenotype, ratio in ratios.items():
        values = truth[phenotype].to_numpy(float)
        effect += np.log(ratio) * (values - values.mean()) / values.std(ddof=1)
    return effect


def in_gap(people: pd.DataFrame, gap: GroupGap | None) -> npt.NDArray[np.bool_]:
    """Who belongs to the group that differs, ``(person,)``."""
    if gap is None:
        return np.zeros(len(people), bool)
    return (people[gap.group_by] == gap.group).to_numpy()


def _draw_prevalent(truth: pd.DataFrame, rng: np.random.Generator, settings: CohortSettings) -> pd.DataFrame:
    """Disease known at imaging, from a logistic model of age, covariates and phenotypes, centred at the prevalence."""
    drawn = {}
    for condition in CONDITIONS:
        share = min(INCIDENCE[condition].prevalence * settings.prevalence_factor, 0.5)
        lp = 0.05 * (truth["age_years"].to_numpy(float) - 64) + _covariate_effect(truth)
        lp = lp + _phenotype_effect(truth, settings.odds_ratios.get(condition, {}))
        odds = share / (1 - share) * np.exp(lp - lp.mean())
        drawn[condition] = rng.random(len(truth)) < odds / (1 + odds)
    return pd.DataFrame(drawn, index=truth.index)


def _event_ages(truth: pd.DataFrame, rng: np.random.Generator, settings: CohortSettings) -> pd.DataFrame:
    """Age at which each condition would occur after imaging, by inverting the cumulative Gompertz hazard."""
    entry = truth["age_years"].to_numpy(float)
    factor = np.where(in_gap(truth, settings.gap), settings.gap.effect_factor if settings.gap else 1.0, 1.0)
    columns = {}
    for condition in CONDITIONS:
        incidence = INCIDENCE[condition]
        effect = _phenotype_effect(truth, settings.hazard_ratios.get(condition, {})) * factor
        lp = _covariate_effect(truth) + effect
        rate = settings.hazard_factor * incidence.rate_at_65 * np.exp(lp + incidence.growth * (entry - 65))
        unit = rng.exponential(size=len(truth))
        columns[f"lp_{condition}"] = lp
        columns[f"age_{condition}"] = entry + np.log1p(incidence.growth * unit / rate) / incidence.growth
    return pd.DataFrame(columns, index=truth.index)


def _observe(
    truth: pd.DataFrame, prevalent: pd.DataFrame, rng: np.random.Generator, settings: CohortSettings
) -> pd.DataFrame:
    """What the linked records show: the first of condition, death and censoring, at least one whole day after entry."""
    entry = truth["age_years"].to_numpy(float)
    imaging = truth["imaging_date"].to_numpy("datetime64[D]")
    last = np.datetime64(settings.censoring_date, "D")
    follow_up = np.maximum((last - imaging).astype(float), 1) / _DAYS_PER_YEAR
    lost = rng.exponential(1 / max(settings.lost_per_year, 1e-9), len(truth))
    censored = entry + np.minimum(follow_up, lost)
    death = truth["age_death"].to_numpy(float)
    tables = [
        _observe_one(truth, condition, prevalent[condition].to_numpy(bool), entry, censored, death)
        for condition in CONDITIONS
    ]
    return pd.concat(tables, ignore_index=True)


def _observe_one(
    truth: pd.DataFrame,
    condition: str,
    prevalent: npt.NDArray[np.bool_],
    entry: Floats,
    censored: Floats,
    death: Floats,
) -> pd.DataFrame:
    own = truth[f"age_{condition}"].to_numpy(float)
    age = np.minimum(np.minimum(own, death), censored)
    cause = np.select([own <= np.minimum(death, censored), death <= censored], [1, 2], 0)
    days = np.maximum(np.ceil((age - entry) * _DAYS_PER_YEAR), 1)
    return pd.DataFrame(
        {
            "participant": truth["participant"].to_numpy(),
            "visit": truth["visit"].to_numpy(),
            "condition": condition,
            "prevalent": prevalent.astype(int),
            "entry_years": entry,
            "exit_years": np.round(entry + days / _DAYS_PER_YEAR, 6),
            "event": np.where(prevalent, 0, cause == 1).astype(int),
            "cause": np.where(prevalent, 0, cause),
        }
    )


def _remove_values(people: pd.DataFrame, rng: np.random.Generator, share: float) -> pd.DataFrame:
    people = people.copy()
    pressure = rng.random(len(people)) < share
    people.loc[pressure, ["systolic_mmhg", "diastolic_mmhg"]] = np.nan
    for name in ("height_cm", "weight_kg", "smoking", "deprivation"):
        people.loc[rng.random(len(people)) < share, name] = np.nan
    return people
