"""Crossings of planes: a short-axis plane z = 10 and a long-axis plane y = 4, on paper."""

import numpy as np
import pytest

from cmr_models.contracts import LA, LV, MYOCARDIUM, RV
from cmr_models.views.crossing_lines import crossing_line, labels_along, possible_from_short_axis
from cmr_models.views.plane import Plane


def _plane(position_mm, row_dir, col_dir, pixel_mm=(1.0, 1.0), shape=(20, 30)):
    return Plane(
        np.array(position_mm, float), np.array(row_dir, float), np.array(col_dir, float), pixel_mm, shape,
        n_frames=1, n_expected=1,
    )  # fmt: skip


SHORT = _plane((0, 0, 10), (1, 0, 0), (0, 1, 0), pixel_mm=(2.0, 1.0))  # rows along y, 2 mm; columns along x
LONG = _plane((5, 4, 0), (1, 0, 0), (0, 0, 1), pixel_mm=(1.0, 0.5))  # rows along z; columns along x, 0.5 mm, from 5 on


def test_the_crossing_lies_in_one_row_of_each_plane():
    crossing = crossing_line(SHORT, LONG)
    assert len(crossing.first_px) in (14, 15, 16)  # x from 5 to 19.5 mm lies in both images
    np.testing.assert_allclose(crossing.first_px[:, 0], 2.0)  # y = 4 mm is row 2
    np.testing.assert_allclose(crossing.second_px[:, 0], 10.0)  # z = 10 mm is row 10
    np.testing.assert_allclose(crossing.second_px[:, 1], 2 * (crossing.first_px[:, 1] - 5), atol=1e-9)


def test_parallel_planes_do_not_cross():
    above = _plane((0, 0, 20), (1, 0, 0), (0, 1, 0))
    assert len(crossing_line(SHORT, above).first_px) == 0


def test_labels_are_read_at_the_same_places_of_both_planes():
    short, long = np.zeros(SHORT.shape, np.uint8), np.zeros(LONG.shape, np.uint8)
    short[2, 10:15] = LV  # x from 9.5 to 14.5 mm: of the points at 9.375, 10.375 ... those up to 14.375
    long[10, 10:20] = LV  # columns 2 (x - 5): the same points
    mine, theirs = labels_along(crossing_line(SHORT, LONG), short, long)
    np.testing.assert_array_equal(mine, theirs)
    assert (mine == LV).sum() == 5


def test_a_short_axis_decides_a_strip_of_the_long_axis():
    short = np.zeros(SHORT.shape, np.uint8)
    short[:, 8:20] = MYOCARDIUM
    short[:, 10:18] = LV
    possible = possible_from_short_axis(LONG, "lax_4c", [SHORT], short[None])
    assert (possible[[0, 8, 12, 19]] == 0xFF).all()  # 2 mm and more from the plane: anything
    strip = possible[9:12]  # z = 9, 10, 11 mm
    assert (strip[:, 2 * (13 - 5)] == 1 << LV).all()
    assert (strip[:, 2 * (10 - 5)] == (1 << LV) | (1 << MYOCARDIUM)).all()  # a pixel from the border
    outside = strip[:, 0]  # x = 5 mm: no ventricle, but perhaps an atrium
    assert (outside & (1 << LA) > 0).all()
    assert (outside & ((1 << RV) | (1 << LV) | (1 << MYOCARDIUM)) == 0).all()


@pytest.mark.parametrize(("view", "right"), [("lax_2c", 1), ("lax_4c", 1 << RV), ("lax_3c", 1 << RV)])
def test_what_a_view_does_not_show_is_background(view, right):
    possible = possible_from_short_axis(LONG, view, [SHORT], np.full((1, *SHORT.shape), RV, np.uint8))
    assert possible[10, 10] == right
