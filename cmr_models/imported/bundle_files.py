"""The files of a bundle in a folder or a zip archive, within bounds: no links, no paths that lead out, no bombs."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from cmr_models.contracts.foreign import faults_as, read_text

_MOST_FILES = 10_000
_MOST_BYTES = 8 * 2**30
_MOST_TEXT = 2**20
_FREE_BYTES = 2**24
_MOST_TIMES = 200
"""Files of more than 16 MB may inflate to at most 200 times what they take in the archive."""
_DEPTHS = ("", "*/", "*/*/")


class BundleFiles:
    """Files by their names from the root of the bundle, which is where ``marker`` lies.

    Raises:
        ValueError: if it is no archive, has links or names that lead out of it, or is a bomb; or if there are several
            bundles.
        FileNotFoundError: if there is none.
    """

    def __init__(self, source: Path, marker: str) -> None:
        self.source = source
        self._archive = None if source.is_dir() else _checked_archive(source)
        self._root = self._find(marker)

    def names(self) -> list[str]:
        """All files beside the root or below it, at most two folders deep."""
        if self._archive is not None:
            return [name.removeprefix(self._root) for name in self._archive if name.startswith(self._root)]
        root = self.source / self._root
        return sorted(
            file.relative_to(root).as_posix() for depth in _DEPTHS for file in root.glob(f"{depth}*") if file.is_file()
        )

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return name in self.names()

    def text(self, name: str) -> str:
        """A file that a person wrote, in UTF-8.

        Raises:
            ValueError: if it is larger than 1 MB, not UTF-8, damaged, or a link that leads out.
        """
        what = f"{self.source}: {name}"
        with (
            faults_as(lambda kind: ValueError(f"{what} cannot be read ({kind})"), OSError, ValueError),
            self.file(name) as file,
        ):
            return read_text(file, _MOST_TEXT)

    def sha256(self, name: str) -> str:
        """The digest of a file."""
        with self.file(name) as file, file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A file as one on the disk, for the time of the context."""
        if self._archive is None:
            path = self.source / self._root / name
            if not path.resolve().is_relative_to(self.source.resolve()):
                raise ValueError(f"{path} is a link that leads out of the bundle; put the file itself there")
            yield path
            return
        entry = self._archive[self._root + name]
        with tempfile.TemporaryDirectory(prefix="cmr_import_") as folder:
            path = Path(folder) / PurePosixPath(name).name
            self._unpack(entry, path)
            yield path

    def _unpack(self, entry: zipfile.ZipInfo, path: Path) -> None:
        what = f"{self.source}: {entry.filename}"
        damaged = faults_as(lambda kind: ValueError(f"{what} is damaged ({kind})"), OSError, ValueError)
        with damaged, zipfile.ZipFile(self.source) as archive, archive.open(entry) as packed, path.open("wb") as target:
            shutil.copyfileobj(_Bounded(packed, entry.file_size, what), target)

    def _find(self, marker: str) -> str:
        """The folder that holds the marker, with a slash at its end; "" for the source itself."""
        if self._archive is not None:
            roots = [name.removesuffix(marker) for name in self._archive if f"/{name}".endswith(f"/{marker}")]
        else:
            roots = [
                file.relative_to(self.source).as_posix().removesuffix(marker)
                for depth in _DEPTHS
                for file in self.source.glob(f"{depth}{marker}")
            ]
        if not roots:
            raise FileNotFoundError(f"{self.source} has no {marker}")
        if len(roots) > 1:
            raise ValueError(f"{self.source} holds {len(roots)} models; give one of them: {', '.join(sorted(roots))}")
        return roots[0]


class _Bounded:
    """A packed file that gives no more than it announced."""

    def __init__(self, packed: IO[bytes], most: int, what: str) -> None:
        self._packed, self._left, self._what = packed, most, what

    def read(self, n: int = -1) -> bytes:
        """The next bytes."""
        content = self._packed.read(n)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"{self._what} inflates to more than the archive announces")
        return content


def is_archive(source: Path) -> bool:
    """Whether a file is a zip archive."""
    if not source.is_file():
        return False
    with faults_as(lambda kind: ValueError(f"{source} is a damaged zip archive ({kind})"), OSError):
        return zipfile.is_zipfile(source)


def _checked_archive(source: Path) -> dict[str, zipfile.ZipInfo]:
    """Name -> entry of all files."""
    damaged = faults_as(lambda kind: ValueError(f"{source} is no zip archive, or damaged ({kind})"), OSError)
    with damaged, zipfile.ZipFile(source) as archive:
        entries = archive.infolist()
    if len(entries) > _MOST_FILES or sum(entry.file_size for entry in entries) > _MOST_BYTES:
        raise ValueError(f"{source} has more than {_MOST_FILES} files or {_MOST_BYTES // 2**30} GB")
    for entry in entries:
        fault = _fault(entry)
        if fault:
            raise ValueError(f"{source} holds {entry.filename[:80]!r}, {fault}")
    files = {entry.filename: entry for entry in entries if not entry.is_dir()}
    if len(files) < sum(not entry.is_dir() for entry in entries):
        raise ValueError(f"{source} holds two files of one name")
    return files


def _fault(entry: zipfile.ZipInfo) -> str:
    """What is wrong with an entry of an archive; "" if nothing."""
    name = entry.filename
    if name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
        return "a name that leads out of the archive"
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "which is a link or a device"
    if entry.flag_bits & 1:
        return "which is encrypted"
    if entry.file_size > max(_FREE_BYTES, _MOST_TIMES * entry.compress_size):
        return f"which inflates to more than {_MOST_TIMES} times its size"
    return ""
