"""The wall around a pool, in pixels and in millimetres: areas from discs whose walls are known."""

import numpy as np
import pytest

from cmr_models.segmentation.end_slices import not_enclosed

RADIUS_PX = 16.0


def _areas(walls_px: list[float], radius_px: float = RADIUS_PX) -> tuple[np.ndarray, np.ndarray]:
    """Pool and wall of one frame: a wall's area is its thickness times the perimeter, as in the published rule."""
    pool = np.full(len(walls_px), np.pi * radius_px**2)
    return pool[None], (2 * np.pi * radius_px * np.array(walls_px))[None]


def _found(walls_px: list[float], pixel_mm: float = 1.0) -> list[int]:
    return np.flatnonzero(not_enclosed(*_areas(walls_px), pixel_mm)[0]).tolist()


@pytest.mark.parametrize(("wall_px", "open_slices"), [(4.01, []), (3.99, [0])])
def test_two_fifths_of_the_next_wall_are_enough(wall_px: float, open_slices: list[int]) -> None:
    assert _found([wall_px, 10, 10, 10, 10, 10]) == open_slices
    assert _found([10, 10, 10, 10, 10, wall_px]) == [5 - k for k in open_slices]


@pytest.mark.parametrize(("pixel_mm", "open_slices"), [(0.7, [0]), (1.4, [])])
def test_a_closing_wall_is_of_thirteen_millimetres_and_not_of_thirteen_pixels(
    pixel_mm: float, open_slices: list[int]
) -> None:
    # beside walls of 20 pixels, 5.2 mm close: 7.4 pixels of 0.7 mm, 3.7 of 1.4 mm
    assert _found([5.5, 20, 20, 20, 20, 20], pixel_mm) == open_slices


@pytest.mark.parametrize(("wall_px", "open_slices"), [(5.3, []), (5.1, [0])])
def test_beside_a_hypertrophic_wall_a_share_of_thirteen_millimetres_is_enough(
    wall_px: float, open_slices: list[int]
) -> None:
    assert _found([wall_px, 30, 30, 30, 30, 30]) == open_slices


def test_open_slices_follow_each_other_from_an_end_as_far_as_a_third_of_the_run() -> None:
    assert _found([1, 1, 10, 10, 10, 10]) == []  # the next one is as open
    assert _found([0.1, 1, 10, 10, 10, 10]) == [0, 1]
    assert _found([0.1, 10, 1, 10, 10, 10]) == [0]  # it ends at the first that is enclosed
    assert _found([0.001, 0.01, 0.1, 1, 10, 10]) == [0, 1]  # two of six
    assert _found([10, 10, 10, 10, 1, 0.1]) == [4, 5]


def test_the_run_is_that_of_each_frame_and_of_fewer_than_five_slices_nothing_is_said() -> None:
    walls = [10.0, 1, 10, 10, 10, 10, 10]
    pool, wall = (np.repeat(area, 3, axis=0) for area in _areas(walls))
    pool[1, 0] = pool[2, [0, 5, 6]] = 0  # the second frame begins with the open slice; the third has four left
    found = not_enclosed(pool, wall, 1.0)
    assert np.argwhere(found).tolist() == [[1, 1]]
    pool[2, 5] = pool[0, 1]  # five
    assert np.argwhere(not_enclosed(pool, wall, 1.0)).tolist() == [[1, 1], [2, 1]]
