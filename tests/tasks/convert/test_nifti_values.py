"""Values, times and frames of NIfTI files on either side of each limit; names and damage are in tests/tasks/sources."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cmr_models.reasons import StudyRejected
from tasks.convert import nifti, nifti_levels
from tasks.convert.nifti import Volume

NAN = np.nan


def _volume(values: Any = None, **changes: Any) -> Volume:
    shown = np.arange(2 * 3 * 4, dtype=np.int16).reshape(1, 2, 3, 4) if values is None else values
    volume = Volume(
        shown, np.array([[0.0, 0, 0], [0, 0, 8]]), np.array([1.0, 0, 0]), np.array([0.0, 1, 0]), (1.5, 1.25),
        nifti._Interval(NAN, 0),
    )  # fmt: skip
    return replace(volume, **changes)


# values


@pytest.mark.parametrize(
    ("values", "stored", "offset", "scale"),
    [
        ([0, 7, 900], [0, 7, 900], 0, 1), ([5.0, 7.0], [5, 7], 0, 1), ([-50, 0, 900], [0, 50, 950], -50, 1),
        ([0, 65_535], [0, 65_535], 0, 1), ([-1, 65_534], [0, 65_535], -1, 1),
        ([0.0, NAN, 4.0], [0, 0, 4], 0, 1), ([True, False], [1, 0], 0, 1),
        ([0.0, 65_536.0], [0, 4095], 0, 65_536 / 4095), ([-1.0, 65_535.0], [0, 4095], -1, 65_536 / 4095),
        ([1.5, 2.5], [0, 4095], 1.5, 1 / 4095), ([0.5, 0.5], [0, 0], 0.5, 1.0),
        ([0.0, 0.25 / 4095, 0.75 / 4095, 1.0, 0.5], [0, 0, 1, 4095, 2048], 0, 1 / 4095),
    ],
)  # fmt: skip
def test_whole_numbers_stay_and_others_become_levels(
    values: list[Any], stored: list[int], offset: float, scale: float
) -> None:
    found, attributes, is_clipped = nifti_levels.as_uint16(np.array(values))
    assert found.tolist() == stored
    assert found.dtype == np.uint16
    assert attributes == pytest.approx({"intensity_offset": offset, "intensity_scale": scale})
    assert not is_clipped


@pytest.mark.parametrize(
    ("far", "is_clipped"), [(0.4, False), (0.61, False), (-15.3, False), (-15.5, True), (16.5, False), (16.7, True)]
)
def test_a_voxel_sixteen_times_as_far_out_as_the_rest_is_clipped(far: float, is_clipped: bool) -> None:
    # 4001 values from 0.1 to 1.1, their middle 0.6, all but the rarest within 0.998: 16 times that is 15.97
    values = np.append(np.linspace(0.1, 1.1, 4000), far)
    low, high = nifti_levels._usual_range(values, float(values.min()), float(values.max()))
    assert (low, high) == pytest.approx(
        (0.101 if far < -15.4 else min(0.1, far), 1.099 if far > 16.6 else max(1.1, far)), abs=3e-4
    )
    stored, attributes, clipped = nifti_levels.as_uint16(values)
    assert clipped is is_clipped
    found = stored * attributes["intensity_scale"] + attributes["intensity_offset"]
    np.testing.assert_allclose(found[:-1], values[:-1], atol=0.6 * (high - low) / 4095 + 0.0011)
    assert found[-1] == pytest.approx(np.clip(far, low, high), abs=0.01)


def test_a_range_without_spread_is_kept() -> None:
    assert nifti_levels._usual_range(np.array([3.0] * 5000 + [9.0]), 3.0, 9.0) == (3, 9)


def test_whole_numbers_of_too_wide_a_range_stay_whole_once_an_outlier_is_clipped() -> None:
    values = np.array([*range(-100, 900), *range(-100, 900), 10**9])
    stored, attributes, is_clipped = nifti_levels.as_uint16(values)
    assert is_clipped
    assert attributes == {"intensity_offset": -100, "intensity_scale": 1}
    assert stored[:3].tolist() == [0, 1, 2]
    assert stored[-1] == pytest.approx(999, abs=2)


# time


@pytest.mark.parametrize(
    ("n", "step", "code", "cycle_ms", "is_corrected"),
    [
        (25, 0.03, 8, 750, False), (25, 0.03, 0, 750, False), (25, 30, 16, 750, False), (25, 30_000, 24, 750, False),
        (25, 30, 8, 750, True), (25, 0.03, 24, 750, True), (25, 30_000, 0, 750, True),
        (25, 0.01, 8, 250, False), (25, 0.0099, 8, NAN, False), (25, 0.12, 8, 3000, False), (25, 0.1201, 8, NAN, False),
        (3, 0.3, 8, 900, False), (2, 0.3, 8, NAN, False), (1, 0.9, 8, NAN, False),
        (25, 0.03, 32, NAN, False), (25, 0.03, 40, NAN, False), (25, 0.03, 48, NAN, False), (25, NAN, 8, NAN, False),
    ],
)  # fmt: skip
def test_frames_are_timed_where_three_or_more_make_a_cycle(
    n: int, step: float, code: int, cycle_ms: float, is_corrected: bool
) -> None:
    times = nifti._times(n, nifti._Interval(step, code))
    assert (times.cycle_ms, times.is_corrected) == (pytest.approx(cycle_ms, nan_ok=True), is_corrected)
    np.testing.assert_allclose(times.time_ms, np.arange(n) * cycle_ms / n)


# frames


def test_single_frames_come_in_the_order_of_the_cycle_or_of_their_numbers() -> None:
    assert sorted(["frame10", "frame2", "es", "ed"], key=nifti._in_cycle) == ["ed", "es", "frame2", "frame10"]
    group = [(phase, _volume(np.full((1, 2, 3, 4), k))) for k, phase in enumerate(("es", "frame3", "ed", "frame12"))]
    assert [phase for phase, _ in nifti._choose(group)] == ["ed", "es", "frame3", "frame12"]


def test_a_cine_goes_before_its_frames_and_the_same_twice_is_one() -> None:
    one, other = _volume(), _volume(_volume().values + 1)
    cine = _volume(np.zeros((5, 2, 3, 4)))
    assert nifti._choose([("ed", one), ("", cine), ("es", other)]) == [("", cine)]
    for name in ("t", "4d", "cine"):
        assert nifti._choose([("ed", one), (name, one)]) == [(name, one)]
    assert nifti._choose([("ed", one), ("ed", one), ("es", other)]) == [("ed", one), ("es", other)]
    for group in ([("ed", one), ("ed", other)], [("t", one), ("4d", other)], [("es", one), ("ed", one), ("es", other)]):
        with pytest.raises(StudyRejected, match="frame_twice"):
            nifti._choose(group)


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({}, True), ({"values": np.zeros((9, 2, 3, 4))}, True), ({"values": np.zeros((1, 2, 4, 3))}, False),
        ({"position_mm": np.array([[0.49, 0, 0], [0, 0, 8]])}, True),
        ({"position_mm": np.array([[0, 0, 0], [0, 0.51, 8.0]])}, False),
        ({"pixel_mm": (1.514, 1.25)}, True), ({"pixel_mm": (1.5, 1.264)}, False), ({"pixel_mm": (1.25, 1.5)}, False),
        ({"row_dir": np.array([1, 0.019, 0])}, True), ({"col_dir": np.array([0, 1, 0.021])}, False),
        ({"row_dir": np.array([1, 0, 0.021])}, False),
    ],
)  # fmt: skip
def test_frames_share_a_grid_within_half_a_millimetre_a_hundredth_and_a_degree(
    changes: dict[str, Any], is_same: bool
) -> None:
    assert nifti._same_grid(_volume(**changes), _volume()) is is_same


@pytest.mark.parametrize(
    ("n_planes", "view", "is_taken"), [(5, "lax_4c", True), (6, "lax_4c", False), (6, "sax", True)]
)
def test_a_long_axis_view_has_five_planes_at_most(n_planes: int, view: str, is_taken: bool) -> None:
    _expect_axes(np.zeros((1, n_planes, 4, 4)), view, is_taken)


def _expect_axes(values: np.ndarray, view: str, is_taken: bool) -> None:
    if is_taken:
        nifti._check_axes(values, view)
        return
    with pytest.raises(StudyRejected, match="axes_exchanged"):
        nifti._check_axes(values, view)


@pytest.mark.parametrize(("by_frame", "is_taken"), [(15, True), (15.1, False), (1, True)])
def test_frames_differ_by_one_and_a_half_of_what_slices_do_at_most(by_frame: float, is_taken: bool) -> None:
    frames, slices = np.meshgrid(np.arange(3), np.arange(4), indexing="ij")
    values = (by_frame * frames + 10.0 * slices)[..., None, None] * np.ones((1, 1, 5, 9))
    values[0, 0, 1:4] = values[0, 1, :, 1:4] = 1e6  # between the pixels that are looked at
    _expect_axes(values, "sax", is_taken)
    _expect_axes(values[:1], "sax", True)
    _expect_axes(values[:, :1], "sax", True)


def test_a_stack_lies_from_base_to_apex_only_where_the_file_says_how_it_lies() -> None:
    downwards = _volume(position_mm=np.array([[0.0, 0, 0], [6, -6, -5]]))
    assert nifti._order(downwards).base_first
    upwards = replace(downwards, position_mm=downwards.position_mm[::-1])
    assert not nifti._order(upwards).base_first
    assert nifti._order(replace(upwards, is_oriented=False)) == (True, False)


def test_the_distance_of_planes_is_along_their_normal() -> None:
    assert nifti._slice_mm(_volume(position_mm=np.array([[0.0, 0, 0], [30, 40, -8]]))) == pytest.approx(8)


def test_the_interval_is_that_of_the_axis_of_frames_unless_only_the_fourth_is_set() -> None:
    def interval(pixdim: list[float], axis: int, units: int = 10) -> Any:
        return nifti._interval({"pixdim": np.array(pixdim), "xyzt_units": np.array(units)}, axis)

    assert interval([1, 1.5, 1.5, 8, 0.03, 0.05], 3) == (0.03, 8)
    assert interval([1, 1.5, 1.5, 8, 0.03, 0.05], 4, 18) == (0.05, 16)
    assert interval([1, 1.5, 1.5, 8, 0.03, 0], 4, 64 + 26) == (0.03, 24)
    assert interval([1, 1.5, 1.5, 8, 0.03, 1], 4) == (0.03, 8)
    assert interval([1, 1.5, 1.5, 8, 1, 0.03], 3) == (1, 8)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.float32])
def test_signed_numbers_of_any_width_are_shifted_without_overflow(kind: type) -> None:
    low, high = (-128, 127) if kind is np.int8 else (-30_000, 30_000)
    stored, attributes, _ = nifti_levels.as_uint16(np.array([low, 0, high], kind))
    assert stored.tolist() == [0, -low, high - low]
    assert attributes == {"intensity_offset": low, "intensity_scale": 1}


def _stack(step_mm: tuple[float, float, float], **changes: Any) -> Volume:
    """Seven slices of the value of their place in the file, from (10, 20, 30) on."""
    values = np.repeat(np.arange(7, dtype=np.int16), 12).reshape(1, 7, 3, 4)
    place_mm = np.array([10.0, 20, 30]) + np.arange(7)[:, None] * np.array(step_mm)
    return _volume(values, position_mm=place_mm, **changes)


@pytest.mark.parametrize(
    ("volume", "first_mm", "last_mm", "is_reversed"),
    [
        (_stack((6.0, -6, -5)), (10, 20, 30), (46, -16, 0), False),
        (_stack((-6.0, 6, 5)), (-26, 56, 60), (10, 20, 30), True),
        (_stack((-6.0, 6, 5), is_oriented=False), (10, 20, 30), (-26, 56, 60), False),
    ],
    ids=["from the base", "from the apex", "not told"],
)
def test_slices_that_are_put_in_order_take_their_places_along(
    volume: Volume, first_mm: tuple[float, ...], last_mm: tuple[float, ...], is_reversed: bool
) -> None:
    found = nifti._view([("", volume)], "sax")
    shown = found["intensity"].values[0, :, 0, 0].tolist()
    assert shown == ([6, 5, 4, 3, 2, 1, 0] if is_reversed else [0, 1, 2, 3, 4, 5, 6])
    assert found["position_mm"].values[[0, -1]].tolist() == [list(first_mm), list(last_mm)]


def test_one_slice_of_a_long_axis_stays_where_it_lies() -> None:
    volume = _volume(np.full((1, 1, 3, 4), 5, np.int16), position_mm=np.array([[7.0, 8, 9]]))
    found = nifti._view([("", volume)], "lax_4c")
    assert found["position_mm"].values.tolist() == [[7, 8, 9]]
