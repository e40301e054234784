"""The ledger: every study x stage with its status, reason and key. One writer; rebuildable from the published files."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from sys import intern
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import quote

from cmr_models.contracts import ColumnSpec, TableSpec
from cmr_models.contracts.checks import check_version
from cmr_models.contracts.foreign import faults_as
from tasks.state import revisions
from tasks.state.mistakes import UserMistake
from tasks.state.speeds import RECIPES, SPEEDS, Speed
from tasks.state.store import digest, digest_bytes

Status = Literal["ok", "absent", "quarantined", "retired"]

_PRIMARY_CODE = 0xFF  # of an error of SQLite, beneath its details
_LITTLE = 2**20  # bytes that SQLite needs beside its file
SCHEMA = 1
"""Version of the ledger's tables. The file says it as its `user_version`; early files of version 1 do not (0)."""

OUTCOMES = TableSpec(
    "ledger.sqlite, table outcomes",
    "a row a study and stage",
    (
        ColumnSpec("study", "text", "", "study id: participant-visit"),
        ColumnSpec("stage", "text", "", "name of the stage"),
        ColumnSpec("status", "text", "", "ok, absent, quarantined or retired"),
        ColumnSpec("reason", "text", "", "reason code; empty when ok"),
        ColumnSpec("detail", "text", "", "what was found, without identifiers"),
        ColumnSpec("key", "text", "", "key of what was made, or of what was tried"),
        ColumnSpec("wanted", "text", "", "key that planning asked for"),
        ColumnSpec("seconds", "real", "s", "wall time"),
        ColumnSpec("peak_mb", "real", "MB", "peak resident memory of the worker so far"),
        ColumnSpec("host", "text", "", "where it ran"),
        ColumnSpec("summary", "text", "", "small values for the tables (JSON)"),
        ColumnSpec("attempts", "integer", "1", "how often it was tried with the key that planning asked for"),
        ColumnSpec("finished", "text", "", "when it ended (UTC)"),
    ),
)
"""How every study stands at every stage."""

SOURCES = TableSpec(
    "ledger.sqlite, table sources",
    "a row a file of the archive, as it was when it was last read",
    (
        ColumnSpec("path", "text", "", "digest of the path of the file: a path may name a person"),
        ColumnSpec("size", "integer", "byte", "of the file"),
        ColumnSpec("mtime_ns", "integer", "ns", "time of its last change"),
        ColumnSpec("facts", "text", "", "what its header says of study and patient (JSON)"),
    ),
)
"""The files of the archive."""

NOT_TAKEN = TableSpec(
    "ledger.sqlite, table not_taken",
    "a row a file of the sources that is part of no study",
    (
        ColumnSpec("path", "text", "", "digest of the path of the file: a path may name a person"),
        ColumnSpec("ending", "text", "", "kind of the file by its name, or why it is not read: `.txt`, `hidden` ..."),
    ),
)
"""The files of the sources that nobody reads."""

_TEXTS: Mapping[str, Status] = {status: status for status in get_args(Status)}
_SQL = {"text": "TEXT", "integer": "INTEGER", "real": "REAL"}


def _create(name: str, spec: TableSpec, key: str) -> str:
    columns = ", ".join(f"{column.name} {_SQL[column.kind]} NOT NULL" for column in spec.columns)
    return f"CREATE TABLE IF NOT EXISTS {name} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID;"


_TABLES = _create("outcomes", OUTCOMES, "study, stage"), _create("sources", SOURCES, "path")
_BY_STAGE = (  # a stage is looked through without its summaries
    "CREATE INDEX IF NOT EXISTS outcomes_by_stage ON outcomes (stage, study, status, reason, key, wanted, attempts);"
)
_LATER_TABLES = (  # made where an early file of this version lacks them
    _create("not_taken", NOT_TAKEN, "path"),
    _create("speeds", SPEEDS, "stage, began, host"),
    _create("recipes", RECIPES, "stage, recipe"),
    _BY_STAGE,
    *revisions.STATEMENTS,
)
_ENTRIES = "SELECT study, status, reason, key, wanted, attempts FROM outcomes WHERE stage = ?"


