"""The simulated cohort: its schema, its hearts, and that what is planted is there."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.contracts import CONDITIONS
from cmr_models.simulate.cohort import SimulatedCohort, simulate_cohort
from cmr_models.simulate.measured import measure_phenotypes
from cmr_models.simulate.planted import TRUE_PHENOTYPES, CohortSettings, GroupGap


@pytest.fixture(scope="module")
def cohort() -> SimulatedCohort:
    return simulate_cohort(4000, np.random.default_rng(11))


def test_the_participants_have_the_columns_of_the_contract(cohort: SimulatedCohort) -> None:
    expected = [
        "participant",
        "visit",
        "sex",
        "age_years",
        "height_cm",
        "weight_kg",
        "systolic_mmhg",
        "diastolic_mmhg",
        "ethnicity",
        "centre",
        "deprivation",
        "smoking",
        "imaging_date",
    ]
    assert list(cohort.participants) == expected
    assert cohort.participants["participant"].is_unique
    assert set(cohort.participants["sex"]) == {"female", "male"}
    assert cohort.participants["age_years"].between(45, 82).all()


def test_there_is_one_outcome_a_person_and_condition(cohort: SimulatedCohort) -> None:
    counts = cohort.outcomes.groupby("condition")["participant"].nunique()
    assert counts.to_dict() == dict.fromkeys(CONDITIONS, 4000)
    assert (cohort.outcomes["exit_years"] > cohort.outcomes["entry_years"]).all()
    assert (cohort.outcomes["event"] == (cohort.outcomes["cause"] == 1)).all()
    assert not cohort.outcomes.loc[cohort.outcomes["prevalent"] == 1, "event"].any()


def test_nobody_has_an_event_after_death(cohort: SimulatedCohort) -> None:
    wide = cohort.outcomes.pivot(index="participant", columns="condition", values="exit_years")
    assert (wide.drop(columns="death").le(wide["death"], axis=0)).all(axis=None)


def test_the_same_state_gives_the_same_cohort() -> None:
    first, second = (simulate_cohort(50, np.random.default_rng(3)) for _ in range(2))
    for ours, theirs in zip(first, second, strict=True):
        pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.parametrize(
    ("phenotype", "men", "women"),
    [
        ("lvedv_ml", (109, 218), (88, 161)),
        ("lvef_pct", (48, 69), (51, 70)),
        ("lvm_g", (64, 141), (46, 93)),
        ("rvef_pct", (45, 65), (47, 68)),
    ],
)
def test_hearts_lie_in_the_published_ranges(
    cohort: SimulatedCohort, phenotype: str, men: tuple[float, float], women: tuple[float, float]
) -> None:
    for sex, (low, high) in (("male", men), ("female", women)):
        values = cohort.truth.loc[cohort.truth["sex"] == sex, phenotype]
        assert values.between(low, high).mean() > 0.88
        assert values.mean() == pytest.approx((low + high) / 2, rel=0.06)


def test_volumes_and_fractions_agree_with_each_other(cohort: SimulatedCohort) -> None:
    truth = cohort.truth
    np.testing.assert_allclose(truth["lvedv_ml"] - truth["lvesv_ml"], truth["lvsv_ml"])
    np.testing.assert_allclose(100 * truth["rvsv_ml"] / truth["rvedv_ml"], truth["rvef_pct"])
    assert (truth["rvsv_ml"] / truth["lvsv_ml"]).between(0.849, 1.151).all()
    assert set(TRUE_PHENOTYPES) <= set(truth)


def test_missing_values_are_missing_only_where_said(cohort: SimulatedCohort) -> None:
    missing = cohort.participants.isna().mean()
    assert missing[["systolic_mmhg", "smoking", "deprivation"]].between(0.01, 0.03).all()
    assert missing[["sex", "age_years", "ethnicity", "centre"]].eq(0).all()
    assert cohort.truth[["systolic_mmhg", "height_cm"]].notna().all(axis=None)


def test_prevalent_heart_failure_has_a_low_ejection_fraction(cohort: SimulatedCohort) -> None:
    sick = cohort.truth["prevalent_heart_failure"]
    assert cohort.truth.loc[sick, "lvef_pct"].mean() < cohort.truth.loc[~sick, "lvef_pct"].mean() - 3


def test_more_hazard_is_more_events() -> None:
    few, many = (
        simulate_cohort(1000, np.random.default_rng(1), CohortSettings(hazard_factor=factor)).outcomes["event"].sum()
        for factor in (1, 5)
    )
    assert many > 2 * few


def test_a_planted_measurement_gap_is_in_the_measurement_and_not_in_the_truth() -> None:
    settings = CohortSettings(gap=GroupGap("centre", "Reading", ef_bias_pct=-5, failure_factor=4))
    truth = simulate_cohort(3000, np.random.default_rng(2), settings).truth
    measured = measure_phenotypes(truth, np.random.default_rng(3), settings)
    error = measured["lvef_pct"] - truth["lvef_pct"]
    reading = truth["centre"] == "Reading"
    assert error[reading].mean() == pytest.approx(-5, abs=0.2)
    assert error[~reading].mean() == pytest.approx(0, abs=0.1)
    assert measured["status"].eq("quarantined")[reading].mean() > 0.1
    assert measured.loc[measured["status"] != "ok", "lvef_pct"].isna().all()


@pytest.mark.parametrize(
    ("n", "settings", "message"),
    [
        (1, CohortSettings(), "at least 2 people"),
        (9, CohortSettings(hazard_ratios={"gout": {}}), "unknown condition 'gout'"),
        (9, CohortSettings(hazard_ratios={"death": {"strain": 2.0}}), "unknown phenotype 'strain'"),
        (9, CohortSettings(odds_ratios={"cancer": {"lvm_g": 0.0}}), "must be positive, got 0"),
        (9, CohortSettings(gap=GroupGap("town", "x")), "a gap must be by sex"),
    ],
)
def test_impossible_settings_are_refused(n: int, settings: CohortSettings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate_cohort(n, np.random.default_rng(0), settings)
