"""The one way to open a file of the sources: as what it is when it is open, not as it was when it was listed.

Whoever may write into the sources could exchange a file for a link, or a folder on the way to it, between listing and
reading, and so show one that only this user may read. The path of an open file, as the kernel gives it, cannot change.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

_roots: ContextVar[Sequence[str]] = ContextVar("sources beyond which no file is opened", default=())


class LinkOutError(PermissionError):
    """A file lies elsewhere than in the sources, or is none, though it was when it was listed."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EACCES, "it is no longer a file of the sources", str(path))


@contextmanager
def within(sources: Sequence[str]) -> Iterator[None]:
    """Only files of ``sources`` are opened by :func:`open_source` until the end; any if there are none."""
    token = _roots.set(sources)
    try:
        yield
    finally:
        _roots.reset(token)


def open_source(path: Path, *, may_be_above: bool = False) -> BinaryIO:
    """A regular file of the sources, open for reading.

    Args:
        path: of the file.
        may_be_above: whether it may also lie right in a folder that holds a source: tables beside folders of images.

    Raises:
        LinkOutError: it lies elsewhere, or is a pipe or device.
        OSError: it cannot be opened.
    """
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe is not waited for
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode) or not _is_within(number, path.parent if may_be_above else None):
            raise LinkOutError(path)
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def _is_within(number: int, folder: Path | None) -> bool:
    roots = [os.path.realpath(root) for root in _roots.get()]
    real = os.readlink(f"/proc/self/fd/{number}") if roots else ""
    if not roots or is_in(real, roots):
        return True
    is_beside = folder is not None and os.path.dirname(real) == os.path.realpath(folder)  # itself, and no link
    return is_beside and any(is_in(root, [os.path.dirname(real)]) for root in roots)


def outermost(sources: Sequence[Path]) -> list[str]:
    """Absolute paths of the sources that lie in no other one, sorted."""
    by_place = {os.path.realpath(source): os.path.abspath(source) for source in sources}
    return sorted(by_place[one] for one in by_place if not is_in(one, [other for other in by_place if other != one]))


def is_in(real: str, folders: Sequence[str]) -> bool:
    """Whether a real path is one of ``folders`` or lies in one."""
    return any(real == folder or real.startswith(folder.rstrip("/") + "/") for folder in folders)
