"""One run of the pipeline: who holds the cohort, with which settings and versions, and what came of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import platform
import stat
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from tasks.state.mistakes import UserMistake
from tasks.state.run_log import JsonLines, is_event, log_key, process_costs
from tasks.state.store import Cohort, publish_bytes

VERSIONED = (
    "cmr-cohort", "numpy", "scipy", "pandas", "xarray", "zarr", "pydicom", "nibabel", "torch", "dask", "prefect",
    "lifelines", "scikit-survival", "statsmodels",
)  # fmt: skip


SUMMARY = "summary.json"
_log = logging.getLogger("cmr_cohort")
_held_here: set[Path] = set()


class CohortInUse(RuntimeError):
    """Another process holds the cohort."""


@dataclass(frozen=True)
class Run:
    """The folder of one run, and what the log has summed up so far."""

    folder: Path
    stages: Callable[[], dict[str, Any]] = dict

    def summary(self, command: str, started: datetime, ended: str) -> dict[str, Any]:
        """What the run did and cost."""
        finished = datetime.now(UTC)
        return {
            "command": command,
            "ended": ended,
            "started": started.isoformat(),
            "finished_timestamp": round(finished.timestamp(), 3),
            "seconds": round((finished - started).total_seconds(), 1),
            **process_costs(),
            "stages": self.stages(),
        }

    def write(self, name: str, content: Mapping[str, Any] | list[Any]) -> None:
        """Save plain values as JSON."""
        self.write_text(name, json.dumps(content, indent=1, sort_keys=True, default=str))

    def write_text(self, name: str, content: str) -> None:
        """Save text."""
        publish_bytes(content.encode(), self.folder / name)


def versions() -> dict[str, str]:
    """Versions of what computes the numbers, by distribution name, and of Python."""
    return {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}}


@contextlib.contextmanager
def open_run(
    cohort: Cohort,
    settings: Mapping[str, Any],
    command: str = "run",
    metrics: Callable[[Mapping[str, Any]], None] | None = None,
) -> Iterator[Run]:
    """Hold the cohort for one command that writes, and keep its record.

    Args:
        cohort: its folder.
        settings: of the run, as plain values.
        command: its name.
        metrics: called with the summary of a run that ended well.

    Raises:
        CohortInUse: if another process holds the cohort.
    """
    with hold(cohort):
        _sweep_after_a_kill(cohort)
        started = datetime.now(UTC)
        run = Run(cohort.runs / f"{started:%Y%m%dT%H%M%S}-{os.getpid()}")
        run.write("settings.json", settings)
        run.write("versions.json", versions())
        with _log_to(run.folder, log_key(cohort)) as events:
            run = replace(run, stages=events.stages)
            _log.info("%s: begins", command)
            try:
                yield run
            except BaseException as error:
                _log.error("%s: stopped by %s%s", command, type(error).__name__, _frames(error))
                error.add_note(f"traceback in {run.folder / 'log.txt'}")
                with contextlib.suppress(OSError):  # of a full disk; the error that is told is the first one
                    run.write(SUMMARY, run.summary(command, started, f"stopped by {type(error).__name__}"))
                raise
            run.write(SUMMARY, summary := run.summary(command, started, "done"))
            if metrics is not None:
                metrics(summary)
        seconds = (datetime.now(UTC) - started).total_seconds()
        run.write("finished.json", {"command": command, "started": started.isoformat(), "seconds": round(seconds, 1)})


@contextlib.contextmanager
def hold(cohort: Cohort) -> Iterator[None]:
    """Keep other processes from writing into the cohort; within one process a holder may hold it again.

    Raises:
        CohortInUse: if another process holds it.
    """
    root = cohort.root.resolve()
    if root in _held_here:
        yield
        return
    root.mkdir(parents=True, exist_ok=True)
    with _open_lock(root / ".lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CohortInUse("another run is using this cohort; wait until it ends, or stop it") from None
        _held_here.add(root)
        try:
            yield
        finally:
            _held_here.remove(root)


def _open_lock(path: Path) -> IO[bytes]:
    """The file that is locked; it is not written to.

    Raises:
        UserMistake: if something else has its name: a link would lead to a file of somebody else's choice.
    """
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600), "rb", 0)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise UserMistake(f"{path} is a link or no file; remove it") from error
        raise
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise UserMistake(f"{path} is a link or no file; remove it")


def _frames(error: BaseException) -> str:
    """Where ``error`` and its causes come from, without their text: it may name a study."""
    lines: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:  # a cause may be a context of its own
        seen.add(id(cause))
        lines.append(f"{type(cause).__name__}:")
        lines += [f"  {f.filename}:{f.lineno} in {f.name}" for f in traceback.extract_tb(cause.__traceback__)]
        cause = cause.__cause__ or cause.__context__
    return "".join(f"\n{line}" for line in lines)


def _sweep_after_a_kill(cohort: Cohort) -> None:
    """Remove temporary files that a killed run left; looked for only when the last run did not finish."""
    last = max(cohort.runs.glob("*"), default=None)
    if last is None or (last / "finished.json").exists():
        return
    for leftover in cohort.root.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def _log_to(folder: Path, key: bytes) -> Iterator[JsonLines]:
    """Log into ``log.txt`` and, with an event for each study, into ``log.jsonl``."""
    plain = logging.FileHandler(folder / "log.txt")
    plain.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    plain.addFilter(lambda record: not is_event(record))
    logger = logging.getLogger("cmr_cohort")
    logger.setLevel(logging.INFO)
    logger.propagate = False  # the terminal has its progress lines
    with (folder / "log.jsonl").open("w") as file:
        events = JsonLines(file, key)
        for handler in (plain, events):
            logger.addHandler(handler)
        try:
            yield events
        finally:
            for handler in (plain, events):
                logger.removeHandler(handler)
                handler.close()
