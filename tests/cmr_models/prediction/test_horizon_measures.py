"""Measures of a risk at a horizon, worked out by hand on people of whom some leave before it."""

import math

import numpy as np
import pandas as pd
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.prediction import (
    calibration,
    compare_auc,
    compare_brier,
    compare_concordance,
    d_calibration,
    decision_curve,
    time_auc,
)
from cmr_models.prediction.calibration_curve import _KNOTS
from cmr_models.prediction.horizon import check_risk, check_times, standing
from cmr_models.survival import concordance, fit_cox, kaplan_meier, predict_risk, restricted_cubic
from cmr_models.survival.censoring import CensoringCurve

# Unsorted. Dead at 2 and 4, dead at 5 (after the horizon of 4), lost at 1 and at 4, seen to 6.
EXIT = np.array([4.0, 1, 6, 2, 5, 4])
EVENT = np.array([1, 0, 0, 1, 1, 0])
RISK = np.array([0.6, 0.9, 0.1, 0.3, 0.3, 0.2])
# Uncensored: 5/6 after 1, at 4 one of three (the dead of 4 left out): 5/9 after 4, 0 after 6.


def test_everybody_is_a_case_a_control_or_gone_at_the_horizon() -> None:
    found = standing(EXIT, EVENT.astype(bool), 4.0)
    assert found.case.tolist() == [True, False, False, True, False, False]
    assert found.control.tolist() == [False, False, True, False, True, False]
    np.testing.assert_allclose(found.weight, [6 / 5, 0, 9 / 5, 6 / 5, 9 / 5, 0])
    for horizon, reason in ((1.9, "too_few_cases"), (6.0, "too_few_controls")):
        with pytest.raises(NotEstimableError, match=reason):
            standing(EXIT, EVENT.astype(bool), horizon)
    assert standing(EXIT, EVENT.astype(bool), 2.0).case.sum() == 1
    assert standing(EXIT, EVENT.astype(bool), 5.99).control.sum() == 1
    gone = CensoringCurve(np.array([3.0]), np.array([0.0]))
    with pytest.raises(NotEstimableError, match="nobody can be uncensored at 4"):
        standing(EXIT, EVENT.astype(bool), 4.0, gone)
    known = CensoringCurve(np.array([3.0]), np.array([0.5]))
    np.testing.assert_allclose(standing(EXIT, EVENT.astype(bool), 4.0, known).weight, [2, 0, 2, 1, 2, 0])


def test_the_area_is_over_weighted_pairs_and_ties_count_one_half() -> None:
    found = time_auc(EXIT, EVENT, RISK, 4.0)
    # Cases 0.6 (beats 0.1, 0.3) and 0.3 (beats 0.1, ties 0.3), all of one weight.
    assert found.auc == pytest.approx(3.5 / 4)
    assert (found.n_cases, found.n_controls) == (2, 2)
    # Influence: each case its wins less 0.875 of 2, each control likewise, over 4 pairs.
    influence = np.array([2 - 1.75, 0, 2 - 1.75, 1.5 - 1.75, 1.5 - 1.75, 0]) / 4
    np.testing.assert_allclose(found.influence, influence)
    assert found.se == pytest.approx(math.sqrt(4 * 0.25**2) / 4)
    assert found.ci_low == pytest.approx(0.875 - 1.959964 * 0.125)
    assert found.ci_high == 1.0
    unlike = time_auc(EXIT, EVENT, [0.6, 0.9, 0.4, 0.3, 0.5, 0.2], 2.0)  # one case of weight 6/5, the rest controls
    assert unlike.auc == pytest.approx(1 / 4)
    assert unlike.ci_low == 0.0


def test_cases_of_unlike_weight_count_by_it() -> None:
    # Case at 1 before anybody left (weight 1), case at 3 after one of three had (weight 3/2); controls at 4.
    exits, events = [1.0, 2, 3, 5], [1, 0, 1, 0]
    found = time_auc(exits, events, [0.1, 0.9, 0.8, 0.5], 4.0)
    assert found.auc == pytest.approx(1.5 / 2.5)
    weights = np.array([1, 0, 1.5, 1.5])
    influence = np.array([1 * (0 - 0.6 * 1.5), 0, 1.5 * (1.5 - 0.6 * 1.5), 1.5 * (1.5 - 0.6 * 2.5)]) / (2.5 * 1.5)
    np.testing.assert_allclose(found.influence, influence)
    assert found.se == pytest.approx(math.sqrt((influence**2).sum()))
    assert (weights > 0).sum() == found.n_cases + found.n_controls


