"""One case, from its seed and number: which bytes, and what the reader makes of them."""

from __future__ import annotations

import shutil
import signal
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import numpy as np

from benchmarks.fuzz.edits import edited
from benchmarks.fuzz.readers import READERS, Reader

SECONDS = 20
"""Of the processor: after so many a reader hangs. One that waits, for ever or on a busy machine, has ten times them."""
_MOST_KB = 400 * 1024
"""More memory for one small file is a fault."""


class Found(NamedTuple):
    """A case that gave neither a result nor a documented error."""

    reader: str
    case: int
    kind: str


class TooLongError(BaseException):
    """Not an ``Exception``: no reader may take it for a fault of the input."""


def content_of(reader: Reader, seed: int, case: int) -> bytes:
    """The bytes of a case; the first cases are the seeds themselves."""
    whole = reader.seeds()
    if case < len(whole):
        return whole[case]
    rng = np.random.default_rng([seed, [one.name for one in READERS].index(reader.name), case])
    return edited(whole[int(rng.integers(len(whole)))], rng, whole, reader.edits)


def run_case(reader: Reader, seed: int, case: int, folder: Path) -> str:
    """What went wrong; empty if the reader gave a result or an error that it documents."""
    content = content_of(reader, seed, case)
    before = _memory_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here, proc(5)
    try:
        with _at_most(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(content, folder)
    except reader.documented:
        pass
    except TooLongError:
        return "hang"
    except Exception as error:  # noqa: BLE001  that is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno} {str(error)[:80]!r}"
    grown = _memory_kb("VmHWM") - before
    return f"{grown // 1024} MB" if grown > _MOST_KB else ""


def _memory_kb(field: str) -> int:
    """Of this process: now (VmRSS) or its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))


def run_cases(reader: Reader, seed: int, cases: range) -> Iterator[tuple[int, str]]:
    """Each case, and what went wrong with it, before the next begins."""
    for case in cases:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try:
            yield case, run_case(reader, seed, case, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooLongError

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, 10 * seconds)}
    before = {number: signal.signal(number, stop) for number in timers}
    for timer, n in timers.values():
        signal.setitimer(timer, n)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