@dataclass(frozen=True)
class Outcome:
    """How one study ended at one stage.

    Attributes:
        study: study id.
        stage: "convert", "segment", "derive" or "perfusion".
        status: ok, absent, quarantined, or retired (its source was removed).
        reason: code of :mod:`cmr_models.reasons`; empty when ok.
        detail: what was found, without identifiers.
        key: key of what was made, or of what was tried.
        wanted: key that planning asked for; while it is the same, there is nothing to do.
        seconds: wall time.
        peak_mb: peak resident memory of the worker so far.
        host: where it ran.
        summary: small plain values for the tables (views, phenotypes ...).
    """

    study: str
    stage: str
    status: Status
    reason: str = ""
    detail: str = ""
    key: str = ""
    wanted: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0
    host: str = ""
    summary: dict[str, Any] = field(default_factory=dict)


class Entry(NamedTuple):
    """How a study stands at a stage."""

    status: Status
    reason: str
    key: str
    wanted: str
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the archive as it was when it was last read.

    ``path`` is the digest of its path (:func:`path_digest`), ``facts`` are what its header says.
    """

    path: str
    size: int
    mtime_ns: int
    facts: dict[str, Any] = field(default_factory=dict)


_OUTCOME_FIELDS = tuple(f.name for f in fields(Outcome))
_CHANGING = (*_OUTCOME_FIELDS[2:], "finished")
_UPSERT = (
    f"INSERT INTO outcomes ({', '.join(_OUTCOME_FIELDS)}, finished, attempts)"
    f" VALUES ({', '.join('?' * len(_OUTCOME_FIELDS))}, ?, 1) ON CONFLICT (study, stage) DO UPDATE SET"
    f" {', '.join(f'{name}=excluded.{name}' for name in _CHANGING)},"
    " attempts=CASE WHEN outcomes.wanted = excluded.wanted THEN attempts + 1 ELSE 1 END"
)


class Ledger:
    """The ledger of one cohort, open for reading and writing by one process.

    Raises:
        ContractError: if a newer version of the package wrote it.
        UserMistake: if it is damaged or, unless ``is_new`` lets it be made, not there.
    """

    def __init__(self, path: Path, *, is_new: bool = True) -> None:
        if is_new:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.is_file() or not path.stat().st_size:
            raise UserMistake(f"{path} is missing or empty; type `cmr-cohort verify`, which makes it from the files")
        self._lock = threading.RLock()  # shards may record from several threads
        self._connection = _connect(path, is_new=is_new)
        self._is_writable = is_new or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
        self._entries: dict[str, dict[str, Entry]] = {}  # as they were read, until an outcome is written
        self.revisions = revisions.Revisions(self._connection, self._lock, self._transaction)
        try:
            self._open(path)
        except BaseException:
            self._connection.close()
            raise

    def _open(self, path: Path) -> None:
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            (found,) = self._connection.execute("PRAGMA user_version").fetchone()
            tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, or no space: not damage
            raise _damaged(path, str(error)) from error
        if not found and not tables:
            with self._transaction():
                for statement in (*_TABLES, *_LATER_TABLES, f"PRAGMA user_version = {SCHEMA}"):
                    self._connection.execute(statement)
            return
        check_version(found or 1, SCHEMA, "the ledger")
        if missing := {"outcomes", "sources"} - tables:
            raise _damaged(path, f"it lacks {' and '.join(sorted(missing))}")
        self._complete(found)

    def _complete(self, found: int) -> None:
        """Give an early file what it lacks of this version; one that cannot be written is read as it is."""
        try:
            for statement in _LATER_TABLES:
                self._connection.execute(statement)
            if not found:
                self._connection.execute(f"PRAGMA user_version = {SCHEMA}")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_READONLY:
                raise

    def close(self) -> None:
        self._connection.close()

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Write outcomes in one transaction; a repeated study x stage counts one attempt more."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [(*astuple(o)[:-1], json.dumps(o.summary, sort_keys=True), now) for o in outcomes]
        with self._transaction():
            self._entries.clear()
            self._connection.executemany(_UPSERT, rows)

    def forget_attempts(self, stage: str, studies: Iterable[str]) -> None:
        """Count the attempts of ``studies`` at one stage anew."""
        with self._transaction():
            self._entries.clear()
            self._connection.executemany(
                "UPDATE outcomes SET attempts = 0 WHERE stage = ? AND study = ?", [(stage, study) for study in studies]
            )

    def outcomes(self, stage: str, studies: Sequence[str] | None = None) -> Iterator[Outcome]:
        """Outcomes of one stage in the order of study ids; only those of ``studies`` (sorted) if they are given."""
        query = f"SELECT {', '.join(_OUTCOME_FIELDS)} FROM outcomes WHERE stage = ?"
        if studies is None:
            rows: Iterable[Sequence[Any]] = self._connection.execute(f"{query} ORDER BY study", (stage,))
        else:
            rows = self._of_studies(query, stage, studies)
        for row in rows:
            yield _outcome(row)

    def entries(self, stage: str) -> Mapping[str, Entry]:
        """Study -> what planning needs to know of one stage, without the summaries, in the order of study ids.

        They are read once as long as nothing is written.
        """
        with self._lock:
            if stage not in self._entries:
                rows = self._connection.execute(f"{_ENTRIES} ORDER BY study", (stage,))
                self._entries[stage] = {study: _entry(*rest) for study, *rest in rows}
            return MappingProxyType(self._entries[stage])

    def entries_of(self, stage: str, studies: Sequence[str]) -> dict[str, Entry]:
        """:meth:`entries` of a few studies, as they stand now."""
        with self._lock:
            return {study: _entry(*rest) for study, *rest in self._of_studies(_ENTRIES, stage, studies)}

    def _of_studies(self, query: str, stage: str, studies: Sequence[str]) -> Iterator[Sequence[Any]]:
        for study in studies:
            yield from self._connection.execute(f"{query} AND study = ?", (stage, study))

    def with_view(self, stage: str, prefix: str) -> list[str]:
        """Studies that have, by their summary at ``stage``, a view whose name begins with ``prefix``."""
        return self._studies(
            "SELECT DISTINCT study FROM outcomes, json_each(outcomes.summary, '$.views') AS view"
            " WHERE stage = ? AND substr(view.key, 1, length(?)) = ? ORDER BY study",
            (stage, prefix, prefix),
        )

    def with_value(self, stage: str, name: str) -> list[str]:
        """Studies whose summary at ``stage`` has a value by ``name``."""
        query = "SELECT study FROM outcomes WHERE stage = ? AND json_type(summary, ?) IS NOT NULL ORDER BY study"
        return self._studies(query, (stage, f'$."{name}"'))

    def with_status(self, stage: str, status: Status, reason: str) -> list[str]:
        """Studies that ended at ``stage`` with ``status`` for ``reason``."""
        query = "SELECT study FROM outcomes WHERE stage = ? AND status = ? AND reason = ? ORDER BY study"
        return self._studies(query, (stage, status, reason))

    def with_series_left_out(self, stage: str, reason: str) -> list[str]:
        """Studies of which ``stage`` left out a series for ``reason``, or that it rejected for having no other."""
        return self._studies(
            "SELECT study FROM outcomes WHERE stage = ? AND (EXISTS"
            " (SELECT 1 FROM json_each(outcomes.summary, '$.excluded') AS series"
            " WHERE json_extract(series.value, '$.reason') = ?) OR instr(detail, ?)) ORDER BY study",
            (stage, reason, reason),
        )

    def _studies(self, query: str, values: tuple[str, ...]) -> list[str]:
        """Studies that a query about the stage ``values[0]`` finds."""

        def find() -> list[str]:
            with self._lock:
                return [study for (study,) in self._connection.execute(query, values).fetchall()]

        answer: list[str] = self._answer(f"studies: {digest([query, values])}", (values[0],), find)
        return answer

    def _answer(self, question: str, stages: Sequence[str], find: Callable[[], Any]) -> Any:
        """As :meth:`revisions.Revisions.answer`, or from the outcomes where nothing can be kept."""
        return self.revisions.answer(question, stages, find) if self._is_writable else find()

    def last_model(self, stage: str) -> str:
        """Model of the study that ended well at ``stage`` last; empty where none says which it was."""
        query = (
            "SELECT json_extract(summary, '$.model') AS model FROM outcomes"
            " WHERE stage = ? AND status = 'ok' AND model IS NOT NULL ORDER BY finished DESC LIMIT 1"
        )

        def find() -> str:
            with self._lock:
                row = self._connection.execute(query, (stage,)).fetchone()
            return row[0] if row else ""

        answer: str = self._answer(f"last model: {stage}", (stage,), find)
        return answer

    def state(self, *stages: str) -> str:
        """Digest of how every study stands at ``stages``: tables made from the ledger carry it as their key.

        It is computed once as long as no outcome changes.
        """

        def find() -> str:
            return digest(
                {
                    stage: [(study, e.status, e.reason, e.key) for study, e in self.entries(stage).items()]
                    for stage in stages
                }
            )

        name = f"state: {' '.join(stages)}"
        answer: str = self._answer(name, stages, find)
        return answer

    def stages(self) -> list[str]:
        """Names of the stages that have an outcome, sorted."""
        with self._lock:
            return [
                stage for (stage,) in self._connection.execute("SELECT DISTINCT stage FROM outcomes ORDER BY stage")
            ]

    def counts(self) -> list[tuple[str, str, str, int]]:
        """(stage, status, reason, number of studies), sorted."""
        return list(
            self._connection.execute(
                "SELECT stage, status, reason, COUNT(*) FROM outcomes GROUP BY stage, status, reason"
                " ORDER BY stage, status, reason"
            )
        )

    def with_parts(self, stage: str, *names: str) -> Iterator[Outcome]:
        """Outcomes of one stage, of whose summaries only the parts by ``names`` are there.

        Summaries are many times as large as what a list of studies needs of them; SQLite takes it out.
        """
        parts = "".join(f", json_extract(summary, '$.\"{name}\"')" for name in names)
        columns = _OUTCOME_FIELDS[:-1]
        query = f"SELECT {', '.join(columns)}{parts} FROM outcomes WHERE stage = ? ORDER BY study"
        for row in self._connection.execute(query, (stage,)):
            found = zip(names, row[len(columns) :], strict=True)
            told = ", ".join(f"{json.dumps(name)}: {part}" for name, part in found if part is not None)
            yield _outcome((*row[: len(columns)], f"{{{told}}}"))

    def ended(self, stage: str, studies: Sequence[str] | None = None) -> dict[str, tuple[str, str]]:
        """Study -> (reason, detail) of those that ended at ``stage`` itself; of ``studies`` alone if they are given."""
        query = (
            "SELECT study, reason, detail FROM outcomes WHERE stage = ? AND status IN ('absent', 'quarantined')"
            " AND reason != 'upstream'"
        )
        with self._lock:
            if studies is None:
                rows: Iterable[Sequence[Any]] = self._connection.execute(query, (stage,)).fetchall()
            else:
                rows = list(self._of_studies(query, stage, studies))
        return {study: (reason, detail) for study, reason, detail in rows}

    def lengths(self, stage: str, name: str) -> dict[int | None, int]:
        """Length of the list ``name`` of a summary -> number of studies that are ok at ``stage``; None: no list."""
        query = (
            "SELECT json_array_length(summary, ?) AS n, COUNT(*) FROM outcomes WHERE stage = ? AND status = 'ok'"
            " GROUP BY n"
        )
        with self._lock:
            return dict(self._connection.execute(query, (f'$."{name}"', stage)).fetchall())

    def forget(self, stage: str, studies: Iterable[str]) -> None:
        """Drop the rows of ``studies`` at one stage."""
        with self._transaction():
            self._entries.clear()
            self._connection.executemany(
                "DELETE FROM outcomes WHERE stage = ? AND study = ?", [(stage, study) for study in studies]
            )

    def sources(self) -> dict[str, SourceFile]:
        """Every archive file as last seen, by the digest of its path."""
        rows = self._connection.execute("SELECT path, size, mtime_ns, facts FROM sources")
        return {path: _source(path, size, mtime, facts) for path, size, mtime, facts in rows}

    def sources_with_facts(self) -> dict[str, SourceFile]:
        """:meth:`sources` of which a header said something; names of UK Biobank's archives say all."""
        rows = self._connection.execute("SELECT path, size, mtime_ns, facts FROM sources WHERE facts != '{}'")
        return {path: _source(path, size, mtime, facts) for path, size, mtime, facts in rows}

    def source_facts(self) -> Iterator[dict[str, Any]]:
        """What the headers of archive files say, file by file; nothing of files whose names say all."""
        for (facts,) in self._connection.execute("SELECT facts FROM sources WHERE facts != '{}'"):
            yield json.loads(facts)

    def remember_sources(
        self, files: Iterable[SourceFile], *, forget_others: bool, not_taken: Mapping[str, str] | None = None
    ) -> None:
        """Keep ``files`` as last seen, and files that no study has; with ``forget_others`` these are all there are.

        Only rows that are not as they were are written.

        Args:
            files: that were looked into.
            forget_others: whether the archive holds nothing else.
            not_taken: path -> ending of files that are part of no study.
        """
        seen = {f.path: (f.size, f.mtime_ns, _json(f.facts)) for f in files}
        left = {path_digest(path): (ending,) for path, ending in (not_taken or {}).items()}
        with self._transaction():
            self._bring_in_line("sources", seen, gone=(), forget_others=forget_others)
            self._bring_in_line("not_taken", left, gone=seen, forget_others=forget_others)

    def _bring_in_line(
        self, table: str, rows: Mapping[str, tuple[Any, ...]], *, gone: Collection[str], forget_others: bool
    ) -> None:
        """Write the ``rows`` of a table (path -> values) that differ, and drop those that are not there any more."""
        known = {path: tuple(rest) for path, *rest in self._connection.execute(f"SELECT * FROM {table}")}
        old = known.keys() - rows.keys()
        if not forget_others:
            old = {path for path in old if path in gone or "/" in path}  # earlier versions kept paths
        new = [(path, *values) for path, values in rows.items() if known.get(path) != values]
        self._connection.executemany(f"DELETE FROM {table} WHERE path = ?", [(path,) for path in old])
        if new:
            marks = ", ".join("?" * len(new[0]))
            self._connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", new)

    def not_taken(self) -> dict[str, int]:
        """Ending -> how many files of the sources are part of no study, the most frequent first.

        Empty too for an early file that could not be completed.
        """
        query = "SELECT ending, COUNT(*) AS n FROM not_taken GROUP BY ending ORDER BY n DESC, ending"
        with self._lock:
            if not self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'not_taken'").fetchone():
                return {}
            return dict(self._connection.execute(query).fetchall())

    def remember_speed(self, speed: Speed) -> None:
        """Keep how fast a stage worked."""
        with self._transaction():
            self._connection.execute(
                f"INSERT OR REPLACE INTO speeds VALUES ({', '.join('?' * len(SPEEDS.columns))})", astuple(speed)
            )

    def speeds(self) -> list[Speed]:
        """How fast every stage worked, in the order of time; empty for an early file that could not be completed."""
        return [Speed(*row) for row in self._rows_of("speeds", f"{', '.join(SPEEDS.names)}", "began, stage, host")]

    def remember_recipe(self, stage: str, recipe: Mapping[str, Any]) -> None:
        """Keep by which recipe a stage is asked to work, before it does."""
        now = datetime.now(UTC).isoformat()
        with self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO recipes VALUES (?, ?, ?)", (stage, json.dumps(recipe, sort_keys=True), now)
            )

    def recipes(self, stage: str) -> list[dict[str, Any]]:
        """By which recipes a stage was asked to work, the last one first."""
        rows = self._rows_of("recipes", "stage, recipe", "used DESC, recipe")
        return [json.loads(recipe) for name, recipe in rows if name == stage]

    def seconds(self, stage: str, at_most: int) -> list[float]:
        """Seconds of the first studies that ended well at ``stage``."""
        query = "SELECT seconds FROM outcomes WHERE stage = ? AND status = 'ok' ORDER BY study LIMIT ?"
        with self._lock:
            return [seconds for (seconds,) in self._connection.execute(query, (stage, at_most))]

    def costs(self, stage: str) -> list[tuple[float, float, float]]:
        """Seconds, peak memory in MB and published bytes of each study that ended well at ``stage``."""
        query = (
            "SELECT seconds, peak_mb, coalesce(json_extract(summary, '$.n_bytes'), 0) FROM outcomes"
            " WHERE stage = ? AND status = 'ok' ORDER BY study"
        )
        with self._lock:
            return list(self._connection.execute(query, (stage,)).fetchall())

    def rows(self, study: str) -> dict[str, tuple[Outcome, int, str]]:
        """Stage -> outcome of one study, how often it was tried, and when it ended last (UTC)."""
        query = f"SELECT {', '.join(_OUTCOME_FIELDS)}, attempts, finished FROM outcomes WHERE study = ? ORDER BY stage"
        with self._lock:
            found = self._connection.execute(query, (study,)).fetchall()
        return {row[1]: (_outcome(row[:-2]), row[-2], row[-1]) for row in found}

    def _rows_of(self, table: str, columns: str, order: str) -> list[tuple[Any, ...]]:
        with self._lock:
            known = "SELECT 1 FROM sqlite_master WHERE name = ?"
            if not self._connection.execute(known, (table,)).fetchone():
                return []
            return self._connection.execute(f"SELECT {columns} FROM {table} ORDER BY {order}").fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


