"""Quality of classification, counted by hand on a handful of people with ties."""

import math

import numpy as np
import pytest

from cmr_models.evaluation import classes as c

SCORE = np.array([1.0, 2, 2, 3, 2, 4, 3])
CASE = np.array([False, False, True, True, False, True, False])
"""Cases score 2, 3 and 4; controls 1, 2, 2 and 3."""


def test_a_table_counts_truth_in_rows_and_predictions_in_columns() -> None:
    table = c.confusion(np.array([1, 1, 0, 2, 1]), np.array([0, 1, 0, 0, 2]), 3)
    assert table.tolist() == [[1, 1, 1], [0, 1, 0], [0, 1, 0]]
    assert c.confusion(np.zeros(0, int), np.zeros(0, int), 2).tolist() == [[0, 0], [0, 0]]
    for wrong in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match=r"lie in 0\.\.2"):
            c.confusion(np.array(wrong), np.array([0, 2]), 3)


def test_accuracy_f1_and_correlation_by_hand() -> None:
    table = np.array([[3, 1, 0], [2, 2, 0], [0, 0, 0]])
    assert c.accuracy(table) == pytest.approx(5 / 8)
    assert c.macro_f1(table) == pytest.approx((6 / 9 + 4 / 7) / 2)  # the third class occurs nowhere
    # (5 x 8 - (4 x 5 + 4 x 3)) / sqrt((64 - 25 - 9)(64 - 16 - 16))
    assert c.matthews(table) == pytest.approx(8 / math.sqrt(30 * 32))
    only_predicted = np.array([[3, 1], [0, 0]])
    assert c.macro_f1(only_predicted) == pytest.approx((6 / 7 + 0) / 2)
    assert math.isnan(c.matthews(only_predicted))
    for measure in (c.accuracy, c.macro_f1, c.matthews):
        assert math.isnan(measure(np.zeros((2, 2), int)))


def test_the_area_counts_pairs_in_order_and_ties_as_a_half() -> None:
    # case 2: over 1, ties with two, under 3: 1 + 1; case 3: 3 + a half; case 4: 4; of twelve pairs
    assert c.area_under_curve(SCORE, CASE) == pytest.approx((2 + 3.5 + 4) / 12)
    assert math.isnan(c.area_under_curve(SCORE, np.ones(7, bool)))
    shares = np.array([[0.6, 0.3, 0.1], [0.2, 0.8, 0.0], [0.7, 0.2, 0.1]])
    # class 0: people 0 and 2 against 1: 1; class 1: person 1 against the others: 1; nobody has class 2
    assert c.macro_area(shares, np.array([0, 1, 0])) == 1
    third = np.array([[0.6, 0.3, 0.1], [0.2, 0.8, 0.0], [0.5, 0.2, 0.3]])
    # class 0: 0.2 against 0.6 and 0.5: 0; class 1: 0.3 and 0.2 against 0.8: 0 ... and class 2 has nobody
    assert c.macro_area(third, np.array([1, 0, 1])) == 0
    # class 0: 0.6 over 0.2 and 0.5: 1; class 1: 0.2 under both: 0; class 2: 0 under 0.1 and 0.3: 0
    assert c.macro_area(third, np.array([0, 2, 1])) == pytest.approx(1 / 3)
    assert math.isnan(c.macro_area(shares, np.array([1, 1, 1])))


@pytest.mark.parametrize(
    ("least", "best"), [(0.0, 1), (0.25, 1), (0.26, 2 / 3), (0.75, 2 / 3), (0.76, 1 / 3), (1.0, 1 / 3)]
)
def test_the_best_sensitivity_of_thresholds_that_spare_enough_controls(least: float, best: float) -> None:
    # from 2 on: all cases, one of four controls spared; from 3 on: two cases, three spared; from 4 on: one, all spared
    assert c.sensitivity_at_specificity(SCORE, CASE, least) == pytest.approx(best)


@pytest.mark.parametrize(
    ("least", "best"), [(0.0, 1), (0.33, 1), (0.34, 0.75), (0.66, 0.75), (0.67, 0.25), (1.0, 0.25)]
)
def test_the_best_specificity_of_thresholds_that_find_enough_cases(least: float, best: float) -> None:
    assert c.specificity_at_sensitivity(SCORE, CASE, least) == pytest.approx(best)


def test_a_threshold_over_all_scores_finds_nobody_and_spares_all() -> None:
    score, case = np.array([5.0, 5.0]), np.array([True, False])
    assert c.sensitivity_at_specificity(score, case, 0.9) == 0
    assert c.specificity_at_sensitivity(score, case, 0.9) == 0
    for one_kind in (np.ones(2, bool), np.zeros(2, bool)):
        assert math.isnan(c.sensitivity_at_specificity(score, one_kind, 0.9))
        assert math.isnan(c.specificity_at_sensitivity(score, one_kind, 0.9))
