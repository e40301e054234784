"""The centre of the heart: planes that cross where a hand can compute it, and boxes that move."""

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from cmr_models.views.heart_location import _central, crossing_px, find_heart_centre, moving_px

MM = (2.0, 1.5)


def view(
    positions: list[list[float]], row_dir: list[float], col_dir: list[float], pixel_mm: tuple[float, float]
) -> xr.Dataset:
    n = len(positions)
    return xr.Dataset(
        {
            "position_mm": (("slice", "xyz"), np.array(positions, float)),
            "row_dir": (("slice", "xyz"), np.tile(np.array(row_dir, float), (n, 1))),
            "col_dir": (("slice", "xyz"), np.tile(np.array(col_dir, float), (n, 1))),
            "pixel_mm": ("axis", np.array(pixel_mm)),
        }
    )


# the planes meet in (9, 4, 12): the middle of the stack is at z = 12, the 4-chamber plane at y = 4, the other at x = 9
SAX = view([[-30, -20, 0], [-30, -20, 10], [-30, -20, 26]], [1, 0, 0], [0, 1, 0], MM)
FOUR = view([[-40, 4, -25]], [1, 0, 0], [0, 0, 1], (1.25, 2.0))
TWO = view([[9, -28, -36]], [0, 1, 0], [0, 0, 1], (3.0, 1.6))


def _two_turned(turn_deg: float) -> xr.Dataset:
    """A plane through the same point, ``turn_deg`` from the 4-chamber one, about the axis."""
    along = [float(np.cos(np.deg2rad(turn_deg))), float(np.sin(np.deg2rad(turn_deg))), 0]
    return view([[9 - 50 * along[0], 4 - 50 * along[1], -30]], along, [0, 0, 1], (1.0, 1.0))


def test_the_crossing_is_where_the_long_axis_planes_meet_the_middle_of_the_stack() -> None:
    views = {"sax": SAX, "lax_4c": FOUR, "lax_2c": TWO}
    assert crossing_px(views, "sax") == pytest.approx((24 / 2.0, 39 / 1.5))
    assert crossing_px(views, "lax_4c") == pytest.approx((37 / 1.25, 49 / 2.0))
    assert crossing_px(views, "lax_2c") == pytest.approx((48 / 3.0, 32 / 1.6))


def test_without_planes_that_cut_each_other_there_is_no_crossing() -> None:
    assert crossing_px({"sax": SAX, "lax_4c": FOUR}, "sax") is None
    assert crossing_px({"lax_4c": FOUR, "lax_2c": TWO}, "lax_4c") is None
    assert crossing_px({"sax": SAX, "lax_4c": FOUR}, "lax_4c") is None
    for turn_deg, known in ((19, False), (21, True), (161, False), (159, True)):
        views = {"sax": SAX, "lax_4c": FOUR, "lax_2c": _two_turned(turn_deg)}
        assert (crossing_px(views, "sax") is not None) == known
        assert (crossing_px(views, "lax_4c") is not None) == known


def test_of_three_long_axes_the_first_pair_that_cuts_is_taken() -> None:
    aside = view([[0, -30, -36]], [0, 1, 0], [0, 0, 1], (1.0, 1.0))  # the 3-chamber plane at x = 0
    views = {"sax": SAX, "lax_4c": FOUR, "lax_2c": TWO, "lax_3c": aside}
    assert crossing_px(views, "sax") == pytest.approx((12, 26))
    views["lax_2c"] = _two_turned(5)
    assert crossing_px(views, "sax") == pytest.approx((12, 20))
    assert crossing_px(views, "lax_4c") == pytest.approx((37 / 1.25, 40 / 2.0))


# what moves


def beating(
    rows: slice,
    cols: slice,
    *,
    shape: tuple[int, int] = (60, 90),
    frames: int = 4,
    slices: int = 3,
    strength: int = 100,
) -> npt.NDArray[np.int16]:
    """A box that is bright in every other frame, in all slices."""
    images = np.full((frames, slices, *shape), 200, np.int16)
    images[::2, :, rows, cols] += strength
    return images


def test_the_middle_of_what_moves_is_found_in_pixels_of_any_shape() -> None:
    found = moving_px(beating(slice(22, 29), slice(50, 59)), MM)
    assert found == pytest.approx((25, 54), abs=0.8)  # drawn a little to the middle, (29.5, 44.5)
    assert found[0] > 25
    assert found[1] < 54
    # 20 mm of smoothing along the rows and 4 along the columns: the middle pulls more along the first
    oblong = moving_px(beating(slice(22, 29), slice(30, 39)), (0.8, 4.0))
    assert oblong[0] - 25 > 4 * (oblong[1] - 34) / 2


def test_large_images_are_looked_at_in_steps() -> None:
    found = moving_px(beating(slice(100, 140), slice(240, 300), shape=(300, 520)), (1.0, 1.0))
    assert found == pytest.approx((119.5, 269.5), abs=3)


