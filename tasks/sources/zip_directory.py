"""The list of members at the end of a zip, also where an extra field of a member is damaged, which no content needs.

Extra fields are records of an id, a length and so many bytes (PKWARE APPNOTE 4.5.1); old tools wrote some that run over
their end. Others read such archives, Python's ``zipfile`` does not; here the list is read without what is damaged.
"""

from __future__ import annotations

import io
import struct
import zipfile
from typing import BinaryIO, Final

_END: Final = struct.Struct("<4s4H2LH")
_END_SIGNATURE: Final = b"PK\x05\x06"
_LONGEST_END: Final = _END.size + 65_535
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_ENTRY_SIGNATURE: Final = b"PK\x01\x02"
_EXTRA_LENGTH: Final = 30
"""Place in an entry of the length of its extra fields."""

_EXTRA: Final = struct.Struct("<HH")
_IN_ZIP64: Final = 0xFFFFFFFF


def list_members(file: BinaryIO) -> list[zipfile.ZipInfo]:
    """Members of the zip in ``file``.

    Raises:
        zipfile.BadZipFile: if the list cannot be read; ``zipfile`` raises other errors too.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except zipfile.BadZipFile:
        directory, shift = _directory(file)
        repaired, n = _without_damage(directory)
        end = _END.pack(_END_SIGNATURE, 0, 0, n, n, len(repaired), 0, 0)
        with zipfile.ZipFile(io.BytesIO(repaired + end)) as archive:
            members = archive.infolist()
        for member in members:
            member.header_offset += shift
        return members


def _directory(file: BinaryIO) -> tuple[bytes, int]:
    """The list as it lies in the file, and by how much the places in it are off (where something precedes the zip)."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _LONGEST_END))
    tail = file.read()
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size:
        raise zipfile.BadZipFile("no end of the list")
    n_bytes, offset = _END.unpack_from(tail, at)[5:7]
    start = size - len(tail) + at - n_bytes
    if start < 0 or offset == _IN_ZIP64:
        raise zipfile.BadZipFile("no start of the list")
    file.seek(start)
    return file.read(n_bytes), start - offset


def _without_damage(directory: bytes) -> tuple[bytes, int]:
    """The list with the extra fields that are whole, and its number of entries."""
    repaired, position = list[bytes](), 0
    while position < len(directory):
        if position + _ENTRY.size > len(directory) or directory[position : position + 4] != _ENTRY_SIGNATURE:
            raise zipfile.BadZipFile("the list is damaged")
        n_name, n_extra, n_comment = _ENTRY.unpack_from(directory, position)[10:13]
        fixed = directory[position : position + _ENTRY.size]
        extra_at = position + _ENTRY.size + n_name
        extra = _whole(directory[extra_at : extra_at + n_extra])
        length = struct.pack("<H", len(extra))
        repaired += [fixed[:_EXTRA_LENGTH], length, fixed[_EXTRA_LENGTH + 2 :]]
        comment_at = extra_at + n_extra
        repaired += [directory[extra_at - n_name : extra_at], extra, directory[comment_at : comment_at + n_comment]]
        position = comment_at + n_comment
    return b"".join(repaired), len(repaired) // 6


def _whole(extra: bytes) -> bytes:
    """Extra fields up to the first that runs over the end."""
    position = 0
    while position + _EXTRA.size <= len(extra):
        after = position + _EXTRA.size + int(_EXTRA.unpack_from(extra, position)[1])
        if after > len(extra):
            break
        position = after
    return extra[:position]
