"""Zip archives read in memory, member by member, within bounds: nothing is unpacked, nothing is trusted."""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from isal import isal_zlib

from cmr_models.contracts.foreign import faults_as
from cmr_models.reasons import StudyRejected
from tasks.sources.limits import Budget, Limits
from tasks.sources.opening import open_source
from tasks.sources.zip_directory import list_members

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_LOCAL_SIGNATURE = b"PK\x03\x04"
_ENCRYPTED = 0x1
_DOS_FOLDER = 0x10
_DRIVE = re.compile(r"^[A-Za-z]:")
OTHER_ARCHIVES = (
    ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".z", ".7z",
    ".rar",
)  # fmt: skip
"""Endings of archives and packed files that are not opened; NIfTI may be ``.nii.gz``."""
_NESTED = (".zip", *OTHER_ARCHIVES)
_NIFTI = (".nii", ".nii.gz", ".hdr.gz", ".img.gz")
_SIGNATURES = {
    0: {
        b"\x1f\x8b": "gzip",
        b"BZh": "bzip2",
        b"\xfd7zXZ\x00": "xz",
        b"\x28\xb5\x2f\xfd": "Zstandard",
        b"7z\xbc\xaf\x27\x1c": "7-Zip",
        b"Rar!\x1a\x07": "RAR",
    },
    257: {b"ustar": "tar"},
}
"""Place in a file -> beginning of an archive of another kind than zip there -> its name."""
_JUNK = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")


def read_members(path: Path, budget: Budget | None = None, content: bytes | None = None) -> Iterator[tuple[str, bytes]]:
    """Name and inflated content of every regular member, in the archive's order.

    Folders, links, system junk, nested archives and exact repeats are left out. Checksums are verified.

    Args:
        path: of the archive.
        budget: of the study, with its limits; one of the archive alone if None.
        content: of the archive, if it was read already; the file is then not opened.

    Raises:
        StudyRejected: ``zip_corrupt``, ``zip_other_archive``, ``zip_bomb``, ``zip_hostile_name``, ``zip_encrypted``,
            ``zip_method`` or ``study_too_large``.
        OSError: if the file itself cannot be read.
    """
    budget = budget or Budget(n_packed=path.stat().st_size if content is None else len(content))
    with _opened(path, content) as file:
        for member in _list_members(file, budget.limits):
            budget.inflate(member.file_size)
            yield member.filename, _inflate(_read_packed(file, member), member)


def read_beginnings(path: Path, n_bytes: int, limits: Limits) -> Iterator[bytes]:
    """The first ``n_bytes`` of every regular member, unchecked: enough for a header.

    Raises:
        StudyRejected: as :func:`read_members`, but for checksums.
        OSError: if the file itself cannot be read.
    """
    with open_source(path) as file:
        for member in _list_members(file, limits):
            yield _beginning(_read_packed(file, member, 2 * n_bytes), member, n_bytes)


class Unopened(NamedTuple):
    """Members of an archive that are not opened."""

    archives: int
    nifti: int


def unopened(path: Path, content: bytes | None = None) -> Unopened:
    """How many archives and NIfTI files lie in the archive. Arguments as of :func:`read_members`.

    Raises:
        StudyRejected: ``zip_corrupt``.
    """
    with _opened(path, content) as file:
        names = [member.filename.lower() for member in _members(file)]
    nifti = [name for name in names if name.endswith(_NIFTI)]
    return Unopened(sum(name.endswith(_NESTED) and not name.endswith(_NIFTI) for name in names), len(nifti))


def _opened(path: Path, content: bytes | None) -> BinaryIO:
    return open_source(path) if content is None else io.BytesIO(content)


def _read_at(file: BinaryIO, n_bytes: int, start: int) -> bytes:
    """Bytes of a file from a place on, fewer at its end."""
    file.seek(start)
    return file.read(n_bytes)


def _beginning(packed: bytes, member: zipfile.ZipInfo, n_bytes: int) -> bytes:
    if member.compress_type == zipfile.ZIP_DEFLATED:
        return _decompress(packed, n_bytes)
    return packed[:n_bytes] if member.compress_type == zipfile.ZIP_STORED else b""


def _list_members(file: BinaryIO, limits: Limits) -> list[zipfile.ZipInfo]:
    """Regular members, each with its plain name."""
    members = _members(file)
    _check_sizes(members, file.seek(0, os.SEEK_END), limits)
    regular = [member for member in _with_plain_names(members) if _is_regular(member)]
    if any(member.flag_bits & _ENCRYPTED for member in regular):
        raise StudyRejected("zip_encrypted")
    return _without_repeats(regular)


def _members(file: BinaryIO) -> list[zipfile.ZipInfo]:
    with faults_as(partial(_unlisted, file), OSError):
        return list_members(file)


def _unlisted(file: BinaryIO, kind: str) -> StudyRejected:
    if kind == NotImplementedError.__name__:
        return StudyRejected("zip_method", "A member needs a newer version of the format.")
    if other := _other_kind(file):
        return StudyRejected("zip_other_archive", f"It is {other}.")
    return StudyRejected("zip_corrupt", f"The list of members cannot be read ({kind}).")