def test_differences_are_first_less_second_with_the_paired_error() -> None:
    other = np.array([0.2, 0.4, 0.3, 0.5, 0.1, 0.6])
    a, b = time_auc(EXIT, EVENT, RISK, 4.0), time_auc(EXIT, EVENT, other, 4.0)
    assert b.auc == pytest.approx(3 / 4)
    found = compare_auc(EXIT, EVENT, RISK, other, 4.0)
    se = math.sqrt(((a.influence - b.influence) ** 2).sum())
    assert (found.first, found.second, found.difference) == (
        pytest.approx(0.875),
        pytest.approx(0.75),
        pytest.approx(0.125),
    )
    assert (found.se, found.z) == (pytest.approx(se), pytest.approx(0.125 / se))
    assert (found.ci_low, found.ci_high) == (pytest.approx(0.125 - 1.959964 * se), pytest.approx(0.125 + 1.959964 * se))
    entry = [0.0, 0, 0, 1, 2, 3]
    one, two = (concordance(EXIT, EVENT, risk, entry=entry) for risk in (RISK, other))
    ranked = compare_concordance(EXIT, EVENT, RISK, other, entry=entry)
    assert ranked.difference == pytest.approx(one.value - two.value)
    assert ranked.se == pytest.approx(math.sqrt(((one.influence - two.influence) ** 2).sum()))
    early = compare_concordance(EXIT, EVENT, RISK, other, method="uno", tau=5.0)
    assert early.first == pytest.approx(concordance(EXIT, EVENT, RISK, method="uno", tau=5.0).value)


def test_the_difference_of_brier_scores_is_that_of_weighted_losses() -> None:
    other = np.array([0.2, 0.4, 0.3, 0.5, 0.1, 0.6])
    found = compare_brier(EXIT, EVENT, RISK, other, 4.0)
    # A death weighs by the chance at its time, the censored of that time counted: 9/5 at 4, 6/5 at 2; controls 9/5.
    a = np.array([9 / 5 * 0.4**2, 0, 9 / 5 * 0.1**2, 6 / 5 * 0.7**2, 9 / 5 * 0.3**2, 0])
    b = np.array([9 / 5 * 0.8**2, 0, 9 / 5 * 0.3**2, 6 / 5 * 0.5**2, 9 / 5 * 0.1**2, 0])
    assert (found.first, found.second) == (pytest.approx(a.mean()), pytest.approx(b.mean()))
    assert found.difference == pytest.approx((a - b).mean())
    assert found.se == pytest.approx(np.std(a - b) / math.sqrt(6))
    assert found.minus_log10_p == pytest.approx(-math.log10(math.erfc(abs(found.z) / math.sqrt(2))))
    for first, second in (([1.1, *RISK[1:]], RISK), (RISK, [-0.1, *RISK[1:]])):
        with pytest.raises(ValueError, match="between 0 and 1"):
            compare_brier(EXIT, EVENT, first, second, 4.0)
    same = compare_brier(EXIT, EVENT, RISK, RISK, 4.0)
    assert (same.se, same.z, same.minus_log10_p) == (0, 0, 0)
    shifted = compare_brier([5.0, 5], [0, 0], [0.1, 0.1], [0.5, 0.5], 4.0)
    assert shifted.se == 0
    assert np.isnan(shifted.z)


def test_net_benefit_counts_the_lost_by_kaplan_meier_and_the_threshold_as_treated() -> None:
    found = decision_curve(EXIT, EVENT, RISK, 4.0, [0.2, 0.3, 0.95]).set_index("threshold")
    # Everybody: 1 - 4/5 * 3/4 had it by 4. Risk from 0.3: 0.6, 0.9 (lost at 1), 0.3, 0.3: 1 - 2/3 * 1/2.
    everybody, treated = 1 - 4 / 5 * 3 / 4, 1 - 2 / 3 / 2
    assert found.loc[0.3, "treated"] == pytest.approx(4 / 6)
    assert found.loc[0.3, "net_benefit"] == pytest.approx(4 / 6 * (treated - (1 - treated) * 3 / 7))
    assert found.loc[0.3, "treat_all"] == pytest.approx(everybody - (1 - everybody) * 3 / 7)
    assert found.loc[0.3, "avoided"] == pytest.approx(
        100 * (found.loc[0.3, "net_benefit"] - found.loc[0.3, "treat_all"]) / (3 / 7)
    )
    assert found.loc[0.2, "treated"] == pytest.approx(5 / 6)
    assert found.loc[0.95, ["treated", "net_benefit"]].tolist() == [0, 0]
    assert len(decision_curve(EXIT, EVENT, RISK, 6.0, [0.5])) == 1
    with pytest.raises(NotEstimableError, match=r"no_data.*observed up to 6.01"):
        decision_curve(EXIT, EVENT, RISK, 6.01, [0.5])
    for thresholds in ([0.0], [1.0], [0.1, 1.0]):
        with pytest.raises(ValueError, match="over 0 and under 1"):
            decision_curve(EXIT, EVENT, RISK, 4.0, thresholds)
    assert decision_curve(EXIT, EVENT, [0.0, 1, 0, 0, 0, 0], 4.0, [0.5])["treated"].tolist() == [1 / 6]


