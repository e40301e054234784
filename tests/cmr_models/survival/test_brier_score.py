"""The Brier score and the censoring curve behind it, worked out by hand with ties, a late censoring and a gap."""

import numpy as np
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.survival import brier
from cmr_models.survival.censoring import CensoringCurve, censoring_curve

# Deaths at 1 and 3, lost at 2 and 3 (after the death of 3), seen to 5.
EXIT = [3, 1, 5, 2, 3]
EVENT = [1, 1, 0, 0, 0]


def test_at_a_tie_the_dead_are_not_at_risk_of_being_censored() -> None:
    curve = censoring_curve(np.array(EXIT, float), np.array(EVENT, bool))
    assert curve.time.tolist() == [2, 3, 5]
    # At 2 one of four; at 3 one of two, the death left out of three; at 5 the last.
    np.testing.assert_allclose(curve.survival, [3 / 4, 3 / 8, 0])
    np.testing.assert_allclose(curve.before([1, 2, 2.5, 3, 4, 5, 6]), [1, 1, 3 / 4, 3 / 4, 3 / 8, 3 / 8, 0])
    np.testing.assert_allclose(curve.at([1, 2, 2.5, 3, 4, 5, 6]), [1, 3 / 4, 3 / 4, 3 / 8, 3 / 8, 0, 0])


def test_the_score_weighs_the_dead_at_their_time_and_the_living_at_the_horizon() -> None:
    survival = np.array([[0.9, 0.2], [0.5, 0.4], [0.8, 0.7], [0.6, 0.3], [0.7, 0.1]])
    found = brier(EXIT, EVENT, survival, [1, 4])
    # At 1: all known, weight 1; the second is dead. At 4: dead the first (1/(3/8)) and second (1); alive the third.
    first = np.array([0.1**2, 0.5**2, 0.2**2, 0.4**2, 0.3**2])
    second = np.array([0.2**2 * 8 / 3, 0.4**2, 0.3**2 * 8 / 3, 0, 0])
    np.testing.assert_allclose(found.scores["brier"], [first.sum() / 5, second.sum() / 5])
    spread = [np.sqrt((part**2).sum() / 5 - (part.sum() / 5) ** 2) / np.sqrt(5) for part in (first, second)]
    np.testing.assert_allclose(found.scores["se"], spread)
    # Kaplan-Meier: 4/5 after 1, 4/5 * 2/3 after 3.
    km = 8 / 15
    null = [(4 * 0.2**2 + 0.8**2) / 5, (km**2 * 8 / 3 + km**2 + (1 - km) ** 2 * 8 / 3) / 5]
    np.testing.assert_allclose(found.scores["brier_null"], null)
    np.testing.assert_allclose(found.scores["scaled"], 1 - found.scores["brier"] / null)
    assert found.ibs == pytest.approx(found.scores["brier"].mean())
    assert found.ibs_null == pytest.approx(np.mean(null))
    assert found.scaled_ibs == pytest.approx(1 - found.ibs / np.mean(null))


def test_the_integral_is_a_mean_over_unequal_spans_and_there_is_none_of_one_time() -> None:
    survival = np.repeat([[0.9, 0.5, 0.2]], 5, axis=0)
    found = brier(EXIT, EVENT, survival, [1, 2, 4.5])
    a, b, c = found.scores["brier"]
    assert found.ibs == pytest.approx(((a + b) / 2 * 1 + (b + c) / 2 * 2.5) / 3.5)
    single = brier(EXIT, EVENT, survival[:, 0], [1])
    assert np.isnan([single.ibs, single.ibs_null, single.scaled_ibs]).all()
    assert single.scores["brier"].tolist() == pytest.approx([a])


def test_a_curve_of_other_people_may_weigh() -> None:
    curve = CensoringCurve(np.array([0.5]), np.array([0.5]))
    found = brier(EXIT, EVENT, np.full(5, 0.5), [1], censoring=curve)
    assert found.scores["brier"].tolist() == [0.25 * 2]
    nobody = brier([1, 2], [1, 1], [0.0, 0.0], [2])
    assert (nobody.scores["brier"].tolist(), nobody.scores["brier_null"].tolist()) == ([0], [0])
    assert nobody.scores["scaled"].isna().all()


def test_impossible_scores_are_refused_at_their_bounds() -> None:
    half = np.full(5, 0.5)
    assert brier(EXIT, EVENT, [0.0, 1.0, 0.0, 1.0, 0.5], [0.0]).scores["time"].tolist() == [0]
    for exit_, event, survival, times, message in (
        (EXIT, EVENT, half, [5.01], "within the follow-up, from 0 to 5"),
        (EXIT, EVENT, half, [-0.01], "within the follow-up"),
        (EXIT, EVENT, np.column_stack([half, half]), [2, 2], "times ascending"),
        (EXIT, EVENT, np.column_stack([half, half]), [2, 1], "times ascending"),
        (EXIT, EVENT, half, [np.nan], "must be finite"),
        ([np.inf, *EXIT[1:]], EVENT, half, [1], "must be finite"),
        ([-1, *EXIT[1:]], EVENT, half, [1], "1 times are negative"),
        (EXIT, EVENT, [*half[:4], 1.01], [1], "between 0 and 1"),
        (EXIT, EVENT, [*half[:4], -0.01], [1], "between 0 and 1"),
        (EXIT, EVENT, [*half[:4], np.nan], [1], "between 0 and 1"),
        (EXIT, EVENT, half[:4], [1], r"\(people, times\) = \(5, 1\)"),
        (EXIT[:4], EVENT, half, [1], "one length over 0"),
        ([], [], [], [1], "one length over 0"),
    ):
        with pytest.raises(ValueError, match=message):
            brier(exit_, event, survival, times)
    # Everybody is lost at 5: who lives to 5 and beyond has no weight, who died before has one.
    assert brier(EXIT, EVENT, half, [5]).scores["brier"].tolist() == pytest.approx([0.25 * (1 + 8 / 3) / 5])
    with pytest.raises(NotEstimableError, match="nobody can be uncensored"):
        brier(EXIT, EVENT, half, [4], censoring=CensoringCurve(np.array([3.5]), np.array([0.0])))
    late = CensoringCurve(np.array([2.5, 4.5]), np.array([0.0, 0.0]))
    with pytest.raises(NotEstimableError, match="nobody can be uncensored"):
        brier([3, 1, 4], [1, 1, 1], [0.5] * 3, [4], censoring=late)  # of three dead one could be seen
    with pytest.raises(NotEstimableError, match="nobody can be uncensored"):
        brier([1, 2], [1, 1], [0.5, 0.5], [2], censoring=CensoringCurve(np.array([0.5]), np.array([0.0])))
