"""Splines, interactions, shrinkage, restricted means, prediction and the pair of causes."""

import warnings

import numpy as np
import pandas as pd
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.survival import (
    fit_cause_pair,
    fit_cox,
    fit_fine_gray,
    fit_interaction,
    fit_spline,
    kaplan_meier,
    lasso_path,
    linear_predictor,
    predict_risk,
    predict_survival,
    restricted_cubic,
    restricted_mean,
    ridge_path,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    n = 1500
    table = pd.DataFrame({"a": rng.normal(size=n), "b": rng.integers(0, 2, n), "c": rng.choice(["u", "v", "w"], n)})
    hazard = 0.1 * np.exp(0.4 * table["a"] ** 2 - 0.3 * table["a"] + 0.5 * table["b"])
    time, censored = rng.exponential(1 / hazard), rng.uniform(2, 12, n)
    code = np.where(time <= censored, rng.choice([1, 1, 2], n), 0)
    return table.assign(t=np.minimum(time, censored), d=(code > 0).astype(int), code=code)


TIMES = {"exit": "t", "event": "d"}


def test_a_restricted_spline_is_straight_beyond_its_knots_and_smooth_at_them() -> None:
    x = np.array([-5.0, -4.0, -3.0, 8.0, 9.0, 10.0])
    basis = restricted_cubic(x, [-1, 0, 2, 5])
    np.testing.assert_allclose(basis[0] - 2 * basis[1] + basis[2], 0, atol=1e-12)
    np.testing.assert_allclose(basis[3] - 2 * basis[4] + basis[5], 0, atol=1e-9)
    around = restricted_cubic([2 - 1e-6, 2, 2 + 1e-6], [-1, 0, 2, 5])
    np.testing.assert_allclose((around[0] - 2 * around[1] + around[2]) / 1e-12, 0, atol=2)


def test_harrells_basis_at_a_point_worked_by_hand() -> None:
    # Knots 0, 1, 2 at x = 2: ((2)³ - (1)³ · 2) / 2² = 1.5
    np.testing.assert_allclose(restricted_cubic([2.0], [0, 1, 2]), [[2.0, 1.5]])


def test_a_bent_effect_is_found_and_a_straight_one_is_not(people: pd.DataFrame) -> None:
    bent = fit_spline(people, "a", covariates=["b"], **TIMES)
    assert bent.minus_log10_p > 6
    assert bent.df == 2
    at = bent.curve.set_index("value")["log_hazard_ratio"]
    assert at.iloc[0] > 0.5
    rng = np.random.default_rng(12)
    levels = []
    for _ in range(60):
        x = rng.normal(size=300)
        table = pd.DataFrame({"x": x, "t": rng.exponential(1 / np.exp(0.5 * x)), "d": 1})
        levels.append(fit_spline(table, "x", **TIMES).p < 0.05)
    assert np.mean(levels) < 0.15


def test_the_curve_is_one_at_its_reference(people: pd.DataFrame) -> None:
    curve = fit_spline(people, "a", reference=0.5, at=[0.5, 1.0], **TIMES).curve
    assert curve.loc[0, ["log_hazard_ratio", "se"]].tolist() == [0, 0]
    assert curve.loc[1, "ci_low"] < curve.loc[1, "log_hazard_ratio"] < curve.loc[1, "ci_high"]


def test_impossible_splines_are_named(people: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="coincide"):
        fit_spline(people, "b", **TIMES)
    with pytest.raises(ValueError, match="knots must be one of"):
        fit_spline(people, "a", knots=9, **TIMES)
    with pytest.raises(ValueError, match="three or more"):
        restricted_cubic([1.0], [0, 1])


def test_hazards_that_add_have_no_relative_excess_risk_and_those_that_multiply_do() -> None:
    rng = np.random.default_rng(13)
    n = 40_000
    table = pd.DataFrame(rng.integers(0, 2, (n, 2)), columns=["g", "e"])
    for hazard, excess, product in (
        (1 + table["g"] + table["e"], 0.0, np.log(3 / 4)),
        (2.0 ** (table["g"] + table["e"]), 1.0, 0.0),
    ):
        found = fit_interaction(table.assign(t=rng.exponential(1 / hazard), d=1), "g", "e", **TIMES)
        assert abs(found.reri - excess) < 3.3 * found.reri_se
        assert found.reri_se < 0.12
        assert abs(found.coef - product) < 3.3 * found.se
    assert found.reri_ci_low > 0


def test_the_relative_excess_risk_is_that_of_its_definition(people: pd.DataFrame) -> None:
    found = fit_interaction(people, "a", "b", **TIMES)
    first, second, product = found.fit.estimates["coef"]
    assert found.reri == pytest.approx(np.exp(first + second + product) - np.exp(first) - np.exp(second) + 1)
    assert found.chi2 == pytest.approx((found.coef / found.se) ** 2, rel=0.05)


def test_ridge_is_that_of_scikit_survival(people: pd.DataFrame) -> None:
    rng = np.random.default_rng(14)
    x = rng.normal(size=(200, 5))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    table = pd.DataFrame(x, columns=list("vwxyz")).assign(t=np.ceil(rng.exponential(np.exp(-x[:, 0])) * 5), d=1)
    path = ridge_path(table, covariates=list("vwxyz"), penalties=[1.0, 0.1], **TIMES)
    for k, penalty in enumerate(path.penalty):
        other = CoxPHSurvivalAnalysis(alpha=penalty * 200, ties="efron", tol=1e-12)
        other.fit(x, Surv.from_arrays(table["d"] == 1, table["t"]))
        np.testing.assert_allclose(path.coef.loc[k], other.coef_, atol=1e-6)
    assert path.log_likelihood[0] < path.log_likelihood[1]


def test_ridge_chooses_by_cross_validation_with_more_terms_than_events() -> None:
    rng = np.random.default_rng(15)
    x = rng.normal(size=(120, 40))
    time, censored = rng.exponential(1 / np.exp(0.8 * x[:, 0])), rng.uniform(0, 0.6, 120)
    table = pd.DataFrame(x, columns=[f"x{j}" for j in range(40)])
    table = table.assign(t=np.minimum(time, censored), d=time <= censored)
    assert table["d"].sum() < 40
    names = [f"x{j}" for j in range(40)]
    path = ridge_path(table, covariates=names, penalties=[100, 1, 0.1, 1e-3], rng=np.random.default_rng(0), **TIMES)
    assert np.isfinite(path.deviance).all()
    assert path.best in (1, 2)
    assert path.coef.loc[path.best].abs().idxmax() == "x0"


def test_the_lasso_path_ends_at_the_unpenalised_fit(people: pd.DataFrame) -> None:
    path = lasso_path(people, covariates=["a", "b"], **TIMES)
    assert (path.coef.iloc[0].abs() < 1e-6).all()
    fit = fit_cox(people, covariates=["a", "b"], ties="breslow", **TIMES)
    np.testing.assert_allclose(path.coef.iloc[-1], fit.estimates["coef"], rtol=0.05)
    with pytest.raises(ValueError, match="ridge_path"):
        lasso_path(people, covariates=["a"], l1_ratio=0.0, **TIMES)


def test_restricted_means_are_those_of_lifelines(people: pd.DataFrame) -> None:
    curve = KaplanMeierFitter().fit(people["t"], people["d"])
    mean = restricted_mean_survival_time(curve, t=5.0)
    found = restricted_mean(people["t"], people["d"], 5.0)
    assert found.value == pytest.approx(mean, abs=1e-10)
    rng = np.random.default_rng(16)
    means = []
    for _ in range(200):
        rows = rng.integers(0, len(people), len(people))
        means.append(restricted_mean(people["t"].to_numpy()[rows], people["d"].to_numpy()[rows], 5.0).value)
    assert found.se == pytest.approx(np.std(means), rel=0.15)


def test_a_restricted_mean_beyond_observation_is_refused() -> None:
    with pytest.raises(NotEstimableError, match="smaller tau"):
        restricted_mean([1.0, 2.0, 3.0], [1, 0, 0], 10)
    with pytest.raises(ValueError, match="tau must be over 0"):
        restricted_mean([1.0], [1], 0)


def test_the_risk_of_the_people_fitted_is_one_less_their_survival(people: pd.DataFrame) -> None:
    fit = fit_cox(people, covariates=["a", "b", "c"], **TIMES)
    np.testing.assert_allclose(linear_predictor(fit, people), fit.linear_predictor, atol=1e-9)
    times = [1.0, 5.0]
    np.testing.assert_allclose(predict_risk(fit, people, times), 1 - predict_survival(fit, times), atol=1e-12)
    one = predict_risk(fit, people.iloc[[3]].assign(c="v"), times)
    assert one.shape == (1, 2)
    with pytest.raises(ValueError, match="covariate 'b'"):
        predict_risk(fit, people.drop(columns="b"), times)
    with pytest.raises(ValueError, match="without strata"):
        predict_risk(fit_cox(people, covariates=["a"], strata="b", **TIMES), people, times)


def test_mean_predicted_risk_is_near_the_observed(people: pd.DataFrame) -> None:
    fit = fit_cox(people, covariates=["a", "b"], **TIMES)
    observed = 1 - kaplan_meier(people["t"], people["d"]).at([3.0])[0][0]
    assert predict_risk(fit, people, [3.0]).mean() == pytest.approx(observed, abs=0.02)


def test_the_pair_of_causes_is_the_models_one_by_one(people: pd.DataFrame) -> None:
    pair = fit_cause_pair(people, exit="t", event="code", cause=1, covariates=["a", "b"])
    own = fit_cox(people.assign(d=people["code"] == 1), covariates=["a", "b"], **TIMES)
    share = fit_fine_gray(people, exit="t", event="code", cause=1, covariates=["a", "b"])
    by_model = pair.estimates.set_index(["model", "term"])["coef"]
    assert by_model["cause_specific", "b"] == own.estimates["coef"][1]
    assert by_model["fine_gray", "b"] == share.estimates["coef"][1]
    assert len(by_model) == 6
    alone = fit_cause_pair(people, exit="t", event="d", cause=1, covariates=["a"])
    assert alone.other_causes is None
