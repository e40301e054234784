"""The one boundary around a reader of bytes that others wrote: any fault within is a fault of those bytes.

Libraries that parse raise what they like on damaged or hostile input (``zlib.error``, ``RecursionError``,
``MemoryError``). A list of their exceptions is never complete; what a caller may rely on is the error that the reader
documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def faults_as(documented: Callable[[str], Exception], *passed: type[Exception]) -> Iterator[None]:
    """Whatever is raised within is raised as ``documented(kind)``.

    Args:
        documented: the error that the reader documents, from the name of the type of the one that was raised; its
            message is left out, for it may quote the input.
        passed: errors that are raised as they are.
    """
    try:
        yield
    except passed:
        raise
    except Exception as error:  # noqa: BLE001  the one boundary: whatever a library raises, the input is at fault
        raise documented(type(error).__name__) from None
