"""Logistic regression, significance and multiplicity, by hand and against statsmodels."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmr_models.association import fit_logistic
from cmr_models.association.firth import _penalised_slope
from cmr_models.association.multiplicity import benjamini_hochberg
from cmr_models.estimates import NotEstimableError, minus_log10_p, minus_log10_p_chi2, wald, wald_concordance

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from statsmodels.stats.multitest import multipletests


def _table(n: int = 300, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, sex = rng.normal(size=n), rng.choice(["female", "male"], n)
    odds = np.exp(-0.5 + 0.7 * x + 0.4 * (sex == "male"))
    return pd.DataFrame({"x": x, "sex": sex, "case": (rng.random(n) < odds / (1 + odds)).astype(int)})


def test_one_indicator_gives_the_odds_ratio_of_the_two_by_two_table() -> None:
    table = pd.DataFrame({"case": [1] * 30 + [0] * 70 + [1] * 10 + [0] * 90, "x": [1] * 100 + [0] * 100})
    terms = fit_logistic(table, outcome="case", covariates=["x"]).estimates.set_index("term")
    assert terms.loc["x", "coef"] == pytest.approx(np.log(30 * 90 / (70 * 10)))
    assert terms.loc["x", "se"] == pytest.approx(np.sqrt(1 / 30 + 1 / 70 + 1 / 10 + 1 / 90))


def test_text_becomes_indicators_against_the_most_frequent_level() -> None:
    terms = fit_logistic(_table(), outcome="case", covariates=["sex", "x"]).estimates
    assert terms["term"].tolist() in (["sex=male", "x"], ["sex=female", "x"])


def test_complete_separation_is_a_reason() -> None:
    table = _table().assign(x=lambda t: t["case"] * 10.0 + np.arange(len(t)) * 1e-3)
    with pytest.raises(NotEstimableError, match=r"separation|not_converged"):
        fit_logistic(table, outcome="case", covariates=["x"])


def test_a_level_without_cases_is_infinite_and_the_exposure_is_still_estimated() -> None:
    table = _table().assign(rare=lambda t: ((t.index % 15 == 0) & (t["case"] == 0)).astype(float))
    terms = fit_logistic(table, outcome="case", covariates=["rare", "x"]).estimates.set_index("term")
    assert terms.loc["rare", "status"] == "infinite"
    assert terms.loc["x", "status"] == "ok"


@pytest.mark.parametrize(("value", "reason"), [(0, "too_few_cases"), (1, "too_few_controls")])
def test_one_kind_of_outcome_is_a_reason(value: int, reason: str) -> None:
    with pytest.raises(NotEstimableError, match=reason):
        fit_logistic(_table().assign(case=value), outcome="case", covariates=["x"])


def test_an_outcome_that_is_not_binary_is_refused() -> None:
    with pytest.raises(ValueError, match="case must be 0 or 1"):
        fit_logistic(_table().assign(case=2), outcome="case", covariates=["x"])


def test_benjamini_hochberg_has_its_closed_form() -> None:
    q = benjamini_hochberg(-np.log10([0.01, 0.02, 0.03, 0.04, 0.05]))
    np.testing.assert_allclose(q, 0.05, atol=1e-12)


@given(st.lists(st.floats(1e-12, 1.0), min_size=1, max_size=60))
def test_benjamini_hochberg_agrees_with_statsmodels(p: list[float]) -> None:
    expected = multipletests(p, method="fdr_bh")[1]
    np.testing.assert_allclose(benjamini_hochberg(-np.log10(p)), expected, rtol=1e-9)


def test_a_missing_test_is_not_counted_among_the_tests() -> None:
    q = benjamini_hochberg([2.0, np.nan, 1.0])
    assert np.isnan(q[1])
    np.testing.assert_allclose(q[[0, 2]], [0.02, 0.1])


def test_no_p_and_no_q_is_ever_zero() -> None:
    # The tail of the normal at large z: exp(-z²/2) / (z sqrt(2 pi)).
    tail = 200.0**2 / 2 / np.log(10) + np.log10(200 * np.sqrt(2 * np.pi) / 2)
    assert float(minus_log10_p(200.0)) == pytest.approx(tail, abs=1e-4)
    assert benjamini_hochberg([tail, 1.0])[0] > 0
    assert np.isfinite(minus_log10_p_chi2(1e5, 3))


@pytest.mark.parametrize("z", [0.0, 1.0, 5.0, 30.0])
def test_chi_squared_with_one_degree_of_freedom_is_the_square_of_z(z: float) -> None:
    assert minus_log10_p_chi2(z**2, 1) == pytest.approx(float(minus_log10_p(z)), abs=1e-9)


def test_the_expansion_of_the_chi_squared_tail_meets_the_tail() -> None:
    exact, beyond = minus_log10_p_chi2(1300.0, 4), minus_log10_p_chi2(1600.0, 4)
    assert float(beyond - exact) == pytest.approx(300 / 2 / np.log(10), rel=0.01)


def test_the_interval_of_a_concordance_stays_between_0_and_1() -> None:
    row = wald_concordance(0.829, 0.124)
    odds = 0.829 / 0.171 * np.exp(np.array([-1, 1]) * 1.959964 * 0.124 / (0.829 * 0.171))
    assert [row["ci_low"], row["ci_high"]] == pytest.approx(list(odds / (1 + odds)), rel=1e-6)
    assert row["z"] == pytest.approx((0.829 - 0.5) / 0.124)
    assert wald_concordance(1.0, 0.1)["ci_high"] == 1.0


def test_a_ratio_per_sd_and_per_unit_have_one_z() -> None:
    per_unit, per_sd = wald(0.1, 0.02, ratio=True), wald(0.1, 0.02, ratio=True, scale=6.0)
    assert per_unit["z"] == pytest.approx(per_sd["z"])
    assert per_sd["estimate"] == pytest.approx(np.exp(0.6))


def test_where_the_information_is_singular_the_penalised_likelihood_is_nought() -> None:
    twice = np.column_stack([np.ones(6), np.arange(6.0), 2 * np.arange(6.0)])
    cases = np.array([0.0, 1, 0, 1, 1, 0])
    assert _penalised_slope(twice, cases, np.zeros(3)).value < -10
    apart = np.column_stack([np.ones(6), np.zeros(6)])
    assert _penalised_slope(apart, cases, np.zeros(2)).value == -np.inf
    # chances of one half: 6 log(1/2), and half the log determinant of a quarter of the products, 6/4 and 17.5/4
    plain = np.column_stack([np.ones(6), np.arange(6.0) - 2.5])
    assert _penalised_slope(plain, cases, np.zeros(2)).value == pytest.approx(
        6 * np.log(0.5) + 0.5 * np.log(6 / 4 * 17.5 / 4)
    )