class LookedAt(Ledger):
    """A ledger that is only looked at: what planning has seen of the archive is not remembered."""

    def remember_sources(
        self, files: Iterable[SourceFile], *, forget_others: bool, not_taken: Mapping[str, str] | None = None
    ) -> None:
        """Nothing."""


def path_digest(path: str) -> str:
    """What the ledger keeps of a path: folders and files are often named after people."""
    return digest_bytes(os.fsencode(path))


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True) if facts else "{}"


def _entry(status: Status, reason: str, key: str, wanted: str, attempts: int) -> Entry:
    """An entry that shares its texts with others: of 100,000 studies, few have a status of their own."""
    return Entry(_TEXTS.get(status, status), intern(reason), key, key if wanted == key else wanted, attempts)


def _unread(kind: str) -> sqlite3.DatabaseError:
    return sqlite3.DatabaseError(f"a row cannot be read, {kind}")


@faults_as(_unread)
def _outcome(row: Sequence[Any]) -> Outcome:
    """An outcome from its row of text, numbers and a summary in JSON."""
    values: dict[str, Any] = dict(zip(_OUTCOME_FIELDS, row, strict=True))
    summary = json.loads(values["summary"])
    if values["status"] not in get_args(Status) or not isinstance(summary, dict):
        raise ValueError("no outcome")
    return Outcome(**{**values, "summary": summary})


