"""Sizes that a heart's voxels can have, and how headers that state two are decided: on either side of each limit."""

from typing import Any

import numpy as np
import pytest

from cmr_models.reasons import StudyRejected
from tasks.convert import nifti_geometry
from tasks.convert.nifti_geometry import is_plausible

HEART, SHAPE = (1.5, 1.25, 8.0), (200, 160, 10)
NAN = np.nan


@pytest.mark.parametrize(
    ("voxel_mm", "shape", "plausible"),
    [
        (HEART, SHAPE, True),
        ((0.3, 0.3, 8), SHAPE, True), ((0.29, 0.3, 8), SHAPE, False), ((0.3, 0.29, 8), SHAPE, False),
        ((4.5, 4.5, 8), SHAPE, True), ((4.51, 4.5, 8), SHAPE, False), ((4.5, 4.51, 8), SHAPE, False),
        # pixels 2.5 times as long as wide, and more
        ((2.5, 1, 8), (100, 160, 10), True), ((2.51, 1, 8), (100, 160, 10), False),
        ((1, 2.51, 8), (160, 100, 10), False),
        # images three times as long as wide: 300 by 100 mm, and more
        ((1, 1, 8), (300, 100, 10), True), ((1, 1, 8), (301, 100, 10), False), ((1, 1, 8), (100, 301, 10), False),
        # 30 mm from plane to plane, and 300 mm in all
        ((1, 1, 30), (200, 160, 10), True), ((1, 1, 30.1), (200, 160, 9), False), ((1, 1, 30.1), (200, 160, 2), False),
        ((1, 1, 25), (200, 160, 12), True), ((1, 1, 25.1), (200, 160, 12), False),
        # planes closer than 3 mm have to make 40 mm, unless they are only two
        ((1, 1, 3), (200, 160, 3), True), ((1, 1, 2.9), (200, 160, 3), False), ((1, 1, 2.9), (200, 160, 2), True),
        ((1, 1, 2), (200, 160, 20), True), ((1, 1, 2), (200, 160, 19), False),
        ((1, 1, 0), (200, 160, 2), False), ((1, 1, -8), SHAPE, False), ((NAN, 1, 8), SHAPE, False),
        # of a single plane the third size says nothing
        ((1, 1, 0), (200, 160, 1), True), ((1, 1, 99), (200, 160, 1), True), ((1, 1, NAN), (200, 160, 1), True),
    ],
)  # fmt: skip
def test_voxels_are_a_hearts_within_limits(voxel_mm: Any, shape: Any, plausible: bool) -> None:
    assert is_plausible(voxel_mm, shape) is plausible


def _decided(by_affine: Any, by_pixdim: Any, shape: Any = SHAPE, unit_code: int = 2) -> Any:
    try:
        found = nifti_geometry._decide_sizes(np.array(by_affine, float), np.array(by_pixdim, float), shape, unit_code)
    except StudyRejected as rejected:
        return rejected.reason
    return tuple(found.voxel.tolist()), found.flags


ONES = (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("by_affine", "by_pixdim", "expected"),
    [
        (HEART, HEART, (HEART, ())),
        (HEART, (1.514, 1.239, 8.07), (HEART, ())),  # within a hundredth
        (HEART, (1.52, 1.25, 8), "spacing_contradictory"), (HEART, (1.5, 1.25, 8.1), "spacing_contradictory"),
        (HEART, (1.5, 0, 8), (HEART, ("pixdim_unset",))), (HEART, (1.5, NAN, 8), (HEART, ("pixdim_unset",))),
        (HEART, (np.inf, 1.25, 8), (HEART, ("pixdim_unset",))), (HEART, (1.5, 1.25, -8), (HEART, ("pixdim_unset",))),
        (ONES, HEART, (HEART, ("affine_without_scale",))), (HEART, ONES, (HEART, ("pixdim_unset",))),
        ((1.0009, 1, 0.9991), HEART, (HEART, ("affine_without_scale",))),
        ((1.0011, 1, 1), HEART, (HEART, ("spacing_disagrees",))),  # set, but ten planes a millimetre apart are no stack
        ((1.5, 1.25, 1), HEART, (HEART, ("spacing_disagrees",))),
        (HEART, (1.5, 1.25, 1), (HEART, ("spacing_disagrees",))),
        ((9, 9, 9), (0.1, 0.1, 0.1), "geometry_implausible"),
        ((1, 1, 1), (9, 9, 9), "geometry_implausible"), ((9, 9, 9), (1, 1, 1), "geometry_implausible"),
    ],
)  # fmt: skip
def test_of_two_sizes_the_one_that_is_set_and_a_hearts_is_taken(by_affine: Any, by_pixdim: Any, expected: Any) -> None:
    assert _decided(by_affine, by_pixdim) == expected


def test_of_a_single_plane_the_third_size_is_not_compared() -> None:
    assert _decided(HEART, (1.5, 1.25, 99), (200, 160, 1)) == (HEART, ())
    assert _decided(HEART, (1.5, 1.25, 99), (200, 160, 2)) == (HEART, ("spacing_disagrees",))
    assert _decided(HEART, (1.6, 1.25, 8), (200, 160, 1)) == "spacing_contradictory"


