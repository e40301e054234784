"""Errors on their way through Prefect, which writes their text into its database: the text may name people."""

from __future__ import annotations

import contextlib
import functools
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


class WithheldError(Exception):
    """The type and place of an error, which is its cause."""


def text_withheld(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """``function`` for a flow or task: whatever it raises is the cause of a :class:`WithheldError`."""

    @functools.wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except WithheldError:
            raise
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
            raise WithheldError(place) from error

    return run


@contextlib.contextmanager
def original_errors() -> Iterator[None]:
    """For the caller of a flow: the errors as they were raised, with the notes that they got on their way."""
    try:
        yield
    except WithheldError as withheld:
        error = withheld.__cause__
        if error is None:  # it came from another process
            raise
        for note in getattr(withheld, "__notes__", ()):
            error.add_note(note)
        withheld.__cause__ = None  # the context of ``error`` from here on: no circle
        raise error from error.__cause__
