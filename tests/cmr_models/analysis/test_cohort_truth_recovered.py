"""What was planted in a simulated cohort is found again, and what was not is not."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cmr_models.analysis.estimates_by_group import fairness_rows
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.people import analysis_people
from cmr_models.analysis.regressions import association_rows, hazard_rows
from cmr_models.simulate.cohort import simulate_cohort
from cmr_models.simulate.measured import example_tables, measure_phenotypes
from cmr_models.simulate.planted import CohortSettings, GroupGap

SPEC = AnalysisSpec(phenotypes=("lvef_pct", "lvesv_ml", "lvsv_ml", "lvm_g"))
NARROW = AnalysisSpec(phenotypes=("lvef_pct",), conditions=("heart_failure", "cancer", "death"))


def _planted(table: pd.DataFrame, ratios: dict[str, dict[str, float]]) -> pd.DataFrame:
    """Rows of the planted pairs with ``planted``, the ratio put in."""
    per_sd = table[table["scale"] == "per_sd"].set_index(["outcome", "exposure"])
    pairs = {(c, p): ratio for c, planted in ratios.items() for p, ratio in planted.items()}
    return per_sd.loc[[pair for pair in pairs if pair in per_sd.index]].assign(
        planted=lambda rows: [pairs[pair] for pair in rows.index]
    )


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """5,000 people without a planted gap."""
    phenotypes, participants, outcomes = example_tables(5000, np.random.default_rng(5))
    return analysis_people(phenotypes, participants, SPEC), outcomes


def test_planted_hazard_ratios_lie_in_their_intervals(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    found = _planted(hazard_rows(*tables, SPEC), CohortSettings().hazard_ratios)
    assert len(found) == 6
    assert (found["status"] == "ok").all()
    assert found["planted"].between(found["ci_low"], found["ci_high"]).all()


def test_planted_odds_ratios_are_jointly_right(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    found = _planted(association_rows(*tables, SPEC), CohortSettings().odds_ratios)
    z = np.log(found["estimate"] / found["planted"]) / found["se"]
    assert len(found) == 5
    assert stats.chi2.sf((z**2).sum(), len(z)) > 0.01


def test_the_negative_control_shows_nothing(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    hazards = hazard_rows(*tables, SPEC)
    cancer = hazards[(hazards["outcome"] == "cancer") & (hazards["scale"] == "per_sd")]
    assert (cancer["minus_log10_p"] < -np.log10(0.01)).all()


def _gaps(settings: CohortSettings, spec: AnalysisSpec, seed: int) -> pd.DataFrame:
    phenotypes, participants, outcomes = example_tables(5000, np.random.default_rng(seed), settings)
    table = fairness_rows(analysis_people(phenotypes, participants, spec), outcomes, spec)
    return table[table["group"] == "max_gap"].set_index(["model", "outcome", "group_by"])


def test_a_planted_gap_of_prognosis_is_found_in_its_group_and_nowhere_else() -> None:
    gaps = _gaps(CohortSettings(gap=GroupGap("sex", "female", effect_factor=0.0)), NARROW, seed=6)
    heart_failure = gaps.loc[("cox_age", "heart_failure", "sex")]
    assert heart_failure["q"] < 0.01
    assert heart_failure["gap_groups"] == "female - male"
    assert heart_failure["estimate"] > heart_failure["null_q95"]
    assert gaps.loc[("harrell_phenotype", "heart_failure", "sex"), "q"] < 0.05
    assert gaps.loc[("cox_age", "cancer", "sex"), "q"] > 0.05


def test_a_planted_gap_of_measurement_is_found_in_its_group() -> None:
    settings = CohortSettings(gap=GroupGap("centre", "Bristol", ef_bias_pct=-3.0, failure_factor=4.0))
    gaps = _gaps(settings, NARROW, seed=7)
    measurement = gaps.loc[("adjusted_mean", "", "centre")]
    assert measurement["q"] < 0.05
    assert measurement["gap_groups"].endswith("- Bristol")
    assert measurement["estimate"] == pytest.approx(3.0, abs=1.0)
    assert measurement["equivalence_p"] > 0.5
    assert gaps.loc[("qc_pass", "", "centre"), "q"] < 0.05
    assert gaps.loc[("adjusted_mean", "", "ethnicity"), "q"] > 0.05


def test_where_no_gap_is_planted_none_is_found() -> None:
    gaps = _gaps(CohortSettings(), NARROW, seed=8).reset_index()
    # Raw means differ by sex, age and size, and the heart's size by sex: differences of biology, not of
    # the method.
    biology = (gaps["model"] == "mean") | ((gaps["model"] == "adjusted_mean") & (gaps["group_by"] == "sex"))
    absent = gaps[(gaps["status"] == "ok") & ~biology]
    assert len(absent) >= 20
    assert (absent["q"] > 0.05).all()


@pytest.mark.slow
def test_intervals_cover_the_planted_hazard_ratio_as_often_as_they_say() -> None:
    spec = AnalysisSpec(phenotypes=("lvef_pct",), conditions=("death", "heart_failure"))
    settings = CohortSettings(hazard_factor=3.0, noise_sd=0.0, failure_share=0.0)
    inside = []
    for seed in range(150):
        rng = np.random.default_rng(1000 + seed)
        cohort = simulate_cohort(1000, rng, settings)
        people = analysis_people(measure_phenotypes(cohort.truth, rng, settings), cohort.participants, spec)
        rows = hazard_rows(people, cohort.outcomes, spec)
        per_unit = rows[rows["scale"] == "per_unit"].set_index("outcome")
        for outcome, ratio in (("death", 0.70), ("heart_failure", 0.55)):
            planted = ratio ** (1 / cohort.truth["lvef_pct"].std())
            inside.append(per_unit.loc[outcome, "ci_low"] <= planted <= per_unit.loc[outcome, "ci_high"])
    assert 0.915 <= np.mean(inside) <= 0.98
