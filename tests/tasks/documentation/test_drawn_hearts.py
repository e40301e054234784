"""Errors of networks in slices with and without a heart, on volumes of which every voxel is counted by hand."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.curve_jumps import jump
from benchmarks.drawn_data import Reference
from benchmarks.drawn_hearts import compare, summary
from cmr_models.contracts import LV, RV
from tasks.training.drawn_volumes import DrawnVolume

SPACING_MM = (2.0, 2.0, 10.0)  # 0.04 mL a voxel


def reference(phase: str = "ed") -> Reference:
    """Four slices: a left ventricle of 10 voxels in the second and third, a right one of 20 in the third."""
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[1:3, 0, :5], labels[1:3, 1, :5], labels[2, 4:6, :], labels[2, 6, :4] = LV, LV, RV, RV
    volume = DrawnVolume("p", phase, "", np.zeros(labels.shape, np.float32), labels, SPACING_MM)
    return Reference("ACDC", "", "sax", volume, ("lv", "myocardium", "rv"), np.ones(labels.shape, bool))


def found() -> np.ndarray:
    """The left ventricle: five of ten in the second slice, none in the third, ten in the first, which has none."""
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[1, 0, :5] = LV
    labels[0, 0, :5], labels[0, 1, :5] = LV, LV
    labels[2, 4:6, :] = RV
    return labels


def test_volumes_beyond_the_drawn_slices_and_missed_ones_are_apart_from_the_overlap_within() -> None:
    row = compare(reference(), found())
    assert row["lv_dice"] == pytest.approx(2 * 5 / (20 + 15))
    assert row["lv_within_dice"] == pytest.approx(2 * 5 / (20 + 5))
    assert row["lv_beyond_ml"] == pytest.approx(10 * 0.04)
    assert row["lv_missed_ml"] == pytest.approx(10 * 0.04)
    assert row["rv_within_dice"] == pytest.approx(2 * 16 / (20 + 16))
    assert (row["rv_beyond_ml"], row["rv_missed_ml"]) == (0, 0)


def test_the_summary_tells_them_by_phase() -> None:
    rows = pd.DataFrame([compare(reference("ed"), found()), compare(reference("es"), reference().volume.labels)])
    (whole,) = summary(rows.assign(group=""))
    assert (whole["lv_beyond_ml_ed"], whole["lv_beyond_ml_es"]) == (0.4, 0.0)
    assert (whole["lv_missed_ml_ed"], whole["lv_missed_ml_es"]) == (0.4, 0.0)
    assert (whole["lv_within_dice_ed"], whole["lv_within_dice_es"]) == (0.4, 1.0)


def test_a_jump_is_the_sharpest_bend_over_the_stroke_volume() -> None:
    """10, 10, 4, 10, 10: bends of 6 beside the dip and 12 in it, of a stroke volume of 6; a ramp of 0, 1, 2 wraps."""
    assert jump(np.array([10.0, 10.0, 4.0, 10.0, 10.0])) == pytest.approx(2.0)
    assert jump(np.array([0.0, 1.0, 2.0])) == pytest.approx(1.5)
