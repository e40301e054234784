"""The Kaplan-Meier curve and what is made of it, worked out by hand on six people who come and go."""

import numpy as np
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.survival import kaplan_meier, log_rank, restricted_mean, restricted_mean_difference

# Unsorted; the fourth enters at the first death and is not at risk of it; two deaths tie; the last is censored.
ENTRY = [2, 0, 1, 3, 4, 0]
EXIT = [8, 3, 5, 5, 9, 3]
EVENT = [1, 1, 1, 1, 0, 0]
GROUP = ["a", "a", "b", "a", "b", "b"]


def test_the_curve_with_delayed_entry_has_greenwoods_interval_on_the_log_log_scale() -> None:
    curve = kaplan_meier(EXIT, EVENT, ENTRY)
    assert curve.time.tolist() == [3, 5, 8]
    assert curve.n_at_risk.tolist() == [4, 4, 2]
    assert curve.n_events.tolist() == [1, 2, 1]
    # 3/4, 3/4 * 2/4, 3/8 * 1/2
    np.testing.assert_allclose(curve.survival, [0.75, 0.375, 0.1875])
    # Greenwood: 1/(4*3), + 2/(4*2), + 1/(2*1); S ** exp(±1.959964 sqrt(V) / log S)
    greenwood = np.array([1 / 12, 1 / 3, 5 / 6])
    reach = 1.959964 * np.sqrt(greenwood) / -np.log(curve.survival)
    np.testing.assert_allclose(curve.ci_low, curve.survival ** np.exp(reach), rtol=1e-5)
    np.testing.assert_allclose(curve.ci_high, curve.survival ** np.exp(-reach), rtol=1e-5)
    assert (curve.ci_low[0], curve.ci_high[0]) == (pytest.approx(0.127947, abs=2e-6), pytest.approx(0.960548, abs=2e-6))


def test_the_curve_steps_down_at_its_times_and_has_no_interval_before_them_or_at_nobody_left() -> None:
    curve = kaplan_meier([1, 2, 2, 4], [1, 0, 1, 1])
    survival, low, high = curve.at([0.99, 1, 1.5, 2, 3.9, 4, 7])
    np.testing.assert_allclose(survival, [1, 0.75, 0.75, 0.5, 0.5, 0, 0])
    assert np.isnan(low).tolist() == np.isnan(high).tolist() == [True, False, False, False, False, True, True]
    assert low[1] == low[2] == pytest.approx(0.127948, abs=2e-6)
    assert high[1] == pytest.approx(0.960548, abs=2e-6)


def test_people_are_at_risk_after_their_entry_and_until_their_exit() -> None:
    curve = kaplan_meier(EXIT, EVENT, ENTRY)
    #                       at 0: nobody has entered yet; at 3 three are there who came before, and the leavers of 3
    assert curve.at_risk([0, 0.5, 3, 3.5, 5, 8, 9, 9.5]).tolist() == [0, 2, 4, 3, 4, 2, 1, 0]
    assert curve.events_until([2.9, 3, 4.9, 5, 7.9, 8, 99]).tolist() == [0, 1, 1, 3, 3, 4, 4]