def test_survival_chances_are_counted_in_tenths_and_the_censored_spread_below_theirs() -> None:
    # Dead: 0.05, 0.95, 1.0 (last tenth). Censored at 0.25: 0.4 in each of the first two tenths, 0.2 in the third.
    found = d_calibration([1.0, 2, 3, 4], [1, 1, 1, 0], [0.05, 0.95, 1.0, 0.25])
    counts = np.array([1.4, 0.4, 0.2, 0, 0, 0, 0, 0, 0, 2])
    assert found["chi2"] == pytest.approx(((counts - 0.4) ** 2 / 0.4).sum())
    assert found["df"] == 9
    assert found["minus_log10_p"] == pytest.approx(-math.log10(found["p"]))
    gone = d_calibration([1.0, 2], [0, 1], [0.0, 0.1])  # a chance of none is all in the first tenth, 0.1 in the second
    assert gone["chi2"] == pytest.approx((2 * 0.8**2 + 8 * 0.2**2) / 0.2)


def _people(n: int = 240) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    risk = rng.beta(2, 5, n)
    failing, lost = rng.exponential(-3 / np.log1p(-risk)), rng.uniform(1, 6, n)
    return np.minimum(failing, lost), failing <= lost, risk


def test_calibration_is_observed_over_expected_a_slope_and_the_distance_of_a_smooth_curve() -> None:
    exits, events, risk = _people()
    found = calibration(exits, events, risk, 3.0)
    survival, low, high = (part[0] for part in kaplan_meier(exits, events).at([3.0]))
    assert (found.observed, found.expected) == (pytest.approx(1 - survival), pytest.approx(risk.mean()))
    assert found.ratio == pytest.approx((1 - survival) / risk.mean())
    assert (found.ratio_ci_low, found.ratio_ci_high) == (
        pytest.approx((1 - high) / risk.mean()),
        pytest.approx((1 - low) / risk.mean()),
    )
    # Greenwood's error, by its sum over the deaths.
    curve = kaplan_meier(exits, events)
    by = curve.time <= 3
    n, d = curve.n_at_risk[by], curve.n_events[by]
    greenwood = survival * math.sqrt((d / (n * (n - d))).sum())
    assert found.ratio_se == pytest.approx(greenwood / risk.mean(), rel=1e-6)
    frame = pd.DataFrame({"t": np.minimum(exits, 3), "d": events & (exits <= 3), "lp": np.log(-np.log(1 - risk))})
    slope = fit_cox(frame, exit="t", event="d", covariates=["lp"]).estimates.iloc[0]
    assert (found.slope, found.slope_se) == (pytest.approx(slope["coef"]), pytest.approx(slope["se"]))
    assert _KNOTS == (4, 3)
    basis = restricted_cubic(frame["lp"], np.quantile(frame["lp"], [0.05, 0.35, 0.65, 0.95]))
    wide = frame.assign(**{f"s{j}": basis[:, j] for j in range(3)})
    fit = fit_cox(wide, exit="t", event="d", covariates=["s0", "s1", "s2"])
    smooth = predict_risk(fit, wide, [3.0])[:, 0]
    apart = np.abs(smooth - risk)
    assert (found.ici, found.e50, found.e90) == (
        pytest.approx(apart.mean()), pytest.approx(np.median(apart)), pytest.approx(np.quantile(apart, 0.9)),
    )  # fmt: skip
    order = np.argsort(risk)
    np.testing.assert_allclose(found.curve, np.column_stack([risk[order], smooth[order]]))
    assert np.isnan([found.ici_se, found.ici_ci_low, found.ici_ci_high]).all()


def test_tenths_of_risk_have_their_own_kaplan_meier() -> None:
    exits, events, risk = _people()
    tenths = calibration(exits, events, risk, 3.0).deciles
    order = np.argsort(risk)
    assert tenths["n"].tolist() == [24] * 10
    for k, row in tenths.iterrows():
        rows = order[24 * k : 24 * (k + 1)]
        survival, low, high = (part[0] for part in kaplan_meier(exits[rows], events[rows]).at([3.0]))
        assert row["predicted"] == pytest.approx(risk[rows].mean())
        np.testing.assert_allclose(
            row[["observed", "ci_low", "ci_high"]].astype(float), [1 - survival, 1 - high, 1 - low]
        )
        assert row["n_events"] == (events[rows] & (exits[rows] <= 3)).sum()


