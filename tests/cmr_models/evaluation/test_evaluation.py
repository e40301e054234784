"""The measures against scikit-learn, brute force, and cases counted by hand."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn import metrics

from cmr_models.evaluation import (
    bootstrapped,
    coefficient_of_variation_pct,
    dice,
    hausdorff_95_mm,
    intersection_over_union,
    landmark_distance_mm,
    mean_absolute_error,
    root_mean_square_error,
)
from cmr_models.evaluation import classes as c
from cmr_models.evaluation.overlap import _surface


def test_overlap_of_two_bars_counted_by_hand() -> None:
    a, b = np.zeros(10, bool), np.zeros(10, bool)
    a[0:6], b[2:6] = True, True
    assert dice(a, b) == pytest.approx(8 / 10)
    assert intersection_over_union(a, b) == pytest.approx(4 / 6)


def test_a_structure_that_neither_has_is_missing_and_one_that_only_one_has_is_zero() -> None:
    none, some = np.zeros((3, 3), bool), np.eye(3, dtype=bool)
    assert np.isnan(dice(none, none))
    assert np.isnan(hausdorff_95_mm(none, some, (1, 1)))
    assert dice(none, some) == 0


def test_hausdorff_equals_brute_force_over_all_pairs_of_surface_voxels() -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.random((2, 9, 8, 4)) < 0.4)[:2]
    spacing = np.array([1.0, 1.5, 10.0])
    pairs = cdist(np.argwhere(_surface(a)) * spacing, np.argwhere(_surface(b)) * spacing)
    expected = max(np.percentile(pairs.min(1), 95), np.percentile(pairs.min(0), 95))
    assert hausdorff_95_mm(a, b, (1.0, 1.5, 10.0)) == pytest.approx(expected)


def test_a_shift_by_two_slices_is_twenty_millimetres() -> None:
    a = np.zeros((5, 5, 6), bool)
    a[1:4, 1:4, 1] = True
    assert hausdorff_95_mm(a, np.roll(a, 2, axis=2), (1, 1, 10)) == pytest.approx(20)


def test_errors_leave_unknown_pairs_out_rather_than_calling_them_zero() -> None:
    predicted, reference = [50.0, np.nan, 64.0], [53.0, 60.0, 60.0]
    assert mean_absolute_error(predicted, reference) == pytest.approx(3.5)
    assert root_mean_square_error(predicted, reference) == pytest.approx(np.sqrt((9 + 16) / 2))
    assert np.isnan(mean_absolute_error([np.nan], [1.0]))


def test_variation_of_a_scan_and_its_repeat_by_hand() -> None:
    assert coefficient_of_variation_pct([90.0], [110.0]) == pytest.approx(100 * np.sqrt(200) / 100)
    assert np.isnan(coefficient_of_variation_pct([], []))


def test_the_bootstrap_interval_covers_the_true_error_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    true = np.sqrt(2 / np.pi)
    inside = 0
    for _ in range(200):
        found = bootstrapped(mean_absolute_error, rng.normal(size=60), np.zeros(60), rng, 200)
        inside += found.ci_low <= true <= found.ci_high
    assert 175 <= inside <= 199


def test_classes_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    true = rng.integers(0, 4, 300)
    probabilities = rng.dirichlet(np.ones(4), 300) + 0.3 * np.eye(4)[true]
    probabilities /= probabilities.sum(1, keepdims=True)
    predicted = probabilities.argmax(1)
    table = c.confusion(predicted, true, 4)
    assert (table == metrics.confusion_matrix(true, predicted)).all()
    assert c.accuracy(table) == pytest.approx(metrics.f1_score(true, predicted, average="micro"))
    assert c.macro_f1(table) == pytest.approx(metrics.f1_score(true, predicted, average="macro"))
    assert c.matthews(table) == pytest.approx(metrics.matthews_corrcoef(true, predicted))
    assert c.macro_area(probabilities, true) == pytest.approx(
        metrics.roc_auc_score(true, probabilities, multi_class="ovr")
    )


def test_sensitivity_at_a_specificity_is_the_best_point_of_scikit_learns_curve() -> None:
    rng = np.random.default_rng(8)
    case = rng.random(200) < 0.3
    score = np.round(rng.normal(case * 1.0), 1)  # with ties
    false_rate, true_rate, _ = metrics.roc_curve(case, score, drop_intermediate=False)
    assert c.sensitivity_at_specificity(score, case, 0.8) == pytest.approx(true_rate[1 - false_rate >= 0.8].max())
    assert c.specificity_at_sensitivity(score, case, 0.9) == pytest.approx((1 - false_rate)[true_rate >= 0.9].max())


def test_measures_that_need_both_kinds_of_people_are_missing_without_them() -> None:
    nobody_ill = np.zeros(5, bool)
    assert np.isnan(c.area_under_curve(np.arange(5.0), nobody_ill))
    assert np.isnan(c.sensitivity_at_specificity(np.arange(5.0), nobody_ill, 0.9))
    assert np.isnan(c.matthews(c.confusion(np.zeros(3, int), np.array([0, 1, 1]), 2)))


def test_landmark_distances_use_the_size_of_a_pixel_and_keep_gaps() -> None:
    found = landmark_distance_mm([[[3.0, 4.0], [np.nan, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]], (2.0, 1.0))
    assert found[0, 0] == pytest.approx(np.hypot(6, 4))
    assert np.isnan(found[0, 1])
