"""Parts of the features of an arterial curve, by hand; whole curves are in test_gadolinium."""

import math

import numpy as np
import pytest

from cmr_models.aif.curve_features import (
    _area,
    _baseline,
    _foot_frame,
    _noise,
    _peak_index,
    _valley_frame,
    _vertex,
    check_curve,
    failed_gates,
    features,
)


@pytest.mark.parametrize(
    ("rise", "peak", "place"),
    [
        # 4, 5 and 3.5: bend -2.5, off by 0.5 x 0.5 / -2.5
        ([0, 4, 5, 3.5, 0], 2, (1.9, 5.0125)),
        ([0, 4, 5, 3.5], 2, (1.9, 5.0125)),  # the last but one has two neighbours
        ([4, 5, 3.5], 1, (0.9, 5.0125)),
        ([5, 4, 3], 0, (0, 5)),  # the first and the last have one
        ([3, 4, 5], 2, (2, 5)),
        ([1, 3, 5], 1, (1, 3)),  # a straight line has no vertex
        ([5, 3, 2], 1, (1, 3)),  # nor has a valley
        ([0, 3, 3.5], 1, (1.5, 3 + 0.25 * 3.5 * 0.5)),  # by half a frame at most: 0.5 x 3.5 / 2.5 is 0.7
    ],
)
def test_the_vertex_is_that_of_the_parabola_through_the_peak_and_its_neighbours(
    rise: list[float], peak: int, place: tuple[float, float]
) -> None:
    assert _vertex(np.array(rise, float), peak) == pytest.approx(place)


def test_the_area_begins_at_the_foot_and_ends_at_the_valley() -> None:
    rise = np.array([0.0, 0, 0, 2, 6, 4, 1, 3])
    # from 2.25: a triangle of 0.75 frames to 2, then 4, 5 and 2.5
    assert _area(rise, 2.25, 6) == pytest.approx(0.75 + 4 + 5 + 2.5)
    assert _area(rise, 2.0, 4) == pytest.approx(1 + 4)


def test_the_baseline_is_the_mean_before_the_foot_and_the_first_frame_at_least() -> None:
    curve = np.array([1.0, 2, 6, 9])
    assert [_baseline(curve, foot) for foot in (0.4, 1.9, 2.0, 3.5)] == [1, 1, 1.5, 3]


def test_noise_is_read_from_second_differences() -> None:
    # of 0, 1, 0, 1 ... they are 2: 2 / 0.6745 / sqrt(6); a slope has none
    assert _noise(np.tile([0.0, 1], 6) + 5 * np.arange(12)) == pytest.approx(2 / 0.6745 / math.sqrt(6))


def test_the_peak_is_the_highest_of_the_five_samples_about_the_smoothed_one() -> None:
    curve = np.r_[np.zeros(10), 3.0, 4, 5, 4, 5.5, 3, 0, 0, 0, 0]
    assert _peak_index(curve, 0.5) == 14
    curve[10], curve[14] = 5.6, 3.0  # two before the smoothed maximum
    assert _peak_index(curve, 0.5) == 10
    far = np.r_[np.zeros(4), 9.0, np.zeros(5), 3.0, 4, 5, 4, 3, 2, 1, 0, 0, 0]
    assert _peak_index(far, 0.5) == 12  # a single spike is smoothed away
    assert _peak_index(np.r_[9.0, 8, 1, 0, 0, 0, 0, 0], 0.5) == 0


def test_the_valley_is_the_first_turn_below_half_of_the_peak() -> None:
    rise = np.r_[0.0, 10, 7, 8, 6, 4, 2, 1, 2, 3, 1, 0]
    assert _valley_frame(rise, 1, 20.0) == 7  # 7 is a turn, but above half
    assert _valley_frame(np.r_[0.0, 10, 8, 6, 5, 3], 1, 20.0) == 5  # it only falls
    assert _valley_frame(np.r_[0.0, 10, 4, 4, 3, 1, 2], 1, 20.0) == 2  # what stays does not fall


@pytest.mark.parametrize(("at", "known"), [(4, False), (5, True)])
def test_what_lies_two_seconds_before_the_steepest_rise_is_no_baseline(at: int, known: bool) -> None:
    curve = np.r_[np.zeros(10), np.full(20, 1.02)]
    curve[at] = -1.0  # among the first five their spread is 0.4: three times that is 1.2
    assert math.isfinite(_foot_frame(curve, 12, 0.5)) == known


def test_the_foot_is_not_before_the_first_frame() -> None:
    curve = 1 + np.r_[0.0, 0.3, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0.5, 0.5, 0.5]
    assert _foot_frame(curve + np.r_[0.4, np.zeros(13)], 6, 2.0) >= 0


def test_one_frame_that_is_not_finite_is_refused() -> None:
    curve = np.r_[np.zeros(10), math.nan, 3.0]
    with pytest.raises(ValueError, match="1 frames of the curve are not finite"):
        check_curve(curve, 0.5)
    with pytest.raises(ValueError, match="dt_s is inf"):
        check_curve(np.zeros(8), math.inf)
    assert check_curve([0] * 8, 0.5).dtype == np.float64


LINES = np.r_[np.full(11, 0.1), 1.1, 2.1, 3.1, 4.1, 5.1, 3.6, 2.1, 0.9, 0.4, 0.9, 1.1, 1.0, 0.9, 0.8, 0.7]


def test_noise_before_the_foot_decides_whether_the_peak_stands_out() -> None:
    loud = LINES.copy()
    loud[:8] += [2.3, -2.3, 2.3, -2.3, 2.3, -2.3, 2.3, -2.3]
    assert failed_gates(loud, 2.0) == ("aif_no_bolus",)
    assert set(features(loud, 2.0)) == {"foot_s", "peak_s", "first_pass_s", "peak_value", "auc"}
    assert all(math.isnan(value) for value in features(loud, 2.0).values())
