"""Survival against R's published results, closed forms, lifelines and scikit-survival."""

import warnings

import numpy as np
import pandas as pd
import pytest

from cmr_models.survival import concordance, fit_cox, kaplan_meier

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lifelines import CoxPHFitter, KaplanMeierFitter
    from lifelines.datasets import load_lung, load_rossi
    from lifelines.utils import concordance_index
    from sksurv.metrics import concordance_index_ipcw
    from sksurv.util import Surv

ROSSI_TERMS = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]


@pytest.fixture(scope="module")
def rossi() -> pd.DataFrame:
    return load_rossi()


@pytest.fixture(scope="module")
def lung() -> pd.DataFrame:
    return load_lung()


@pytest.fixture(scope="module")
def delayed() -> pd.DataFrame:
    """The start/stop toy of R's survival tests."""
    return pd.DataFrame(
        {
            "start": [1, 2, 5, 2, 1, 7, 3, 4, 8, 8],
            "stop": [2, 3, 6, 7, 8, 9, 9, 9, 14, 17],
            "event": [1] * 7 + [0] * 3,
            "x": [1, 0, 0, 1, 0, 1, 1, 1, 0, 0],
        }
    )


def test_rossi_coefficients_are_those_of_r(rossi: pd.DataFrame) -> None:
    fit = fit_cox(rossi, exit="week", event="arrest", covariates=ROSSI_TERMS)
    r_coef = [
        -0.379422166485887,
        -0.0574377426840626,
        0.313899787842507,
        -0.149795697666534,
        -0.433703877937307,
        -0.0848710825003959,
        0.0914970809852961,
    ]
    r_se = [0.19138, 0.022, 0.30799, 0.21222, 0.38187, 0.19576, 0.02865]
    r_z = [-1.983, -2.611, 1.019, -0.706, -1.136, -0.434, 3.194]
    np.testing.assert_allclose(fit.estimates["coef"], r_coef, atol=1e-6)
    np.testing.assert_allclose(fit.estimates["se"], r_se, atol=1e-5)
    np.testing.assert_allclose(fit.estimates["z"], r_z, atol=6e-4)
    assert 2 * (fit.log_likelihood - fit.log_likelihood_null) == pytest.approx(33.27, abs=0.005)


def test_rossi_stratified_by_race_is_as_in_r(rossi: pd.DataFrame) -> None:
    terms = ["fin", "age", "wexp", "mar", "paro", "prio"]
    fit = fit_cox(rossi, exit="week", event="arrest", covariates=terms, strata=["race"])
    r_coef = [-0.3788, -0.0576, -0.1427, -0.4388, -0.0858, 0.0922]
    np.testing.assert_allclose(fit.estimates["coef"], r_coef, atol=6e-5)


def test_lung_with_many_ties_is_as_in_r(lung: pd.DataFrame) -> None:
    fit = fit_cox(lung, exit="time", event="status", covariates=["age", "sex"])
    np.testing.assert_allclose(fit.estimates["coef"], [0.017045, -0.513219], atol=1e-6)
    np.testing.assert_allclose(fit.estimates["se"], [0.009223, 0.167458], atol=1e-6)
    assert 2 * (fit.log_likelihood - fit.log_likelihood_null) == pytest.approx(14.12, abs=0.006)
    index = concordance(lung["time"], lung["status"], fit.linear_predictor)
    assert index.value == pytest.approx(0.603, abs=0.00051)
    assert index.se == pytest.approx(0.025, abs=0.0006)


def test_delayed_entry_is_open_at_the_entry_as_in_r(delayed: pd.DataFrame) -> None:
    fit = fit_cox(delayed, exit="stop", event="event", entry="start", covariates=["x"])
    assert fit.estimates.loc[0, "coef"] == pytest.approx(-0.02111, abs=1e-5)
    assert fit.estimates.loc[0, "se"] == pytest.approx(0.79518, abs=1e-5)


def test_efron_has_its_closed_form() -> None:
    table = pd.DataFrame({"t": [9, 1, 1, 6, 6, 8], "d": [1, 1, 0, 1, 1, 0], "x": [0, 1, 1, 1, 0, 0]})
    fit = fit_cox(table, exit="t", event="d", covariates=["x"])
    phi = np.arccos(45 / 23 * np.sqrt(3 / 23))
    exact = np.log(2 * np.sqrt(23 / 3) * np.cos(phi / 3))
    assert fit.estimates.loc[0, "coef"] == pytest.approx(exact, abs=1e-6)


