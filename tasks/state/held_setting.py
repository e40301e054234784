"""A global setting of a library, held at one value while a block runs, in however many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class HeldSetting(Generic[T]):
    """Holds a setting while at least one thread is inside; the last thread to leave puts the former value back.

    Args:
        get: reads the setting.
        put: changes it.
        value: what it is inside.
    """

    def __init__(self, get: Callable[[], T], put: Callable[[T], None], value: T) -> None:
        self._get, self._put, self._value = get, put, value
        self._lock = threading.Lock()
        self._inside = 0
        self._former: T = value

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the setting while the block runs."""
        with self._lock:
            if self._inside == 0:
                self._former = self._get()
                self._put(self._value)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._put(self._former)
