"""Freed memory stays with the process while that is asked for."""

import platform

import numpy as np
import psutil
import pytest

from cmr_models.zoo.process_memory import give_back_freed_memory, keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_a_large_array_that_is_freed_stays_while_asked_for_and_goes_back_after() -> None:
    process = psutil.Process()
    megabytes = 120
    try:
        assert keep_freed_memory()
        np.ones(megabytes * 2**17).sum()
        kept = process.memory_info().rss
    finally:
        assert give_back_freed_memory()
    assert kept - process.memory_info().rss > 0.8 * megabytes * 2**20