@faults_as(_unread)
def _source(path: str, size: int, mtime_ns: int, facts: str) -> SourceFile:
    """A file of the archive from its row, with what its header said in JSON."""
    told = json.loads(facts) if facts != "{}" else {}
    if not isinstance(told, dict):
        raise ValueError("no facts")
    return SourceFile(path, size, mtime_ns, told)


def _damaged(path: Path, how: str) -> UserMistake:
    return UserMistake(
        f"{path} is damaged ({how}); move it away, then type `cmr-cohort verify --cohort {path.parent}`, which makes it"
        " anew from the files"
    )


@contextmanager
def open_ledger(path: Path, *, is_new: bool = True, kind: type[Ledger] = Ledger) -> Iterator[Ledger]:
    """The ledger at ``path``; with ``is_new`` it is made if it is not there.

    Args:
        path: of the file.
        is_new: whether it may be made.
        kind: what it is opened as.

    Raises:
        OSError: if the disk is full.
        UserMistake: if it is damaged or, unless ``is_new`` lets it be made, not there.
    """
    try:
        ledger = kind(path, is_new=is_new)
        try:
            yield ledger
        finally:
            ledger.close()
    except sqlite3.Error as error:
        raise _with_its_place(error, path) from error


def _with_its_place(error: sqlite3.Error, path: Path) -> Exception:
    """What SQLite says without a path, and of a full disk only that something went wrong."""
    is_io = isinstance(error, sqlite3.OperationalError) and "I/O" in str(error)
    if "full" in str(error) or (is_io and shutil.disk_usage(path.parent).free < _LITTLE):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    if isinstance(error, sqlite3.OperationalError) or not isinstance(error, sqlite3.DatabaseError):
        return type(error)(f"{path}: {error}")
    return _damaged(path, str(error))


def _connect(path: Path, *, is_new: bool) -> sqlite3.Connection:
    """A connection; where nothing can be written and nothing waits to be, one that only reads."""
    options: dict[str, Any] = {"timeout": 60, "isolation_level": None, "check_same_thread": False}
    journal = path.with_name(f"{path.name}-wal")
    if not is_new and not os.access(path.parent, os.W_OK) and not (journal.exists() and journal.stat().st_size):
        return sqlite3.connect(f"file:{quote(str(path.absolute()))}?immutable=1", uri=True, **options)
    return sqlite3.connect(path, **options)
