"""Each metric of a group by hand, on both sides of its least number of people, cases or controls."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cmr_models.association import fit_logistic
from cmr_models.estimates import NotEstimableError
from cmr_models.fairness.group_concordance import group_concordance
from cmr_models.fairness.metrics import (
    Metric,
    area_under_curve,
    bias,
    bootstrapped,
    calibration_slope,
    concordance_index,
    events_over_expected,
    hazard_ratio,
    mean_of,
    observed_over_expected,
    sensitivity_above,
    sensitivity_at_specificity,
    specificity_below,
    threshold_at_specificity,
)
from cmr_models.survival import fit_cox


def test_a_mean_has_a_t_interval_and_a_weighted_one_its_linearised_error() -> None:
    rows = pd.DataFrame({"x": [1.0, 2, 6], "w": [2.0, 1, 1]})
    found = mean_of("x")(rows)
    se = math.sqrt((4 + 1 + 9) / 2 / 3)
    assert (found["estimate"], found["se"]) == (3.0, pytest.approx(se))
    assert found["ci_low"] == pytest.approx(3 - 4.302653 * se)  # t of 2 df
    assert found["ci_high"] == pytest.approx(3 + 4.302653 * se)
    weighted = mean_of("x", weight="w")(rows)
    assert weighted["estimate"] == 2.5
    # Σ w² (x - 2.5)² = 4 * 2.25 + 0.25 + 12.25, over Σ w = 4, times √(3/2)
    assert weighted["se"] == pytest.approx(math.sqrt(21.5) / 4 * math.sqrt(1.5))
    assert mean_of("x")(rows.iloc[:2])["estimate"] == 1.5
    with pytest.raises(NotEstimableError, match=r"too_few_people.*1 of at least 2"):
        mean_of("x")(rows.iloc[:1])
    for wrong in ([0.0, 0, 0], [np.nan, 1, 1], [np.inf, 1, 1]):
        with pytest.raises(NotEstimableError, match="no_overlap"):
            mean_of("x", weight="w")(rows.assign(w=wrong))
    with pytest.raises(ValueError, match="1 values are missing"):
        mean_of("x")(rows.assign(x=[1, np.nan, 2]))


def test_bias_is_measured_less_reference_with_limits_of_agreement() -> None:
    rows = pd.DataFrame({"auto": [10.0, 9, 14, 11], "hand": [9.0, 11, 10, 10]})
    found = bias("auto", "hand")(rows)
    # 1, -2, 4, 1: mean 1, SD √(18 / 3) = √6
    sd = math.sqrt(6)
    assert (found["estimate"], found["mean_absolute_error"]) == (1.0, 2.0)
    assert found["se"] == pytest.approx(sd / 2)
    assert found["ci_high"] == pytest.approx(1 + 3.182446 * sd / 2)  # t of 3 df
    assert (found["loa_low"], found["loa_high"]) == (pytest.approx(1 - 1.959964 * sd), pytest.approx(1 + 1.959964 * sd))
    assert found["loa_se"] == pytest.approx(sd * math.sqrt(1 / 4 + 1.959964**2 / 6))
    assert bias("auto", "hand")(rows.iloc[:3])["estimate"] == 1.0
    with pytest.raises(NotEstimableError, match="2 of at least 3"):
        bias("auto", "hand")(rows.iloc[:2])


ILL = pd.DataFrame({"ill": [1, 1, 1, 0, 0, 0, 0], "score": [3.0, 5, 2, 1, 2, 4, 0]})


def test_an_area_is_tested_against_one_half() -> None:
    # Of 12 pairs: 3 beats 1, 2, 0; 5 all four; 2 beats 1, 0 and ties with 2.
    found = area_under_curve("ill", "score")(ILL)
    assert found["estimate"] == pytest.approx(9.5 / 12)
    # Placements of cases 3/4, 1, 2.5/4 and of controls 1, 2.5/3, 1/3, 1.
    se = math.sqrt(np.var([0.75, 1, 0.625], ddof=1) / 3 + np.var([1, 2.5 / 3, 1 / 3, 1], ddof=1) / 4)
    assert found["se"] == pytest.approx(se)
    assert found["z"] == pytest.approx((9.5 / 12 - 0.5) / se)
    for minimum in (3, 4):
        metric = area_under_curve("ill", "score", minimum=minimum)
        if minimum == 3:
            assert metric(ILL)["se"] == pytest.approx(se)
        else:
            with pytest.raises(NotEstimableError, match="3 of at least 4"):
                metric(ILL)


@pytest.mark.parametrize(
    ("specificity", "just_over"), [(0.25, 0), (0.26, 1), (0.5, 1), (0.75, 2), (0.76, 4), (0.99, 4)]
)
def test_the_threshold_is_the_smallest_that_leaves_enough_of_the_healthy_below(
    specificity: float, just_over: float
) -> None:
    threshold = threshold_at_specificity(ILL["ill"], ILL["score"], specificity)
    assert just_over < threshold < just_over + 1e-9


def test_a_specificity_of_none_or_all_is_no_threshold() -> None:
    for wrong in (0, 1):
        with pytest.raises(ValueError, match="specificity must be between 0 and 1"):
            threshold_at_specificity(ILL["ill"], ILL["score"], wrong)
    with pytest.raises(NotEstimableError, match="too_few_controls"):
        threshold_at_specificity([1, 1], [1, 2], 0.5)


def test_shares_of_cases_and_controls_count_the_threshold_as_above() -> None:
    sensitivity = sensitivity_above("ill", "score", 3.0, minimum=3)(ILL)
    assert sensitivity["estimate"] == pytest.approx(2 / 3)
    assert sensitivity["se"] == pytest.approx(math.sqrt(2 / 9 / 3))
    # Wilson: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    z2 = 1.959964**2
    middle, half = (2 / 3 + z2 / 6) / (1 + z2 / 3), math.sqrt(z2 * (2 / 27 + z2 / 36)) / (1 + z2 / 3)
    assert (sensitivity["ci_low"], sensitivity["ci_high"]) == (
        pytest.approx(middle - half),
        pytest.approx(middle + half),
    )
    specificity = specificity_below("ill", "score", 2.0, minimum=4)(ILL)
    assert specificity["estimate"] == 0.5
    everybody = sensitivity_above("ill", "score", 2.0, minimum=3)(ILL)
    assert everybody["estimate"] == 1
    assert everybody["se"] == pytest.approx((everybody["ci_high"] - everybody["ci_low"]) / (2 * 1.959964))
    assert everybody["ci_low"] == pytest.approx(3 / (3 + z2))
    with pytest.raises(NotEstimableError, match=r"too_few_cases.*3 of at least 4"):
        sensitivity_above("ill", "score", 3.0, minimum=4)(ILL)
    with pytest.raises(NotEstimableError, match=r"too_few_controls.*4 of at least 5"):
        specificity_below("ill", "score", 3.0)(ILL)
    # At the own threshold of the group, just over 2: 3 and 5 of three cases.
    assert sensitivity_at_specificity("ill", "score", 0.75, minimum=3)(ILL) == pytest.approx(2 / 3)
    with pytest.raises(NotEstimableError, match="3 of at least 4"):
        sensitivity_at_specificity("ill", "score", 0.75, minimum=4)(ILL)


def test_observed_over_expected_has_its_error_on_the_log_scale() -> None:
    rows = pd.DataFrame({"y": [1, 0, 1, 0, 1], "p": [0.5, 0.2, 0.8, 0.1, 0.4]})
    found = observed_over_expected("y", "p", minimum=3)(rows)
    assert found["estimate"] == pytest.approx(3 / 2)
    se = math.sqrt(0.25 + 0.16 + 0.16 + 0.09 + 0.24) / 3  # of the sum of cases, over the cases
    assert found["se"] == pytest.approx(se)
    assert found["ci_low"] == pytest.approx(1.5 * math.exp(-1.959964 * se))
    counts = events_over_expected("y", "p", minimum=3)(rows)
    assert (counts["estimate"], counts["se"]) == (pytest.approx(1.5), pytest.approx(3**-0.5))
    assert counts["z"] == pytest.approx(math.log(1.5) * math.sqrt(3))
    for metric in (observed_over_expected, events_over_expected):
        with pytest.raises(NotEstimableError, match="3 of at least 4"):
            metric("y", "p", minimum=4)(rows)


def test_the_slope_of_calibration_is_tested_against_one() -> None:
    rng = np.random.default_rng(0)
    risk = rng.uniform(0.05, 0.6, 200)
    rows = pd.DataFrame({"p": risk, "y": (rng.random(200) < risk).astype(int)})
    found = calibration_slope("y", "p")(rows)
    logit = pd.DataFrame({"y": rows["y"], "l": np.log(risk / (1 - risk))})
    term = fit_logistic(logit, outcome="y", covariates=["l"]).estimates.iloc[0]
    assert (found["estimate"], found["se"]) == (pytest.approx(term["coef"]), pytest.approx(term["se"]))
    assert found["z"] == pytest.approx((term["coef"] - 1) / term["se"])
    for wrong in (0.0, 1.0):
        with pytest.raises(ValueError, match="0 and 1 not included"):
            calibration_slope("y", "p")(rows.assign(p=wrong))
    with pytest.raises(NotEstimableError, match="separation"):
        calibration_slope("y", "p")(pd.DataFrame({"p": [0.1, 0.2, 0.8, 0.9], "y": [0, 0, 1, 1]}))
    never = pd.DataFrame({"p": [0.1] * 20 + [0.5] * 20, "y": [0] * 20 + [0, 1] * 10})
    with pytest.raises(NotEstimableError, match="separation"):
        calibration_slope("y", "p")(never)


TIMES = pd.DataFrame(
    {
        "entry": [0.0, 1, 0, 2, 0, 0],
        "exit": [2.0, 3, 3, 4, 5, 6],
        "event": [1, 1, 0, 1, 0, 1],
        "score": [2.0, 5, 1, 3, 2, 4],
        "band": list("ababab"),
    }
)


def test_concordance_of_a_group_counts_its_pairs_in_its_bands() -> None:
    # At 2 (score 2) 5, 1, 2, 4 are there (the fourth enters at 2): won 1, tied 1. At 3 (5): all of 1, 3, 2, 4. At 4
    # (3): 2, 4.
    found = concordance_index("exit", "event", "score", entry="entry", minimum=4)(TIMES)
    assert found["estimate"] == pytest.approx((1.5 + 4 + 1) / 10)
    without = concordance_index("exit", "event", "score", minimum=4)(TIMES)
    assert without["estimate"] == pytest.approx((1.5 + 4 + 1) / 11)
    # Within a (2, 1, 2): 1 and a tie; within b (5, 3, 4): 2, and 3 against 4 lost.
    banded = concordance_index("exit", "event", "score", entry="entry", within="band", minimum=4)(TIMES)
    assert banded["estimate"] == pytest.approx((1.5 + 2) / 5)
    reach = 1.959964 * banded["se"] / (0.7 * 0.3)
    assert banded["ci_high"] == pytest.approx(1 / (1 + 3 / 7 * math.exp(-reach)))
    with pytest.raises(NotEstimableError, match="4 of at least 5"):
        concordance_index("exit", "event", "score")(TIMES)
    with pytest.raises(NotEstimableError, match="too few for an error"):
        concordance_index("exit", "event", "score", minimum=1)(TIMES.assign(score=[6.0, 5, 4, 3, 2, 1]))


def test_the_cells_of_groups_count_pairs_under_observation() -> None:
    # Events of a: first (2), and of b: second (3), fourth (4), sixth.
    found = group_concordance(TIMES["exit"], TIMES["event"], TIMES["score"], TIMES["band"], entry=TIMES["entry"])
    cells = found.set_index(["event_group", "other_group"])
    assert cells["n_pairs"].to_dict() == {("a", "a"): 2, ("a", "b"): 2, ("b", "a"): 3, ("b", "b"): 3}
    # a over a: 1 and a tie; a over b: loses to 5 and 4; b over a: 5 over 1 and 2, 3 over 2; b over b: 5 over 3, 4.
    assert cells["estimate"].to_dict() == pytest.approx(
        {("a", "a"): 0.75, ("a", "b"): 0, ("b", "a"): 1, ("b", "b"): 2 / 3}
    )
    # Jackknife of a over a, pairs (1, 3) won and (1, 5) half: (0.5 * (1 + 0.5 - 2 * 0.75), 1 - 0.75, 0.5 - 0.75) / 2.
    assert cells.loc[("a", "a"), "se"] == pytest.approx(math.sqrt(0.25**2 + 0.25**2) / 2)
    # b over b: first of the pairs 2 > 4, 2 > 6, 4 < 6.
    apart = np.array([2 - 2 * 2 / 3, 1 - 2 * 2 / 3, 1 - 2 * 2 / 3]) / 3
    assert cells.loc[("b", "b"), "se"] == pytest.approx(math.sqrt((apart**2).sum()))
    assert found["status"].tolist() == ["ok"] * 4
    for columns, message in (
        ({"entry": TIMES["exit"]}, "leave at or before"),
        ({"risk": TIMES["score"].replace(5.0, np.inf)}, "must be finite"),
        ({"exit": TIMES["exit"].replace(6.0, np.inf)}, "must be finite"),
        ({"group": list("abab")}, r"one length, got \[4, 6\]"),
    ):
        given = {
            "exit": TIMES["exit"],
            "event": TIMES["event"],
            "risk": TIMES["score"],
            "group": TIMES["band"],
            **columns,
        }
        with pytest.raises(ValueError, match=message):
            group_concordance(**given)


def test_a_hazard_ratio_of_a_group_is_that_of_its_last_term() -> None:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"x": rng.normal(size=60), "z": rng.normal(size=60), "entry": rng.uniform(0, 1, 60)})
    rows = rows.assign(exit=rows["entry"] + rng.exponential(np.exp(-rows["x"])), event=np.arange(60) < 40)
    metric = hazard_ratio("x", "exit", "event", entry="entry", covariates=["z"], minimum=40)
    term = fit_cox(rows, exit="exit", event="event", entry="entry", covariates=["z", "x"]).estimates.iloc[1]
    found = metric(rows)
    assert (found["estimate"], found["se"]) == (pytest.approx(math.exp(term["coef"])), pytest.approx(term["se"]))
    with pytest.raises(NotEstimableError, match="39 of at least 40"):
        metric(rows.iloc[1:])
    with pytest.raises(NotEstimableError, match="collinear"):
        metric(rows.assign(z=rows["x"]))
    with pytest.raises(NotEstimableError, match="separation"):
        metric(rows.assign(x=rows["event"].astype(float)))


def _values(count: int) -> Callable[[pd.DataFrame], float]:
    """A statistic that has no number in the first ``count`` resamples; the rows themselves come first."""
    calls = iter([1.0, *[math.nan] * count, *map(float, range(1000))])
    return lambda rows: next(calls)


def test_a_bootstrap_has_the_percentiles_of_its_draws_and_one_in_ten_may_be_lost() -> None:
    rows = pd.DataFrame({"x": [1.0, 2]})
    found = bootstrapped(_values(0), np.random.default_rng(0), n=39)(rows)
    # Of 39 draws 0 to 38 the first and the last are at 1/40 and 39/40.
    assert (found["estimate"], found["ci_low"], found["ci_high"], found["n_failed"]) == (1.0, 0.0, 38.0, 0)
    assert found["se"] == pytest.approx(math.sqrt(39 * 40 / 12))  # of 0 to 38, over n - 1
    assert bootstrapped(_values(4), np.random.default_rng(0), n=40)(rows)["n_failed"] == 4
    with pytest.raises(NotEstimableError, match="5 of 40 resamples"):
        bootstrapped(_values(5), np.random.default_rng(0), n=40)(rows)


def test_a_bootstrap_within_labels_keeps_their_numbers() -> None:
    seen: list[list[int]] = []

    def statistic(rows: pd.DataFrame) -> float:
        seen.append(rows["event"].value_counts().reindex([0, 1], fill_value=0).tolist())
        return float(rows["x"].mean())

    rows = pd.DataFrame({"x": np.arange(9.0), "event": [1, 0, 0, 1, 0, 0, 0, 1, 0]})
    bootstrapped(statistic, np.random.default_rng(0), n=20, within="event")(rows)
    assert seen == [[6, 3]] * 21
    seen.clear()
    bootstrapped(statistic, np.random.default_rng(0), n=20)(rows)
    assert len({tuple(counts) for counts in seen}) > 2


def test_every_metric_refuses_a_group_of_one() -> None:
    one = TIMES.iloc[:1].assign(ill=1, p=0.5)
    metrics: list[Metric] = [
        mean_of("score"), area_under_curve("ill", "score"), hazard_ratio("score", "exit", "event"),
        observed_over_expected("event", "p"), events_over_expected("event", "p"),
        sensitivity_above("ill", "score", 1.0),
    ]  # fmt: skip
    for metric in metrics:
        with pytest.raises(NotEstimableError):
            metric(one)
    assert stats.t.ppf(0.975, 2) == pytest.approx(4.302653, abs=1e-6)


@pytest.mark.parametrize(("specificity", "n_below"), [(0.55, 55), (0.56, 56), (0.551, 56), (0.07, 7), (0.99, 99)])
def test_a_share_of_controls_that_is_whole_is_not_rounded_up(specificity: float, n_below: int) -> None:
    score = np.arange(100.0)[::-1]  # 0.55 x 100 and 0.07 x 100 are a little over 55 and 7
    threshold = threshold_at_specificity(np.zeros(100), score, specificity)
    assert (score < threshold).sum() == n_below
