"""Overlap of masks with oblong voxels, by hand."""

import math

import numpy as np
import pytest

from cmr_models.evaluation.overlap import dice, hausdorff_95_mm, intersection_over_union


def test_the_distance_is_the_larger_95th_percentile_of_either_direction() -> None:
    point, bar = np.zeros((3, 24), bool), np.zeros((3, 24), bool)
    point[1, 1], bar[1, 1:22] = True, True
    # from the bar's 21 voxels of 2 mm: 0, 2 ... 40, of which the 95th percentile is the twentieth; back: 0
    assert hausdorff_95_mm(point, bar, (9.0, 2.0)) == hausdorff_95_mm(bar, point, (9.0, 2.0)) == pytest.approx(38)
    assert hausdorff_95_mm(point, np.roll(point, 1, axis=0), (9.0, 2.0)) == pytest.approx(9)


def test_only_surfaces_count_and_the_border_of_the_image_is_one() -> None:
    block, hollow = np.zeros((7, 7), bool), np.zeros((7, 7), bool)
    block[:, :] = True
    hollow[:, :] = True
    hollow[1:6, 1:6] = False
    assert hausdorff_95_mm(block, hollow, (1.0, 3.0)) == 0


def test_each_overlap_by_hand_and_shapes_that_differ_refused() -> None:
    a, b = np.array([[1, 1, 1, 0], [0, 0, 0, 1]], bool), np.array([[0, 1, 1, 1], [1, 0, 0, 0]], bool)
    assert dice(a, b) == pytest.approx(4 / 8)
    assert intersection_over_union(a, b) == pytest.approx(2 / 6)
    none = np.zeros_like(a)
    assert intersection_over_union(a, none) == 0
    assert math.isnan(intersection_over_union(none, none))
    for one, other in ((a, none), (none, a), (none, none)):
        assert math.isnan(hausdorff_95_mm(one, other, (1, 1)))
    for measure in (dice, intersection_over_union, lambda x, y: hausdorff_95_mm(x, y, (1, 1))):
        with pytest.raises(ValueError, match="cannot be compared"):
            measure(a, b[:1])
