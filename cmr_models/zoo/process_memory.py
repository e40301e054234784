"""Settings of the C library that let a process keep the memory that it frees.

The feature maps of a 3-D network are allocated and freed by tens of megabytes. By default glibc gets every such block
from the kernel and gives it back, and the kernel zeroes each page anew: measured, that takes a third to half of the
time of the pointwise layers at full resolution on one core.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Mapping

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8  # numbers of mallopt(3)
_NEVER = -1  # a number would be a size: above 2 GiB of free memory the top went back
_DEFAULT_TRIM, _DEFAULT_PAD, _DEFAULT_MAPS = 128 * 1024, 128 * 1024, 65536
_STEP = 2**28


def keep_freed_memory() -> bool:
    """From now on this process reuses what it has freed, whatever the size; False where the C library is not glibc.

    Threads that got an arena of their own before :func:`share_one_arena` do not take part.
    """
    return _set({_TRIM_THRESHOLD: _NEVER, _TOP_PAD: _STEP, _MMAP_MAX: 0})


def share_one_arena() -> bool:
    """Let all threads that begin from now on allocate from one arena; call it before any does.

    An arena of a thread holds no block above 64 MiB: those come from the kernel each time, and a network that runs in a
    thread faults in 1.7 GB for each frame. For a new process, ``MALLOC_ARENA_MAX=1`` does the same.
    """
    return _set({_ARENA_MAX: 1})


def give_back_freed_memory() -> bool:
    """Back to the defaults of glibc; what is free goes back to the kernel."""
    done = _set({_TRIM_THRESHOLD: _DEFAULT_TRIM, _TOP_PAD: _DEFAULT_PAD, _MMAP_MAX: _DEFAULT_MAPS})
    if done:
        ctypes.CDLL(None).malloc_trim(0)
    return done


def _set(chosen: Mapping[int, int]) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(library.mallopt(name, value) == 1 for name, value in chosen.items())
