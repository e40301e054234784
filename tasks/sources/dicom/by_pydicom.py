"""The slow way into a DICOM file, through pydicom: compressed, deflated, big endian, multi-frame."""

from __future__ import annotations

import io
import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels.decoders.base import get_decoder

from cmr_models.reasons import StudyRejected
from tasks.sources.dicom.direct import check_inflated_size, claims_to_be_an_image
from tasks.sources.dicom.image import BINARY_TAGS, TAGS, Image, check_without_pixels, corrupt
from tasks.state.held_setting import HeldSetting

_FAULTS: Final = (
    BytesLengthException, InvalidDicomError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    NotImplementedError, RuntimeError, EOFError, OSError, struct.error, OverflowError, MemoryError,
)  # fmt: skip
_MAX_PIXELS: Final = 2**28

_log = logging.getLogger("pydicom")
_level = HeldSetting(lambda: _log.level, _log.setLevel, logging.CRITICAL)


@contextmanager
def _silence() -> Iterator[None]:
    """No messages of pydicom, in the log or as warnings: they quote header values, which may name people."""
    with _level.held(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_with_pydicom(data: bytes) -> list[Image]:
    """As :func:`tasks.sources.dicom.read_images`, by pydicom."""
    with _silence():
        try:
            return _images(_dataset(data), data)
        except StudyRejected:
            raise
        except _FAULTS as error:
            raise corrupt(f"It cannot be decoded ({type(error).__name__}).") from None


def header_with_pydicom(data: bytes) -> Image | None:
    """As :func:`tasks.sources.dicom.read_header`, by pydicom."""
    with _silence():
        try:
            return Image(_values(_dataset(data, stop_before_pixels=True)), None)
        except _FAULTS:
            return None


def _dataset(data: bytes, *, stop_before_pixels: bool = False) -> Dataset:
    check_inflated_size(data)
    return pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=stop_before_pixels)


def _images(dataset: Dataset, data: bytes) -> list[Image]:
    values = _values(dataset)
    if "Rows" not in dataset or "PixelData" not in dataset:
        check_without_pixels(Image(values, None), is_dicom_file=claims_to_be_an_image(data))
        return []
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    if int(dataset.get("SamplesPerPixel") or 1) > 1:
        return [Image(values, None)]
    if not 0 < int(dataset.Rows) * int(dataset.Columns) * n_frames <= _MAX_PIXELS:
        raise corrupt("An image's size is out of bounds.")
    _check_can_be_decoded(dataset)
    pixels = np.asarray(dataset.pixel_array)
    if "PerFrameFunctionalGroupsSequence" in dataset and n_frames == len(dataset.PerFrameFunctionalGroupsSequence):
        stack = pixels.reshape(n_frames, *pixels.shape[-2:])
        return [Image({**values, **_of_frame(dataset, i)}, stack[i]) for i in range(n_frames)]
    return [Image(values, None if n_frames > 1 else pixels)]


def _check_can_be_decoded(dataset: Dataset) -> None:
    """A whole image in an encoding for which nothing is installed is not damaged."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.name == str(syntax):
        raise corrupt("DICOM does not know its encoding.")
    try:
        is_readable = get_decoder(syntax).is_available
    except NotImplementedError:
        is_readable = False
    if not is_readable:
        raise StudyRejected("dicom_encoding", f"{syntax.name}.")


def _values(dataset: Dataset) -> dict[int, bytes]:
    return {tag: _bytes(tag, dataset[tag].value) for tag in TAGS.values() if tag in dataset}


def _bytes(tag: int, value: Any) -> bytes:
    if tag in BINARY_TAGS:
        return b"" if value is None else int(value).to_bytes(2, "little")
    parts = value if isinstance(value, MultiValue | list | tuple) else [value]
    return "\\".join("" if part is None else str(part) for part in parts).encode("latin-1", "replace")


def _of_frame(dataset: Dataset, index: int) -> dict[int, bytes]:
    """What an enhanced file keeps in functional groups: values of the frame, else the shared ones."""
    groups = [dataset.PerFrameFunctionalGroupsSequence[index]]
    groups += list(dataset.get("SharedFunctionalGroupsSequence") or [])
    found = {
        "position_mm": _in_group(groups, "PlanePositionSequence", "ImagePositionPatient"),
        "orientation": _in_group(groups, "PlaneOrientationSequence", "ImageOrientationPatient"),
        "pixel_mm": _in_group(groups, "PixelMeasuresSequence", "PixelSpacing"),
        "thickness_mm": _in_group(groups, "PixelMeasuresSequence", "SliceThickness"),
        "trigger_ms": _in_group(groups, "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
        "nominal_interval_ms": _in_group(groups, "CardiacSynchronizationSequence", "RRIntervalTimeNominal"),
        "image_type": _in_group(groups, "MRImageFrameTypeSequence", "FrameType"),
        "actual_delay_ms": _in_group(groups, "CardiacSynchronizationSequence", "ActualCardiacTriggerDelayTime"),
        "phase_pct": _in_group(groups, "CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase"),
        "temporal_index": _in_group(groups, "FrameContentSequence", "TemporalPositionIndex"),
        "acquisition_datetime": _in_group(groups, "FrameContentSequence", "FrameReferenceDateTime"),
        "echo_time_ms": _in_group(groups, "MREchoSequence", "EffectiveEchoTime"),
        "rescale_slope": _in_group(groups, "PixelValueTransformationSequence", "RescaleSlope"),
        "rescale_intercept": _in_group(groups, "PixelValueTransformationSequence", "RescaleIntercept"),
        "instance_number": index + 1 if len(dataset.PerFrameFunctionalGroupsSequence) > 1 else None,
    }
    return {TAGS[name]: _bytes(TAGS[name], value) for name, value in found.items() if value is not None}


def _in_group(groups: list[Dataset], sequence: str, keyword: str) -> Any:
    for group in groups:
        items = group.get(sequence) or []
        if len(items) and keyword in items[0]:
            return items[0][keyword].value
    return None
