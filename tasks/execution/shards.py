"""A shard of studies through one stage: in this process, or in chunks on a Dask cluster, with the same result.

A stage gives a module-level function ``work(units, cohort, settings) -> list of Outcome``; ``units`` are plain
mappings with at least ``study`` and ``key`` (what planning asks for). Work that dies with its worker is tried again
study by study, at last each alone, so that only the study at fault is blamed.
"""

from __future__ import annotations

import errno
import re
import resource
import socket
import time
import traceback
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmr_models.reasons import TABLE, StudyRejected
from tasks.execution.isolation import LIMIT_S, in_a_process_of_its_own, noted, tried_before, within_limit
from tasks.state.ledger import Outcome, Status
from tasks.state.store import OutputError

if TYPE_CHECKING:
    from distributed import Client, Future

Unit = dict[str, Any]
Work = Callable[[Sequence[Unit], str, dict[str, Any]], list[Outcome]]
One = Callable[[Unit, str, dict[str, Any]], Outcome]


def run(
    work: Work,
    units: Sequence[Unit],
    cohort: Path,
    settings: dict[str, Any],
    *,
    stage: str,
    client: Client | None = None,
    studies_per_chunk: int = 8,
    limit_s: float = LIMIT_S,
    note: Path | None = None,
    suspects: Collection[str] = frozenset(),
) -> Iterator[list[Outcome]]:
    """Outcomes of ``units``, chunk by chunk as they finish; without a client, in this process and in order.

    Args:
        work: of the stage.
        units: to work on.
        cohort: the cohort's folder.
        settings: of the stage.
        stage: its name.
        client: of a cluster.
        studies_per_chunk: studies that one call of ``work`` has.
        limit_s: seconds that a study may take; its process ends beyond it.
        note: a file in which this process says what it tries, so that the next one knows what ended it.
        suspects: studies that have ended a process before; this one does not try them itself.
    """
    if client is not None:
        chunks = _chunks(units, studies_per_chunk)
        yield from _run_on_cluster(client, work, chunks, str(cohort), settings, stage, limit_s)
        return
    apart = tried_before(note) | frozenset(suspects)
    for unit in (unit for unit in units if unit["study"] in apart):
        alone = in_a_process_of_its_own(work, unit, str(cohort), settings, limit_s)
        yield [_lost(unit, stage)] if alone is None else alone
    if note is not None:
        note.unlink(missing_ok=True)  # all of them have been recorded
    for chunk in _chunks([unit for unit in units if unit["study"] not in apart], studies_per_chunk):
        with noted(note, chunk):
            outcomes = within_limit(work, chunk, str(cohort), settings, limit_s, _last_words(stage, chunk, limit_s))
        yield outcomes


def _chunks(units: Sequence[Unit], size: int) -> list[list[Unit]]:
    return [list(units[i : i + size]) for i in range(0, len(units), size)]


def _last_words(stage: str, chunk: Sequence[Unit], limit_s: float) -> str:
    return (
        f"Error: {stage}: {len(chunk)} studies took longer than {limit_s:.0f} s each (compute.study_seconds_max); type"
        " the same command again, and they are tried one by one, each in a process of its own"
    )


def attempt(one: One, unit: Unit, cohort: str, settings: dict[str, Any], *, stage: str) -> Outcome:
    """One study through one stage. A study may fail, and says why; it takes nobody with it."""
    start = time.perf_counter()
    try:
        outcome = one(unit, cohort, settings)
    except StudyRejected as rejected:
        outcome = rejected_outcome(unit["study"], stage, rejected, key=unit.get("key", ""))
    except OutputError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # no fault of the study, and no later one would do better
        outcome = Outcome(unit["study"], stage, "quarantined", "unexpected_error", _where(error))
    except Exception as error:  # noqa: BLE001  the one boundary: an unforeseen fault of one study, recorded as such
        outcome = Outcome(unit["study"], stage, "quarantined", "unexpected_error", _where(error))
    return add_measurements(outcome, unit, seconds=time.perf_counter() - start)


def rejected_outcome(study: str, stage: str, rejected: StudyRejected, *, key: str = "") -> Outcome:
    """The outcome that a rejection stands for: absent or quarantined, as the table of reasons says."""
    status: Status = "absent" if TABLE[rejected.reason].kind == "absent" else "quarantined"
    return Outcome(study, stage, status, rejected.reason, rejected.detail, key)


def add_measurements(outcome: Outcome, unit: Unit, *, seconds: float) -> Outcome:
    """``outcome`` with the planned key, time, peak memory and host."""
    peak_mb = _peak_mb()
    return replace(
        outcome,
        wanted=unit.get("key", ""),
        seconds=round(seconds, 4),
        peak_mb=round(peak_mb, 1),
        host=socket.gethostname(),
    )


def _peak_mb() -> float:
    """Peak resident memory of this process; getrusage would count the parent's from before the exec."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _where(error: Exception) -> str:
    """Type and place of an error. Its message may hold identifiers, so it is left out."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def _run_on_cluster(
    client: Client,
    work: Work,
    chunks: list[list[Unit]],
    cohort: str,
    settings: dict[str, Any],
    stage: str,
    limit_s: float,
) -> Iterator[list[Outcome]]:
    def submit(chunk: list[Unit]) -> Future[Any]:
        return client.submit(within_limit, work, chunk, cohort, settings, limit_s, pure=False, retries=0)

    for _ in range(2):
        died: list[list[Unit]] = []
        yield from _all_at_once(client, submit, chunks, died)
        chunks = [[unit] for chunk in died for unit in chunk]
    suspects = [unit for chunk in chunks for unit in chunk]
    for unit in suspects:
        alone: list[list[Unit]] = []
        yield from _all_at_once(client, submit, [[unit]], alone)
        yield [_lost(unit, stage) for _ in alone]


def _all_at_once(
    client: Client,
    submit: Callable[[list[Unit]], Future[Any]],
    chunks: list[list[Unit]],
    died: list[list[Unit]],
) -> Iterator[list[Outcome]]:
    """Results as they come, a bounded number in flight. What dies with its worker is put into ``died``."""
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    waiting = list(reversed(chunks))
    running: dict[Hashable, list[Unit]] = {}
    completed = as_completed(loop=client.loop)
    while waiting or running:
        limit = 2 * max(1, sum(client.nthreads().values()))  # the jobs of a cluster begin one after another
        while waiting and len(running) < limit:
            chunk = waiting.pop()
            future = submit(chunk)
            running[future.key] = chunk
            completed.add(future)
        future = next(completed)
        chunk = running.pop(future.key)
        if isinstance(future.exception(), KilledWorker):
            died.append(chunk)
        else:
            yield future.result()
        future.release()


def _lost(unit: Unit, stage: str) -> Outcome:
    return add_measurements(Outcome(unit["study"], stage, "quarantined", "worker_lost"), unit, seconds=0.0)