def test_of_two_moving_places_a_weak_one_far_off_does_not_count() -> None:
    images = beating(slice(25, 34), slice(40, 49)) + beating(slice(25, 34), slice(64, 73), strength=60) - 200
    assert moving_px(images, MM) == pytest.approx((29.2, 44.2), abs=0.5)


def test_some_slices_and_every_twelfth_of_the_frames_are_looked_at() -> None:
    images = np.zeros((24, 9, 40, 40), np.uint16)
    images[1::2, :, 15:20, 15:20] = 50  # of 24 frames every other one is read: always the same
    assert moving_px(images, MM) is None
    images = np.zeros((4, 9, 40, 40), np.uint16)
    images[::2, [1, 3, 5, 7], 15:20, 15:20] = 50  # of nine slices the first, third ... are read
    assert moving_px(images, MM) is None
    images[::2, 8, 15:20, 15:20] = 50
    assert moving_px(images, MM) is not None


def test_two_frames_are_enough_and_small_images_are_looked_at_in_full() -> None:
    images = np.zeros((2, 1, 256, 40))
    images[0, 0, 101:110:2, 15:26:2] = 500  # every other pixel of every other row, none of them at an even place
    assert moving_px(images, (1.0, 1.0)) == pytest.approx((105, 20), abs=2)
    assert moving_px(np.pad(images, ((0, 0), (0, 0), (0, 1), (0, 0))), (1.0, 1.0)) is None  # 257 rows: every other


def test_one_frame_or_a_still_series_moves_nowhere() -> None:
    assert moving_px(beating(slice(22, 29), slice(50, 59), frames=1), MM) is None
    assert moving_px(np.full((5, 2, 30, 30), 9), MM) is None


# what decides

STILL = np.zeros((3, 1, 41, 61))
MOVING = beating(slice(15, 26), slice(25, 36), shape=(41, 61))


def _network(place: tuple[float, float], score: float):  # type: ignore[no-untyped-def]
    def locate(images: npt.NDArray[np.generic], pixel_mm: tuple[float, float]) -> tuple[tuple[float, float], float]:
        assert (images.shape[2:], pixel_mm) == ((41, 61), MM)
        return place, score

    return locate


@pytest.mark.parametrize(
    ("place", "score", "method"),
    [
        ((10.0, 20.0), 0.3, "network"),
        ((10.0, 20.0), 0.29, "crossing"),
        ((40.0, 20.0), 0.9, "network"),  # 30 rows of 2 mm: 60 mm from the crossing
        ((40.5, 20.0), 0.9, "crossing"),
        ((10.0, 60.0), 0.9, "network"),  # 40 columns of 1.5 mm
        ((10.0, 60.5), 0.9, "crossing"),
        ((28.0, 53.0), 0.9, "crossing"),  # 36 and 49.5 mm: 61.2
        ((27.0, 52.0), 0.9, "network"),  # 34 and 48 mm: 58.8
    ],
)
def test_a_confident_network_wins_unless_it_is_far_from_the_crossing(
    place: tuple[float, float], score: float, method: str
) -> None:
    crossing = (10.0, 20.0)
    found = find_heart_centre(MOVING, MM, crossing, _network(place, score))
    assert found == ((place if method == "network" else crossing), method)


def test_without_a_crossing_a_confident_network_is_believed_anywhere_and_a_doubtful_one_is_not() -> None:
    assert find_heart_centre(MOVING, MM, None, _network((0.0, 0.0), 0.31)) == ((0, 0), "network")
    assert find_heart_centre(MOVING, MM, None, _network((0.0, 0.0), 0.2)).method == "motion"
    assert find_heart_centre(MOVING, MM).method == "motion"
    assert find_heart_centre(MOVING, MM).px == pytest.approx((20, 30), abs=0.5)
    assert find_heart_centre(STILL, MM) == ((20, 30), "middle")


@pytest.mark.parametrize(
    ("crossing", "method"),
    [((0, 0), "crossing"), ((40.9, 60.9), "crossing"), ((-0.1, 5), "motion"), ((41, 5), "motion"), ((5, 61), "motion"),
     ((5, -1), "motion")],
)  # fmt: skip
def test_a_crossing_outside_the_image_is_no_heart(crossing: tuple[float, float], method: str) -> None:
    assert find_heart_centre(MOVING, MM, crossing).method == method


def test_the_prior_along_an_axis_is_a_gaussian_of_a_quarter_of_it_about_the_middle() -> None:
    assert _central(5).tolist() == pytest.approx([0.27804, 0.72615, 1, 0.72615, 0.27804], abs=1e-5)  # steps of 0.8 SD
    assert _central(4).tolist() == pytest.approx([0.32465, 0.88250, 0.88250, 0.32465], abs=1e-5)  # 1.5 and 0.5 SD