def test_delayed_entry_at_age_agrees_with_lifelines() -> None:
    rng = np.random.default_rng(3)
    n = 400
    entry = rng.uniform(45, 80, n).round(1)
    follow_up = np.ceil(rng.exponential(8, n) * 10) / 10
    table = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    table = table.assign(entry=entry, exit=(entry + follow_up).round(1), event=rng.random(n) < 0.4)
    ours = fit_cox(table, exit="exit", event="event", entry="entry", covariates=["a", "b", "c"])
    theirs = CoxPHFitter().fit(table, "exit", "event", entry_col="entry", fit_options={"precision": 1e-12})
    np.testing.assert_allclose(ours.estimates["coef"], theirs.params_, atol=1e-8)
    np.testing.assert_allclose(ours.estimates["se"], theirs.standard_errors_, atol=1e-8)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood_, abs=1e-8)


def test_concordance_counts_pairs_as_r_does(lung: pd.DataFrame) -> None:
    rows = lung.dropna(subset=["ph.ecog"])
    index = concordance(rows["time"], rows["status"], rows["ph.ecog"])
    assert (index.concordant, index.discordant, index.tied_risk) == (8392, 4258, 7137)


def test_concordance_by_group_pair_adds_up_to_the_whole(lung: pd.DataFrame) -> None:
    whole = concordance(lung["time"], lung["status"], lung["age"])
    assert whole.value == pytest.approx(0.5502398321175177, abs=1e-12)
    men = lung[lung["sex"] == 1]
    within = concordance(men["time"], men["status"], men["age"])
    assert (within.n_pairs, round(within.value, 6)) == (8123, 0.554167)


def test_harrell_agrees_with_lifelines() -> None:
    rng = np.random.default_rng(4)
    time, event, risk = rng.integers(1, 40, 300), rng.random(300) < 0.4, rng.integers(0, 9, 300)
    ours = concordance(time, event, risk)
    assert ours.value == pytest.approx(concordance_index(time, -risk, event), abs=1e-12)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ([5, 8, 11, 19, 34, 12, 3, 9, 12, 20], 0.347890360332615),
        ([5, 8, 11, 11, 34, 12, 3, 9, 12, 20], 0.365629810028969),
    ],
)
def test_uno_has_its_published_values(score: list[float], expected: float) -> None:
    time = [1, 5, 6, 10, 11, 34, 45, 46, 50, 56]
    event = [0, 1, 1, 0, 1, 0, 1, 0, 0, 1]
    assert concordance(time, event, score, method="uno").value == pytest.approx(expected, abs=1e-7)


def test_uno_agrees_with_scikit_survival_where_no_death_ties_with_a_censoring() -> None:
    rng = np.random.default_rng(5)
    time, event, risk = rng.exponential(5, 200), rng.random(200) < 0.5, rng.normal(size=200)
    theirs = concordance_index_ipcw(Surv.from_arrays(event, time), Surv.from_arrays(event, time), risk, tau=6.0)
    ours = concordance(time, event, risk, method="uno", tau=6.0)
    assert ours.value == pytest.approx(theirs[0], abs=1e-10)


def test_kaplan_meier_medians_are_those_of_r(lung: pd.DataFrame) -> None:
    medians = [
        kaplan_meier(rows["time"], rows["status"]).median
        for rows in (lung[lung["ph.ecog"] == 1], lung[lung["ph.ecog"] == 2])
    ]
    assert medians == [306.0, 199.0]


def test_kaplan_meier_and_its_interval_agree_with_lifelines(lung: pd.DataFrame) -> None:
    theirs = KaplanMeierFitter().fit(lung["time"], lung["status"])
    ours = kaplan_meier(lung["time"], lung["status"])
    np.testing.assert_allclose(ours.survival, theirs.survival_function_at_times(ours.time), atol=1e-12)
    interval = theirs.confidence_interval_.loc[ours.time].to_numpy()
    np.testing.assert_allclose(ours.ci_low, interval[:, 0], atol=1e-12)
    np.testing.assert_allclose(ours.ci_high, interval[:, 1], atol=1e-12)
