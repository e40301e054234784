"""The small strict DICOM reader: little-endian, uncompressed, single-frame files, nearly all of an archive.

The header is walked once (:func:`_walk`). Only the tags of :mod:`tasks.sources.dicom.image` are kept, and the walk
ends at the pixels. Anything unusual raises :class:`UnusualEncodingError` and goes to pydicom.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Final

import numpy as np

from cmr_models.reasons import StudyRejected
from tasks.sources.dicom.image import (
    ENHANCED,
    LEGACY_ENHANCED,
    MODALITY_LUT,
    REAL_WORLD_VALUES,
    TAGS,
    Image,
    check_without_pixels,
    corrupt,
    with_numbers_as_text,
)
from tasks.sources.dicom.pixel_values import fault_of_header, put_pixels
from tasks.sources.limits import Budget

_READ: Final = frozenset(TAGS.values())
_FRAME_HEADERS: Final = 0x52009230
_SEEN: Final = frozenset((MODALITY_LUT, REAL_WORLD_VALUES, _FRAME_HEADERS))
_FIRST: Final = 0x00010000
_PIXELS: Final = 0x7FE00010
_REAL_PIXELS: Final = (0x7FE00008, 0x7FE00009)
_TRANSFER_SYNTAX: Final = 0x00020010
_IMPLICIT, _EXPLICIT = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_COMPRESSED: Final = re.compile(rb"1\.2\.840\.10008\.1\.2\.(4\.(?!95$)[0-9]+|5)")
"""Encodings of compressed pixels, whose headers are all little-endian and explicit (PS3.5 A.4); JPIP's deflated
one is not."""

_STUDY_UID: Final = TAGS["study_uid"]
_DIRECTORY: Final = b"1.2.840.10008.1.3.10"
_PREFACE_BYTES: Final = 1024
_UNDEFINED: Final = 0xFFFFFFFF
_LONG_VR: Final = frozenset(b"OB OW OF SQ UT UN OD OL UC UR OV SV UV".split())
_SHORT_VR: Final = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_NO_ITEM: Final = struct.pack("<HH", _SEQUENCE_END >> 16, _SEQUENCE_END & 0xFFFF)
_MAX_DEPTH: Final = 16
_PREAMBLE: Final = 132

_explicit_element = struct.Struct("<HH2sH").unpack_from
_implicit_element = struct.Struct("<HHL").unpack_from
_long = struct.Struct("<L").unpack_from


class UnusualEncodingError(Exception):
    """The direct reader leaves this file to pydicom."""


class _CutOffError(UnusualEncodingError):
    """The bytes end inside a sequence."""


def read_image(data: bytes, budget: Budget) -> Image | None:
    """The image in the bytes of one file; None if it holds none.

    Raises:
        UnusualEncodingError: if the file is for pydicom.
        StudyRejected: ``dicom_corrupt`` if it is cut off.
    """
    explicit, start = _encoding(data)
    values, begin, length = _walk(data, start, explicit, budget)
    image = Image(with_numbers_as_text(values), None)
    if any(tag in values for tag in _REAL_PIXELS):
        image.fault = "pixel_format_unsupported"
        return image
    if begin < 0:
        check_without_pixels(image, is_dicom_file=claims_to_be_an_image(data))
        return None
    is_mapped = REAL_WORLD_VALUES in values and not image.is_rescaled
    has_frame_headers = _FRAME_HEADERS in values and not image.raw("position_mm")  # others hold empty ones
    is_enhanced = has_frame_headers or image.text("sop_class") in (ENHANCED, LEGACY_ENHANCED)
    if is_enhanced or image.text("frames") not in ("", "1") or is_mapped:
        raise UnusualEncodingError
    if not image.has_colour:
        _read_pixels(data, image, begin, length, budget)
    return image


def read_values(data: bytes, budget: Budget) -> dict[int, bytes]:
    """Header values of :data:`TAGS` in the first bytes of a file.

    Raises:
        UnusualEncodingError: if the file is for pydicom.
    """
    explicit, start = _encoding(data, may_be_compressed=True)
    values, _, _ = _walk(data, start, explicit, budget, truncated_is_end=True)
    return values


def looks_like_dicom(data: bytes) -> bool:
    """The magic word, or (files without preamble) a first element of group 8 or 2."""
    if data[128:_PREAMBLE] == b"DICM":
        return True
    return len(data) > 8 and data[:2] in (b"\x08\x00", b"\x02\x00") and data[3] == 0


def claims_to_be_an_image(data: bytes) -> bool:
    """The magic word, and not the class of a DICOMDIR: a file that lists others."""
    return data[128:_PREAMBLE] == b"DICM" and _DIRECTORY not in data[:_PREFACE_BYTES]


def begins_with_group_0(data: bytes) -> bool:
    """Whether the first element after group 2 has a tag that no file holds: empty space, and millions of elements."""
    try:
        start = preface(data)[1]
    except UnusualEncodingError:
        return False
    return data[start : start + 2] == b"\0\0"


def inflated(data: bytes, most_bytes: int, *, is_beginning: bool = False) -> bytes:
    """The plain file that a deflated one stands for (PS3.5 A.5), so that no reader inflates without a bound.

    Args:
        data: of a file in any encoding; others than the deflated one are given back as they are.
        most_bytes: of the data set, inflated.
        is_beginning: whether ``data`` may be cut off, and what they tell is enough.

    Raises:
        StudyRejected: ``dicom_corrupt`` if it cannot be inflated, is cut off, or hides in which encoding it is;
            ``study_too_large`` if more comes out than is permitted.
    """
    if _DEFLATED not in data:
        return data
    try:
        syntax, start = preface(data)
    except UnusualEncodingError:
        raise corrupt("The file meta information of a deflated file cannot be read.") from None
    if syntax != _DEFLATED:
        return data
    reader = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = reader.decompress(data[start:], most_bytes + 1)
    if len(plain) > most_bytes and not is_beginning:
        raise StudyRejected("study_too_large", f"A deflated DICOM file has more than {most_bytes // 2**20} MB.")
    if not (reader.eof or is_beginning):
        raise corrupt("A deflated file is cut off.")
    return data[:start].replace(_DEFLATED, _EXPLICIT.ljust(len(_DEFLATED), b"\0")) + plain


def _encoding(data: bytes, *, may_be_compressed: bool = False) -> tuple[bool, int]:
    """Whether value representations are explicit, and where the data set starts."""
    if data[128:_PREAMBLE] != b"DICM":
        raise UnusualEncodingError
    syntax, position = preface(data)
    if may_be_compressed and _COMPRESSED.fullmatch(syntax):
        return True, position
    if syntax not in (_EXPLICIT, _IMPLICIT):
        raise UnusualEncodingError
    return syntax == _EXPLICIT, position


def preface(data: bytes) -> tuple[bytes, int]:
    """The transfer syntax, and where group 2 ends."""
    position, syntax = _PREAMBLE if data[128:_PREAMBLE] == b"DICM" else 0, b""
    while position + 8 <= len(data) and data[position : position + 2] == b"\x02\x00":
        tag, value, length = _explicit_at(data, position)
        if length == _UNDEFINED or value + length > len(data):
            raise corrupt("The file meta information is truncated.")
        if tag == _TRANSFER_SYNTAX:
            syntax = data[value : value + length].strip(b" \x00")
        position = value + length
    return syntax, position


def _walk(
    data: bytes, position: int, explicit: bool, budget: Budget, *, truncated_is_end: bool = False
) -> tuple[dict[int, bytes], int, int]:
    """Wanted values, and where the pixels lie and how many bytes they have (-1 and 0 without pixels)."""
    values: dict[int, bytes] = {}
    end = len(data)
    element = _explicit_at if explicit else _implicit_at
    while position + 8 <= end:
        budget.parse()
        tag, value, length = element(data, position)
        if tag < _FIRST:
            raise corrupt("An element is of group 0, which no file holds.")
        if tag >= _REAL_PIXELS[0]:
            if tag in _REAL_PIXELS:
                values[tag] = b""
            return (values, value, length) if tag == _PIXELS else (values, -1, 0)
        if tag in _SEEN and not _is_empty(data, value, length):
            values[tag] = b""
        if length == _UNDEFINED:
            may_end = truncated_is_end and _STUDY_UID in values
            position = _behind_sequence(data, value, explicit, budget, may_end=may_end)
            continue
        position = value + length
        if position > end:
            break
        if tag in _READ:
            values[tag] = data[value:position]
    if position != end and not truncated_is_end:
        raise corrupt("A file ends inside its header.")
    return values, -1, 0


def _is_empty(data: bytes, position: int, length: int) -> bool:
    """Whether a sequence has no item: its header says as much as if it were not there."""
    return length == 0 or (length == _UNDEFINED and data[position : position + 4] == _NO_ITEM)


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


def _behind_sequence(data: bytes, position: int, explicit: bool, budget: Budget, *, may_end: bool) -> int:
    """Place after a sequence of undefined length; the end of the data if they may end in it."""
    try:
        return _skip_sequence(data, position, explicit, budget, 0)
    except _CutOffError:
        if may_end:
            return len(data)
        raise


def _skip_sequence(data: bytes, position: int, explicit: bool, budget: Budget, depth: int) -> int:
    """Place after a sequence of undefined length that starts at ``position``."""
    if depth > _MAX_DEPTH:
        raise UnusualEncodingError
    while position + 8 <= len(data):
        budget.parse()
        tag, value, length = _implicit_at(data, position)
        if tag == _SEQUENCE_END:
            return value
        if tag != _ITEM:
            raise UnusualEncodingError
        is_open = length == _UNDEFINED
        position = _skip_item(data, value, explicit, budget, depth) if is_open else value + length
    raise _CutOffError


def _skip_item(data: bytes, position: int, explicit: bool, budget: Budget, depth: int) -> int:
    element = _explicit_at if explicit else _implicit_at
    while position + 8 <= len(data):
        budget.parse()
        tag, value, length = _implicit_at(data, position)
        if tag == _ITEM_END:
            return value
        _, value, length = element(data, position)
        is_open = length == _UNDEFINED
        position = _skip_sequence(data, value, explicit, budget, depth + 1) if is_open else value + length
    raise _CutOffError


def _read_pixels(data: bytes, image: Image, begin: int, length: int, budget: Budget) -> None:
    rows, columns = (image.integer(name) for name in ("rows", "columns"))
    if length == _UNDEFINED:
        raise UnusualEncodingError
    if rows * columns == 0:
        raise corrupt("An image has no rows or columns.")
    image.fault = fault_of_header(image)
    if image.fault:
        return
    dtype = np.dtype(f"<u{image.integer('bits_allocated') // 8}")
    needed = rows * columns * dtype.itemsize
    if not budget.holds(needed):
        image.fault = "image_too_large"
        return
    if length < needed or begin + needed > len(data):
        raise corrupt("The pixels of an image are truncated.")
    if length >= 2 * needed:
        image.fault = "pixel_data_contradict"
        return
    budget.decode(needed)
    put_pixels(image, np.frombuffer(data, dtype, rows * columns, begin).reshape(rows, columns))
