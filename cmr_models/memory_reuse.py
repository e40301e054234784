"""Whether freed memory stays with the process: the feature maps of a 3-D network come and go by tens of megabytes.

By default glibc gets every such block from the kernel and gives it back, and each page of it is faulted in and zeroed
anew: measured, that takes a third to half of the time of the pointwise layers at full resolution on one core.
"""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # numbers of mallopt(3)
_NEVER = 2**31 - 1
_DEFAULT_TRIM, _DEFAULT_PAD, _DEFAULT_MAPS = 128 * 1024, 128 * 1024, 65536
_STEP = 2**28


def keep_freed_memory() -> bool:
    """From now on this process reuses what it has freed, whatever the size; False where the C library is not glibc."""
    return _set(_NEVER, _STEP, 0)


def give_back_freed_memory() -> bool:
    """Back to the defaults of glibc; what is free goes back to the kernel."""
    done = _set(_DEFAULT_TRIM, _DEFAULT_PAD, _DEFAULT_MAPS)
    if done:
        ctypes.CDLL(None).malloc_trim(0)
    return done


def _set(trim_threshold: int, top_pad: int, mmap_max: int) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    chosen = {_TRIM_THRESHOLD: trim_threshold, _TOP_PAD: top_pad, _MMAP_MAX: mmap_max}
    return all(library.mallopt(name, value) == 1 for name, value in chosen.items())
