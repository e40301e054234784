"""Long-axis shortening and MAPSE from hinge points and apex."""

import numpy as np
import pytest

from cmr_models.phenotypes.long_axis_function import axis_length_mm, long_axis_function
from cmr_models.reasons import Missing


def _frames(*base_rows: float) -> np.ndarray:
    """Hinges at columns 10 and 30 of the given rows, the apex at row 100, column 20."""
    return np.array([[[row, 10.0], [row, 30.0], [100.0, 20.0]] for row in base_rows])


def test_hinges_that_move_ten_rows_shorten_an_axis_of_eighty_by_an_eighth() -> None:
    found = long_axis_function(_frames(20, 30, 25), (1.0, 1.0))
    assert found == pytest.approx({"axis_max_mm": 80, "axis_min_mm": 70, "axis_shortening_pct": 12.5, "mapse_mm": 10})


def test_pixels_have_their_true_size() -> None:
    found = long_axis_function(_frames(20, 30), (1.5, 2.0))
    assert found["mapse_mm"] == pytest.approx(15)
    assert found["axis_shortening_pct"] == pytest.approx(12.5)


def test_frames_without_landmarks_are_missing_and_never_zero() -> None:
    frames = _frames(20, 60, 30)
    frames[1, 2] = np.nan
    assert np.isnan(axis_length_mm(frames, (1.0, 1.0))).tolist() == [False, True, False]
    assert long_axis_function(frames, (1.0, 1.0))["axis_min_mm"] == pytest.approx(70)


@pytest.mark.parametrize(("n_known", "reason"), [(0, "landmarks_missing"), (1, "single_frame")])
def test_too_few_frames_give_a_reason(n_known: int, reason: str) -> None:
    frames = _frames(20, 30)
    frames[n_known:] = np.nan
    assert set(long_axis_function(frames, (1.0, 1.0)).values()) == {Missing(reason)}


def test_points_in_one_place_have_no_shortening() -> None:
    found = long_axis_function(np.zeros((3, 3, 2)), (1.0, 1.0))
    assert found["axis_shortening_pct"] == Missing("undefined")


def test_each_hinge_goes_its_own_way_between_the_frames_of_extreme_length() -> None:
    # pixels of 1.5 by 2.0 mm; the first hinge goes 4 rows (6 mm), the other 5 columns (10 mm); the apex stays
    frames = np.array([[[10, 10], [10, 30], [90, 20]]] * 3, float)
    frames[1, 0], frames[1, 1] = [14, 10], [10, 25]
    frames[0, 0], frames[0, 1] = [12, 10], [10, 29]  # on its way
    found = long_axis_function(frames, (1.5, 2.0))
    assert found["mapse_mm"] == pytest.approx(8)
    # from the middle (10, 20), 80 rows above the apex, to (12, 17.5): 78 rows and 2.5 columns
    assert found["axis_max_mm"] == pytest.approx(120)
    assert found["axis_min_mm"] == pytest.approx(np.hypot(78 * 1.5, 2.5 * 2))
