"""End-diastole and end-systole on curves whose smoothing is that of tables of the normal distribution."""

import math

import numpy as np
import pytest

from cmr_models.phenotypes.cardiac_cycle import find_cycle, smooth_cycle

NAN = math.nan


def curve(n_frames, level, **at):
    """A cine of ``n_frames`` at ``level``, but for ``f3=120`` and so on."""
    values = np.full(n_frames, float(level))
    for name, value in at.items():
        values[int(name[1:])] = value
    return values


def test_smoothing_is_a_gaussian_of_a_fortieth_of_the_cycle_that_runs_round_it():
    # 40 frames: a standard deviation of one frame, so weights are the normal density: 0.398942, 0.241971, 0.053991, ...
    smooth = smooth_cycle(curve(40, 10, f39=20, f0=20))
    assert smooth[[38, 39, 0, 1, 2, 20]] == pytest.approx([12.9596, 16.4091, 16.4091, 12.9596, 10.5842, 10], abs=1e-3)


def test_one_failed_frame_leaves_no_trace_but_two_do():
    assert smooth_cycle(curve(25, 100, f7=40)) == pytest.approx(np.full(25, 100.0))
    assert smooth_cycle(curve(25, 100, f7=40, f8=40))[7] < 55


def test_a_masked_frame_stays_masked_and_its_neighbours_know_only_the_known():
    # 10 frames: a quarter of a frame, so that neighbours weigh exp(-8) = 0.0003
    smooth = smooth_cycle([10, 10, 12, NAN, 20, 30, 30, 30, 10, 10])
    assert np.flatnonzero(np.isnan(smooth)).tolist() == [3]
    assert smooth[[2, 4]] == pytest.approx([11, 25], abs=0.02)  # medians of (10, 12) and of (20, 30)
    assert smooth_cycle(curve(12, 50, f4=NAN, f11=NAN))[5] == pytest.approx(50)
    assert np.isnan(smooth_cycle([NAN] * 5)).all()


@pytest.mark.parametrize(("n_frames", "es_frame"), [(9, 2), (10, 7)])
def test_single_frames_are_believed_in_cines_of_fewer_than_ten(n_frames, es_frame):
    low = curve(n_frames, 100, f2=20, f6=60, f7=60, f8=60)
    assert find_cycle(low).es_frame == es_frame


def test_in_a_short_cine_any_frame_may_be_end_diastole():
    assert find_cycle(curve(9, 100, f4=150, f6=50)) == (4, 6, True)


@pytest.mark.parametrize(
    ("high", "ed_frame"),
    [
        ({"f6": 108, "f7": 108}, 7),  # the eighth of ten frames is the first of the last three tenths
        ({"f5": 108, "f6": 108}, 0),  # and the seventh none of them: the frame at the R wave is taken
        ({"f1": 108, "f2": 108}, 1),  # the last of the first fifth
        ({"f2": 108, "f3": 108}, 0),
    ],
)
def test_end_diastole_lies_in_the_first_fifth_or_the_last_three_tenths(high, ed_frame):
    # 10 frames: neighbours weigh exp(-8) = 0.0003, so that pairs of equal frames stay as they are
    found = find_cycle(curve(10, 100, **high))
    assert (found.ed_frame, found.ed_at_cycle_start) == (ed_frame, True)


@pytest.mark.parametrize(
    ("high", "ed_frame"),
    [
        ({"f17": 120.4, "f18": 120.4, "f1": 120, "f2": 120}, 1),  # a third of a per cent: a tie, and 1 is nearer to 0
        ({"f17": 121.5, "f18": 121.5, "f1": 120, "f2": 120}, 18),  # more than a half: none
        ({"f18": 120, "f19": 120, "f2": 120.4, "f3": 120.4}, 19),  # the R wave is at either end
        ({"f18": 120, "f19": 120, "f2": 121.5, "f3": 121.5}, 2),
    ],
)
def test_of_volumes_within_half_a_per_cent_the_frame_nearest_to_the_r_wave_wins(high, ed_frame):
    # 20 frames: half a frame, so that a neighbour weighs exp(-2) = 0.135: both of a pair are pulled down alike
    assert find_cycle(curve(20, 90, f9=60, f10=50, f11=60, **high)).ed_frame == ed_frame


@pytest.mark.parametrize(("high", "expected"), [(109.9, (0, True)), (110.1, (4, False))])
def test_a_volume_elsewhere_wins_only_if_it_is_more_than_a_tenth_larger(high, expected):
    found = find_cycle(curve(10, 100, f3=high, f4=high, f5=high))
    assert (found.ed_frame, found.ed_at_cycle_start) == expected


def test_where_every_frame_near_the_r_wave_is_masked_the_largest_elsewhere_is_taken():
    found = find_cycle([NAN, NAN, 100, 100, 50, 50, 50, NAN, NAN, NAN])
    assert (found.ed_frame, found.ed_at_cycle_start) == (2, False)
    assert found.es_frame in (5, 6)


def test_masked_frames_are_never_chosen_and_a_single_frame_has_no_end_systole():
    assert find_cycle([NAN, 90, 40, NAN]) == (1, 2, True)
    assert find_cycle([NAN, NAN, 70]) == (2, None, True)
