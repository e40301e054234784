"""What headers say of time: the cycle, the order in which repeats were taken, and where there is no time at all."""

import numpy as np
import pytest
from dicom_factory import header_images

from tasks.convert.frame_times import FrameTimes
from tasks.convert.timing import acquisition_time, timing_of

N = 8
DELAYS = [17.2 + 100 * k for k in range(N)]


def test_times_are_delays_where_there_are_any_and_numbers_stay_numbers() -> None:
    images = header_images(trigger_ms=DELAYS, instance_number=range(N, 0, -1), nominal_interval_ms=[810, *[800] * 7])
    timing = timing_of(images, n_expected=12)
    np.testing.assert_allclose(timing.trigger_ms, DELAYS)
    assert timing.instance.tolist() == list(range(N, 0, -1))
    assert (timing.cycle_ms, timing.n_expected) == (800, 12)


def test_positions_take_the_place_of_numbers_and_there_are_no_times() -> None:
    images = header_images(temporal_index=range(2, N + 2), instance_number=range(N, 0, -1), heart_rate_bpm=[75] * N)
    timing = timing_of(images)
    assert np.isnan(timing.trigger_ms).all()
    assert timing.instance.tolist() == list(range(2, N + 2))
    assert (timing.cycle_ms, timing.n_expected) == (800, 0)


def test_without_anything_in_order_numbers_are_as_they_are_and_the_cycle_is_unknown() -> None:
    timing = timing_of(header_images(instance_number=[1, None, 3]))
    assert np.isnan(timing.trigger_ms).all()
    assert timing.instance.tolist() == pytest.approx([1, np.nan, 3], nan_ok=True)
    assert np.isnan(timing.cycle_ms)


def test_chosen_times_are_taken_though_others_come_first() -> None:
    images = header_images(trigger_ms=DELAYS, instance_number=range(1, N + 1))
    clock = FrameTimes("content_time", "clock", np.arange(N) * 30.0)
    assert timing_of(images, clock).trigger_ms.tolist() == clock.values.tolist()
    rank = FrameTimes("temporal_index", "position", np.arange(N)[::-1] + 1.0)
    assert timing_of(images, rank).instance.tolist() == rank.values.tolist()
    assert np.isnan(timing_of(images, rank).trigger_ms).all()


def test_the_time_of_acquisition_sorts_by_day_then_time_then_number_and_falls_back_on_the_series() -> None:
    earlier_to_later = header_images(
        acquisition_date=["20200101", None, "20200102", "20200102", "20200102", "20200102"],
        series_date=["20200109", "20200102", None, None, None, None],
        acquisition_time=["235959.9", "090000", "090000.5", None, "100000", "100000"],
        series_time=["080000", "235900", None, "093000", None, None],
        series_number=[900, 5, 5, 5, 9, 10],
    )
    texts = [acquisition_time(image) for image in earlier_to_later]
    assert texts == sorted(texts)
    assert texts[1].split() == ["20200102", "090000", "000000005"]
    assert texts[3].split() == ["20200102", "093000", "000000005"]
    (unnumbered,) = header_images(acquisition_date=["20200102"], acquisition_time=["100000"])
    assert acquisition_time(unnumbered) < texts[4]
