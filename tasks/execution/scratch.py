"""Folders for what does not fit into memory: each of one process, for its user alone, and gone when the process is.

Dask's own folder has the same name for everybody in the folder for temporary files: another user could make it first,
or a link in its place, and exchange what is read back, which is unpickled.

A process that is killed leaves its folder behind; the next one of the same user on the same machine removes it. Whether
a process still has its folder is told by a lock that the kernel gives back when the process ends (flock(2)), not by a
number, which another process may have by then. Folders are opened once, without following links, and what is looked at
and emptied is what is open: whoever may rename what lies beside it gains nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PREFIX: Final = f"cmr-cohort-{platform.node()}-"
"""Of the folders of this machine: locks of others do not show on every network file system."""

_LOCK: Final = ".lock"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_open: dict[Path, int] = {}
"""Folder of this process -> its descriptor."""


@contextlib.contextmanager
def own_scratch(place: Path | None = None) -> Iterator[Path]:
    """A new folder of this process, removed at the end; what killed ones have left beside it is removed before.

    Args:
        place: where it is made, and made itself if it is not there; Dask's setting ``temporary-directory`` or the
            system's folder for temporary files if None.
    """
    import dask

    place = place or Path(dask.config.get("temporary-directory", None) or tempfile.gettempdir())
    place.mkdir(parents=True, exist_ok=True)
    place = place.resolve()
    remove_leftovers(place)
    folder, lock = _new_folder(place)
    try:
        yield folder
    finally:
        descriptor = _open.pop(folder)
        _empty(folder, descriptor)
        os.close(descriptor)
        os.close(lock)


def remove_leftovers(place: Path) -> None:
    """Remove what processes of this user and machine, which have ended, left in ``place``."""
    with contextlib.suppress(OSError):  # it need not be readable
        for entry in [entry for entry in os.scandir(place) if entry.name.startswith(PREFIX)]:
            with contextlib.suppress(OSError):  # it is in use, is no folder, or another process removes it
                _remove_if_left(Path(entry.path))


def remove_all() -> None:
    """Remove the folders of this process; for the end of a process that closes no cluster any more."""
    for folder, descriptor in tuple(_open.items()):
        _empty(folder, descriptor)


def _new_folder(place: Path) -> tuple[Path, int]:
    """A folder and its lock; made again if another process took it for one that was left before it was locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))  # for its owner alone
        with contextlib.suppress(FileNotFoundError, BlockingIOError), contextlib.ExitStack() as opened:
            descriptor = os.open(folder, _FOLDER)
            opened.callback(os.close, descriptor)
            lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=descriptor)
            opened.callback(os.close, lock)
            if _is_locked(lock):
                opened.pop_all()
                _open[folder] = descriptor
                return folder, lock


def _is_locked(lock: int) -> bool:
    """Lock a new folder; False if it has been removed meanwhile.

    Raises:
        BlockingIOError: another process is removing it.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return True  # there are no locks on this file system, so that nobody ever takes the folder for one left
    return os.fstat(lock).st_nlink > 0


def _remove_if_left(folder: Path) -> None:
    """Remove a folder of this user whose process has ended.

    One without a lock is new, or its process was killed as it made it; then it is empty. Others are not ours.

    Raises:
        OSError: it is not to be removed, or has been.
    """
    descriptor = os.open(folder, _FOLDER)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return
        try:
            lock = os.open(_LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
        except FileNotFoundError:
            os.rmdir(folder)
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _empty(folder, descriptor)
        finally:
            os.close(lock)
    finally:
        os.close(descriptor)


def _empty(folder: Path, descriptor: int) -> None:
    """Remove what is in the open folder, and then ``folder`` if that is empty."""
    shutil.rmtree(".", ignore_errors=True, dir_fd=descriptor)  # but for itself, which has another name
    with contextlib.suppress(OSError):
        os.rmdir(folder)