@pytest.mark.parametrize(
    ("voxel", "shape", "unit_code", "expected"),
    [
        (HEART, SHAPE, 2, (1.0, (0, 1, 2), [])), (HEART, SHAPE, 0, (1.0, (0, 1, 2), [])),
        ((0.0015, 0.00125, 0.008), SHAPE, 1, (1000.0, (0, 1, 2), [])),
        ((1500, 1250, 8000), SHAPE, 3, (0.001, (0, 1, 2), [])),
        ((0.0015, 0.00125, 0.008), SHAPE, 2, (1000.0, (0, 1, 2), ["unit_corrected"])),
        ((1500, 1250, 8000), SHAPE, 0, (0.001, (0, 1, 2), ["unit_corrected"])),
        (HEART, SHAPE, 1, (1.0, (0, 1, 2), ["unit_corrected"])),
        (HEART, SHAPE, 3, (1.0, (0, 1, 2), ["unit_corrected"])),
        ((8, 1.5, 1.25), (10, 200, 160), 2, (1.0, (1, 2, 0), ["axes_permuted"])),
        ((1.5, 8, 1.25), (200, 10, 160), 2, (1.0, (0, 2, 1), ["axes_permuted"])),
        ((8, 1.5, 1.25), (10, 200, 160), 1, "geometry_implausible"),  # not both at once
        ((8, 8, 8), SHAPE, 2, "geometry_implausible"),
    ],
)  # fmt: skip
def test_voxels_are_fitted_as_stated_else_in_another_unit_else_in_another_order(
    voxel: Any, shape: Any, unit_code: int, expected: Any
) -> None:
    if isinstance(expected, str):
        with pytest.raises(StudyRejected, match=expected):
            nifti_geometry._fit(np.array(voxel, float), shape, unit_code)
        assert not nifti_geometry._fits_some_order(np.array(voxel, float), shape, unit_code)
        return
    assert nifti_geometry._fit(np.array(voxel, float), shape, unit_code) == expected
    assert nifti_geometry._fits_some_order(np.array(voxel, float), shape, unit_code)


def _affine(columns: Any) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.array(columns, float).T
    return affine


@pytest.mark.parametrize(
    ("columns", "usable", "square", "bare"),
    [
        ([(1, 0, 0), (0, 1, 0), (0, 0, 1)], True, True, True), ([(0, -1, 0), (1, 0, 0), (0, 0, 1)], True, True, False),
        ([(-1.0009, 0, 0), (0, 1, 0), (0, 0, -1)], True, True, True),
        ([(1.0011, 0, 0), (0, 1, 0), (0, 0, 1)], True, True, False),
        ([(2, 0, 0), (0, 3, 0), (0, 0, 9)], True, True, False),
        ([(0, 0, 0), (0, 1, 0), (0, 0, 1)], False, None, False),
        ([(NAN, 0, 0), (0, 1, 0), (0, 0, 1)], False, None, False),
        # planes lean by 59 and 61 degrees from their normal
        ([(1, 0, 0), (0, 1, 0), (0, 0.857, 0.515)], True, True, False),
        ([(1, 0, 0), (0, 1, 0), (0, 0.8746, 0.4848)], False, True, False),
        # rows lean against columns by 1 degree and by 2
        ([(2, 0, 0), (0.05, 3, 0), (0, 0, 9)], True, True, False),
        ([(2, 0, 0), (0.105, 3, 0), (0, 0, 9)], True, False, False),
    ],
)  # fmt: skip
def test_an_affine_is_usable_square_or_bare(columns: Any, usable: bool, square: bool | None, bare: bool) -> None:
    affine = _affine(columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        assert nifti_geometry._is_usable(affine) is usable
    assert nifti_geometry._is_bare(affine) is bare
    if square is not None:
        assert nifti_geometry._is_square(affine) is square


@pytest.mark.parametrize(("degrees", "same"), [(1.9, True), (2.1, False)])
def test_directions_are_the_same_within_two_degrees_whatever_the_sizes(degrees: float, same: bool) -> None:
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    turned = _affine([(2 * cosine, 2 * sine, 0), (-3 * sine, 3 * cosine, 0), (0, 0, 8)])
    assert nifti_geometry._same_directions(_affine([(1, 0, 0), (0, 1, 0), (0, 0, 1)]), turned) is same


def test_without_a_code_the_first_axis_points_to_the_left_and_the_middle_is_the_origin() -> None:
    def header(pixdim: Any, sform_code: int = 0, qform_code: int = 0) -> dict[str, Any]:
        codes = {"sform_code": np.array(sform_code), "qform_code": np.array(qform_code)}
        return {"pixdim": np.array([1.0, *pixdim, 0.03]), **codes}

    affine = nifti_geometry._without_code(header(HEART), (3, 5, 9))
    np.testing.assert_allclose(affine, [[-1.5, 0, 0, 1.5], [0, 1.25, 0, -2.5], [0, 0, 8, -32], [0, 0, 0, 1]])
    for wrong in (header((1.5, 0, 8)), header((1.5, np.inf, 8)), header(HEART, 1), header(HEART, 0, 1)):
        with pytest.raises(StudyRejected, match="geometry_missing"):
            nifti_geometry._without_code(wrong, (3, 5, 9))
