"""Areas and their errors from placements by hand (DeLong 1988)."""

import numpy as np
import pytest

from cmr_models.association.roc_area import delong
from cmr_models.estimates import NotEstimableError

# Cases 3, 5, 5; controls 1, 3, 4, 5. Of the controls a case is over: 3 -> 1 1/2, 5 -> 3 1/2, 5 -> 3 1/2 of four; under
# the cases lie, of three: 1 -> 3, 3 -> 2 1/2, 4 -> 2, 5 -> 1 (two halves).
Y = np.array([1, 0, 1, 0, 0, 1, 0])
SCORE = np.array([5.0, 1, 3, 3, 4, 5, 5])
OF_CASES = np.array([1.5, 3.5, 3.5]) / 4
OF_CONTROLS = np.array([3, 2.5, 2, 1]) / 3
VARIANCE = OF_CASES.var(ddof=1) / 3 + OF_CONTROLS.var(ddof=1) / 4


def test_an_area_counts_pairs_and_ties_by_half() -> None:
    found = delong(Y, SCORE)
    assert found.auc == pytest.approx(8.5 / 12)
    assert found.se == pytest.approx(np.sqrt(VARIANCE))
    assert found.ci_low == pytest.approx(8.5 / 12 - 1.959964 * np.sqrt(VARIANCE), rel=1e-6)
    assert (found.n_cases, found.n_controls, found.b, found.paired) == (3, 4, None, None)


def test_an_interval_keeps_to_nought_and_one() -> None:
    found = delong(Y, SCORE)
    assert 8.5 / 12 + 1.959964 * np.sqrt(VARIANCE) > 1
    assert found.ci_high == 1
    assert delong(Y, -SCORE).ci_low == 0
    assert delong(Y, -SCORE).ci_high == pytest.approx(1 - found.ci_low)


def test_the_difference_of_two_scores_of_the_same_people_is_paired() -> None:
    other = np.array([1.0, 2, 3, 4, 5, 6, 7])  # cases 1, 3, 6: over 0, 1, 3 of four; controls 2, 4, 5, 7: 2, 1, 1, 0
    found = delong(Y, SCORE, other)
    assert found.b is not None
    assert found.paired is not None
    cases = (
        OF_CASES - np.array([3, 1, 0])[[1, 2, 0]] / 4
    )  # of people 3, 1 and 6 in the order 3, 5, 5 of the first score
    controls = OF_CONTROLS - np.array([2, 1, 1, 0]) / 3
    variance = cases.var(ddof=1) / 3 + controls.var(ddof=1) / 4
    assert found.b.auc == pytest.approx(4 / 12)
    assert found.paired.difference == pytest.approx(4.5 / 12)
    assert found.paired.se == pytest.approx(np.sqrt(variance))
    assert found.paired.z == pytest.approx(4.5 / 12 / np.sqrt(variance))
    back = delong(Y, other, SCORE).paired
    assert back is not None
    assert (back.difference, back.z) == (pytest.approx(-4.5 / 12), pytest.approx(-found.paired.z))


def test_scores_that_rank_alike_do_not_differ() -> None:
    same = delong(Y, SCORE, SCORE**3).paired
    assert same is not None
    assert (same.difference, same.se, same.z, same.p) == (0, 0, 0, 1)


def test_a_perfect_area_has_no_error_and_two_of_each_are_needed() -> None:
    found = delong([0, 0, 1, 1], [1, 2, 3, 4])
    assert found.auc == 1
    assert np.isnan([found.se, found.ci_low, found.ci_high]).all()
    with pytest.raises(NotEstimableError, match="1 cases"):
        delong([0, 0, 1], [1, 2, 3])
    with pytest.raises(NotEstimableError, match="1 controls"):
        delong([0, 1, 1], [1, 2, 3])
