"""When each image of a first-pass series was taken: from trigger times, clock times, or beats and heart rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.views.frame_order import judge_order
from cmr_models.views.series_kind import LONGEST_CYCLE_MS
from tasks.convert.frame_times import clock_ms, over_midnight
from tasks.sources.dicom import Image

How = Literal["trigger", "clock", "heart_rate", "unknown"]


class BeatTimes(NamedTuple):
    """Images in the order of time: ``order[k]`` is the image of frame ``k``, taken at ``time_ms[k]`` (NaN: unknown)."""

    order: npt.NDArray[np.intp]
    time_ms: npt.NDArray[np.float64]
    how: How


def beat_times(images: Sequence[Image], cycle_ms: float) -> BeatTimes:
    """Images of one plane over the beats.

    Trigger times count where they run on over the beats (some scanners begin again at every R wave); else the time
    of acquisition, over midnight too; else one image a beat is assumed, in the order of temporal positions, or of image
    numbers unless the images contradict them.

    Args:
        images: of one plane and one kind, in any order.
        cycle_ms: RR interval from the headers; NaN if unknown.
    """
    trigger = np.array([image.number("trigger_ms") for image in images])
    if _is_axis(trigger) and float(np.ptp(trigger)) > LONGEST_CYCLE_MS:
        return _sort(trigger, "trigger")
    clock = np.array([clock_ms(image.text("acquisition_time")) for image in images])
    clock = over_midnight(clock)
    if _is_axis(clock):
        return _sort(clock, "clock")
    number = _numbers(images)
    order = np.argsort(number, kind="stable")
    if np.isfinite(cycle_ms) and _is_axis(number):
        return BeatTimes(order, np.arange(len(images)) * np.float64(cycle_ms), "heart_rate")
    return BeatTimes(order, np.full(len(images), np.nan), "unknown")


def _numbers(images: Sequence[Image]) -> npt.NDArray[np.float64]:
    """Numbers of the beats: the temporal position where it is there; else image numbers, if the images allow them."""
    for name in ("temporal_position", "temporal_index"):
        position = np.array([image.number(name) for image in images])
        if _is_axis(position):
            return position
    number = np.array([image.number("instance_number") for image in images])
    frames = [pixels for i in np.argsort(number, kind="stable") if (pixels := images[int(i)].pixels) is not None]
    return np.full(len(images), np.nan) if judge_order(frames) == "contradicted" else number


def _is_axis(values: npt.NDArray[np.float64]) -> bool:
    return bool(np.isfinite(values).all()) and len(np.unique(values)) == len(values)


def _sort(values: npt.NDArray[np.float64], how: How) -> BeatTimes:
    order = np.argsort(values, kind="stable")
    return BeatTimes(order, values[order], how)
