"""One fault at a time in a copy of the repository, and the tests of its line in a fork of a warm process.

The parent has the libraries loaded and nothing of the project, so that a fork begins within milliseconds and imports
the copy. Faults are tried side by side, each in its own copy.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.mutants.faults import Fault
from benchmarks.mutants.modules import ROOT

_LIBRARIES = (
    "numpy", "pandas", "scipy.stats", "scipy.optimize", "scipy.ndimage", "scipy.interpolate", "pyarrow.parquet",
    "torch", "pydantic_settings", "sklearn.linear_model", "statsmodels.api", "lifelines", "matplotlib.figure",
    "pydicom", "nibabel", "zarr", "xarray", "hypothesis", "yaml", "jinja2", "click",
)  # fmt: skip
_SLOWER_THAN_BEFORE = 5.0
_LEAST_SECONDS = 120.0  # the tests of a line may lie in many files, all of which are imported first
_NO_TESTS = 5
_OPTIONS = (
    "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:xdist",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",  # plugins among the libraries are loaded before pytest
)  # fmt: skip
LOG = "trial.log"


@dataclass(frozen=True)
class Outcome:
    """What became of a fault: "noticed", "survived", "no answer" in time or "no test"; tests, seconds, who noticed."""

    verdict: str
    tests: int
    seconds: float
    by: str = ""


class Trials:
    """Tries faults in ``n`` copies of the repository at once."""

    def __init__(self, folder: Path, n: int, budget_s: float) -> None:
        self._copies = [copy_of_repository(folder / f"copy{i}") for i in range(n)]
        self._budget_s = budget_s
        for name in _LIBRARIES:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)

    def failing_without_a_fault(self, module: str, tests: Sequence[str]) -> set[str]:
        """Those of ``tests`` that fail in a copy anyway: what they say of a fault is nothing."""
        trial = _Trial(self._copies[0], Fault(module, 1, 0, 0, "", "", "none"), tests, 600.0, stops=False)
        while not trial.is_over():
            time.sleep(0.05)
        return set(trial.failures())

    def run(self, faults: Iterable[tuple[Fault, Sequence[str], Sequence[float]]]) -> Iterator[tuple[Fault, Outcome]]:
        """Each fault with what became of it; a fault comes with its tests, the quickest first, and their seconds."""
        waiting, free, running = iter(faults), list(self._copies), list[_Trial]()
        while True:
            while free and (following := next(waiting, None)) is not None:
                fault, tests, seconds = following
                chosen = _within(tests, seconds, self._budget_s)
                if not chosen:
                    yield fault, Outcome("no test", 0, 0.0)
                    continue
                running.append(_Trial(free.pop(), fault, chosen, sum(seconds[: len(chosen)])))
            if not running:
                return
            time.sleep(0.05)
            for trial in [one for one in running if one.is_over()]:
                running.remove(trial)
                free.append(trial.copy)
                yield trial.fault, trial.outcome()


def _within(tests: Sequence[str], seconds: Sequence[float], budget_s: float) -> list[str]:
    """The quickest tests that take no longer than the budget together; one at least."""
    total, chosen = 0.0, []
    for test, each in zip(tests, seconds, strict=True):
        total += each
        if chosen and total > budget_s:
            break
        chosen.append(test)
    return chosen


class _Trial:
    """The tests of one fault, running."""

    def __init__(
        self, copy: Path, fault: Fault, tests: Sequence[str], expected_s: float, *, stops: bool = True
    ) -> None:
        self.copy, self.fault, self._tests = copy, fault, list(tests)
        self._begun = time.monotonic()
        self._limit_s = max(_LEAST_SECONDS, _SLOWER_THAN_BEFORE * expected_s)
        self._status: int | None = None
        self._has_answered = True
        self._path = copy / fault.module
        self._source = self._path.read_bytes()
        _write(self._path, fault.put_into(self._source))
        self._process = os.fork()
        if self._process == 0:
            _run_tests(copy, [*(("-x",) if stops else ()), *self._tests])

    def is_over(self) -> bool:
        done, status = os.waitpid(self._process, os.WNOHANG)
        if not done and time.monotonic() - self._begun > self._limit_s:
            _, status = _end(self._process)
            done = self._process
            self._has_answered = False
        if done:
            self._status = os.waitstatus_to_exitcode(status)
            _write(self._path, self._source)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process, signal.SIGKILL)
        return bool(done)

    def outcome(self) -> Outcome:
        seconds = time.monotonic() - self._begun
        if self._status == _NO_TESTS:
            raise RuntimeError(f"pytest found none of {self._tests[:3]}; run `make coverage` again")
        n, took = len(self._tests), round(seconds, 1)
        if not self._has_answered:
            return Outcome("no answer", n, took)
        if self._status == 0:
            return Outcome("survived", n, took)
        return Outcome("noticed", n, took, next(iter(self.failures()), "the import"))

    def failures(self) -> list[str]:
        """Tests that failed, as pytest sums up."""
        return re.findall(r"^(?:FAILED|ERROR) (\S+::\S+)", (self.copy / LOG).read_text(errors="replace"), re.MULTILINE)


def _end(process: int) -> tuple[int, int]:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    os.kill(process, signal.SIGKILL)
    return os.waitpid(process, 0)


_written = int(time.time()) - 100_000_000


def _write(path: Path, source: bytes) -> None:
    """With a time of its own, by which Python tells that its compiled file is old."""
    global _written
    _written += 1
    path.write_bytes(source)
    os.utime(path, (_written, _written))


def _run_tests(copy: Path, words: Sequence[str]) -> None:
    """Never returns: the fork ends with pytest's status."""
    status = 3
    try:
        os.setsid()
        os.chdir(copy)
        log = os.open(copy / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for name in [one for one in sys.modules if one.split(".")[0] in ("benchmarks", "tests")]:
            del sys.modules[name]
        sys.path[:] = [str(copy), *(entry for entry in sys.path if entry not in ("", str(ROOT)))]
        os.environ["PYTHONPATH"] = str(copy)
        os.environ.setdefault("CMR_TEST_DATA", str(ROOT.parent / "shared" / "data"))
        status = int(pytest.main([*_OPTIONS, *words]))
    except BaseException:
        traceback.print_exc()  # for the log: the process ends before Python would print it
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def copy_of_repository(folder: Path) -> Path:
    """The code, tests and pages of the repository as they stand, in ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    left = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "demo", "scratch")
    return Path(shutil.copytree(ROOT, folder, ignore=left))
