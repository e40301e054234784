"""Planes of one view on one grid: by hand, with oblong pixels, odd matrices, uneven times and headers that differ."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from dicom_factory import header_images

from cmr_models.views.plane import Plane
from cmr_models.views.series_kind import SeriesFacts
from tasks.convert import stack
from tasks.convert.phases import Cycle
from tasks.convert.plane_images import PlaneImages

NAN = np.nan
PLANE = Plane(
    np.array([10.0, 20, 30]), np.array([0.0, 1, 0]), np.array([0.0, 0, -1]), (4.0, 3.75), (48, 41), 3, 3, thickness_mm=8
)
"""Down a column is down the body, along a row to the back."""


def _cycle(
    time_ms: list[float], cycle_ms: float = 900.0, image: list[int] | None = None, irregular: bool = False
) -> Cycle:
    numbers = np.arange(len(time_ms)) if image is None else np.array(image)
    return Cycle(numbers.astype(np.intp), np.array(time_ms, float), cycle_ms, irregular)


# in plane


def test_a_plane_of_other_pixels_is_resampled_about_its_own_centre() -> None:
    grid = stack._Grid(PLANE, (24, 20), (8.0, 7.5))
    # 24 rows of 8 mm about the middle of 48 of 4 mm begin half a row in, 20 columns of 7.5 mm one column of 3.75 in
    np.testing.assert_allclose(grid.position_mm, [10, 20 + 3.75, 30 - 2])
    rows, cols = np.mgrid[:48, :41]
    found = grid.fit((10 * rows + 3 * cols).astype(np.uint16))
    rows, cols = np.mgrid[:24, :20]
    np.testing.assert_array_equal(found, 8 + 20 * rows + 6 * cols)
    assert found.dtype == np.uint16


def test_beyond_a_resampled_plane_there_is_nothing() -> None:
    small = replace(PLANE, shape=(12, 10))
    found = stack._Grid(small, (24, 20), (8.0, 7.5)).fit(np.full((12, 10), 700, np.int16))
    rows, cols = np.nonzero(found)
    assert set(found[found > 0].tolist()) == {700}
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (9, 14, 8, 11)  # 6 rows and 5 columns, less half a pixel


@pytest.mark.parametrize(("row_mm", "is_same"), [(8.079, True), (8.081, False), (7.921, True), (7.919, False)])
def test_pixels_within_a_hundredth_are_the_same(row_mm: float, is_same: bool) -> None:
    assert stack._same_mm((row_mm, 7.5), (8.0, 7.5)) is is_same
    assert stack._same_mm((7.5, row_mm), (7.5, 8.0)) is is_same
    image = np.arange(480, dtype=np.uint16).reshape(24, 20)
    fitted = stack._Grid(replace(PLANE, shape=(24, 20), pixel_mm=(row_mm, 7.5)), (24, 20), (8.0, 7.5)).fit(image)
    assert (fitted is image) is is_same


@pytest.mark.parametrize(
    ("shape", "first_row", "first_col"),
    [
        ((5, 4), 0, 0),
        ((7, 4), 1, 0),
        ((8, 4), 1, 0),
        ((5, 7), 0, 1),
        ((4, 4), -1, 0),
        ((2, 3), -2, -1),
        ((9, 2), 2, -1),
    ],
)
def test_a_plane_of_another_matrix_is_cut_or_padded_about_its_centre(
    shape: tuple[int, int], first_row: int, first_col: int
) -> None:
    plane = replace(PLANE, shape=shape)
    grid = stack._Grid(plane, (5, 4), (4.0, 3.75))
    np.testing.assert_allclose(grid.position_mm, [10, 20 + 3.75 * first_col, 30 - 4.0 * first_row])
    image = 1 + np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape)
    found = grid.fit(image)
    for row in range(5):
        for col in range(4):
            theirs = (row + first_row, col + first_col)
            is_there = 0 <= theirs[0] < shape[0] and 0 <= theirs[1] < shape[1]
            assert found[row, col] == (image[theirs] if is_there else 0)


def test_most_planes_decide_on_matrix_and_pixels_and_of_equals_the_larger() -> None:
    def majority(*planes: tuple[tuple[int, int], tuple[float, float]]) -> Any:
        return stack._majority([replace(PLANE, shape=shape, pixel_mm=mm) for shape, mm in planes])

    small, large, wide = (10, 12), (20, 12), (12, 20)
    fine, coarse = (1.0, 1.5), (1.5, 1.0)
    assert majority((small, coarse), (large, fine), (small, fine)) == (small, fine)
    assert majority((small, fine), (large, coarse)) == (large, coarse)
    assert majority((wide, coarse), (large, fine)) == (large, coarse)  # as many pixels: more rows
    assert majority((large, coarse), (small, fine), (wide, fine)) == (large, fine)


def test_the_distance_of_planes_is_that_of_most_along_the_axis() -> None:
    planes = [replace(PLANE, position_mm=np.array([x, 3.0 * x, 0])) for x in (26.0, 0, 18, 8)]
    assert stack._slice_mm(planes, np.array([1.0, 0, 0])) == pytest.approx(8)
    assert stack._slice_mm(planes[:2], np.array([0, 1.0, 0])) == pytest.approx(78)
    assert np.isnan(stack._slice_mm(planes[:1], np.array([1.0, 0, 0])))
    assert np.isnan(stack._slice_mm(planes, None))


# time


def test_times_are_the_middle_of_those_planes_that_have_all_and_the_rate_is_of_the_middle_cycle() -> None:
    cycles = [
        _cycle([0, 40, 80], 800), _cycle([0, 42, 90], 1000), _cycle([0, 41, 100], NAN), _cycle([0, 500, NAN], 1000),
        _cycle([0, 60, 82], 1000),
    ]  # fmt: skip
    time_ms, heart_rate_bpm = stack._time(cycles)
    assert time_ms.tolist() == [0, 41.5, 86]
    assert heart_rate_bpm == pytest.approx(60)
    time_ms, heart_rate_bpm = stack._time([_cycle([NAN, NAN], NAN)] * 2)
    assert np.isnan([*time_ms, heart_rate_bpm]).all()
    assert len(time_ms) == 2
    assert stack._time([_cycle([0, 1], 750), _cycle([0, 3], 500)])[1] == pytest.approx(96)  # 625 ms


# a view


def _member(number: int, value: int, cycle: Cycle | None = None, **changes: Any) -> PlaneImages:
    """Three images of 2 x 3 pixels; ``changes`` are of the plane, lists of them of the headers."""
    header = {name: entry for name, entry in changes.items() if isinstance(entry, list)}
    images = header_images(series_number=[number] * 3, **header)
    for k, image in enumerate(images):
        image.pixels = np.full((2, 3), value + k, np.uint16)
    of_plane = {name: entry for name, entry in changes.items() if not isinstance(entry, list)}
    plane = replace(PLANE, shape=(2, 3), position_mm=np.array([float(number), 0, 0]), **of_plane)
    return PlaneImages(images, SeriesFacts(), _cycle([0, 40, 80]) if cycle is None else cycle, plane)


AXIS = np.array([1.0, 0, 0])


def test_images_lie_in_their_frames_and_gaps_are_empty_and_said() -> None:
    gap = _cycle([0, 40, 80], image=[2, -1, 0])
    view = stack.assemble([_member(1, 10), _member(9, 50, gap)], ["slices_few"], AXIS)
    np.testing.assert_array_equal(view["intensity"].values[:, :, 1, 2], [[10, 52], [11, 0], [12, 50]])
    np.testing.assert_array_equal(view["frame_valid"].values, [[True, True], [True, False], [True, True]])
    assert view.attrs["flags"] == ["frame_missing", "slices_few"]
    assert view.attrs["slice_mm"] == pytest.approx(8)
    assert view.attrs["heart_rate_bpm"] == pytest.approx(60_000 / 900)


def test_a_view_without_anything_odd_has_no_flags_and_each_oddity_has_its_own() -> None:
    def flags(**changes: Any) -> list[str]:
        return list(
            stack.assemble([_member(1, 10), _member(9, 50), _member(17, 60, **changes)], [], AXIS).attrs["flags"]
        )

    assert flags() == []
    assert flags(cycle=_cycle([0, 30, 60, 90], image=[0, 1, 2, 0])) == ["frames_mixed"]
    assert flags(cycle=_cycle([0, 40, 80], irregular=True)) == ["trigger_irregular"]
    assert flags(pixel_mm=(4.1, 3.75)) == ["matrix_mixed"]
    assert flags(rescale_slope=[1, 2, 3]) == ["rescale_common"]
    odd = _member(17, 60)
    odd.images[2].flags = frozenset({"padding_blanked"})
    assert stack.assemble([_member(1, 10), odd], [], AXIS).attrs["flags"] == ["padding_blanked"]


def test_headers_are_those_of_the_first_plane_and_lists_are_of_all() -> None:
    first = _member(
        7, 10, manufacturer=["SIEMENS <Smith> 1"] * 3, echo_time_ms=[1.25] * 3, field_strength_t=[1.5] * 3,
        series_description=["sax_stack Smith"] * 3, thickness_mm=6.0, rescale_slope=[2.5] * 3,
        rescale_intercept=[-4] * 3,
    )  # fmt: skip
    same = {"rescale_slope": [2.5] * 3, "rescale_intercept": [-4] * 3}
    others = [
        _member(3, 50, manufacturer=["Philips"] * 3, series_description=["sax cine 51"] * 3, thickness_mm=10.0, **same),
        _member(9, 50, series_description=["sax_stack Smith"] * 3, thickness_mm=7.0, **same),
    ]
    others[1].images[0].values.pop(0x00200011)
    attrs = stack.assemble([first, *others], [], AXIS).attrs
    assert (attrs["manufacturer"], attrs["echo_time_ms"], attrs["field_strength_t"]) == ("SIEMENS", 1.25, 1.5)
    assert attrs["series_numbers"] == [7, 3, -1]
    assert attrs["series_descriptions"] == ["sax cine", "sax stack"]
    assert (attrs["rescale_slope"], attrs["rescale_intercept"], attrs["rescale_varies"]) == (2.5, -4, False)
    assert attrs["thickness_mm"] == 7
    unstated = stack.assemble([_member(1, 10), _member(9, 20)], [], AXIS).attrs
    assert (unstated["rescale_slope"], unstated["rescale_intercept"]) == (1, 0)
    assert np.isnan(unstated["flip_angle_deg"])


def test_pixels_are_dropped_once_they_are_copied() -> None:
    members = [_member(1, 10), _member(9, 20)]
    stack.assemble(members, [], AXIS)
    assert all(image.pixels is None for member in members for image in member.images)


def test_a_plane_with_other_frames_is_sampled_as_most_have_them() -> None:
    four = _cycle([0, 225, 450, 675], image=[0, 1, 2, 1])
    view = stack.assemble([_member(1, 10), _member(9, 20), _member(17, 60, four)], [], AXIS)
    # phases 0, 1/3, 2/3 are nearest to images 0, 1 (of 1.33) and 3 (of 2.67) of four
    assert view["intensity"].values[:, 2, 0, 0].tolist() == [60, 61, 61]
    assert view.sizes["frame"] == 3
