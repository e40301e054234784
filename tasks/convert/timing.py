"""What the headers of the images of one plane say of time, as :mod:`tasks.convert.phases` takes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmr_models.views import series_kind
from tasks.convert.frame_times import FrameTimes, frame_times
from tasks.convert.phases import Timing
from tasks.sources.dicom import Image


def timing_of(images: Sequence[Image], times: FrameTimes | None = None, n_expected: int = 0) -> Timing:
    """Images in time by ``times``; else by the attribute that comes first (:mod:`tasks.convert.frame_times`)."""
    intervals = [image.number("nominal_interval_ms") for image in images]
    cycle_ms = series_kind.cycle_from(intervals, images[0].number("heart_rate_bpm"))
    chosen = times or next(iter(frame_times(images, cycle_ms)), None)
    unknown = np.full(len(images), np.nan)
    numbers = np.array([image.number("instance_number") for image in images])
    is_time = chosen is not None and chosen.is_time
    return Timing(
        trigger_ms=chosen.values if chosen is not None and is_time else unknown,
        instance=chosen.values if chosen is not None and not is_time else numbers,
        acquired=tuple(acquisition_time(image) for image in images),
        cycle_ms=cycle_ms,
        n_expected=n_expected,
    )


def acquisition_time(image: Image) -> str:
    """Date, time and series number of an image, as text that sorts by time."""
    date = image.text("acquisition_date") or image.text("series_date")
    time = image.text("acquisition_time") or image.text("series_time")
    number = image.number("series_number")
    return f"{date} {time:<14} {number if np.isfinite(number) else 0:09.0f}"