def test_the_error_of_the_index_is_that_of_its_resamples_and_its_interval_ends_at_0() -> None:
    exits, events, risk = _people()
    plain = calibration(exits, events, risk, 3.0)
    found = calibration(exits, events, risk, 3.0, rng=np.random.default_rng(3), n_bootstrap=6)
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(6):
        rows = rng.integers(0, len(risk), len(risk))
        drawn.append(calibration(exits[rows], events[rows], risk[rows], 3.0).ici)
    assert found.ici == plain.ici
    assert found.ici_se == pytest.approx(np.std(drawn, ddof=1), rel=1e-6)
    assert found.ici_ci_low == pytest.approx(max(0.0, plain.ici - 1.959964 * found.ici_se))
    assert found.ici_ci_high == pytest.approx(plain.ici + 1.959964 * found.ici_se)


def test_few_different_risks_are_smoothed_by_a_line() -> None:
    exits, events, risk = _people()
    two = np.where(risk > 0.25, 0.4, 0.1)
    found = calibration(exits, events, two, 3.0)
    frame = pd.DataFrame({"t": np.minimum(exits, 3), "d": events & (exits <= 3), "lp": np.log(-np.log(1 - two))})
    fit = fit_cox(frame, exit="t", event="d", covariates=["lp"])
    apart = np.abs(predict_risk(fit, frame, [3.0])[:, 0] - two)
    assert found.ici == pytest.approx(apart.mean())
    sure = calibration(exits, events, np.where(risk > 0.25, 1.0, 0.0), 3.0)
    assert np.isfinite([sure.ici, sure.slope]).all()


def test_calibration_needs_an_event_somebody_at_the_horizon_and_risks_that_differ() -> None:
    exits, events, risk = [1.0, 2.0, 3.0, 3.0], [0, 1, 0, 1], [0.1, 0.4, 0.2, 0.3]
    assert calibration(exits, events, risk, 2.0).observed == pytest.approx(1 / 3)
    assert calibration(exits, events, risk, 3.0).observed == pytest.approx(1 - 2 / 3 / 2)
    for horizon, reason in ((1.99, "too_few_cases"), (3.01, "no_data")):
        with pytest.raises(NotEstimableError, match=reason):
            calibration(exits, events, risk, horizon)
    for wrong, message in (
        ([0.1, 0.4, 0.2], "one length"),
        ([0.1, np.nan, 0.2, 0.3], "must be finite"),
        ([0.1, 1.01, 0.2, 0.3], "between 0 and 1"),
        ([0.1, -0.01, 0.2, 0.3], "between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            calibration(exits, events, wrong, 2.0)
    for times, message in (
        ([], "one length over 0"),
        ([1, 2, np.inf, 3], "must be finite"),
        ([1, -2, 3, 3], "negative"),
    ):
        with pytest.raises(ValueError, match=message):
            time_auc(times, events[: len(times)], risk[: len(times)], 2.0)


def test_times_and_scores_are_vectors_of_one_length_over_nought() -> None:
    times, event = np.array([1.0, 2, 3]), np.array([1, 0, 1])
    found = check_times(times, event, [0.1, 0.2, 0.3], [1, 2, 3])
    assert found[1].tolist() == [True, False, True]
    assert [score.tolist() for score in found[2]] == [[0.1, 0.2, 0.3], [1, 2, 3]]
    for wrong in (
        (times[None], event[None], [[0.1, 0.2, 0.3]]), (times[:0], event[:0]), (times, event[:2]),
        (times, event, [0.1, 0.2]), (times, event, [0.1, 0.2, 0.3], [1.0]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="vectors of one length over 0"):
            check_times(*wrong)
    for wrong in ((times, event, [0.1, np.inf, 0.3]), ([1.0, np.nan, 3], event)):
        with pytest.raises(ValueError, match="must be finite"):
            check_times(*wrong)
    with pytest.raises(ValueError, match="negative"):
        check_times([-1.0, 2, 3], event)
    with pytest.raises(ValueError, match=r"between 0 and 1, got -0\.5 to 0\.5"):
        check_risk(np.array([0.5, -0.5]))
    with pytest.raises(ValueError, match=r"got 0\.5 to 1\.5"):
        check_risk(np.array([0.5, 1.5]))
    check_risk(np.array([0.0, 1.0]))
