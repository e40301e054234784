"""Planes in space: hand-computed cases and what must hold for any of them."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cmr_models.views import geometry

_VECTORS = arrays(np.float64, 3, elements=st.floats(-10, 10, width=32)).filter(lambda v: np.linalg.norm(v) > 0.1)


def test_the_centre_of_an_image_lies_half_its_extent_from_the_first_pixel() -> None:
    centre = geometry.centre([10, 20, 30], [1, 0, 0], [0, 0, -1], (2.0, 1.5), (5, 9))
    np.testing.assert_allclose(centre, [10 + 1.5 * 4, 20, 30 - 2.0 * 2])


def test_spacing_is_the_median_gap_and_uneven_beyond_five_per_cent() -> None:
    assert geometry.spacing([0, 10, 20.4, 30.4]) == (10.0, True)
    assert not geometry.spacing([0, 10, 20, 40]).uniform
    assert geometry.spacing([0, 10, 20.6]).uniform


def test_one_plane_has_no_spacing() -> None:
    slice_mm, uniform = geometry.spacing([3.0])
    assert np.isnan(slice_mm)
    assert uniform


@given(_VECTORS, _VECTORS)
def test_the_angle_between_axes_ignores_signs_and_lengths(a: np.ndarray, b: np.ndarray) -> None:
    angle = geometry.angle_between_axes_deg(a, b)
    assert 0 <= angle <= 90
    assert geometry.angle_between_axes_deg(-2 * a, b) == pytest.approx(angle, abs=1e-4)
    assert geometry.angle_between_axes_deg(b, a) == pytest.approx(angle, abs=1e-4)


@given(_VECTORS)
def test_the_basis_across_an_axis_is_right_handed(axis: np.ndarray) -> None:
    reference = np.array([1.0, 0, 0]) if abs(geometry.unit(axis)[0]) < 0.9 else np.array([0, 1.0, 0])
    first, second = geometry.perpendicular_basis(axis, reference)
    np.testing.assert_allclose(np.cross(first, second), geometry.unit(axis), atol=1e-6)


def test_three_lines_through_a_point_meet_there() -> None:
    angles = np.deg2rad([5, 65, 125])
    normals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    point, miss = geometry.common_point(normals, normals @ [3.0, -4.0])
    np.testing.assert_allclose(point, [3, -4], atol=1e-9)
    assert miss == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("vector", [[0, 0, 0], [np.nan, 0, 1], [np.inf, 0, 0]])
def test_a_direction_without_length_is_refused(vector: list[float]) -> None:
    with pytest.raises(ValueError, match="finite, non-zero length"):
        geometry.unit(vector)


@pytest.mark.parametrize(
    ("row", "col", "expected"),
    [
        ([1, 0, 0], [0, 1, 0], True),
        ([1, 0, 0], [0.1, 1, 0], False),
        ([2, 0, 0], [0, 1, 0], False),
        ([np.nan, 0, 0], [0, 1, 0], False),
    ],
)
def test_orthonormal_directions_are_told(row: list[float], col: list[float], expected: bool) -> None:
    assert geometry.orthonormal(row, col) is expected


# by hand, with oblong pixels and on either side of the tolerances


def test_a_normal_is_the_row_crossed_with_the_column_at_length_one() -> None:
    np.testing.assert_allclose(geometry.normal([2, 0, 0], [0, 0, 3]), [0, -1, 0])
    np.testing.assert_allclose(geometry.unit([3, 0, -4]), [0.6, 0, -0.8])
    assert geometry.unit([0, 1e-6, 0])[1] == 1
    with pytest.raises(ValueError, match="finite, non-zero length"):
        geometry.unit([0, 1e-10, 0])


@pytest.mark.parametrize(("along", "across", "expected"), [(1.0, 0.019, True), (1.0, 0.021, False), (0.98, 0, False)])
def test_directions_are_orthonormal_within_two_per_cent(along: float, across: float, expected: bool) -> None:
    assert geometry.orthonormal([1, 0, 0], [across, along, 0]) is expected
    assert geometry.orthonormal([0, along, across], [0, 0, 1]) is expected
    assert geometry.orthonormal([1, 0, 0], [across, along, 0], 0.5) is True


@pytest.mark.parametrize(("first", "second", "angle"), [([1, 0, 0], [-1, 1, 0], 45), ([0, 0, 2], [1, 0, 0], 90)])
def test_angles_between_lines_by_hand(first: list[float], second: list[float], angle: float) -> None:
    assert geometry.angle_between_axes_deg(first, second) == pytest.approx(angle)


def test_gaps_are_those_of_neighbours_in_order_and_the_median_is_no_mean() -> None:
    assert geometry.spacing([30, 0, 10, 20]) == (10, True)
    assert geometry.spacing([50, 0, 10, 20]) == (10, False)
    assert geometry.spacing([0, 10, 20, 30.5]).uniform
    assert not geometry.spacing([0, 10, 20, 30.51]).uniform
    assert not geometry.spacing([0, 10, 20, 29.49]).uniform
    assert geometry.spacing([7, 15]) == (8, True)


def test_the_basis_across_an_axis_begins_with_the_reference_and_goes_on_by_the_right_hand() -> None:
    first, second = geometry.perpendicular_basis([0, 0, 5], [3, 4, 7])
    np.testing.assert_allclose([first, second], [[0.6, 0.8, 0], [-0.8, 0.6, 0]], atol=1e-12)


def test_lines_that_miss_each_other_meet_where_the_squares_are_least() -> None:
    # x = 0, y = 0 and a diagonal 4 mm off: by symmetry x = y = t, and 4 t = 2 sqrt 2 (4 - sqrt 2 t), so t = sqrt 2
    half = np.sqrt(0.5)
    point, miss_mm = geometry.common_point([[1, 0], [0, 1], [half, half]], [0, 0, 4])
    np.testing.assert_allclose(point, [np.sqrt(2), np.sqrt(2)])
    assert miss_mm == pytest.approx(2)


def test_planes_lie_along_the_mean_normal_by_their_centres_also_where_one_is_stored_flipped() -> None:
    view = xr.Dataset(
        {
            "position_mm": (("slice", "xyz"), [[0.0, 0, 12], [0, 0, -3], [0, 9, 20], [0, 0, 4]]),
            "row_dir": (("slice", "xyz"), [[1.0, 0, 0], [1, 0, 0], [1, 0, 0], [0.6, 0, 0.8]]),
            "col_dir": (("slice", "xyz"), [[0, 1.0, 0], [0, 1, 0], [0, -1, 0], [0, 1, 0]]),
            "pixel_mm": ("axis", [3.0, 2.0]),
        }
    )
    # normals (0, 0, 1) three times, the flipped one turned, and (-0.8, 0, 0.6): along (-0.2, 0, 0.9) on average;
    # centres are 4 mm along the row (5 columns of 2 mm) and 3 mm down the column (3 rows of 3 mm)
    centres = np.array([[4, 3, 12], [4, 3, -3], [4, 6, 20], [2.4, 3, 7.2]])
    expected = centres @ np.array([-0.2, 0, 0.9]) / np.hypot(0.2, 0.9)
    np.testing.assert_allclose(geometry.plane_offset_mm(view, (3, 5)), expected)
