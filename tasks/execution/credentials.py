"""Credentials of a cluster that a command starts: made for it alone, known to its own processes, and gone with it.

Scheduler, workers and client show each other one certificate, signed by itself, over TLS. Without its key nobody can
talk to them, on this machine or on the network; who can, can run code as the user.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Security

PREFIX = ".credentials-"
"""Of the folders of :func:`credentials_in_files`; one that is found at the start of a run was left by a killed one."""

_folders: set[Path] = set()
CERTIFICATE, KEY = "certificate.pem", "key.pem"


def temporary_credentials() -> Security:
    """New credentials, in memory only; every connection needs them."""
    from distributed import Security

    return Security.temporary()


@contextlib.contextmanager
def credentials_in_files(folder: Path) -> Iterator[Security]:
    """New credentials in files that only this user can read, for processes that start elsewhere; removed at the end.

    Args:
        folder: where those processes can read; made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(mkdtemp(prefix=PREFIX, dir=folder.resolve()))  # for its owner alone
    _folders.add(place)
    try:
        for name, content in as_texts(temporary_credentials()).items():
            _write(place / name, content)
        yield from_folder(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        _folders.discard(place)


def as_texts(credentials: Security) -> dict[str, str]:
    """Name of a file -> its content."""
    files = credentials.get_tls_config_for_role("worker")
    return {CERTIFICATE: files["ca_file"], KEY: files["key"]}


def from_folder(place: Path) -> Security:
    """The credentials in the files of ``place``."""
    from distributed import Security

    certificate, key = str(place / CERTIFICATE), str(place / KEY)
    roles: dict[str, Any] = {}
    for role in ("scheduler", "worker", "client"):
        roles |= {f"tls_{role}_cert": certificate, f"tls_{role}_key": key}
    return Security(require_encryption=True, tls_ca_file=certificate, **roles)


def remove_all() -> None:
    """Remove the files that this process has written; for the end of a process that closes no cluster any more."""
    for place in tuple(_folders):
        shutil.rmtree(place, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed commands left in ``folder``, which nobody else uses now."""
    for place in folder.glob(f"{PREFIX}*"):
        shutil.rmtree(place, ignore_errors=True)


def _write(path: Path, content: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(content)
