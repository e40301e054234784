"""On random data: tests of association as other software or the definition gives them, separation included."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from cmr_models.association import delong, fit_firth_logistic, scan

SEEDS = st.integers(0, 10_000)


def _table(seed: int, n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n), "b": rng.integers(0, 2, n)})
    return table.assign(y=(rng.random(n) < 0.3).astype(int)).assign(
        y=lambda t: t["y"].where(t.index > 1, [0, 1] + [0] * (n - 2))
    )


def _penalised(design: np.ndarray, y: np.ndarray, coef: np.ndarray) -> float:
    """Firth's likelihood from its definition."""
    eta = design @ coef
    weight = 1 / (2 + np.exp(eta) + np.exp(-eta))
    determinant = np.linalg.slogdet((design * weight[:, None]).T @ design)[1]
    return float(y @ eta - np.logaddexp(0, eta).sum() + determinant / 2)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, separated=st.booleans())
def test_firths_fit_is_the_maximum_of_its_likelihood_and_its_interval_where_the_profile_falls(
    seed: int, separated: bool
) -> None:
    table = _table(seed)
    columns = table[["x", "b"]].assign(b=table["y"] if separated else table["b"])
    design, y = np.column_stack([columns, np.ones(len(table))]).astype(float), table["y"].to_numpy(float)
    fit = fit_firth_logistic(columns, table["y"])
    coef = fit.estimates["coef"].to_numpy()
    best = optimize.minimize(lambda at: -_penalised(design, y, at), coef + 0.1, method="BFGS")
    np.testing.assert_allclose(coef, best.x, atol=1e-3)
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=1e-7)
    for limit in fit.estimates.loc[0, ["ci_low", "ci_high"]]:
        others = optimize.minimize(lambda at, x=limit: -_penalised(design, y, np.array([x, *at])), coef[1:])
        assert 2 * (fit.log_likelihood + others.fun) == pytest.approx(3.841459, abs=1e-4)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, shift=st.sampled_from([0.0, 1e3, 1e6]), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_firths_slopes_do_not_see_units(seed: int, shift: float, scale: float) -> None:
    table = _table(seed)
    plain = fit_firth_logistic(table[["x", "z"]], table["y"]).estimates
    other = fit_firth_logistic(table[["x", "z"]].assign(x=(table["x"] + shift) * scale), table["y"]).estimates
    values = ["coef", "se", "ci_low", "ci_high"]
    np.testing.assert_allclose(
        other.loc[0, values].astype(float) * scale, plain.loc[0, values].astype(float), rtol=1e-5
    )
    np.testing.assert_allclose(other.loc[:1, "chi2"], plain.loc[:1, "chi2"], rtol=1e-5, atol=1e-8)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_the_area_is_the_share_of_pairs_and_its_variance_that_of_the_placements(seed: int) -> None:
    table = _table(seed).assign(x=lambda t: t["x"].round(1))
    cases, controls = (table.loc[table["y"] == value, "x"].to_numpy() for value in (1, 0))
    wins = (cases[:, None] > controls) + 0.5 * (cases[:, None] == controls)
    found = delong(table["y"], table["x"])
    assert found.auc == pytest.approx(wins.mean())
    variance = wins.mean(axis=1).var(ddof=1) / len(cases) + wins.mean(axis=0).var(ddof=1) / len(controls)
    assert found.se == pytest.approx(np.sqrt(variance))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, missing=st.booleans())
def test_a_linear_scan_is_the_regression_of_each_pair(seed: int, missing: bool) -> None:
    import statsmodels.api as sm

    table = _table(seed)
    y = table["x"].where(~(missing & (table.index % 5 == 0)))
    found = scan(table[["b"]], y.to_frame("y"), table[["z"]], family="linear").loc[0]
    rows = y.notna()
    fit = sm.OLS(y[rows], sm.add_constant(table.loc[rows, ["z", "b"]])).fit()
    assert found["coef"] == pytest.approx(fit.params["b"], rel=1e-8)
    assert found["z"] == pytest.approx(fit.tvalues["b"], rel=1e-8)
    assert 10 ** -found["minus_log10_p"] == pytest.approx(fit.pvalues["b"], rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, missing=st.booleans())
def test_a_logistic_scan_is_the_score_test_of_each_pair(seed: int, missing: bool) -> None:
    import statsmodels.api as sm

    table = _table(seed)
    y = table["y"].astype("Int64").mask(missing & (table.index % 5 == 3))
    found = scan(table[["x"]], y.to_frame("y"), table[["z"]], family="logistic").loc[0]
    rows = y.notna().to_numpy()
    null = sm.GLM(y[rows].astype(int), sm.add_constant(table.loc[rows, ["z"]]), family=sm.families.Binomial()).fit()
    statistic = null.score_test(exog_extra=table.loc[rows, ["x"]].to_numpy())[0]
    assert found["z"] ** 2 == pytest.approx(float(np.squeeze(statistic)), rel=1e-5, abs=1e-8)
