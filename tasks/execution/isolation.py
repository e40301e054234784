"""Studies that may end their process or never end: noted before they are tried, and tried again in one of their own.

A process that dies says nothing. So it writes down what it is about to try, and the next one finds the note. A study
that takes longer than its limit ends its process, since Python cannot stop a thread in foreign code; the next one finds
the note too.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tasks.execution.process import prepare_process, start_resource_tracker, workers_leave_ctrl_c_to_the_command
from tasks.state.ledger import Ledger, Outcome

Work = Callable[[Sequence[dict[str, Any]], str, dict[str, Any]], list[Outcome]]

LIMIT_S = 3600.0
"""Of a study at a stage of which nothing is measured."""

_MEDIANS = 50.0
_LEAST_S = 600.0
_ENOUGH = 5  # studies, before their median says anything
_SAMPLE = 1_000  # of which the median is taken


def limit_s(ledger: Ledger, stage: str, chosen: float | None) -> float:
    """Seconds that a study may take: those of the settings, else 50 times the median at this stage, at least 10 min."""
    if chosen is not None:
        return chosen
    seconds = ledger.seconds(stage, _SAMPLE)
    return max(_LEAST_S, _MEDIANS * float(np.median(seconds))) if len(seconds) >= _ENOUGH else LIMIT_S


@contextlib.contextmanager
def noted(note: Path | None, units: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Meanwhile ``note`` says which studies are tried; it is left behind only by a process that dies."""
    if note is None:
        yield
        return
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps([unit["study"] for unit in units]))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def tried_before(note: Path | None) -> frozenset[str]:
    """Studies that a process was trying when it died; a note that it had no time to finish says nothing."""
    if note is None or not note.is_file():
        return frozenset()
    try:
        return frozenset(json.loads(note.read_text()))
    except ValueError:
        return frozenset()


def within_limit(
    work: Work,
    units: Sequence[dict[str, Any]],
    cohort: str,
    settings: dict[str, Any],
    seconds: float,
    last_words: str = "",
) -> list[Outcome]:
    """``work`` of a chunk; the process ends if it takes longer than ``seconds`` a study.

    Args:
        work: of a stage.
        units: of the chunk.
        cohort: the cohort's folder.
        settings: of the stage.
        seconds: a study.
        last_words: to standard error, if it comes to that.
    """
    watch = threading.Timer(seconds * len(units), _end, [last_words])
    watch.daemon = True
    watch.start()
    try:
        return work(units, cohort, settings)
    finally:
        watch.cancel()


def in_a_process_of_its_own(
    work: Work, unit: dict[str, Any], cohort: str, settings: dict[str, Any], seconds: float
) -> list[Outcome] | None:
    """``work`` of one study in a new process; None if it died, or took longer than ``seconds``."""
    start_resource_tracker()
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sending, work, unit, cohort, settings), daemon=True)
    with workers_leave_ctrl_c_to_the_command():
        process.start()
    sending.close()
    try:
        answer = receiving.recv() if receiving.poll(seconds) else None
    except EOFError:
        answer = None
    finally:
        process.kill()
        process.join()
        receiving.close()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _send(sending: Connection, work: Work, unit: dict[str, Any], cohort: str, settings: dict[str, Any]) -> None:
    prepare_process()
    try:
        sending.send(work([unit], cohort, settings))
    except Exception as error:  # noqa: BLE001  it is raised in the process that waits
        sending.send(error)


def _end(last_words: str) -> None:
    os.write(2, f"{last_words}\n".encode() if last_words else b"")
    os._exit(1)
