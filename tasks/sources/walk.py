"""The files below the sources: which are listed, which are passed over, and why.

A link that leads out of the sources could show a file that only this user may read to whoever placed the link; such
links are followed if the user says so. What the kernel or a device makes up (``/proc``, ``/sys``, ``/dev``, pipes,
sockets) has no end and no content that stays.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tasks.sources.opening import is_in

LINK_OUT = "link out of the sources (see convert.follow_links)"
SYSTEM = "file of the system"
NO_FILE = "pipe, socket or device"
_SYSTEM_FOLDERS = ("/proc", "/sys", "/dev")


class Found(NamedTuple):
    """One file of the sources."""

    path: str
    size: int
    mtime_ns: int

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def folder(self) -> str:
        return self.path.rsplit("/", 1)[0]


class Walk:
    """One walk through files and folders, every folder once: links may go in circles.

    Args:
        paths: the sources. One that is a link itself is followed, as the user named it.
        is_wanted: whether the file at a path may be a scan.
        is_hidden: whether a folder of this name is not looked into.
        follow_links: whether links that lead out of ``paths`` are followed.

    Attributes:
        passed_over: path -> why it is not listed, as far as the walk has gone; empty if its name is why.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        is_wanted: Callable[[str], bool],
        is_hidden: Callable[[str], bool],
        *,
        follow_links: bool,
    ) -> None:
        self.passed_over: dict[str, str] = {}
        self._paths, self._is_wanted, self._is_hidden = paths, is_wanted, is_hidden
        self._roots = () if follow_links else tuple(os.path.realpath(path) for path in paths)
        self._seen: set[tuple[int, int]] = set()

    def files(self) -> list[Found]:
        """Files that may be scans, sorted.

        Raises:
            FileNotFoundError: if a path does not exist.
        """
        found: dict[str, Found] = {}
        for path in self._paths:
            if not path.exists():
                raise FileNotFoundError(f"source {path} does not exist; give a file or a folder with images")
            for entry in self.through(path):
                found[entry.path] = entry
        return [found[path] for path in sorted(found)]

    def through(self, path: Path) -> Iterator[Found]:
        """Files that may be scans, at one path, as they are found."""
        top = os.path.abspath(path)
        if not os.path.isdir(top):
            yield from self._file(top, is_named=True)
            return
        self._seen.clear()
        shut: list[OSError] = []
        for folder, folders, names in os.walk(top, followlinks=True, onerror=shut.append):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in self._seen or self._is_system(folder):
                folders.clear()
                continue
            self._seen.add((status.st_dev, status.st_ino))
            folders[:] = list(self._open(folder, sorted(folders)))
            for name in sorted(names):
                yield from self._file(os.path.join(folder, name))
        yield from (Found(f"{error.filename}/", 0, 0) for error in shut)  # not a file, but it must be reported

    def _open(self, folder: str, names: Iterable[str]) -> Iterator[str]:
        """Folders to look into; the others, or the files in them, are passed over."""
        for name in names:
            path = os.path.join(folder, name)
            if self._leads_out(path):
                continue
            if self._is_hidden(name):
                self.passed_over |= dict.fromkeys(_files_in(path), "")
            else:
                yield name

    def _leads_out(self, path: str) -> bool:
        """Whether a path is a link out of the sources, which is not followed."""
        is_out = bool(self._roots) and os.path.islink(path) and not is_in(os.path.realpath(path), self._roots)
        return is_out and self._pass_over(path, LINK_OUT)

    def _is_system(self, path: str) -> bool:
        return is_in(os.path.realpath(path), _SYSTEM_FOLDERS) and self._pass_over(path, SYSTEM)

    def _pass_over(self, path: str, why: str) -> bool:
        self.passed_over[path] = why
        return True

    def _file(self, path: str, *, is_named: bool = False) -> Iterator[Found]:
        """A file as it is; a broken link as an empty file, so that it is reported."""
        is_link = os.path.islink(path)
        if (is_link or is_named) and self._is_system(path):
            return
        if is_link and not is_named and self._leads_out(path):
            return
        if not self._is_wanted(path):
            self.passed_over[path] = ""
            return
        try:
            status = os.stat(path)
        except OSError:
            yield Found(path, 0, 0)
            return
        if stat.S_ISREG(status.st_mode):
            yield Found(path, status.st_size, status.st_mtime_ns)
        else:
            self.passed_over[path] = NO_FILE


def _files_in(top: str) -> Iterator[str]:
    """Every file in a folder that is not looked into."""
    return (os.path.join(inner, name) for inner, _, names in os.walk(top) for name in names)
