"""A perfusion view on an even grid: beats at uneven times, gaps, scales and limits by hand."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from cmr_models.perfusion.series import common_grid, first_pass, mean_image
from cmr_models.reasons import StudyRejected

NAN = math.nan


def view_of(
    intensity: npt.ArrayLike, acquired_ms: npt.ArrayLike, valid: npt.ArrayLike | None = None, **attrs: Any
) -> xr.Dataset:
    """A view of frames ``(frame, slice, row, col)``; a number in place of an image stands for all its pixels."""
    values = np.asarray(intensity, np.uint16)
    values = values if values.ndim == 4 else np.broadcast_to(values[..., None, None], (*values.shape, 5, 5))
    times = np.asarray(acquired_ms, float)
    known = np.ones(values.shape[:2], bool) if valid is None else np.asarray(valid)
    return xr.Dataset(
        {
            "intensity": (("frame", "slice", "row", "col"), values.copy()),
            "acquired_ms": (
                ("frame", "slice"),
                times if times.ndim == 2 else times[:, None].repeat(values.shape[1], 1),
            ),
            "frame_valid": (("frame", "slice"), known),
        },
        attrs=attrs,
    )


BEATS = np.arange(14) * 800.0 + 200  # 0.2 to 10.6 s


def test_beats_are_interpolated_on_half_seconds_from_the_first_time_on() -> None:
    found = first_pass(view_of(100 * np.arange(14)[:, None], BEATS))
    np.testing.assert_allclose(found.time_s, 0.2 + 0.5 * np.arange(21))
    # 100 a beat of 0.8 s is 62.5 a half second; the last time is 10.2 s
    np.testing.assert_allclose(found.signal[0, 2, 3], 62.5 * np.arange(21), rtol=1e-5)
    assert (found.signal.shape, found.signal.dtype) == ((1, 5, 5, 21), np.float32)


def test_slices_share_the_time_that_all_of_them_have_and_each_has_its_own_clock() -> None:
    times = np.stack([BEATS, BEATS + 300], axis=1)
    found = first_pass(view_of(np.stack([100 * np.arange(14), 10 * np.arange(14)], 1), times))
    np.testing.assert_allclose(found.time_s, 0.5 + 0.5 * np.arange(21))
    np.testing.assert_allclose(found.signal[0, 0, 0, :3], [37.5, 100, 162.5], rtol=1e-5)
    np.testing.assert_allclose(found.signal[1, 0, 0, :3], [0, 6.25, 12.5], rtol=1e-5)


def test_missing_images_are_bridged_and_their_pixels_do_not_count() -> None:
    intensity, valid = 100 * np.arange(15)[:, None], np.ones((15, 1), bool)
    intensity[4], valid[4] = 60000, False
    times = np.arange(15) * 800.0
    times[4] = NAN
    found = first_pass(view_of(intensity, times, valid))
    np.testing.assert_allclose(found.signal[0, 0, 0], 62.5 * np.arange(found.time_s.size), rtol=1e-5)


def test_an_offset_moves_times_and_a_given_grid_is_kept_with_ends_held() -> None:
    grid = np.arange(-1.0, 13.0, 0.5)
    found = first_pass(view_of(100 * np.arange(14)[:, None], BEATS), grid, 0.8)
    assert found.time_s is grid
    first, last = np.searchsorted(grid, [1.0, 11.4])
    np.testing.assert_allclose(found.signal[0, 0, 0, : first + 1], 0, atol=1e-3)
    np.testing.assert_allclose(found.signal[0, 0, 0, last:], 1300)
    assert found.signal[0, 0, 0, 6] == pytest.approx(125)  # at 2 s, a second after the first beat


def test_values_are_the_scanners() -> None:
    scale = {"intensity_scale": 2.0, "intensity_offset": -10.0, "rescale_slope": 0.5, "rescale_intercept": 3.0}
    view = view_of(100 * np.arange(14)[:, None], BEATS, **scale)
    assert first_pass(view).signal[0, 0, 0, :2] == pytest.approx([(0 - 10) * 0.5 + 3, (125 - 10) * 0.5 + 3])
    assert first_pass(view_of(100 * np.arange(14)[:, None], BEATS)).signal[0, 0, 0, 0] == 0


def test_a_mean_image_leaves_out_images_that_are_not_there() -> None:
    view = view_of(
        [[10, 1], [20, 2], [60, 9]], [0, 1, 2], [[True, True], [True, True], [False, True]], rescale_slope=2.0
    )
    assert mean_image(view)[:, 1, 4].tolist() == [30, 8]
    assert mean_image(view).shape == (2, 5, 5)


def test_a_grid_is_common_to_all_views() -> None:
    late = view_of(np.ones((14, 1)), BEATS + 900)
    grid = common_grid([(view_of(np.ones((14, 1)), BEATS), 0.0), (late, -0.3)])
    np.testing.assert_allclose(grid, np.arange(0.8, 10.6, 0.5))  # from 0.2 + 0.9 - 0.3 to 10.6
    alone = common_grid([(view_of(np.ones((3, 1)), [NAN, NAN, NAN]), 0.0)])
    assert alone.size == 1


# what is refused


def _reason(view: xr.Dataset, **given: Any) -> str:
    with pytest.raises(StudyRejected) as caught:
        first_pass(view, **given)
    return caught.value.reason


@pytest.mark.parametrize(("n", "accepted"), [(12, True), (11, False)])
def test_every_slice_needs_twelve_frames(n: int, accepted: bool) -> None:
    valid = np.ones((14, 2), bool)
    valid[n:, 1] = False
    view = view_of(np.ones((14, 2)), np.arange(14) * 1000.0, valid)
    if accepted:
        assert first_pass(view).signal.shape[-1] == 23
    else:
        assert _reason(view) == "perfusion_few_frames"


@pytest.mark.parametrize("begin_ms", [0.0, 7000.0])
@pytest.mark.parametrize(("step_ms", "accepted"), [(731.0, True), (729.0, False)])
def test_a_first_pass_takes_ten_seconds_less_a_step(begin_ms: float, step_ms: float, accepted: bool) -> None:
    view = view_of(np.ones((14, 1)), begin_ms + np.arange(14) * step_ms)  # 9.503 or 9.477 s: grids of 9.5 and 9 s
    assert accepted or _reason(view) == "perfusion_few_frames"
    assert not accepted or first_pass(view).time_s[-1] == begin_ms / 1000 + 9.5


def test_an_unknown_time_of_an_image_that_is_there_is_a_reason() -> None:
    times = BEATS.copy()
    times[5] = NAN
    assert _reason(view_of(np.ones((14, 1)), times)) == "perfusion_time_unknown"


@pytest.mark.parametrize(
    ("highest", "n_frames", "n_pixels", "before", "clipped"),
    [
        (4095, 3, 20, 0, True),
        (4095, 3, 19, 0, False),
        (4095, 2, 25, 0, False),
        (4094, 9, 25, 0, False),
        (1023, 3, 20, 0, True),
        (65535, 3, 20, 0, True),
        (500, 3, 20, 20, True),
        (500, 3, 20, 19, False),
        (4095, 3, 19, 20, True),
    ],
)
def test_twenty_pixels_at_the_top_for_three_frames_are_clipped(
    highest: int, n_frames: int, n_pixels: int, before: int, clipped: bool
) -> None:
    values = np.full((14, 1, 5, 5), 7)
    values[5 : 5 + n_frames].reshape(n_frames, 25)[:, :n_pixels] = highest
    view = view_of(values, BEATS, clipped_pixels=before)
    assert (_reason(view) == "perfusion_clipped") if clipped else first_pass(view).signal.max() <= highest
