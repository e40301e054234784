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

from cmr_models.views.series_kind import LONGEST_CYCLE_MS, MIN_CINE_FRAMES, SHORTEST_CYCLE_MS, is_plausible_cycle
from tasks.sources.dicom import Image

How = Literal["delay", "position", "clock", "number"]
"""Time after the R wave; rank within the cycle; time of day; image number."""

_DELAYS = ("trigger_ms", "nominal_delay_ms", "actual_delay_ms", "frame_reference_ms")
_POSITIONS = ("temporal_position", "temporal_index")
_MOMENTS = ("acquisition_datetime", "frame_acquisition_datetime", "frame_reference_datetime")
_UNITS_MS = (1000.0, 0.01, 0.001)
"""Units other than milliseconds in which times after the R wave have been met: s, tens of us (0.01 ms), us."""

_LEAST_OF_A_CYCLE = 0.6
_MOST_OF_A_CYCLE = 1.3
"""Frames of one cine cover this share of the RR interval: prospective ones miss its end, and intervals vary."""

_SHORTEST_STEP_MS = 3.0
"""Between frames of a cine lies at least one repetition time; faster ones are in no use."""

_FEW_REPEATS = 0.2
"""If more of the images share their time with another, the times begin again."""

_HALF_DAY_MS = 12 * 3_600_000.0
_LEAST_SPAN_MS = 1.0
_LONGEST_STEP_MS = SHORTEST_CYCLE_MS
"""A clock that steps further from image to image counts beats, not the frames of one."""


class FrameTimes(NamedTuple):
    """What orders the images of one plane.

    Attributes:
        name: of the header value.
        how: what it is.
        values: of every image: milliseconds for "delay" and "clock", else numbers in the order of time.
        unit_ms: of the times as they are in the header.
    """

    name: str
    how: How
    values: npt.NDArray[np.float64]
    unit_ms: float = 1.0

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
        if (
            _orders(times.values)
            and _median_step(times.values) >= _SHORTEST_STEP_MS
            and not _begin_again(times.values, images, cycle_ms)
            and (_all_differ(times.values) or not _positions(images, _all_differ))
        ):
            yield times
    yield from _positions(images, _orders)
    for times in _clocks(images):
        if _orders(times.values) and _steps_within_a_beat(times.values):
            yield times if _span_a_cycle(times.values, cycle_ms) else times._replace(how="position")
    numbers = _values(images, "instance_number")
    if _orders(numbers):
        yield FrameTimes("instance_number", "number", numbers)


def _delays(images: Sequence[Image], cycle_ms: float) -> Iterator[FrameTimes]:
    for name in _DELAYS:
        values = _values(images, name)
        unit_ms = _unit_ms(values, cycle_ms)
        yield FrameTimes(name, "delay", values * unit_ms, unit_ms)
    yield FrameTimes("temporal_offset_s", "delay", 1000.0 * _values(images, "temporal_offset_s"))
    percent = _values(images, "phase_pct")
    yield (
        FrameTimes("phase_pct", "delay", percent * cycle_ms / 100)
        if is_plausible_cycle(cycle_ms)
        else FrameTimes("phase_pct", "position", percent)
    )


def _unit_ms(values: npt.NDArray[np.float64], cycle_ms: float) -> float:
    """The unit of times after the R wave: milliseconds, unless only another makes them the frames of one cycle."""
    distinct = np.unique(values)
    if len(distinct) < MIN_CINE_FRAMES or not np.isfinite(values).all():
        return 1.0
    if _SHORTEST_STEP_MS <= _median_step(values) <= LONGEST_CYCLE_MS:
        return 1.0
    whole = float(np.ptp(distinct)) * len(distinct) / (len(distinct) - 1)
    if is_plausible_cycle(cycle_ms):
        fits = [unit for unit in _UNITS_MS if _LEAST_OF_A_CYCLE < whole * unit / cycle_ms < _MOST_OF_A_CYCLE]
    else:
        fits = [unit for unit in _UNITS_MS if is_plausible_cycle(whole * unit)]
    return fits[0] if len(fits) == 1 else 1.0


def _median_step(values: npt.NDArray[np.float64]) -> float:
    return float(np.median(np.diff(np.unique(values))))


def _begin_again(values: npt.NDArray[np.float64], images: Sequence[Image], cycle_ms: float) -> bool:
    """Whether times begin again within one cycle, as where every segment counts from 0: they do not order its frames.

    Times that begin again after a whole cycle are those of beats, or of a repeat.
    """
    distinct, counts = np.unique(np.round(values, 1), return_counts=True)
    if len(values) - len(distinct) <= _FEW_REPEATS * len(values):
        return False
    if is_plausible_cycle(cycle_ms) and not _span_a_cycle(distinct, cycle_ms):
        return True
    are_all_frames = images[0].number("cardiac_images") == len(images)
    are_beats = is_plausible_cycle(cycle_ms) and int(counts.min()) == int(counts.max())
    return are_all_frames and not are_beats


def _span_a_cycle(values: npt.NDArray[np.float64], cycle_ms: float) -> bool:
    """Whether times cover a cycle or more: of a known length, else the shortest there is."""
    distinct = np.unique(values)
    whole = float(np.ptp(distinct)) * len(distinct) / (len(distinct) - 1)
    return whole >= (_LEAST_OF_A_CYCLE * cycle_ms if is_plausible_cycle(cycle_ms) else SHORTEST_CYCLE_MS)


def _positions(images: Sequence[Image], holds: Callable[[npt.NDArray[np.float64]], bool]) -> list[FrameTimes]:
    is_philips = all("philips" in image.text("philips_imaging_block").lower() for image in images)
    names = (*_POSITIONS, *(("philips_phase",) if is_philips else ()))
    found = [FrameTimes(name, "position", _values(images, name)) for name in names]
    return [times for times in found if holds(times.values)]


def _clocks(images: Sequence[Image]) -> Iterator[FrameTimes]:
    for name in _MOMENTS:
        yield FrameTimes(name, "clock", np.array([_moment_ms(image.text(name)) for image in images]))
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
    return _median_step(clock) < _LONGEST_STEP_MS


def over_midnight(clock: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Times of day of one acquisition, those after midnight counted on."""
    return np.where(np.nanmax(clock, initial=0.0) - clock > _HALF_DAY_MS, clock + 2 * _HALF_DAY_MS, clock)


def clock_ms(text: str) -> float:
    """Time of day from DICOM's HHMMSS.FFFFFF, or HH:MM:SS.FFFFFF of old files (PS3.5 6.2); NaN if it is not a time."""
    match = re.fullmatch(r"(\d{2}):?(\d{2}):?(\d{2}(?:\.\d+)?)", text)
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
