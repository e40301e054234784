"""Frames of multi-frame files, an image each: enhanced files by their functional groups, classic ones by their times.

A classic file (MR Image Storage made multi-frame by an archive, or multi-frame secondary capture) has one header for
all frames. Its frames are images in time if it says when they were taken (PS3.3 C.7.6.5, C.7.6.6): trigger times a
frame, a Frame Time Vector, or a Frame Time, the one to which Frame Increment Pointer points first. Rates of display
are no times of acquisition.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as PrivateSequence

from cmr_models.views.series_kind import LONGEST_CYCLE_MS, MIN_CINE_FRAMES, cycle_from
from tasks.sources.dicom.image import BINARY_TAGS, MODALITY_LUT, TAGS, Image
from tasks.sources.dicom.pixel_values import fault_of_header

_TRIGGER, _FRAME_TIME, _TIME_VECTOR = 0x00181060, 0x00181063, 0x00181065
_TIMES: Final = (_TRIGGER, _TIME_VECTOR, _FRAME_TIME)
_LEAST_OF_A_CYCLE, _MOST_OF_A_CYCLE = 0.6, 1.3
_SHORTEST_STEP_MS = 3.0
_RESCALE: Final = ("rescale_slope", "rescale_intercept")
_ON_LINE: Final = 1e-6
"""Values of a table lie no further from a straight line than this share of their range, or they are on none."""
_PHILIPS_FRAME, _PHILIPS_SLOPE = 0x2005140F, 0x2005100E


def split(image: Image, dataset: Dataset, n_frames: int) -> list[Image]:
    """An image a frame, or ``image`` with the fault for which its frames cannot be told apart.

    Args:
        image: header values of the file, and pixels ``(frame, row, col)``.
        dataset: the whole header.
        n_frames: as the header says.
    """
    assert image.pixels is not None
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) == n_frames:
        values = _mapped(dataset, [_of_frame(dataset, index) for index in range(n_frames)])
    elif len(groups):
        return [replace(image, pixels=None, fault="multiframe_unordered")]
    elif n_frames == 1:
        values = [{}]
    else:
        times_ms = frame_times_ms(dataset, n_frames)
        if times_ms is None:
            return [replace(image, pixels=None, fault="multiframe_unordered")]
        are_played = _are_of_display(times_ms, dataset)
        values = [_at(index, math.nan if are_played else time_ms) for index, time_ms in enumerate(times_ms)]
    return [_with_values(image, own, image.pixels[k]) for k, own in enumerate(values)]


def _with_values(image: Image, own: dict[int, bytes], pixels: npt.NDArray[np.integer]) -> Image:
    frame = replace(image, values={**image.values, **own}, pixels=pixels)
    fault = fault_of_header(frame)
    return replace(frame, pixels=None, fault=fault) if fault else frame


# classic


def frame_times_ms(dataset: Dataset, n_frames: int) -> npt.NDArray[np.float64] | None:
    """When each frame was taken, since the R wave where the header says so; None if it does not say when.

    None too where the frames are said to be something else than times, such as places.
    """
    pointers = _numbers(dataset.get("FrameIncrementPointer"))
    cycle_ms = _cycle_ms(dataset)
    longest_ms = _MOST_OF_A_CYCLE * cycle_ms if math.isfinite(cycle_ms) else LONGEST_CYCLE_MS
    if len(pointers) and not set(pointers) & set(_TIMES):
        return None
    for tag in [*(int(pointer) for pointer in pointers if pointer in _TIMES), *_TIMES]:
        values = _numbers(dataset[tag].value) if tag in dataset else np.empty(0)
        times = _times(tag, values, n_frames, longest_ms)
        if times is not None:
            start = _numbers(dataset.get("TriggerTime")) if tag != _TRIGGER else np.empty(0)
            return times + (start[0] if len(start) == 1 else 0.0)
    return None


def _times(
    tag: int, values: npt.NDArray[np.float64], n_frames: int, longest_ms: float
) -> npt.NDArray[np.float64] | None:
    if tag == _FRAME_TIME:
        return np.arange(n_frames) * values[0] if len(values) == 1 and values[0] > 0 else None
    if len(values) != n_frames:
        return None
    times = values if tag == _TRIGGER else np.cumsum([0.0, *values[1:]])
    if tag == _TIME_VECTOR and times[-1] > longest_ms and (np.diff(values) > 0).all():
        times = values  # old tools wrote times instead of steps
    return times if len(np.unique(times)) == n_frames else None


def _are_of_display(times_ms: npt.NDArray[np.float64], dataset: Dataset) -> bool:
    """Whether times at one step, far too short for the RR interval, are those at which a viewer plays the frames."""
    if len(times_ms) < MIN_CINE_FRAMES:
        return False
    gaps = np.diff(times_ms)
    is_even = float(np.ptp(gaps)) < 1e-6 * float(gaps[0])
    whole_ms = len(times_ms) * float(gaps[0])
    return is_even and gaps[0] >= _SHORTEST_STEP_MS and whole_ms < _LEAST_OF_A_CYCLE * _cycle_ms(dataset)


def _cycle_ms(dataset: Dataset) -> float:
    """The RR interval; NaN if unknown."""
    interval, rate = (_numbers(dataset.get(name)) for name in ("NominalInterval", "HeartRate"))
    return cycle_from(interval.tolist(), float(rate[0]) if len(rate) else math.nan)


def _numbers(value: Any) -> npt.NDArray[np.float64]:
    """Finite numbers; empty if there are none, or others among them."""
    parts = value if isinstance(value, MultiValue | list | tuple) else [value]
    try:
        numbers = np.array([float(part) for part in parts])
    except (TypeError, ValueError):
        return np.empty(0)
    return numbers if np.isfinite(numbers).all() else np.empty(0)


def _at(index: int, time_ms: float) -> dict[int, bytes]:
    """Time (NaN: none) and number of a frame; frames of a file without times that count follow each other in time."""
    number = str(index + 1).encode()
    if math.isnan(time_ms):
        return {TAGS["temporal_position"]: number, TAGS["trigger_ms"]: b"", TAGS["instance_number"]: number}
    return {TAGS["trigger_ms"]: f"{time_ms:.10g}".encode(), TAGS["instance_number"]: number}


# enhanced


def real_world_values(groups: Sequence[Dataset]) -> dict[int, bytes]:
    """Slope and intercept of a Real World Value Mapping (PS3.3 C.7.6.16.2.11), as if they were rescale's.

    A table whose values rise by one step is a slope too; another table is one that is not read.
    """
    value = partial(_in_group, groups, "RealWorldValueMappingSequence")
    slope, intercept = value("RealWorldValueSlope"), value("RealWorldValueIntercept")
    if slope is None or intercept is None:
        table = _numbers(value("RealWorldValueLUTData"))
        if not len(table):
            return {}
        first = _numbers(value("RealWorldValueFirstValueMapped"))
        if not (len(first) == 1 and _is_line(table)):
            return {MODALITY_LUT: b""}
        slope = (table[-1] - table[0]) / (len(table) - 1)
        intercept = table[0] - slope * first[0]
    found = {TAGS["rescale_slope"]: slope, TAGS["rescale_intercept"]: intercept}
    return {tag: value_bytes(tag, number) for tag, number in found.items()}


def _is_line(table: npt.NDArray[np.float64]) -> bool:
    """Whether values rise or fall by one step."""
    if len(table) < 2 or table[0] == table[-1]:
        return False
    line = np.linspace(table[0], table[-1], len(table))
    return bool(np.abs(table - line).max() <= _ON_LINE * abs(float(table[-1] - table[0])))


def value_bytes(tag: int, value: Any) -> bytes:
    """A header value as it would lie in a little-endian file."""
    if tag in BINARY_TAGS:
        if isinstance(value, bytes):
            return value[:2]
        return b"" if value is None else (int(value) & 0xFFFF).to_bytes(2, "little")
    if tag == TAGS["philips_scale_slope"]:
        return value if isinstance(value, bytes) else struct.pack("<f", float(value))
    if isinstance(value, bytes):
        return value
    parts = value if isinstance(value, MultiValue | list | tuple) else [value]
    return "\\".join("" if part is None else str(part) for part in parts).encode("latin-1", "replace")


def _of_frame(dataset: Dataset, index: int) -> dict[int, bytes]:
    """What an enhanced file keeps in functional groups: values of the frame, else the shared ones."""
    groups = _groups_of(dataset, index)
    found = {
        "position_mm": _in_group(groups, "PlanePositionSequence", "ImagePositionPatient"),
        "orientation": _in_group(groups, "PlaneOrientationSequence", "ImageOrientationPatient"),
        "pixel_mm": _in_group(groups, "PixelMeasuresSequence", "PixelSpacing"),
        "thickness_mm": _in_group(groups, "PixelMeasuresSequence", "SliceThickness"),
        "trigger_ms": _in_group(groups, "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
        "nominal_interval_ms": _in_group(groups, "CardiacSynchronizationSequence", "RRIntervalTimeNominal"),
        "image_type": _in_group(groups, "MRImageFrameTypeSequence", "FrameType"),
        "complex_component": _in_group(groups, "MRImageFrameTypeSequence", "ComplexImageComponent"),
        "actual_delay_ms": _in_group(groups, "CardiacSynchronizationSequence", "ActualCardiacTriggerDelayTime"),
        "phase_pct": _in_group(groups, "CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase"),
        "temporal_index": _in_group(groups, "FrameContentSequence", "TemporalPositionIndex"),
        "frame_acquisition_datetime": _in_group(groups, "FrameContentSequence", "FrameAcquisitionDateTime"),
        "frame_reference_datetime": _in_group(groups, "FrameContentSequence", "FrameReferenceDateTime"),
        "temporal_offset_s": _in_group(groups, "TemporalPositionSequence", "TemporalPositionTimeOffset"),
        "echo_time_ms": _in_group(groups, "MREchoSequence", "EffectiveEchoTime"),
        "rescale_slope": _in_group(groups, "PixelValueTransformationSequence", "RescaleSlope"),
        "rescale_intercept": _in_group(groups, "PixelValueTransformationSequence", "RescaleIntercept"),
        "philips_scale_slope": _philips_slope(groups[0]),
        "instance_number": index + 1 if len(dataset.PerFrameFunctionalGroupsSequence) > 1 else None,
    }
    return {TAGS[name]: value_bytes(TAGS[name], value) for name, value in found.items() if value is not None}


def _groups_of(dataset: Dataset, index: int) -> list[Dataset]:
    """Functional groups of a frame, and the shared ones."""
    own: Dataset = dataset.PerFrameFunctionalGroupsSequence[index]
    return [own, *(dataset.get("SharedFunctionalGroupsSequence") or [])]


def _mapped(dataset: Dataset, frames: list[dict[int, bytes]]) -> list[dict[int, bytes]]:
    """Values of ``frames`` with their real-world mapping, if the rescale slopes of all of them say nothing."""
    of_file = {TAGS[name]: dataset[TAGS[name]].value for name in _RESCALE if TAGS[name] in dataset}
    stated = {tag: value_bytes(tag, value) for tag, value in of_file.items()}
    if any(Image(stated | frame, None).is_rescaled for frame in frames):
        return frames
    return [frame | real_world_values(_groups_of(dataset, k)) for k, frame in enumerate(frames)]


def _philips_slope(group: Dataset) -> Any:
    """Philips' own scale of a frame, which lies in a private sequence."""
    items = group[_PHILIPS_FRAME].value if _PHILIPS_FRAME in group else []
    item = items[0] if isinstance(items, PrivateSequence) and len(items) else None
    return item[_PHILIPS_SLOPE].value if item is not None and _PHILIPS_SLOPE in item else None


def _in_group(groups: Sequence[Dataset], sequence: str, keyword: str) -> Any:
    for group in groups:
        items = group.get(sequence) or []
        if len(items) and keyword in items[0]:
            return items[0][keyword].value
    return None
