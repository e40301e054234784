"""Which studies have changed since a table was made: kept by the ledger's own triggers, whoever writes the outcomes.

A revision is a number that grows with every outcome whose content changes. What only says how it was reached (seconds,
host, attempts, the key that planning asked for) is no change, as no table shows it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from cmr_models.contracts import ColumnSpec, TableSpec

CHANGES = TableSpec(
    "ledger.sqlite, table changes",
    "a row a study and stage whose outcome has changed since this table is there",
    (
        ColumnSpec("stage", "text", "", "name of the stage"),
        ColumnSpec("study", "text", "", "study id: participant-visit"),
        ColumnSpec("revision", "integer", "1", "number of the change; the latest is the highest"),
    ),
)
"""When each outcome changed last."""

MADE = TableSpec(
    "ledger.sqlite, table made",
    "a row a thing that was made from the outcomes",
    (
        ColumnSpec("name", "text", "", "path of a table within the cohort, or a question about outcomes"),
        ColumnSpec("value", "text", "", "digest of the table's file, or the answer (JSON)"),
        ColumnSpec("revision", "integer", "1", "the last change that it takes in"),
    ),
)
"""What was made from which outcomes, so that only what has changed since is made again."""

_CONTENT = ("status", "reason", "detail", "key", "summary")
_DIFFERS = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in _CONTENT)


def _trigger(event: str, when: str, row: str) -> str:
    return (
        f"CREATE TRIGGER IF NOT EXISTS changes_{event.split()[0].lower()} AFTER {event} ON outcomes {when}"
        f" BEGIN INSERT INTO changes VALUES"
        f" ({row}.stage, {row}.study, (SELECT IFNULL(MAX(revision), 0) + 1 FROM changes))"
        " ON CONFLICT (stage, study) DO UPDATE SET revision = excluded.revision; END;"
    )


STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS changes (stage TEXT NOT NULL, study TEXT NOT NULL, revision INTEGER NOT NULL,"
    " PRIMARY KEY (stage, study)) WITHOUT ROWID;",
    "CREATE INDEX IF NOT EXISTS changes_by_revision ON changes (revision);",
    "CREATE TABLE IF NOT EXISTS made (name TEXT NOT NULL, value TEXT NOT NULL, revision INTEGER NOT NULL,"
    " PRIMARY KEY (name)) WITHOUT ROWID;",
    _trigger("INSERT", "", "NEW"),
    _trigger(f"UPDATE OF {', '.join(_CONTENT)}", f"WHEN {_DIFFERS}", "NEW"),
    _trigger("DELETE", "", "OLD"),
)
"""What makes the tables and triggers, where they are not there yet."""


class Made(NamedTuple):
    """What was made, and the last change of the outcomes that it takes in."""

    value: str
    revision: int


class Revisions:
    """The changes of an open ledger, and what was made from them.

    Args:
        connection: of the ledger.
        lock: that is held while it is asked.
        transaction: opens one.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: threading.RLock,
        transaction: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._connection, self._lock, self._transaction = connection, lock, transaction

    def now(self) -> int:
        """The last change of all; 0 if nothing has changed since changes are noted."""
        with self._lock:
            (found,) = self._connection.execute("SELECT IFNULL(MAX(revision), 0) FROM changes").fetchone()
        return int(found)

    def changed_since(self, revision: int, *stages: str) -> list[str]:
        """Studies whose outcome at one of ``stages`` has changed after ``revision``, sorted."""
        query = (
            "SELECT DISTINCT study FROM changes WHERE revision > ?"
            f" AND stage IN ({', '.join('?' * len(stages))}) ORDER BY study"
        )
        with self._lock:
            return [study for (study,) in self._connection.execute(query, (revision, *stages))]

    def made(self, name: str) -> Made | None:
        """What is known of the making of ``name``; None if nothing is."""
        with self._lock:
            row = self._connection.execute("SELECT value, revision FROM made WHERE name = ?", (name,)).fetchone()
        return Made(*row) if row else None

    def answer(self, question: str, stages: Sequence[str], find: Callable[[], Any]) -> Any:
        """What ``find`` says of the outcomes at ``stages``, as plain values; it is asked once until they change."""
        known, now = self.made(question), self.now()
        if known is not None and not self.changed_since(known.revision, *stages):
            return json.loads(known.value)
        found = find()
        self.note(question, Made(json.dumps(found), now))
        return found

    def note(self, name: str, made: Made) -> None:
        """Remember that ``name`` was made."""
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO made VALUES (?, ?, ?)", (name, *made))
