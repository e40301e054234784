"""The slow way into a DICOM file, through pydicom: compressed, deflated, big endian, multi-frame."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from itertools import islice
from typing import Any, Final

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_fragments, generate_frames
from pydicom.filereader import read_sequence
from pydicom.hooks import hooks, raw_element_value
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    RLELossless,
)

from cmr_models.reasons import StudyRejected
from tasks.sources.dicom.codestreams import bare, is_of_shape
from tasks.sources.dicom.direct import begins_with_group_0, claims_to_be_an_image
from tasks.sources.dicom.frames import real_world_values, split, value_bytes
from tasks.sources.dicom.image import MODALITY_LUT, REAL_WORLD_VALUES, TAGS, Image, check_without_pixels, corrupt
from tasks.sources.dicom.pixel_values import Cells, fault_of_header, layout_of, put_pixels
from tasks.sources.limits import Budget
from tasks.state.held_setting import HeldSetting

_BEGINNINGS: Final = (b"\xff\xd8", b"\xff\x4f\xff\x51")
"""Of a frame in JPEG or JPEG-LS, and in JPEG 2000."""
_COST_OF_READ: Final = 16
"""How many elements the direct reader passes while pydicom reads once."""
_LEAST_BYTES: Final = 2048
"""What an image takes beside its pixels: a million frames of one pixel are no small file."""
_NATIVE: Final[Mapping[Any, UID]] = {
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}
"""The encoding of a file that does not name it, by whether it is implicit and little endian."""

_log = logging.getLogger("pydicom")
_level = HeldSetting(lambda: _log.level, _log.setLevel, logging.CRITICAL)


@contextmanager
def _silence() -> Iterator[None]:
    """No messages of pydicom, in the log or as warnings: they quote header values, which may name people."""
    with _level.held(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Counted(io.BytesIO):
    """Bytes that take what is read of them from a budget: pydicom reads each element and item by itself."""

    def __init__(self, data: bytes, budget: Budget) -> None:
        super().__init__(data)
        self._budget = budget

    def read(self, size: int | None = -1, /) -> bytes:
        self._budget.parse(_COST_OF_READ)
        return super().read(size)


_budget: ContextVar[Budget | None] = ContextVar("budget of the file that pydicom reads", default=None)


@contextmanager
def _counted(budget: Budget) -> Iterator[None]:
    """Sequences of a stated length, which pydicom opens when they are asked for, are taken from ``budget`` too."""
    token = _budget.set(budget)
    try:
        yield
    except Exception:
        budget.parse(0)  # pydicom makes an error of its own of the one that says that the budget is spent
        raise
    finally:
        _budget.reset(token)


def _value(raw: RawDataElement, data: dict[str, Any], *, encoding: Any = None, **others: Any) -> None:
    """pydicom's conversion of a value, and of sequences the same as its own, but counted."""
    budget = _budget.get()
    if budget is None or data["VR"] != "SQ" or not isinstance(raw.value, bytes):
        raw_element_value(raw, data, encoding=encoding, **others)
        return
    items = _Counted(raw.value, budget)
    data["value"] = read_sequence(items, raw.is_implicit_VR, raw.is_little_endian, len(raw.value), encoding, 0)


hooks.register_callback("raw_element_value", _value)


def read_with_pydicom(data: bytes, budget: Budget) -> list[Image]:
    """Images in the bytes of one file that is not deflated, by pydicom; may raise anything if they are damaged."""
    with _silence(), _counted(budget):
        return _images(_dataset(data, budget), data, budget)


def header_with_pydicom(data: bytes, budget: Budget) -> Image:
    """Header values from the first bytes of a file that is not deflated; may raise anything if they are damaged."""
    with _silence(), _counted(budget):
        return Image(_values(_dataset(data, budget, stop_before_pixels=True)), None)


def _dataset(data: bytes, budget: Budget, *, stop_before_pixels: bool = False) -> Dataset:
    if begins_with_group_0(data):
        raise corrupt("Its elements are of group 0, which no file holds.")
    dataset = pydicom.dcmread(_Counted(data, budget), force=True, stop_before_pixels=stop_before_pixels)
    if "TransferSyntaxUID" not in dataset.file_meta:  # files of before the file meta information are not compressed
        dataset.file_meta.TransferSyntaxUID = _NATIVE[dataset.original_encoding]
    return dataset


def _images(dataset: Dataset, data: bytes, budget: Budget) -> list[Image]:
    image = Image(_values(dataset), None)
    if any(name in dataset for name in ("FloatPixelData", "DoubleFloatPixelData")):
        return [replace(image, fault="pixel_format_unsupported")]
    if "Rows" not in dataset or "PixelData" not in dataset:
        check_without_pixels(image, is_dicom_file=claims_to_be_an_image(data))
        return []
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    if image.has_colour:
        return [image]
    shape = (n_frames, int(dataset.Rows), int(dataset.Columns))
    if min(shape) < 1:
        raise corrupt("An image has no rows, columns or frames.")
    image.fault = fault_of_header(image)
    n_bytes = math.prod(shape) * layout_of(image).allocated // 8
    if not image.fault and not budget.holds(max(n_bytes, n_frames * _LEAST_BYTES)):
        image.fault = "image_too_large"
    if image.fault:
        return [image]
    budget.decode(max(n_bytes, n_frames * _LEAST_BYTES))
    _put_pixels(image, dataset, shape, budget)
    return [image] if image.pixels is None else split(image, dataset, n_frames)


