"""Who else of the machine may see a cohort: its folder, and every file that a command makes meanwhile."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

Access = Literal["owner", "group", "everyone"]

_MASKS: Final[dict[Access, int]] = {"owner": 0o077, "group": 0o007, "everyone": 0o002}


@contextlib.contextmanager
def closed_to_others(root: Path, access: Access) -> Iterator[None]:
    """While it is open, folders and files of this process, and of those that it starts, are for ``access`` alone.

    The cohort's folder ``root`` is made so, or closed if it is the user's own and more open than that; it is never
    opened. Who cannot enter it sees nothing of what is in it.
    """
    mask = _MASKS[access]
    before = os.umask(mask)
    try:
        root.mkdir(parents=True, exist_ok=True)
        status = root.stat()
        if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & mask:
            root.chmod(stat.S_IMODE(status.st_mode) & ~mask)
        yield
    finally:
        os.umask(before)
