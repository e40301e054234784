"""The log of a run for machines: a line of JSON an event, and a summary of them at the end. No identifier is in it.

A study is named by a pseudonym: a keyed hash, whose key lies in the cohort (``runs/.log_key``) and goes nowhere else.
The same study has the same pseudonym in every run of a cohort (:func:`pseudonym`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import resource
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import IO, Any

import numpy as np

from tasks.state.ledger import Outcome
from tasks.state.store import Cohort

_log = logging.getLogger("cmr_cohort")
_KEY_BYTES = 32
_KEY = ".log_key"
_LETTERS = 12
_EVENT = "event_values"  # attribute of a log record


def tell_studies(outcomes: Iterable[Outcome]) -> None:
    """An event for each study that has gone through a stage: how it ended, and what it cost."""
    for outcome in outcomes:
        values = {
            "study": outcome.study,
            "stage": outcome.stage,
            "status": outcome.status,
            "reason": outcome.reason,
            "seconds": outcome.seconds,
            "n_bytes": outcome.summary.get("n_bytes", 0),
            "peak_mb": outcome.peak_mb,
            "host": outcome.host,
        }
        _log.info("study", extra={_EVENT: values})


def is_event(record: logging.LogRecord) -> bool:
    """Whether a log record is an event with values, and no line of text."""
    return hasattr(record, _EVENT)


def log_key(cohort: Cohort) -> bytes:
    """The key of the pseudonyms in a cohort's logs; made where there is none."""
    path = cohort.runs / _KEY
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(number, "wb") as file:
        file.write(key := os.urandom(_KEY_BYTES))
    return key


def pseudonym(study: str, key: bytes) -> str:
    """The name of a study in logs: HMAC-SHA-256 of its id (RFC 2104), of which 12 hexadecimal digits are kept."""
    return hmac.new(key, study.encode(), hashlib.sha256).hexdigest()[:_LETTERS]


class JsonLines(logging.Handler):
    """Writes every log record as a line of JSON, and sums up the events of studies.

    Args:
        file: to write to.
        key: of the pseudonyms.
    """

    def __init__(self, file: IO[str], key: bytes) -> None:
        super().__init__()
        self._file, self._key, self._counting = file, key, threading.Lock()
        self._stages: dict[str, list[tuple[str, float, int, float]]] = defaultdict(list)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": time, "level": record.levelname.lower()}
        values = getattr(record, _EVENT, None)
        if values is None:
            line |= {"event": "message", "text": record.getMessage()}
        else:
            line |= {"event": record.getMessage(), **values, "study": pseudonym(values["study"], self._key)}
            ended = f"{values['status']} {values['reason']}".strip()
            with self._counting:
                cost = (ended, values["seconds"], values["n_bytes"], values["peak_mb"])
                self._stages[values["stage"]].append(cost)
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def stages(self) -> dict[str, Any]:
        """Stage -> how many studies ended how, and what they cost, of those that went through it in this run."""
        return {stage: _costs(rows) for stage, rows in self._stages.items()}


def _costs(rows: list[tuple[str, float, int, float]]) -> dict[str, Any]:
    ended, seconds, n_bytes, peaks = zip(*rows, strict=True)
    median, p95 = np.percentile(seconds, [50, 95])
    return {
        "studies": len(rows),
        "ended": dict(sorted(Counter(ended).items())),
        "seconds": {
            "total": round(sum(seconds), 2),
            "median": round(float(median), 4),
            "p95": round(float(p95), 4),
            "max": max(seconds),
        },
        "n_bytes": sum(n_bytes),
        "peak_mb": max(peaks),
    }


def process_costs() -> dict[str, float]:
    """Processor seconds of this process and of those that it has waited for, and its own peak memory in MB."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return {"processor_seconds": round(seconds, 1), "peak_mb": round(usages[0].ru_maxrss / 1024, 1)}