def _put_pixels(image: Image, dataset: Dataset, shape: tuple[int, int, int], budget: Budget) -> None:
    """Pixels ``(frame, row, col)``, or a fault."""
    is_encoded = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    cells = _decoded_cells(image, dataset, shape, budget) if is_encoded else _native_cells(image, dataset, shape)
    if cells is None:
        image.fault = "pixel_data_contradict"
    else:
        put_pixels(image, cells)


def _decoded_cells(image: Image, dataset: Dataset, shape: tuple[int, int, int], budget: Budget) -> Cells | None:
    """Cells that are compressed; None if there are more frames than the header says, or larger ones."""
    layout = layout_of(image)
    _check_can_be_decoded(dataset.file_meta.TransferSyntaxUID, layout.stored)
    if _n_encoded(dataset, budget) > shape[0]:
        return None
    frames = _encoded_frames(dataset, shape[0])
    is_rle = dataset.file_meta.TransferSyntaxUID == RLELossless
    if not is_rle:
        frames = [bare(frame) for frame in frames]
    if not all(is_of_shape(frame, shape[1:], layout.allocated // 8, is_rle=is_rle) for frame in frames):
        return None
    dataset.PixelData = encapsulate(frames)  # so that no other bytes are decoded than those that were looked at
    # pydicom refuses headers in which these are missing; what they say has been understood before
    dataset.BitsStored, dataset.PixelRepresentation = layout.stored, int(layout.signed)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    decoded = pixel_array(dataset, raw=True, correct_unused_bits=False).reshape(shape)
    return np.asarray(decoded.view(f"u{decoded.dtype.itemsize}"))


def _n_encoded(dataset: Dataset, budget: Budget) -> int:
    """How many frames begin in the fragments: every fragment in RLE, else those with the mark of a beginning."""
    is_rle = dataset.file_meta.TransferSyntaxUID == RLELossless
    fragments = islice(generate_fragments(dataset.PixelData), 1, None)  # the first holds offsets
    n_frames = 0
    for fragment in fragments:
        budget.parse(_COST_OF_READ)
        n_frames += is_rle or fragment.startswith(_BEGINNINGS)
    return n_frames


def _encoded_frames(dataset: Dataset, n_frames: int) -> list[bytes]:
    offsets = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in dataset:
            del dataset[keyword]
    extended = None if None in offsets else offsets
    return list(
        islice(generate_frames(dataset.PixelData, number_of_frames=n_frames, extended_offsets=extended), n_frames)
    )


def _native_cells(image: Image, dataset: Dataset, shape: tuple[int, int, int]) -> Cells | None:
    """Cells that are not compressed; None if there are more than the header says."""
    if dataset["PixelData"].is_undefined_length:
        raise corrupt("Its pixels lie in fragments, as if they were compressed, but its encoding is of plain ones.")
    order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
    dtype = np.dtype(f"{order}u{layout_of(image).allocated // 8}")
    data = bytes(dataset.PixelData)
    if order == ">" and dtype.itemsize == 1 and dataset["PixelData"].VR == "OW":
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    needed, one = math.prod(shape) * dtype.itemsize, math.prod(shape[1:]) * dtype.itemsize
    if len(data) < needed:
        raise corrupt("The pixels of an image are truncated.")
    if len(data) >= needed + one:
        return None
    cells = np.frombuffer(data, dtype, math.prod(shape)).reshape(shape)
    return cells.astype(dtype.newbyteorder("="), copy=False)


def _check_can_be_decoded(syntax: UID, stored_bits: int) -> None:
    """A whole image in an encoding for which nothing is installed is not damaged."""
    if syntax.name == str(syntax):
        raise corrupt("DICOM does not know its encoding.")
    try:
        decoders = set(get_decoder(syntax).available_plugins)
    except NotImplementedError:
        decoders = set()
    if syntax == JPEGExtended12Bit and stored_bits > 8:
        decoders.discard("pillow")  # it reads 8 of the 12 bits
    if not decoders:
        raise StudyRejected("dicom_encoding", f"{syntax.name}.")


def _values(dataset: Dataset) -> dict[int, bytes]:
    """Header values, with the real-world mapping in place of a rescale slope that is missing or says nothing."""
    values = {tag: value_bytes(tag, dataset[tag].value) for tag in TAGS.values() if tag in dataset}
    values |= {tag: b"" for tag in (MODALITY_LUT, REAL_WORLD_VALUES) if tag in dataset and dataset[tag].value}
    if not Image(values, None).is_rescaled:
        values |= real_world_values([dataset])
    return values