def _other_kind(file: BinaryIO) -> str:
    """What an archive is that is no zip, by how it begins; empty if that is unknown."""
    return next(
        (
            kind
            for place, beginnings in _SIGNATURES.items()
            for beginning, kind in beginnings.items()
            if _read_at(file, len(beginning), place) == beginning
        ),
        "",
    )


def _check_sizes(members: list[zipfile.ZipInfo], size_bytes: int, limits: Limits) -> None:
    if len(members) > limits.max_members:
        raise StudyRejected("zip_bomb", f"{len(members)} members; at most {limits.max_members} are allowed.")
    packed = sum(member.compress_size for member in members)
    inflated = sum(member.file_size for member in members)
    largest = max((max(member.file_size, member.compress_size) for member in members), default=0)
    if inflated > limits.max_total_bytes or largest > limits.max_member_bytes:
        raise StudyRejected("zip_bomb", f"It declares {inflated} bytes, {largest} in one member.")
    if inflated > limits.max_ratio * max(1, packed):
        raise StudyRejected("zip_bomb", f"It declares {inflated} bytes from {packed}.")
    if packed > size_bytes:
        raise StudyRejected("zip_bomb", "Its members overlap or reach beyond its end.")


def _with_plain_names(members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Members but folders, named with ``/`` between folders; tools of DOS and Windows wrote a backslash.

    Nothing is unpacked, so a name is a label only; those that would leave the archive show that it was made to harm.

    Raises:
        StudyRejected: ``zip_hostile_name``, also if it is a folder's.
    """
    files = []
    for member in members:
        name = member.orig_filename.replace("\\", "/")
        is_root = not member.file_size and not name.strip("./") and ".." not in name.split("/")
        if is_root:
            continue
        if _is_hostile(name):
            raise StudyRejected("zip_hostile_name", "A member's name leaves the archive.")
        if not _is_folder(member, name):
            member.filename = name.removeprefix("./")
            files.append(member)
    return files


def _is_hostile(name: str) -> bool:
    if not name or "\x00" in name or name.startswith("/") or _DRIVE.match(name):
        return True
    return ".." in name.split("/")


def _is_folder(member: zipfile.ZipInfo, name: str) -> bool:
    """A name that ends so, or an empty member with the attribute of a folder, which some tools wrote instead."""
    is_marked = bool(member.external_attr & _DOS_FOLDER) or stat.S_ISDIR(member.external_attr >> 16)
    return name.endswith("/") or (is_marked and not member.file_size)


def _without_repeats(members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """One member of each name. Tools that add to an archive may store a file again.

    Raises:
        StudyRejected: ``zip_hostile_name`` if members of one name differ in content.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        first = found.setdefault(member.filename, member)
        if (first.CRC, first.file_size) != (member.CRC, member.file_size):
            raise StudyRejected("zip_hostile_name", "Two members have the same name and other contents.")
    return list(found.values())


def _is_regular(member: zipfile.ZipInfo) -> bool:
    if stat.S_ISLNK(member.external_attr >> 16):
        return False
    lower = member.filename.lower()
    return not lower.endswith(_NESTED) and not any(junk.lower() in lower for junk in _JUNK)


def _inflate(packed: bytes, member: zipfile.ZipInfo) -> bytes:
    """One member by one call: several times as fast as ``ZipFile.read``, and never beyond its declared size."""
    if member.compress_type == zipfile.ZIP_STORED:
        data = packed
    elif member.compress_type == zipfile.ZIP_DEFLATED:
        data = _decompress(packed, member.file_size + 1)
    else:
        raise StudyRejected("zip_method", f"Method {member.compress_type}.")
    if len(data) != member.file_size or isal_zlib.crc32(data) != member.CRC:
        raise StudyRejected("zip_corrupt", "A member fails its checksum.")
    return data


@faults_as(lambda kind: StudyRejected("zip_corrupt", f"{kind}."), StudyRejected, OSError)
def _read_packed(file: BinaryIO, member: zipfile.ZipInfo, most_bytes: int | None = None) -> bytes:
    """A member as it lies in the archive, or its first bytes.

    Read, not mapped: mapped pages would count as the worker's memory.
    """
    start = member.header_offset
    header_bytes = _read_at(file, _LOCAL_HEADER.size, start) if start >= 0 else b""
    if len(header_bytes) < _LOCAL_HEADER.size:
        raise StudyRejected("zip_corrupt", "A member lies beyond the end of the archive.")
    header = _LOCAL_HEADER.unpack(header_bytes)
    begin = start + _LOCAL_HEADER.size + header[9] + header[10]
    n_bytes = member.compress_size if most_bytes is None else min(member.compress_size, most_bytes)
    packed = _read_at(file, n_bytes, begin)
    if header[0] != _LOCAL_SIGNATURE or len(packed) != n_bytes:
        raise StudyRejected("zip_corrupt", "A member's header is damaged or its data are cut off.")
    return packed


def _decompress(packed: bytes, max_bytes: int) -> bytes:
    reader = isal_zlib.decompressobj(-isal_zlib.MAX_WBITS)
    with faults_as(lambda _kind: StudyRejected("zip_corrupt", "A member's data are damaged.")):
        return bytes(reader.decompress(packed, max_bytes))
