"""DICOM images from bytes: whitelisted header values and pixels, by a small strict reader, else by pydicom.

Little-endian, uncompressed, single-frame files (nearly all of a scanner's archive) are read directly: the header is
walked once, only the tags of :data:`KEPT` and :data:`USED` are looked at, and the walk ends at the pixels. Whatever
is unusual (compressed, deflated, big endian, enhanced multi-frame, odd encodings) goes through pydicom.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cmr_models.reasons import StudyRejected

KEPT: Final[Mapping[str, int]] = {
    "image_type": 0x00080008,
    "modality": 0x00080060,
    "manufacturer": 0x00080070,
    "manufacturer_model": 0x00081090,
    "series_description": 0x0008103E,
    "patient_size_m": 0x00101020,
    "patient_weight_kg": 0x00101030,
    "scanning_sequence": 0x00180020,
    "sequence_variant": 0x00180021,
    "scan_options": 0x00180022,
    "sequence_name": 0x00180024,
    "thickness_mm": 0x00180050,
    "repetition_time_ms": 0x00180080,
    "echo_time_ms": 0x00180081,
    "inversion_ms": 0x00180082,
    "field_strength_t": 0x00180087,
    "phase_encodings": 0x00180089,
    "echo_train_length": 0x00180091,
    "protocol_name": 0x00181030,
    "trigger_ms": 0x00181060,
    "nominal_interval_ms": 0x00181062,
    "heart_rate_bpm": 0x00181088,
    "cardiac_images": 0x00181090,
    "flip_angle_deg": 0x00181314,
    "series_number": 0x00200011,
    "instance_number": 0x00200013,
    "position_mm": 0x00200032,
    "orientation": 0x00200037,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "pixel_mm": 0x00280030,
    "rescale_intercept": 0x00281052,
    "rescale_slope": 0x00281053,
}
"""The whitelist: the only header values that may reach a published file."""

USED: Final[Mapping[str, int]] = {
    "sop_class": 0x00080016,
    "series_date": 0x00080021,
    "acquisition_date": 0x00080022,
    "series_time": 0x00080031,
    "acquisition_time": 0x00080032,
    "patient_id": 0x00100020,
    "study_uid": 0x0020000D,
    "series_uid": 0x0020000E,
    "acquisition_number": 0x00200012,
    "samples_per_pixel": 0x00280002,
    "frames": 0x00280008,
    "bits_allocated": 0x00280100,
    "pixel_representation": 0x00280103,
}
"""Looked at to group, order and decode the images, and never stored."""

TAGS: Final[Mapping[str, int]] = {**KEPT, **USED}
_WANTED: Final = frozenset(TAGS.values())
_BINARY: Final = frozenset(
    TAGS[name] for name in ("rows", "columns", "samples_per_pixel", "bits_allocated", "pixel_representation")
)

_PIXELS: Final = 0x7FE00010
_TRANSFER_SYNTAX: Final = 0x00020010
_IMPLICIT, _EXPLICIT = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_DIRECTORY: Final = b"1.2.840.10008.1.3.10"
_PREFACE_BYTES: Final = 1024
_MAX_INFLATED: Final = 2**28
_INFLATED_BLOCK: Final = 2**20
_ENHANCED: Final = "1.2.840.10008.5.1.4.1.1.4.1"
_IMAGE_CLASSES: Final = ("1.2.840.10008.5.1.4.1.1.4", _ENHANCED)
_UNDEFINED: Final = 0xFFFFFFFF
_LONG_VR: Final = frozenset(b"OB OW OF SQ UT UN OD OL UC UR OV SV UV".split())
_SHORT_VR: Final = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_MAX_DEPTH: Final = 16
_PREAMBLE: Final = 132

_explicit_element = struct.Struct("<HH2sH").unpack_from
_implicit_element = struct.Struct("<HHL").unpack_from
_long = struct.Struct("<L").unpack_from


class UnusualEncodingError(Exception):
    """The direct reader leaves this file to pydicom."""


@dataclass(slots=True)
class Image:
    """One DICOM image: raw header values of :data:`TAGS` and ``(row, col)`` pixels (None for colour)."""

    values: dict[int, bytes]
    pixels: npt.NDArray[np.integer] | None

    def raw(self, name: str) -> bytes:
        """Undecoded value; empty if absent."""
        return self.values.get(TAGS[name], b"")

    def text(self, name: str) -> str:
        """Value as text without padding; empty if absent."""
        return self.raw(name).decode("latin-1").strip(" \x00")

    def numbers(self, name: str) -> tuple[float, ...]:
        """Backslash-separated numbers; empty if absent or if any is not a number."""
        try:
            return tuple(float(part) for part in self.text(name).split("\\"))
        except ValueError:
            return ()

    def number(self, name: str) -> float:
        """First number; NaN if absent."""
        found = self.numbers(name)
        return found[0] if found else float("nan")

    def integer(self, name: str, default: int = 0) -> int:
        """An unsigned 16-bit value; ``default`` if absent."""
        raw = self.raw(name)
        return int.from_bytes(raw[:2], "little") if len(raw) >= 2 else default


def read_images(data: bytes) -> list[Image]:
    """Images in the bytes of one file: one, several if it is an enhanced multi-frame file, or none.

    Raises:
        StudyRejected: ``dicom_corrupt`` if it is a DICOM image that is cut off or cannot be decoded.
    """
    if not looks_like_dicom(data):
        return []
    try:
        image = _read_directly(data)
    except UnusualEncodingError:
        from tasks.sources.dicom.by_pydicom import read_with_pydicom

        return read_with_pydicom(data)
    return [] if image is None else [image]


def read_header(data: bytes) -> Image | None:
    """Header values alone, from the first bytes of a file; None if they are not those of a DICOM file."""
    if not looks_like_dicom(data):
        return None
    try:
        explicit, start = _encoding(data)
        values, _, _ = _walk(data, start, explicit, truncated_is_end=True)
    except UnusualEncodingError:
        from tasks.sources.dicom.by_pydicom import header_with_pydicom

        return header_with_pydicom(data)
    return Image(values, None)


def looks_like_dicom(data: bytes) -> bool:
    """The magic word, or (files without preamble) a first element of group 8 or 2."""
    if data[128:_PREAMBLE] == b"DICM":
        return True
    return len(data) > 8 and data[:2] in (b"\x08\x00", b"\x02\x00") and data[3] == 0


def claims_to_be_an_image(data: bytes) -> bool:
    """The magic word, and not the class of a DICOMDIR: a file that lists others."""
    return data[128:_PREAMBLE] == b"DICM" and _DIRECTORY not in data[:_PREFACE_BYTES]


def check_inflated_size(data: bytes) -> None:
    """Deflated files may be small and hold more than memory does; pydicom inflates them whole.

    Raises:
        StudyRejected: ``dicom_corrupt`` if the first bytes name that encoding, and more comes out than is permitted.
    """
    if _DEFLATED not in data[:_PREFACE_BYTES]:
        return
    start = _preface(data)[1]
    reader = zlib.decompressobj(-zlib.MAX_WBITS)
    n_bytes, packed = 0, data[start:]
    try:
        while packed and n_bytes <= _MAX_INFLATED:
            n_bytes += len(reader.decompress(packed, _INFLATED_BLOCK))
            packed = reader.unconsumed_tail
    except zlib.error:
        raise corrupt("It cannot be inflated.") from None
    if n_bytes > _MAX_INFLATED:
        raise corrupt(f"It inflates beyond {_MAX_INFLATED} bytes.")


def corrupt(what: str) -> StudyRejected:
    """The rejection of a damaged DICOM file."""
    return StudyRejected("dicom_corrupt", what)


def _read_directly(data: bytes) -> Image | None:
    explicit, start = _encoding(data)
    values, begin, length = _walk(data, start, explicit)
    image = Image(values, None)
    if begin < 0:
        check_is_no_image(image, data)
        return None
    if image.text("sop_class") == _ENHANCED or image.number("frames") > 1:
        raise UnusualEncodingError
    if image.integer("samples_per_pixel", 1) == 1:
        image.pixels = _pixels(data, image, begin, length)
    return image


def check_is_no_image(image: Image, data: bytes) -> None:
    """Reports and presentation states have no pixels; an image without them is cut off, or its header is damaged.

    Raises:
        StudyRejected: ``dicom_corrupt`` if ``data``, whose header values are ``image``, should have pixels.
    """
    if image.text("sop_class") in _IMAGE_CLASSES or image.raw("rows"):
        raise corrupt("An image has no pixels.")
    if not image.raw("sop_class") and claims_to_be_an_image(data):
        raise corrupt("A header cannot be read.")


def _encoding(data: bytes) -> tuple[bool, int]:
    """Whether value representations are explicit, and where the data set starts."""
    if data[128:_PREAMBLE] != b"DICM":
        raise UnusualEncodingError
    syntax, position = _preface(data)
    if syntax not in (_EXPLICIT, _IMPLICIT):
        raise UnusualEncodingError
    return syntax == _EXPLICIT, position


def _preface(data: bytes) -> tuple[bytes, int]:
    """The transfer syntax, and where group 2 ends."""
    position, syntax = _PREAMBLE if data[128:_PREAMBLE] == b"DICM" else 0, b""
    while position + 8 <= len(data) and data[position : position + 2] == b"\x02\x00":
        tag, value, length = _explicit_at(data, position)
        if length == _UNDEFINED or value + length > len(data):
            raise corrupt("The file's preface is cut off.")
        if tag == _TRANSFER_SYNTAX:
            syntax = data[value : value + length].strip(b" \x00")
        position = value + length
    return syntax, position


def _walk(
    data: bytes, position: int, explicit: bool, *, truncated_is_end: bool = False
) -> tuple[dict[int, bytes], int, int]:
    """Wanted values, and where the pixels lie and how many bytes they have (-1 and 0 without pixels)."""
    values: dict[int, bytes] = {}
    end = len(data)
    element = _explicit_at if explicit else _implicit_at
    while position + 8 <= end:
        tag, value, length = element(data, position)
        if tag >= _PIXELS:
            return (values, value, length) if tag == _PIXELS else (values, -1, 0)
        if length == _UNDEFINED:
            position = _skip_sequence(data, value, explicit, 0)
            continue
        position = value + length
        if position > end:
            break
        if tag in _WANTED:
            values[tag] = data[value:position]
    if position != end and not truncated_is_end:
        raise corrupt("A file ends inside its header.")
    return values, -1, 0


def _explicit_at(data: bytes, position: int) -> tuple[int, int, int]:
    """Tag, place and length of the value of the element at ``position``."""
    group, number, representation, length = _explicit_element(data, position)
    if representation in _SHORT_VR:
        return group << 16 | number, position + 8, length
    if representation not in _LONG_VR or position + 12 > len(data):
        raise UnusualEncodingError
    (length,) = _long(data, position + 8)
    if length == _UNDEFINED and representation != b"SQ" and (group, number) != (0x7FE0, 0x0010):
        raise UnusualEncodingError
    return group << 16 | number, position + 12, length


def _implicit_at(data: bytes, position: int) -> tuple[int, int, int]:
    group, number, length = _implicit_element(data, position)
    return group << 16 | number, position + 8, length


def _skip_sequence(data: bytes, position: int, explicit: bool, depth: int) -> int:
    """Place after a sequence of undefined length that starts at ``position``."""
    if depth > _MAX_DEPTH:
        raise UnusualEncodingError
    while position + 8 <= len(data):
        tag, value, length = _implicit_at(data, position)
        if tag == _SEQUENCE_END:
            return value
        if tag != _ITEM:
            raise UnusualEncodingError
        position = _skip_item(data, value, explicit, depth) if length == _UNDEFINED else value + length
    raise UnusualEncodingError


def _skip_item(data: bytes, position: int, explicit: bool, depth: int) -> int:
    element = _explicit_at if explicit else _implicit_at
    while position + 8 <= len(data):
        tag, value, length = _implicit_at(data, position)
        if tag == _ITEM_END:
            return value
        _, value, length = element(data, position)
        position = _skip_sequence(data, value, explicit, depth + 1) if length == _UNDEFINED else value + length
    raise UnusualEncodingError


def _pixels(data: bytes, image: Image, begin: int, length: int) -> npt.NDArray[np.integer]:
    rows, columns, bits = (image.integer(name) for name in ("rows", "columns", "bits_allocated"))
    if length == _UNDEFINED or bits not in (8, 16, 32):
        raise UnusualEncodingError
    if rows * columns == 0:
        raise corrupt("An image has no rows or columns.")
    dtype = np.dtype(f"<{'i' if image.integer('pixel_representation') else 'u'}{bits // 8}")
    needed = rows * columns * dtype.itemsize
    if length < needed or begin + needed > len(data):
        raise corrupt("An image's pixels are cut off.")
    return np.frombuffer(data, dtype, rows * columns, begin).reshape(rows, columns).copy()