@pytest.mark.parametrize("n", [4, 24, 30, 46])
def test_the_median_is_the_time_at_which_survival_becomes_exactly_one_half(n: int) -> None:
    times = np.arange(1, n + 1)
    # The product of n - 1 shares is one half but for rounding: 12 of 24 give 0.5 + 1e-16.
    assert kaplan_meier(times, times <= n // 2).median == n // 2
    assert kaplan_meier(times, times < n // 2).median == np.inf
    assert kaplan_meier(times, times <= n // 2 + 1).median == n // 2


def test_impossible_times_are_refused_on_both_sides_of_the_rule() -> None:
    assert kaplan_meier([0, 1], [1, 0]).survival.tolist() == [0.5]
    with pytest.raises(ValueError, match="1 times are negative"):
        kaplan_meier([-1, 1], [1, 0])
    with pytest.raises(ValueError, match="1 rows leave at or before they enter"):
        kaplan_meier([2, 2], [1, 0], [1, 2])
    assert kaplan_meier([-1, 1], [1, 0], [-2, -2]).survival.tolist() == [0.5]
    with pytest.raises(ValueError, match="must be finite"):
        kaplan_meier([1, np.nan], [1, 0])
    with pytest.raises(ValueError, match="must be finite"):
        kaplan_meier([1, 2], [1, 0], [0, np.nan])
    for exit_, event, entry in (([], [], None), ([1, 2], [1], None), ([1, 2], [1, 0], [0])):
        with pytest.raises(ValueError, match="one length over 0"):
            kaplan_meier(exit_, event, entry)


def test_the_log_rank_test_with_delayed_entry_and_ties_by_hand() -> None:
    # Group a, observed less expected: 1 - 2/4, 1 - 2 * 2/4, 1 - 1/2; variance 3/4 * 1/3 ... = 1/4 + 1/3 + 1/4.
    test = log_rank(EXIT, EVENT, GROUP, entry=ENTRY)
    assert (test.chi2, test.df) == (pytest.approx(1 / (5 / 6)), 1)
    assert test.p == pytest.approx(0.273322, abs=1e-6)
    assert test.minus_log10_p == pytest.approx(0.563325, abs=1e-6)
    with pytest.raises(ValueError, match="6 labels, none missing"):
        log_rank(EXIT, EVENT, [*GROUP[:5], None], entry=ENTRY)
    with pytest.raises(ValueError, match="6 labels, none missing"):
        log_rank(EXIT, EVENT, GROUP[:5], entry=ENTRY)


def test_a_last_death_alone_at_risk_adds_nothing_to_the_log_rank_test() -> None:
    # Times 1 (b of a, b, b), 2 (a of a, b), 3 (b alone): O - E of a = -1/3 + 1/2, V = 2/9 + 1/4.
    test = log_rank([2, 1, 3], [1, 1, 1], ["a", "b", "b"])
    assert test.chi2 == pytest.approx((1 / 6) ** 2 / (2 / 9 + 1 / 4))


def test_the_restricted_mean_is_the_area_up_to_the_horizon_and_not_beyond() -> None:
    # Survival 0.8 from 1, 0.6 from 2, 0.3 from 3.
    times, events = [3, 1, 5, 2, 2], [1, 1, 0, 0, 1]
    found = restricted_mean(times, events, 4)
    assert found.value == pytest.approx(1 + 0.8 + 0.6 + 0.3)
    # Greenwood: areas still to come 1.7, 0.9, 0.3, squared, times 1/(5*4), 1/(4*3), 1/(2*1).
    assert found.se == pytest.approx(np.sqrt(1.7**2 / 20 + 0.9**2 / 12 + 0.3**2 / 2))
    assert found.ci_low == pytest.approx(2.7 - 1.959964 * 0.506952, abs=1e-5)
    assert found.ci_high == pytest.approx(2.7 + 1.959964 * 0.506952, abs=1e-5)
    at_a_death = restricted_mean(times, events, 3)
    assert at_a_death.value == pytest.approx(2.4)
    assert at_a_death.se == pytest.approx(np.sqrt(1.4**2 / 20 + 0.6**2 / 12))
    assert restricted_mean(times, events, 5).value == pytest.approx(3.0)
    assert restricted_mean(times, events, 0.5).value == 0.5
    with pytest.raises(NotEstimableError, match=r"no_data.*nobody is observed up to 5.1"):
        restricted_mean(times, events, 5.1)
    with pytest.raises(NotEstimableError, match="no_data"):
        restricted_mean([2, 3], [0, 0], 4)  # nobody dies: there is no interval, and still nobody is seen so long


def test_the_restricted_mean_beyond_the_last_death_of_all_is_the_whole_area() -> None:
    found = restricted_mean([2, 1], [1, 1], 7)
    assert (found.value, found.se) == (1.5, pytest.approx(np.sqrt(0.5**2 / 2)))
    assert restricted_mean(EXIT, EVENT, 6, ENTRY).value == pytest.approx(3 + 2 * 0.75 + 0.375)
    for tau in (0, -1, np.inf, np.nan):
        with pytest.raises(ValueError, match="tau must be over 0 and finite"):
            restricted_mean([2, 1], [1, 1], tau)


def test_the_difference_of_restricted_means_is_that_of_the_group_less_the_others() -> None:
    times, events, group = [2, 1, 6, 3, 4, 5], [1, 1, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1]
    apart = restricted_mean_difference(times, events, group, 4)
    # Group: 3 + 2/3, one of three dies: (2/3)²/(3*2). Others: 1 + 2/3 + 2/3; areas to come 4/3, 2/3.
    assert apart.group.value == pytest.approx(3 + 2 / 3)
    assert apart.others.value == pytest.approx(1 + 2 / 3 + 2 / 3)
    assert apart.difference.value == pytest.approx(4 / 3)
    se = np.sqrt((2 / 3) ** 2 / 6 + (4 / 3) ** 2 / 6 + (2 / 3) ** 2 / 2)
    assert apart.difference.se == pytest.approx(se)
    assert apart.difference.ci_low == pytest.approx(4 / 3 - 1.959964 * se, abs=1e-5)
    assert apart.z == pytest.approx(4 / 3 / se)
    assert apart.minus_log10_p == pytest.approx(1.07954, abs=1e-5)  # z = √3: p 0.083265
    late = restricted_mean_difference(times, events, group, 4, entry=[1, 0, 0, 0, 0, 0])
    assert late.others.value == pytest.approx(1 + 1 / 2 + 1 / 4 * 2)  # one of two dies at 1, one of two at 2
    with pytest.raises(NotEstimableError, match="too_few_groups"):
        restricted_mean_difference(times, events, np.ones(6), 4)
    with pytest.raises(NotEstimableError, match="too_few_groups"):
        restricted_mean_difference(times, events, np.zeros(6), 4)
    with pytest.raises(ValueError, match="true or false"):
        restricted_mean_difference(times, events, [0, 1, 2, 0, 1, 1], 4)
    with pytest.raises(ValueError, match="true or false"):
        restricted_mean_difference(times, events, [0, 1], 4)
    nobody = restricted_mean_difference([2, 3, 4, 5], [0, 0, 0, 0], [0, 0, 1, 1], 3)
    assert nobody.difference.se == 0
    assert np.isnan(nobody.z)
