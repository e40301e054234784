"""Planes in space: hand-computed cases and what must hold for any of them."""

import numpy as np
import pytest
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
