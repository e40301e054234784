"""Which header value orders the frames of a plane, in which unit: on either side of each limit, by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from dicom_factory import header_images

from tasks.convert.frame_times import FrameTimes, clock_ms, frame_times, over_midnight

NAN = math.nan


def even(step: float, n: int = 10, start: float = 0.0) -> list[float]:
    return [round(start + step * k, 6) for k in range(n)]


def found(cycle_ms: float = NAN, **columns: Sequence[object]) -> list[FrameTimes]:
    return list(frame_times(header_images(**columns), cycle_ms))


def names(cycle_ms: float = NAN, **columns: Sequence[object]) -> list[str]:
    return [times.name for times in found(cycle_ms, **columns)]


ALL = {
    "instance_number": range(1, 11),
    "content_time": [f"101500.{60 * k:03d}" for k in range(10)],
    "acquisition_time": [f"101500.{61 * k:03d}" for k in range(10)],
    "frame_reference_datetime": [f"20200102101500.{62 * k:03d}" for k in range(10)],
    "frame_acquisition_datetime": [f"20200102101500.{63 * k:03d}" for k in range(10)],
    "acquisition_datetime": [f"20200102101500.{64 * k:03d}" for k in range(10)],
    "philips_phase": range(1, 11),
    "temporal_index": range(2, 12),
    "temporal_position": range(3, 13),
    "phase_pct": even(10),
    "temporal_offset_s": even(0.085),
    "frame_reference_ms": even(86),
    "actual_delay_ms": even(87),
    "nominal_delay_ms": even(88),
    "trigger_ms": even(89, start=17.2),
}


def test_delays_come_first_then_positions_then_clocks_and_numbers_last() -> None:
    order = [name for name in reversed(ALL) if name != "philips_phase"]
    assert names(900.0, **ALL) == order  # type: ignore[arg-type]
    theirs = {**ALL, "philips_imaging_block": ["Philips Imaging DD 001"] * 10}
    order.insert(order.index("temporal_index") + 1, "philips_phase")
    assert names(900.0, **theirs) == order  # type: ignore[arg-type]
    one_is_not = {**ALL, "philips_imaging_block": [*["Philips Imaging DD 001"] * 9, "ACME"]}
    assert "philips_phase" not in names(900.0, **one_is_not)  # type: ignore[arg-type]


def test_every_value_becomes_milliseconds_or_a_rank() -> None:
    by_name = {times.name: times for times in found(900.0, **ALL)}  # type: ignore[arg-type]
    steps = {name: float(np.diff(times.values).mean()) for name, times in by_name.items()}
    assert steps == pytest.approx(
        {
            "trigger_ms": 89, "nominal_delay_ms": 88, "actual_delay_ms": 87, "frame_reference_ms": 86,
            "temporal_offset_s": 85, "phase_pct": 90, "temporal_position": 1, "temporal_index": 1,
            "acquisition_datetime": 64, "frame_acquisition_datetime": 63, "frame_reference_datetime": 62,
            "acquisition_time": 61, "content_time": 60, "instance_number": 1,
        }
    )  # fmt: skip
    assert by_name["trigger_ms"].values[0] == 17.2
    assert {times.how for name, times in by_name.items() if name.endswith("time")} == {"clock"}
    assert [by_name[name].how for name in ("phase_pct", "temporal_index", "instance_number")] == [
        "delay",
        "position",
        "number",
    ]
    assert [by_name[name].is_time for name in ("phase_pct", "acquisition_time", "temporal_index")] == [
        True,
        True,
        False,
    ]
    assert not by_name["instance_number"].is_time


def test_a_percentage_of_an_unknown_cycle_is_a_rank_and_no_time() -> None:
    (times,) = found(phase_pct=even(10))
    assert (times.how, times.values.tolist()) == ("position", even(10))
    (times,) = found(800.0, phase_pct=even(10))
    assert (times.how, times.values.tolist()) == ("delay", even(80))


@pytest.mark.parametrize(
    ("step", "n", "cycle_ms", "unit_ms"),
    [
        (90, 10, 900, 1), (90, 10, NAN, 1),
        (0.09, 10, 900, 1000), (9_000, 10, 900, 0.01), (90_000, 10, 900, 0.001),
        (0.0541, 10, 900, 1000), (0.0539, 10, 900, None),  # 541 of 900 ms, and 539: six tenths are enough
        (0.1169, 10, 900, 1000), (0.1171, 10, 900, None),  # 1.3 cycles
        (0.025, 10, NAN, 1000), (0.0249, 10, NAN, None),  # of an unknown cycle 250 ms, and 249
        (0.3, 10, NAN, 1000), (0.301, 10, NAN, None),  # 3000 ms, and 3010
        (0.09, 6, NAN, 1000), (0.09, 5, NAN, None),  # six frames tell a cycle
        (3.0, 10, NAN, 1), (2.9, 10, NAN, None),  # no cine is quicker than a repetition time
        (3000, 10, NAN, 1), (3001, 10, NAN, 0.01),  # a step longer than the longest cycle is no step of milliseconds
        (26_000, 10, NAN, 1),  # 2.6 s in tens of us, 0.26 s in us: both can be, so neither is taken
        (26_000, 10, 2100, 0.01), (26_000, 10, 270, 0.001),
    ],
)  # fmt: skip
def test_delays_are_in_milliseconds_unless_only_another_unit_makes_a_cycle(
    step: float, n: int, cycle_ms: float, unit_ms: float | None
) -> None:
    taken = found(cycle_ms, trigger_ms=even(step, n))
    assert [times.unit_ms for times in taken] == ([] if unit_ms is None else [unit_ms])
    for times in taken:
        np.testing.assert_allclose(times.values, np.arange(n) * step * times.unit_ms, rtol=1e-6)


TWICE = [0, 0, 90, 90, 180, 270, 360, 450, 540, 630]
"""Eight times; two images share theirs with another: a fifth of all."""
THRICE = [0, 0, 0, 0, 90, 180, 270, 360, 450, 540]
"""Seven times."""
NEARLY = [0, 0.02, 0.04, 0.01, *THRICE[4:]]
"""As many: a tenth of a millisecond tells times apart."""
PAIRS = [90 * (k // 2) for k in range(12)]
"""Six times, twice each."""


@pytest.mark.parametrize(
    ("trigger", "cycle_ms", "declared", "is_taken"),
    [
        (TWICE, 1600, 10, True),  # few repeats, though eight steps are 720 ms of 1600
        (THRICE, 1600, None, False),  # many, and 630 of 1600 ms: segments that each count from 0
        (THRICE, 1050, None, True), (THRICE, 1051, None, False),  # six tenths of the cycle
        (THRICE, 900, None, True), (THRICE, 900, 10, False), (THRICE, 900, 9, True),
        (NEARLY, 1600, None, False),
        (THRICE, NAN, None, True), (THRICE, NAN, 10, False),
        (PAIRS, 540, 12, True),  # two whole beats of six
        (PAIRS, NAN, 12, False), (PAIRS, NAN, 6, True),
    ],
)  # fmt: skip
def test_times_that_begin_again_within_a_cycle_do_not_order_it(
    trigger: list[float], cycle_ms: float, declared: int | None, is_taken: bool
) -> None:
    n = len(trigger)
    found_names = names(cycle_ms, trigger_ms=trigger, cardiac_images=[declared] * n, instance_number=range(n))
    assert found_names == [*(["trigger_ms"] if is_taken else []), "instance_number"]


def test_delays_that_repeat_give_way_to_positions_that_do_not() -> None:
    assert names(900.0, trigger_ms=TWICE, temporal_index=range(10)) == ["temporal_index"]
    assert names(900.0, trigger_ms=even(90), temporal_index=range(10)) == ["trigger_ms", "temporal_index"]
    shared = [0, 0, *range(8)]
    assert names(900.0, trigger_ms=TWICE, temporal_index=shared) == ["trigger_ms", "temporal_index"]


@pytest.mark.parametrize(
    ("values", "is_order"),
    [
        ([5], False), ([5, 6], True), ([5, 5], False),
        ([1, 2, 3, None, 5, 6, 7], False),
        ([1.0, 1.2, 1.4, 1.6, 1.8, 2.0], True), ([1.0, 1.2, 1.4, 1.6, 1.8, 1.9], False),  # over 1, over 0.9
        ([1, 2, 3, 4, 5, 6, 6, 6], True), ([1, 2, 3, 4, 5, 5, 5, 5], False),  # six of eight differ, and five
        ([1, 1, 2, 2, 3, 3, 4, 4], True),  # two of each: four times are all
        ([0, 1, 2, 3, 4, 4.04], False), ([0, 1, 2, 3, 4, 4.06], True),  # told apart by a tenth
    ],
)  # fmt: skip
def test_values_order_images_if_all_have_one_and_most_have_their_own(values: list[float], is_order: bool) -> None:
    assert (names(temporal_index=values) == ["temporal_index"]) is is_order


@pytest.mark.parametrize(
    ("step_ms", "cycle_ms", "how"),
    [
        (25, NAN, "clock"), (24, NAN, "position"),  # ten steps make 250 ms, the shortest cycle, or not
        (54, 900, "clock"), (53, 900, "position"),  # or six tenths of the known one
        (249, NAN, "clock"), (250, NAN, None),  # a beat apart
    ],
)  # fmt: skip
def test_a_clock_times_frames_within_a_beat_and_only_ranks_those_of_less_than_a_cycle(
    step_ms: int, cycle_ms: float, how: str | None
) -> None:
    clock = [f"1015{k * step_ms / 1000:06.3f}" for k in range(10)]
    assert [times.how for times in found(cycle_ms, content_time=clock)] == ([] if how is None else [how])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("101500.250", 36_900_250), ("10:15:01", 36_901_000), ("000000", 0), ("235959.9", 86_399_900),
        ("1015", NAN), ("101500.", NAN), ("101500.25x", NAN), ("", NAN),
    ],
)  # fmt: skip
def test_times_of_day_are_hours_minutes_and_seconds(text: str, expected: float) -> None:
    assert clock_ms(text) == pytest.approx(expected, nan_ok=True)


def test_times_after_midnight_are_counted_on_if_they_are_more_than_half_a_day_earlier() -> None:
    hour = 3_600_000.0
    np.testing.assert_array_equal(
        over_midnight(np.array([23, 11, 10.99, 0]) * hour), np.array([23, 11, 34.99, 24]) * hour
    )
    np.testing.assert_array_equal(over_midnight(np.array([np.nan, 23, 1]) * hour), np.array([np.nan, 23, 25]) * hour)
    assert np.isnan(over_midnight(np.array([np.nan]))).all()


def test_moments_go_on_over_the_end_of_a_month_and_those_that_no_calendar_has_are_none() -> None:
    late = [f"20200131235959.{900 + 10 * k}+0100" for k in range(5)]
    early = [f"20200201000000.{100 * k:03d}+0100" for k in range(5)]
    (times,) = found(NAN, acquisition_datetime=late + early)
    np.testing.assert_allclose(times.values - times.values[0], [0, 10, 20, 30, 40, 100, 200, 300, 400, 500], atol=0.02)
    for wrong in ("20201301235959.900", "20200131", "2020013123"):
        assert names(acquisition_datetime=[*late, wrong]) == []
