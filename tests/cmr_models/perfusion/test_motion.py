"""Motion of the ventricle and the clocks of its series, by hand."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.perfusion.motion import (
    Motion,
    Path,
    align_input,
    correct_motion,
    density_on,
    input_motion,
    shared_grid,
    ventricle_motion,
)
from cmr_models.perfusion.series import FirstPass

PIXEL_MM = np.array([2.0, 1.5])
TIMES = np.arange(14) * 1.0


def view_of(
    start_ms: float = 0.0, timed_by: str = "clock", images: Any = None, begin_ms: float = 0.0, row_dir: Any = (1, 0, 0)
) -> xr.Dataset:
    values = np.zeros((14, 1, 20, 30), np.uint16) if images is None else images
    return xr.Dataset(
        {
            "intensity": (("frame", "slice", "row", "col"), values),
            "acquired_ms": (("frame", "slice"), begin_ms + 1000 * TIMES[:, None]),
            "frame_valid": (("frame", "slice"), np.ones((14, 1), bool)),
            "pixel_mm": ("axis", PIXEL_MM),
            "row_dir": (("slice", "xyz"), np.array([row_dir], float)),
            "col_dir": (("slice", "xyz"), np.array([[0.0, 1, 0]])),
        },
        attrs={"start_ms": start_ms, "timed_by": timed_by},
    )


def test_the_ventricle_moves_as_the_mean_of_its_pixels_in_millimetres() -> None:
    displacement = np.zeros((2, 3, 4, 2), np.float32)
    displacement[0, 1, 1], displacement[0, 1, 2] = [1, 3], [2, 5]
    displacement[1, 1, 1], displacement[1, 1, 2] = [-1, 0], [0, 4]
    displacement[:, 0] = 100
    labels = np.zeros((3, 4), np.uint8)
    labels[1, 1], labels[1, 2], labels[0, :] = LV, MYOCARDIUM, RV
    found = ventricle_motion(Path(displacement, np.array([0.5, 1.5])), labels, PIXEL_MM)
    np.testing.assert_allclose(found.mm, [[3, 8], [-0.75, 3]])
    assert found.time_s.tolist() == [0.5, 1.5]
    nobody = ventricle_motion(Path(displacement, np.array([0.5, 1.5])), np.zeros((3, 4), np.uint8), PIXEL_MM)
    np.testing.assert_allclose(nobody.mm[0], 2 * (np.array([3, 8]) + 400) / 12)


@pytest.mark.parametrize(
    ("late_ms", "timed_by", "first_s"),
    [
        (1300.0, "clock", 1.3),
        (-1300.0, "clock", 0.0),
        (4900.0, "clock", 4.9),
        (5100.0, "clock", 0.0),
        (1300.0, "beat", 0.0),
    ],
)
def test_series_share_the_time_of_both_where_their_clocks_agree(late_ms: float, timed_by: str, first_s: float) -> None:
    views = {"": view_of(1e6), "_aif": view_of(1e6 + late_ms, timed_by), "_pd": view_of(9e9)}
    grid = shared_grid(views)
    assert grid[0] == pytest.approx(first_s)
    assert grid[-1] <= 13 + min(0, late_ms / 1000) * (timed_by == "clock")
    assert grid[-1] > 12.5 + min(0, late_ms / 1000) * (timed_by == "clock")
    gap = views["_aif"].assign(
        acquired_ms=views["_aif"]["acquired_ms"].copy(), frame_valid=views["_aif"]["frame_valid"].copy()
    )
    gap["acquired_ms"].values[5], gap["frame_valid"].values[5] = np.nan, False
    np.testing.assert_allclose(shared_grid({"": views[""], "_aif": gap}), grid)
    untimed = {role: view.assign(acquired_ms=view["acquired_ms"] * np.nan) for role, view in views.items()}
    assert shared_grid(untimed) is None
    np.testing.assert_allclose(shared_grid({"": views[""], "_aif": untimed["_aif"]}), np.arange(0, 13.1, 0.5))


def _moving(mm: float) -> Motion:
    """Down by so much in the last beat, after a mean that does not count."""
    path = np.full((2, 14), 40.0)
    path[0, -1] += mm
    return Motion(path, TIMES)


def test_the_input_moves_with_the_wall_where_clocks_and_planes_agree() -> None:
    limits: set[str] = set()
    motion = _moving(9.0)
    tilted = (np.cos(np.deg2rad(11)), 0, np.sin(np.deg2rad(11)))  # cos 11.5 degrees is 0.98
    for view in (view_of(), view_of(row_dir=tilted)):
        assert input_motion({"": view_of(), "_aif": view}, motion, limits) is motion
    assert limits == set()


@pytest.mark.parametrize(
    "view", [view_of(timed_by="beat"), view_of(row_dir=(np.cos(0.21), 0, np.sin(0.21))), view_of(row_dir=(-1, 0, 0))]
)
@pytest.mark.parametrize(("mm", "limits"), [(1.06, set()), (1.09, {"aif_moved"})])
def test_else_it_is_left_where_it_is_and_half_a_pixel_of_motion_is_told(
    view: xr.Dataset, mm: float, limits: set[str]
) -> None:
    # one of 14 beats is off by 13/14 of it, in pixels of 2 mm: 0.492 or 0.506
    found: set[str] = set()
    still = input_motion({"": view_of(), "_aif": view}, _moving(mm), found)
    assert found == limits
    assert not still.mm.any()
    assert still.mm.shape == (2, 14)


def test_the_input_is_moved_back_in_its_own_pixels_at_its_own_times() -> None:
    images = np.zeros((14, 1, 20, 30), np.uint16)
    for beat in range(14):
        images[beat, 0, 8 + beat % 3, 12 + 2 * (beat % 2)] = 900  # down by 0, 1, 2 px, along by 0, 2 px
    motion = Motion(np.stack([2.0 * (np.arange(14) % 3), 3.0 * (np.arange(14) % 2)]), TIMES + 2.0)
    heart = FirstPass(np.zeros((1, 20, 30, 23), np.float32), np.arange(2.0, 13.5, 0.5))
    # its first beat is 2 s later than the heart's clock says
    found = align_input(view_of(2000.0, images=images), view_of(0.0), heart, motion)
    assert found.shape == (20, 30, 23)
    np.testing.assert_allclose(found[8, 12], 900, rtol=1e-4)


def test_the_corrected_series_is_on_the_grid_that_was_given_with_a_path_for_each_slice() -> None:
    rows, cols = np.indices((20, 30))
    course = np.r_[np.zeros(4), np.linspace(0, 1, 5), np.ones(5)]
    images = 50 + 400 * course[:, None, None] * (np.hypot(rows - 9, cols - 14) < 5)
    images = images + np.random.default_rng(0).normal(0, 3, images.shape)
    view = view_of(images=np.asarray(images[:, None], np.uint16), begin_ms=500.0)
    grid = np.arange(1.0, 13.1, 0.5)
    heart, (path,) = correct_motion(view, grid)
    assert heart.time_s is grid
    assert heart.signal.shape == (1, 20, 30, grid.size)
    assert path.displacement.shape == (2, 20, 30, 14)
    np.testing.assert_allclose(path.time_s, TIMES + 0.5)
    assert correct_motion(view, None)[0].time_s[0] == 0.5
    assert np.ptp(path.displacement[:, 9, 14, 9:], axis=1).max() < 0.1  # once the heart is seen, it lies still


def test_proton_density_lies_on_the_heart_and_none_is_none() -> None:
    heart = FirstPass(np.zeros((1, 20, 30, 23), np.float32), np.arange(23) * 0.5)
    assert density_on(heart, None) is None
