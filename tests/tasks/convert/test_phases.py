"""Frames fall into the cycle by trigger time; gaps stay open; repeats are settled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.convert.phases import Timing, _first_slot, order, resample


def _timing(
    trigger: list[float], n_expected: int = 0, cycle_ms: float = float("nan"), instance: list[int] | None = None
) -> Timing:
    n = len(trigger)
    numbers = np.asarray(instance if instance is not None else range(1, n + 1), float)
    return Timing(np.asarray(trigger, float), numbers, ("1",) * n, cycle_ms, n_expected)


def test_images_are_sorted_by_trigger_time() -> None:
    cycle = order(_timing([80.0, 0.0, 40.0], instance=[1, 2, 3]))
    assert cycle.image.tolist() == [1, 2, 0]
    np.testing.assert_allclose(cycle.time_ms, [0, 40, 80])


@pytest.mark.parametrize("start", [0.0, 17.2, 34.5])
@pytest.mark.parametrize("missing", [[3], [0], [19], [0, 7, 8, 19], [5, 6, 7]])
def test_missing_frames_leave_their_places_open(start: float, missing: list[int]) -> None:
    kept = [k for k in range(20) if k not in missing]
    timing = _timing([start + 34.5 * k for k in kept], 20, 690.0, [k + 1 for k in kept])
    cycle = order(timing)
    assert np.flatnonzero(cycle.image < 0).tolist() == missing
    np.testing.assert_allclose(cycle.time_ms, 34.5 * np.arange(20))


def test_without_trigger_times_the_numbers_count() -> None:
    cycle = order(_timing([np.nan] * 4, 5, 1000.0, [1, 2, 4, 5]))
    assert (cycle.image >= 0).tolist() == [True, True, False, True, True]
    assert cycle.irregular


def test_of_two_images_at_one_time_the_later_is_kept() -> None:
    trigger = np.array([0.0, 40, 80, 0, 40, 80])
    timing = Timing(trigger, np.arange(1.0, 7), ("1", "1", "1", "2", "2", "0"), 120.0, 3)
    assert order(timing).image.tolist() == [3, 4, 2]


def test_uneven_times_are_irregular() -> None:
    assert order(_timing([0.0, 40, 80, 140])).irregular
    assert not order(_timing([0.0, 40, 80, 121])).irregular


def test_the_cycle_comes_from_the_header_else_from_the_frames() -> None:
    assert order(_timing([0.0, 40, 80, 120], cycle_ms=800.0)).cycle_ms == 800.0
    assert order(_timing([0.0, 40, 80, 120])).cycle_ms == pytest.approx(160.0)


def test_a_plane_with_other_frames_is_sampled_at_the_nearest_phase() -> None:
    cycle = resample(order(_timing([30.0 * k for k in range(30)], cycle_ms=900.0)), 25)
    assert cycle.n_frames == 25
    np.testing.assert_allclose(cycle.time_ms, 36.0 * np.arange(25))
    phase = cycle.image / 30
    assert np.abs(phase - np.arange(25) / 25).max() <= 0.5 / 30 + 1e-9


@given(st.integers(2, 60), st.data())
def test_no_image_is_lost_or_used_twice(n_expected: int, data: st.DataObject) -> None:
    kept = sorted(data.draw(st.sets(st.integers(0, n_expected - 1), min_size=1)))
    shuffled = data.draw(st.permutations(kept))
    timing = _timing([25.0 * k for k in shuffled], n_expected, 25.0 * n_expected, [k + 1 for k in shuffled])
    cycle = order(timing)
    assert cycle.n_frames == n_expected
    assert sorted(cycle.image[cycle.image >= 0].tolist()) == list(range(len(kept)))


def test_time_begins_with_the_first_frame_of_a_whole_cycle() -> None:
    cycle = order(_timing([17.2 + 40 * k for k in range(5)], 5, 200.0))
    np.testing.assert_allclose(cycle.time_ms, [0, 40, 80, 120, 160])


def test_the_step_between_frames_is_the_short_gap_though_most_gaps_are_wide() -> None:
    kept = [0, 2, 4, 5, 7, 9]
    cycle = order(_timing([12.5 + 40.0 * k for k in kept], 10, instance=[k + 1 for k in kept]))
    assert np.flatnonzero(cycle.image >= 0).tolist() == kept
    np.testing.assert_allclose(cycle.time_ms, 40.0 * np.arange(10))
    assert cycle.cycle_ms == pytest.approx(400.0)


@pytest.mark.parametrize(("last", "irregular"), [(123.9, False), (124.1, True), (116.1, False), (115.9, True)])
def test_a_gap_is_irregular_beyond_a_tenth_of_the_usual_one_on_either_side(last: float, irregular: bool) -> None:
    assert order(_timing([0.0, 40, 80, last])).irregular is irregular


def test_times_that_span_a_millisecond_or_less_are_none() -> None:
    assert order(_timing([10.0, 10.5, 11.0], instance=[3, 1, 2])).image.tolist() == [1, 2, 0]
    assert order(_timing([10.0, 10.6, 11.1], instance=[3, 1, 2])).image.tolist() == [0, 1, 2]


def test_a_sampled_plane_takes_the_nearest_image_and_wraps_at_the_end_of_the_cycle() -> None:
    cycle = resample(order(_timing([100.0 * k for k in range(4)], cycle_ms=400.0)), 10)
    assert cycle.image.tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 0]
    np.testing.assert_allclose(cycle.time_ms, 40.0 * np.arange(10))
    assert cycle.cycle_ms == 400.0


def test_one_image_is_a_cycle_that_is_not_irregular() -> None:
    for trigger in (17.2, np.nan):
        cycle = order(_timing([trigger], cycle_ms=900.0))
        assert (cycle.image.tolist(), cycle.time_ms.tolist(), cycle.irregular) == ([0], [0], False)
    assert order(_timing([np.nan, np.nan], cycle_ms=900.0)).irregular
    np.testing.assert_allclose(order(_timing([np.nan] * 4, 4, 1000.0)).time_ms, [0, 250, 500, 750])


@pytest.mark.parametrize(
    ("start", "number", "slot"),
    [
        (0.0, 1, 0), (0.0, 2, 0), (0.5, 1, 0), (0.5, 2, 0), (0.74, 2, 0),
        # the grid begins at nothing, or at half a step
        (0.76, 1, 0), (0.76, 2, 1), (1.0, 1, 0), (1.0, 2, 1), (1.0, 5, 0),  # or at one step: the number decides
        (1.0, np.nan, 0), (1.5, 2, 1),
        (1.76, 2, 1), (1.76, 3, 2), (2.0, 23, 2), (2.0, 2, 1),  # numbers that run on over planes of 20 frames
        (9.0, 10, 9), (9.0, 9, 8), (12.0, 13, 10),  # ten steps follow: the last frame is the twentieth
    ],
)  # fmt: skip
def test_the_first_frame_lies_where_its_delay_and_its_number_say(start: float, number: float, slot: int) -> None:
    n_after = 9 if start > 2 else 3
    assert _first_slot(start, np.array([number]), np.array([0, n_after]), 20) == slot


def test_gaps_between_frames_are_counted_in_steps() -> None:
    # the shortest is 40 ms; the others are two, three and one step
    cycle = order(_timing([0.0, 40, 120, 240, 281], 9, instance=[1, 2, 4, 7, 8]))
    assert np.flatnonzero(cycle.image >= 0).tolist() == [0, 1, 3, 6, 7]
    assert not cycle.irregular


def test_numbers_fill_places_only_where_they_rise() -> None:
    none = [np.nan] * 4
    assert np.flatnonzero(order(_timing(none, 6, 900.0, [21, 23, 24, 26])).image < 0).tolist() == [4, 5]
    assert np.flatnonzero(order(_timing(none, 6, 900.0, [7, 9, 10, 12])).image < 0).tolist() == [1, 4]
    np.testing.assert_allclose(order(_timing(none, 6, 900.0, [7, 9, 10, 12])).time_ms, 150 * np.arange(6))
