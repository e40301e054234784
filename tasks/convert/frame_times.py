"""When each image of a plane was taken: from the header attributes that mean time, in the order of their worth.

The image number says nothing of time (DICOM PS3.3 C.7.6.1: it identifies the image); it comes last, and counts only
where the images confirm it (:mod:`tasks.convert.planes`).

Reference: DICOM PS3.3 C.8.3.1 (TriggerTime), C.7.6.18.1 (cardiac synchronization), C.8.13.5 and C.7.6.16.2.2 (temporal
position), C.7.6.1 and C.7.6.16.2.2.1 (times of acquisition and of content).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.views.series_kind import MIN_CINE_FRAMES, SHORTEST_CYCLE_MS, is_plausible_cycle
from tasks.sources.dicom import Image

How = Literal["delay", "position", "clock", "number"]
"""Time after the R wave; rank within the cycle; time of day; image number."""

_DELAYS = ("trigger_ms", "nominal_delay_ms", "actual_delay_ms", "frame_reference_ms")
_POSITIONS = ("temporal_position", "temporal_index")
_HALF_DAY_MS = 12 * 3_600_000.0
_LEAST_SPAN_MS = 1.0
_LONGEST_STEP_MS = SHORTEST_CYCLE_MS
"""A clock that steps further from image to image counts beats, not the frames of one."""


class FrameTimes(NamedTuple):
    """``values`` of every image: milliseconds for "delay" and "clock", else numbers in the order of time."""

    name: str
    how: How
    values: npt.NDArray[np.float64]

    @property
    def is_time(self) -> bool:
        return self.how in ("delay", "clock")


def frame_times(images: Sequence[Image], cycle_ms: float) -> Iterator[FrameTimes]:
    """Every attribute by which ``images`` of one plane can be ordered, the most trustworthy first.

    Args:
        images: of one plane, in any order.
        cycle_ms: RR interval; NaN if unknown. A percentage of the cycle becomes a time by it.
    """
    for times in _delays(images, cycle_ms):
        if _orders(times.values) and (_all_differ(times.values) or not _positions(images, _all_differ)):
            yield times
    yield from _positions(images, _orders)
    yield from (times for times in _clocks(images) if _orders(times.values) and _steps_within_a_beat(times.values))
    numbers = _values(images, "instance_number")
    if _orders(numbers):
        yield FrameTimes("instance_number", "number", numbers)


def _delays(images: Sequence[Image], cycle_ms: float) -> Iterator[FrameTimes]:
    yield from (FrameTimes(name, "delay", _values(images, name)) for name in _DELAYS)
    percent = _values(images, "phase_pct")
    yield (
        FrameTimes("phase_pct", "delay", percent * cycle_ms / 100)
        if is_plausible_cycle(cycle_ms)
        else FrameTimes("phase_pct", "position", percent)
    )


def _positions(images: Sequence[Image], holds: Callable[[npt.NDArray[np.float64]], bool]) -> list[FrameTimes]:
    found = [FrameTimes(name, "position", _values(images, name)) for name in _POSITIONS]
    return [times for times in found if holds(times.values)]


def _clocks(images: Sequence[Image]) -> Iterator[FrameTimes]:
    moments = [_moment_ms(image.text("acquisition_datetime")) for image in images]
    yield FrameTimes("acquisition_datetime", "clock", np.array(moments))
    for name in ("acquisition_time", "content_time"):
        yield FrameTimes(name, "clock", over_midnight(np.array([clock_ms(image.text(name)) for image in images])))


def _values(images: Sequence[Image], name: str) -> npt.NDArray[np.float64]:
    return np.array([image.number(name) for image in images])


def _orders(values: npt.NDArray[np.float64]) -> bool:
    """Whether every image has a value and they differ: repeats may share one, most images not."""
    if len(values) < 2 or not np.isfinite(values).all():
        return False
    distinct, counts = np.unique(np.round(values, 1), return_counts=True)
    enough = min(MIN_CINE_FRAMES, len(values) // int(np.median(counts)))
    return len(distinct) >= max(2, enough) and float(np.ptp(values)) >= _LEAST_SPAN_MS


def _all_differ(values: npt.NDArray[np.float64]) -> bool:
    return bool(np.isfinite(values).all()) and len(np.unique(values)) == len(values) > 1


def _steps_within_a_beat(clock: npt.NDArray[np.float64]) -> bool:
    return float(np.median(np.diff(np.unique(clock)))) < _LONGEST_STEP_MS


def over_midnight(clock: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Times of day of one acquisition, those after midnight counted on."""
    return np.where(np.nanmax(clock, initial=0.0) - clock > _HALF_DAY_MS, clock + 2 * _HALF_DAY_MS, clock)


def clock_ms(text: str) -> float:
    """Time of day from DICOM's HHMMSS.FFFFFF; NaN if it is not a time."""
    match = re.fullmatch(r"(\d{2})(\d{2})(\d{2}(?:\.\d+)?)", text)
    if match is None:
        return float("nan")
    return 1000.0 * (3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]))


def _moment_ms(text: str) -> float:
    """Time from DICOM's YYYYMMDDHHMMSS.FFFFFF&ZZXX, by date and time of day; NaN if it is not a time."""
    match = re.match(r"(\d{8})(\d{6}(?:\.\d+)?)", text)
    if match is None:
        return float("nan")
    try:
        day = datetime.date(int(match[1][:4]), int(match[1][4:6]), int(match[1][6:])).toordinal()
    except ValueError:
        return float("nan")
    return 2 * _HALF_DAY_MS * day + clock_ms(match[2])
