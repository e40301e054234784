"""Logistic fits, areas and multiplicity at their bounds, each with a value by hand."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from cmr_models.association import (
    Site,
    adjust,
    bonferroni,
    delong,
    effective_tests,
    empirical_null,
    federated_scan,
    fit_firth_logistic,
    fit_logistic,
    refit_hits,
    scan,
    step_up,
)
from cmr_models.association.multiplicity import benjamini_hochberg
from cmr_models.association.refit import approximate_firth
from cmr_models.estimates import NotEstimableError
from cmr_models.survival import fit_cox

# logistic


def test_a_two_by_two_table_has_its_likelihood_and_counts() -> None:
    table = pd.DataFrame({"x": [5.0] * 10 + [2.0] * 20, "one": 1.0, "y": [1] * 4 + [0] * 6 + [1] * 5 + [0] * 15})
    fit = fit_logistic(table, outcome="y", covariates=["one", "x"])
    log_odds = math.log(4 * 15 / (6 * 5))
    se = math.sqrt(1 / 4 + 1 / 6 + 1 / 5 + 1 / 15)
    terms = fit.estimates.set_index("term")
    assert terms["status"].to_dict() == {"one": "aliased", "x": "ok"}
    # Per unit: 2 and 5 are three apart.
    assert terms.loc["x", ["coef", "se"]].tolist() == pytest.approx([log_odds / 3, se / 3])
    assert terms.loc["x", "ci_low"] == pytest.approx((log_odds - 1.959964 * se) / 3)
    assert terms.loc["x", "ci_high"] == pytest.approx((log_odds + 1.959964 * se) / 3)
    assert terms.loc["x", "z"] == pytest.approx(log_odds / se)
    assert terms.loc["one", ["coef", "se", "z"]].isna().all()
    by_hand = 4 * math.log(0.4) + 6 * math.log(0.6) + 5 * math.log(0.25) + 15 * math.log(0.75)
    assert fit.log_likelihood == pytest.approx(by_hand)
    assert (fit.n, fit.n_cases) == (30, 9)
    with pytest.raises(ValueError, match="outcome 'ill' is not a column"):
        fit_logistic(table, outcome="ill", covariates=["x"])
    with pytest.raises(NotEstimableError, match="constant_exposure"):
        fit_logistic(table, outcome="y", covariates=["one"])
    with pytest.raises(ValueError, match="y must be 0 or 1"):
        fit_logistic(table.assign(y=table["y"].replace({0: np.nan})), outcome="y", covariates=["x"])


# areas

SCORES = np.array([3.0, 5, 2, 1, 2, 4, 0])
OTHER = np.array([1.0, 2, 5, 3, 0, 2, 1])
ILL = np.array([1, 1, 1, 0, 0, 0, 0])


def test_areas_have_the_covariance_of_their_placements() -> None:
    found = delong(ILL, SCORES, OTHER)
    # Cases 3, 5, 2 over 1, 2, 4, 0 and cases 1, 2, 5 over 3, 0, 2, 1; ties one half.
    a, b = np.array([3, 4, 2.5]) / 4, np.array([1.5, 2.5, 4]) / 4
    of_a, of_b = np.array([3, 2.5, 1, 3]) / 3, np.array([1, 3, 1.5, 2.5]) / 3
    covariance = np.cov(a, b) / 3 + np.cov(of_a, of_b) / 4
    assert found.b is not None
    assert found.paired is not None
    assert (found.a.auc, found.b.auc) == (pytest.approx(9.5 / 12), pytest.approx(8 / 12))
    assert (found.a.se, found.b.se) == (
        pytest.approx(math.sqrt(covariance[0, 0])),
        pytest.approx(math.sqrt(covariance[1, 1])),
    )
    se = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    paired = found.paired
    assert (paired.difference, paired.se) == (pytest.approx(1.5 / 12), pytest.approx(se))
    assert (paired.ci_low, paired.ci_high) == (
        pytest.approx(1.5 / 12 - 1.959964 * se), pytest.approx(1.5 / 12 + 1.959964 * se),
    )  # fmt: skip
    assert paired.p == pytest.approx(math.erfc(1.5 / 12 / se / math.sqrt(2)))
    assert paired.minus_log10_p == pytest.approx(-math.log10(paired.p))
    assert (found.n_cases, found.n_controls) == (3, 4)
    assert (found.auc, found.se, found.ci_low, found.ci_high) == tuple(found.a)
    assert found.ci_low == pytest.approx(9.5 / 12 - 1.959964 * found.a.se)
    assert found.ci_high == 1.0  # cut
    below = delong(1 - ILL, SCORES)
    assert (below.auc, below.ci_low) == (pytest.approx(2.5 / 12), 0.0)


def test_perfect_areas_and_equal_ranks_have_no_error() -> None:
    for scores, area in ((ILL, 1.0), (-ILL, 0.0)):
        assert delong(ILL, scores).auc == area
        assert np.isnan([delong(ILL, scores).se, delong(ILL, scores).ci_low, delong(ILL, scores).ci_high]).all()
    same = delong(ILL, SCORES, 2 * SCORES).paired
    assert same == (0, 0, 0, 0, 0, 1, 0)
    certain = delong(ILL, ILL, -ILL).paired  # both without variance, and apart
    assert certain is not None
    assert (certain.difference, certain.se) == (1, 0)
    assert np.isnan([certain.z, certain.p, certain.minus_log10_p]).all()


def test_areas_need_two_of_each_and_numbers() -> None:
    assert delong([1, 1, 0, 0], [1, 2, 0, 3]).auc == 0.5
    with pytest.raises(NotEstimableError, match=r"too_few_cases.*1 cases"):
        delong([1, 0, 0], [1, 2, 0])
    with pytest.raises(NotEstimableError, match=r"too_few_controls.*1 controls"):
        delong([1, 1, 0], [1, 2, 0])
    for y, a, b in (
        ([1, 1, 0, 0], [1, 2, 3], None),
        ([1, 1, 0, 0], [1, 2, 3, 4], [1, 2, 3]),
        ([[1, 0]], [[1, 0]], None),
    ):
        with pytest.raises(ValueError, match="one length"):
            delong(y, a, b)
    for y, a in (([1, 1, 0, 2], [1, 2, 3, 4]), ([1, 1, 0, np.nan], [1, 2, 3, 4]), ([1, 1, 0, 0], [1, 2, 3, np.inf])):
        with pytest.raises(ValueError, match="y must be 0 or 1 and scores finite"):
            delong(y, a)


# multiplicity


def test_step_up_rules_by_hand_with_a_tie_and_a_missing_test() -> None:
    p = np.array([0.04, 0.001, np.nan, 0.04, 0.9])
    # Ranks of four: 0.001 * 4, 0.04 * 4/3 (both), 0.9.
    expected = np.array([0.16 / 3, 0.004, np.nan, 0.16 / 3, 0.9])
    np.testing.assert_allclose(10 ** -step_up(-np.log10(p)), expected)
    np.testing.assert_allclose(benjamini_hochberg(-np.log10(p)), expected)
    harmonic = 1 + 1 / 2 + 1 / 3 + 1 / 4
    np.testing.assert_allclose(10 ** -step_up(-np.log10(p), dependent=True), np.minimum(expected * harmonic, 1))
    np.testing.assert_allclose(10 ** -bonferroni(-np.log10(p)), [0.16, 0.004, np.nan, 0.16, 1])
    np.testing.assert_allclose(10 ** -bonferroni(-np.log10(p), 2), [0.08, 0.002, np.nan, 0.08, 1])
    assert bonferroni([0.3], 1).tolist() == [0.3]
    with pytest.raises(ValueError, match="tests must be 1 or more"):
        bonferroni([0.3], 0.9)
    for rule in (step_up, benjamini_hochberg, bonferroni):
        assert np.isnan(rule([np.nan, np.nan])).all()
        assert len(rule([])) == 0


def test_adjustment_is_within_families_and_a_missing_label_is_one() -> None:
    table = pd.DataFrame({"f": ["a", None, "a", None, "b"], "g": [1, 1, 1, 1, 1], "p": [0.01, 0.02, 0.04, 0.3, 0.5]})
    table = table.assign(minus_log10_p=-np.log10(table["p"]))
    found = adjust(table, ["f", "g"], effective=4)
    np.testing.assert_allclose(found["q"], [0.02, 0.04, 0.04, 0.3, 0.5])
    np.testing.assert_allclose(10 ** -found["minus_log10_q_bh"], found["q"])
    np.testing.assert_allclose(10 ** -found["minus_log10_q_by"], [0.03, 0.06, 0.06, 0.45, 0.5])
    np.testing.assert_allclose(10 ** -found["minus_log10_p_bonferroni"], [0.02, 0.04, 0.08, 0.6, 0.5])
    np.testing.assert_allclose(10 ** -found["minus_log10_p_effective"], [0.04, 0.08, 0.16, 1, 1])
    together = adjust(table)
    np.testing.assert_allclose(together["q"], [0.05, 0.05, 0.2 / 3, 0.375, 0.5])
    assert "minus_log10_p_effective" not in together
    with pytest.raises(ValueError, match=r"columns \['h'\] are not in the table"):
        adjust(table, ["h"])
    with pytest.raises(ValueError, match=r"columns \['minus_log10_p'\]"):
        adjust(table[["f"]])


def test_effective_tests_of_known_eigenvalues() -> None:
    # Columns 1 and 2 correlate by 0.6, the third with neither, the fourth does not vary: eigenvalues 1.6, 1, 0.4.
    a, b, c = np.array([1, 1, -1, -1.0]), np.array([1, -1, 1, -1.0]), np.array([1, -1, -1, 1.0])
    found = effective_tests(np.column_stack([a, 0.6 * a + 0.8 * b, 7 - 3 * c, np.full(4, 5.0)]))
    # Li & Ji: (1 + 0.6) + (1 + 0) + 0.4; for 99.5 % of the variance all three.
    assert found == (pytest.approx(3.0), 3.0)
    # 0.996: eigenvalues 1.996, 1, 0.004: the first two hold 2.996 of 3, 99.87 %.
    close = effective_tests(np.column_stack([a, 0.996 * a + math.sqrt(1 - 0.996**2) * b, c]))
    assert close == (pytest.approx(1 + 0.996 + 1 + 0.004), 2.0)
    for wrong in ([[1.0, np.nan], [2, 3]], [1.0, 2.0]):
        with pytest.raises(ValueError, match="without missing values"):
            effective_tests(wrong)


def test_an_empirical_null_is_the_most_likely_normal_beyond_the_errors() -> None:
    coef, se = np.array([0.5, -0.4, 0.9, 0.1, -0.2, 0.6]), np.array([0.2, 0.1, 0.3, 0.1, 0.2, 0.2])
    found = empirical_null(coef, se)

    def likelihood(mean: float, sd: float) -> float:
        variance = se**2 + sd**2
        return float(-(np.log(variance) + (coef - mean) ** 2 / variance).sum() / 2)

    top = likelihood(found.mean, found.sd)
    assert found.n_controls == 6
    assert found.sd > 0.1
    for mean, sd in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)):
        assert likelihood(found.mean + mean, found.sd + sd) < top
    z, evidence = found.calibrate([1.0], [0.3])
    assert z.tolist() == pytest.approx([(1 - found.mean) / math.hypot(0.3, found.sd)])
    assert evidence.tolist() == pytest.approx([-math.log10(math.erfc(abs(z[0]) / math.sqrt(2)))])
    assert empirical_null(coef[:5], se[:5]).n_controls == 5
    with pytest.raises(NotEstimableError, match="4 negative controls"):
        empirical_null(coef[:4], se[:4])
    for wrong in (se[:5], np.where(se > 0.25, 0, se), np.where(se > 0.25, np.inf, se)):
        with pytest.raises(ValueError, match="se over 0"):
            empirical_null(coef, wrong)


# refits


def _pairs(n: int = 260) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(2)
    x = pd.DataFrame({"a": rng.normal(2, 3, n), "b": rng.normal(size=n), "c": rng.normal(size=n)})
    z = pd.DataFrame({"age": rng.normal(60, 8, n)})
    y = pd.DataFrame({"y": (rng.random(n) < 1 / (1 + np.exp(2 - 0.25 * x["a"] - 0.5 * x["b"]))).astype(float)})
    y.loc[5:20, "y"] = np.nan
    return x, y, z


def test_pairs_at_the_threshold_or_few_and_strong_are_refitted_and_no_others() -> None:
    x, y, z = _pairs()
    scanned = pd.DataFrame(
        {
            "exposure": ["a", "b", "c", "a", "b", "c"], "outcome": "y", "n_cases": [200, 200, 199, 199, 199, 50],
            "z": [1.0, 3.0, 2.0, -2.01, 2.5, 5.0], "minus_log10_p": [3.0, 2.99, 1, 1, 1, 9],
            "status": ["ok"] * 4 + ["failed"] * 2, "coef": 7.0, "se": 1.0, "reason": "",
        },
        index=[10, 3, 5, 0, 2, 1],
    )  # fmt: skip
    found = refit_hits(scanned, x, y, z, family="logistic", threshold=3.0)
    assert found["method"].tolist() == ["firth", "score", "score", "firth", "score", "score"]
    assert found.index.tolist() == scanned.index.tolist()
    here = y["y"].notna()
    own = fit_firth_logistic(z.assign(x=x["a"])[here], y["y"][here], terms=["x"]).estimates.set_index("term").loc["x"]
    for row in (10, 0):
        names = ["coef", "se", "ci_low", "ci_high", "minus_log10_p"]
        assert found.loc[row, names].astype(float).tolist() == pytest.approx(own[names].astype(float).tolist())
        assert found.loc[row, "z"] == pytest.approx(math.sqrt(own["chi2"]) * np.sign(own["coef"]))
    assert found.loc[3, "coef"] == 7.0
    assert found.loc[3, ["ci_low", "ci_high"]].isna().all()
    fewer = refit_hits(scanned, x, y, z, family="logistic", threshold=3.0, few_cases=199)
    assert fewer["method"].tolist() == ["firth", "score", "score", "score", "score", "score"]
    turned = refit_hits(scanned, -x, y, z, family="logistic", threshold=3.0)
    assert turned.loc[10, ["coef", "z"]].astype(float).tolist() == pytest.approx(
        (-found.loc[10, ["coef", "z"]]).astype(float).tolist()
    )
    for family, method in (("linear", "firth"), ("logistic", "exact")):
        with pytest.raises(ValueError, match="family must be 'logistic' or 'cox'"):
            refit_hits(scanned, x, y, z, family=family, threshold=3.0, method=method)  # type: ignore[arg-type]


def test_a_refit_that_fails_keeps_no_number_and_says_why() -> None:
    x, y, z = _pairs()
    scanned = pd.DataFrame({"exposure": ["age2", "one"], "outcome": "y", "n_cases": 9.0, "z": 3.0, "minus_log10_p": 9.0,
                            "status": "ok", "coef": 1.0, "se": 1.0, "reason": ""})  # fmt: skip
    x = x.assign(age2=2 * z["age"], one=1.0)
    for method in ("firth", "approximate_firth"):
        found = refit_hits(scanned, x, y, z, family="logistic", threshold=3.0, method=method)  # type: ignore[arg-type]
        assert found["status"].tolist() == ["failed"] * 2
        assert found.loc[0, "reason"] == "collinear"
        assert found[["coef", "se", "z", "minus_log10_p", "ci_low"]].isna().all(axis=None)
        assert set(found["method"]) == {method}
    x = x.assign(alone=(np.arange(len(x)) == 7).astype(float))
    times = {"y": pd.DataFrame({"exit": np.arange(1.0, len(x) + 1), "event": (np.arange(len(x)) % 2 == 0).astype(int)})}
    scanned = scanned.assign(exposure=["age2", "alone"])
    found = refit_hits(scanned, x, times, z, family="cox", threshold=3.0)
    assert found["reason"].tolist() == ["collinear", "separation"]
    assert set(found["method"]) == {"likelihood_ratio"}


def test_a_refitted_time_without_covariates_is_against_nothing() -> None:
    x, _, z = _pairs()
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"exit": rng.exponential(np.exp(-x["a"] / 3)), "event": (rng.random(len(x)) < 0.7).astype(float)}
    )
    frame.loc[3:9, "event"] = np.nan
    joint = frame.assign(x=x["a"], one=1.0).dropna()
    full = fit_cox(joint, exit="exit", event="event", covariates=["x"])
    scanned = scan(x[["a"]], {"t": frame}, None, family="cox")
    for covariates in (None, z.assign(age=1.0)):
        row = refit_hits(scanned, x, {"t": frame}, covariates, family="cox", threshold=0.0).iloc[0]
        chi2 = 2 * (full.log_likelihood - full.log_likelihood_null)
        assert row["z"] == pytest.approx(math.sqrt(chi2))
        assert row["coef"] == pytest.approx(full.estimates["coef"].iloc[0])
        assert row["minus_log10_p"] == pytest.approx(-math.log10(math.erfc(math.sqrt(chi2 / 2))))


def test_a_frozen_firth_of_a_two_by_two_table_adds_half_to_each_cell() -> None:
    x = np.array([1.0] * 10 + [0.0] * 20)
    y = np.array([1] * 4 + [0] * 6 + [1] * 5 + [0] * 15, float)
    found = approximate_firth(x, y, np.ones((30, 1)))
    assert found.coef == pytest.approx(math.log(4.5 * 15.5 / (6.5 * 5.5)), abs=1e-5)
    # The error is of the information at the estimate: n p (1 - p) of each arm, p the share with half a case more.
    arms = [10 * 4.5 / 11 * 6.5 / 11, 20 * 5.5 / 21 * 15.5 / 21]
    assert found.se == pytest.approx(math.sqrt(1 / arms[0] + 1 / arms[1]), rel=1e-5)
    for wrong, reason in ((np.zeros(30), "too_few_cases"), (np.ones(30), "too_few_controls")):
        with pytest.raises(NotEstimableError, match=reason):
            approximate_firth(x, wrong, np.zeros((30, 0)))
    with pytest.raises(NotEstimableError, match="constant_exposure"):
        approximate_firth(np.full(30, 2.0), y, np.zeros((30, 0)))


# sites


@pytest.mark.parametrize("family", ["linear", "logistic"])
def test_sums_of_unlike_sites_are_the_scan_of_the_pooled_rows(family: str) -> None:
    rng = np.random.default_rng(8)
    n = 240
    x, z = rng.normal(3, [1, 40], (n, 2)), rng.normal(-5, [2, 0.01], (n, 2))
    x = np.column_stack([x, np.full(n, -4.0), 2 * z[:, 0] + 1])
    odds = 0.4 * (x[:, 0] - 3) + 0.3 * (z[:, 0] + 5)
    y = np.column_stack([odds + rng.normal(size=n), 3 * rng.normal(size=n) + 50, np.full(n, 2.0), np.full(n, np.nan)])
    y[:100, 1] = np.nan
    few = np.full(n, np.nan)
    few[:3] = [0.0, 2, 1]
    y = np.column_stack([y, few])
    if family == "logistic":
        y = np.where(np.isnan(y), np.nan, (y > np.nanmedian(y[:, :2], axis=0).mean() * 0).astype(float))
        y = np.column_stack(
            [y[:, 0], np.where(rng.random(n) < 0.3, np.nan, rng.random(n) < 0.2), np.zeros(n), np.ones(n), y[:, 3]]
        )
    bounds = [0, 30, 31, 150, n]
    sites = [Site(x[a:b], y[a:b], z[a:b]) for a, b in pairwise(bounds)]
    names = ["a", "b", "flat", "same"], [f"y{k}" for k in range(y.shape[1])]
    pooled = scan(pd.DataFrame(x, columns=names[0]), pd.DataFrame(y, columns=names[1]), z, family=family)  # type: ignore[arg-type]
    shared = federated_scan(sites, *names, family=family)  # type: ignore[arg-type]
    assert shared[["exposure", "outcome", "status", "reason"]].equals(
        pooled[["exposure", "outcome", "status", "reason"]]
    )
    columns = ["n", "n_cases", "coef", "se", "z", "minus_log10_p"]
    np.testing.assert_allclose(shared[columns].astype(float), pooled[columns].astype(float), rtol=1e-6)
    assert (shared["status"] == "ok").sum() == 4
    common = {"", "constant_exposure", "collinear", "no_data"}
    more = {"linear": {"too_few_people"}, "logistic": {"too_few_cases", "too_few_controls"}}
    assert set(shared["reason"]) == common | more[family]


def test_sites_that_do_not_fit_together_are_refused() -> None:
    one = Site(np.ones((4, 1)) * [[1], [2], [3], [5]], np.array([[0.0], [1], [1], [0]]), np.zeros((4, 0)))
    for sites, family, message in (
        ([], "linear", "at least one site"),
        ([one], "cox", "family 'linear' or 'logistic'"),
        ([one, Site(np.ones((4, 2)), one.y, one.z)], "linear", "the same exposures"),
        ([one, Site(one.x * np.nan, one.y, one.z)], "linear", "must be finite"),
        ([Site(one.x, one.y, np.full((4, 1), np.inf))], "linear", "must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            federated_scan(sites, ["a"], ["y"], family=family)  # type: ignore[arg-type]


def test_a_line_through_three_points_of_two_sites_has_one_degree_of_freedom() -> None:
    # x 0, 1, 2 and y 0, 2, 1: slope 1/2 and t = 1/√3 of one degree; y 0 and 2 of two people are too few
    x, y = np.array([[2.0], [0], [1]]), np.array([[1.0, 2], [0, 0], [2, np.nan]])
    sites = [Site(x[:1], y[:1], np.zeros((1, 0))), Site(x[1:], y[1:], np.zeros((2, 0)))]
    three, two = federated_scan(sites, ["a"], ["y", "w"], family="linear").to_dict("records")
    assert (three["status"], three["n"]) == ("ok", 3)
    assert three["coef"] == pytest.approx(0.5)
    assert three["z"] == pytest.approx(1 / math.sqrt(3))
    assert three["minus_log10_p"] == pytest.approx(-math.log10(2 / 3))
    assert two["reason"] == "too_few_people"
