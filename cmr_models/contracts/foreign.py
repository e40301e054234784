"""The one boundary around a reader of bytes that others wrote: any fault within is a fault of those bytes.

Libraries that parse raise what they like on damaged or hostile input (``zlib.error``, ``RecursionError``,
``MemoryError``). A list of their exceptions is never complete; what a caller may rely on is the error that the reader
documents.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_MOST_TEXT: Final = 64 * 2**20


@contextmanager
def faults_as(documented: Callable[[str], Exception], *passed: type[Exception]) -> Iterator[None]:
    """Whatever is raised within is raised as ``documented(kind)``.

    Args:
        documented: the error that the reader documents, from the name of the type of the one that was raised; its
            message is left out, for it may quote the input.
        passed: errors that are raised as they are; of ``OSError`` those of the system alone: libraries raise it too,
            without a number, or for a place before the beginning of the file.
    """
    try:
        yield
    except passed as error:
        if isinstance(error, OSError) and error.errno in (None, errno.EINVAL):
            raise documented(type(error).__name__) from None
        raise
    except Exception as error:  # noqa: BLE001  the one boundary: whatever a library raises, the input is at fault
        raise documented(type(error).__name__) from None


def read_text(path: Path, most_bytes: int = _MOST_TEXT) -> str:
    """The text (UTF-8, with or without a byte order mark) of a file that a person wrote.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
        ValueError: it is larger than any that a person writes; no more of it is read.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"{path.name} has more than {most_bytes // 2**20} MB; give the file that was meant")
    return content.decode("utf-8-sig")
