"""The measurements of long-axis networks, on contours made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.guide_points import long_axis_masks
from benchmarks.long_axis import _along_crossings, _distances, _edge, _overlaps
from cmr_models.contracts import LV, MYOCARDIUM
from cmr_models.views.plane import Plane

HEADER = SimpleNamespace(
    Rows=50, Columns=40, PixelSpacing=[2.0, 2.0], ImagePositionPatient=[0.0, 0.0, 7.0],
    ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
)  # fmt: skip


def _open_rectangle(left, right, top, bottom):
    """Points every half pixel down the left side, along the bottom, up the right side; in mm (2 mm a pixel), z = 7."""
    down, across = np.arange(top, bottom, 0.5), np.arange(left, right, 0.5)
    xy = [*((left, y) for y in down), *((x, bottom) for x in across), *((right, y) for y in down)]
    return np.array([(2 * x, 2 * y, 7.0) for x, y in xy])


POINTS = {
    "LAX_LV_ENDOCARDIAL": _open_rectangle(10.5, 20.5, 10.5, 30.5),
    "LAX_LV_EPICARDIAL": _open_rectangle(6.5, 24.5, 10.5, 34.5),
    "LAX_RV_FREEWALL": np.empty((0, 3)),
    "LAX_RV_SEPTUM": np.empty((0, 3)),
    "MITRAL_VALVE": np.array([(21.0, 21.0, 7.0), (41.0, 21.0, 7.0)]),
}


def test_guide_points_enclose_pool_and_muscle_up_to_the_mitral_valve():
    labels = long_axis_masks(POINTS, HEADER)
    assert (labels == LV).sum() == 10 * 20  # columns 11 to 20, rows 11 to 30
    assert (labels == MYOCARDIUM).sum() == 18 * 24 - 10 * 20
    assert labels[11:31, 11:21].min() == LV


def test_points_a_pixel_outside_what_was_found_lie_two_millimetres_from_its_border():
    found = np.zeros((50, 40), np.uint8)
    found[7:35, 7:25] = MYOCARDIUM
    found[11:30, 12:20] = LV  # a pixel less at left, right and bottom
    row = _distances(POINTS, HEADER, found, "ed")
    assert row["endocardium_mm_ed"] == pytest.approx(2.0, abs=0.1)  # the border now lies at 11.5, 19.5 and 29.5
    assert row["epicardium_mm_ed"] == pytest.approx(0.0, abs=0.01)
    assert not any("rv" in name for name in row)


def test_a_border_runs_midway_between_pixels():
    mask = np.zeros((4, 5), bool)
    mask[1, 2] = True
    around = [(row, col) for row in (0.5, 1.0, 1.5) for col in (1.5, 2.0, 2.5) if (row, col) != (1.0, 2.0)]
    assert sorted(map(tuple, _edge(mask))) == around


def test_overlaps_and_the_change_of_area_are_those_of_the_masks():
    truth, found = np.zeros((2, 10, 10), np.uint8), np.zeros((2, 10, 10), np.uint8)
    truth[0, :, :8], found[0, :, :8] = LV, LV  # 80 pixels
    truth[1, :, :4], found[1, :, :6] = LV, LV  # 40 drawn, 60 found
    row = _overlaps({"ed": (None, truth[0], found[0]), "es": (None, truth[1], found[1])}, {"lv": LV})
    assert row == {"lv_dice_ed": 1.0, "lv_dice_es": 0.8, "area_change_drawn_pct": 50.0, "area_change_found_pct": 25.0}


def test_agreement_along_a_crossing_counts_points_of_all_frames():
    across = Plane(np.zeros(3), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), (1.0, 1.0), (20, 21), 1, 1)
    plane = Plane(np.array([0, 5.0, -5]), np.array([1.0, 0, 0]), np.array([0, 0, 1.0]), (1.0, 1.0), (20, 21), 1, 1)
    mine, theirs = np.zeros((2, 20, 21), np.uint8), np.zeros((2, 1, 20, 21), np.uint8)
    mine[:, 5, 4:12] = LV  # row 5 of the plane, z = 0, lies on the other one
    theirs[0, 0, 5, 4:12] = LV  # eight points in both, then none here
    row = _along_crossings(plane, "lax_2c", mine, [across], theirs)
    assert row == {"points": 42, "lv_dice": round(2 * 8 / (16 + 8), 4), "myocardium_dice": 1.0}
