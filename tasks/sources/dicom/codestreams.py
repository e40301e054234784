"""How many pixels a compressed frame holds by its own header, before anything decodes it.

A decoder makes room for what the codestream says, not for what the DICOM header says; where they differ, the frame is
not decoded.

Reference:
    ITU-T T.81 B.2.2 (frame header of JPEG), T.87 C.2.2 (of JPEG-LS), T.800 A.5.1 (SIZ of JPEG 2000); DICOM PS3.5
    annex G (RLE).
"""

from __future__ import annotations

import struct
from typing import Final

_JPEG: Final = b"\xff\xd8"
_J2K: Final = b"\xff\x4f\xff\x51"
_J2K_WITHIN: Final = 4096
"""A JP2 file, which some writers put in place of the codestream, has a few boxes before it."""
_FRAME_HEADERS: Final = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_RLE_HEADER: Final = 64
_MOST_RUN: Final = 128 / 2
"""PackBits makes 128 bytes of 2."""
_UNCOUNTED: Final = 64 * 2**20


def bare(frame: bytes) -> bytes:
    """A frame without boxes before its codestream: one of them could hold another, which says something else."""
    start = 0 if frame.startswith(_JPEG) else max(0, frame.find(_J2K, 0, _J2K_WITHIN))
    return frame[start:]


def is_of_shape(frame: bytes, shape: tuple[int, int], n_bytes_a_pixel: int, *, is_rle: bool) -> bool:
    """Whether a compressed frame says that it holds one sample for each of ``shape (row, col)``; of RLE, not far more.

    Raises:
        ValueError: it does not say.
    """
    if is_rle:
        n_bytes = shape[0] * shape[1] * n_bytes_a_pixel
        return len(frame) * _MOST_RUN <= _UNCOUNTED or unpacked_size(frame[_RLE_HEADER:]) <= 2 * n_bytes
    return codestream_shape(frame) == (*shape, 1)


def codestream_shape(frame: bytes) -> tuple[int, int, int]:
    """Rows, columns and samples a pixel.

    Raises:
        ValueError: the codestream does not say.
    """
    if frame.startswith(_JPEG):
        return _of_jpeg(frame)
    if not frame.startswith(_J2K) or len(frame) < 42:
        raise ValueError("no codestream of JPEG or JPEG 2000")
    right, bottom, left, top = struct.unpack_from(">4L", frame, 8)
    (samples,) = struct.unpack_from(">H", frame, 40)
    return bottom - top, right - left, samples


def _of_jpeg(frame: bytes) -> tuple[int, int, int]:
    position = len(_JPEG)
    while position + 4 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:  # a byte that fills, or a marker alone
            position += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAME_HEADERS and position + 10 <= len(frame):
            rows, columns, samples = struct.unpack_from(">HHB", frame, position + 5)
            return rows, columns, samples
        position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    raise ValueError("no frame header in a codestream of JPEG")


def unpacked_size(packed: bytes) -> int:
    """How many bytes PackBits makes of ``packed``, if all of it is runs."""
    position, n_bytes = 0, 0
    while position < len(packed):
        count = packed[position]
        if count < 128:
            n_bytes, position = n_bytes + count + 1, position + count + 2
        elif count > 128:
            n_bytes, position = n_bytes + 257 - count, position + 2
        else:
            position += 1
    return n_bytes
