"""What the ledger answers, row by row, and what it asks of SQLite, call by call."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.state import ledger as module
from tasks.state.ledger import Entry, Ledger, Outcome, SourceFile, open_ledger, path_digest


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def test_every_field_of_an_outcome_comes_back_in_its_place(ledger: Ledger) -> None:
    first = Outcome(
        "2-2", "derive", "quarantined", "no_sax", "why", "made", "asked", 1.25, 803.5, "host", {"b": [1, None], "a": {}}
    )
    other = Outcome("10-2", "derive", "ok", key="k")
    ledger.record([first, other, Outcome("2-2", "segment", "ok")])
    assert list(ledger.outcomes("derive")) == [other, first]  # by name, as text
    assert ledger.entries("derive") == {
        "10-2": Entry("ok", "", "k", ""),
        "2-2": Entry("quarantined", "no_sax", "made", "asked"),
    }
    assert list(ledger.entries("derive")) == ["10-2", "2-2"]
    assert list(ledger.outcomes("convert")) == []


def test_attempts_are_counted_for_each_study_and_stage_and_the_last_time_is_kept(ledger: Ledger) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    ledger.record([Outcome("1-2", "a", "ok"), Outcome("1-2", "b", "ok"), Outcome("1-2", "a", "absent", "no_sax")])
    ledger.record([Outcome("1-2", "a", "ok")])
    rows = ledger._connection.execute("SELECT stage, status, reason, attempts, finished FROM outcomes").fetchall()
    assert [row[:4] for row in rows] == [("a", "ok", "", 3), ("b", "ok", "", 1)]
    for *_, finished in rows:
        told = datetime.fromisoformat(finished)
        assert told.tzinfo is not None
        assert told.microsecond == 0
        assert before - timedelta(seconds=1) <= told <= datetime.now(UTC)


def test_studies_are_found_by_what_their_summary_holds(ledger: Ledger) -> None:
    ledger.record(
        [
            Outcome("3-2", "convert", "ok", summary={"views": {"sax": {}, "perfusion_rest": {}}, "height": 1.7}),
            Outcome(
                "1-2",
                "convert",
                "ok",
                summary={"views": {"perfusion_stress": {}, "perfusion_rest": {}}, "height": None},
            ),
            Outcome("2-2", "convert", "ok", summary={"views": {"lax_4c": {}}, "a b": 0}),
            Outcome("4-2", "derive", "ok", summary={"views": {"perfusion_rest": {}}, "height": 2}),
        ]
    )
    assert ledger.with_view("convert", "perfusion") == ["1-2", "3-2"]
    assert ledger.with_view("convert", "sax") == ["3-2"]
    assert ledger.with_view("convert", "ax") == []  # not in the middle of a name
    assert ledger.with_view("derive", "") == ["4-2"]
    assert ledger.with_value("convert", "height") == ["1-2", "3-2"]
    assert ledger.with_value("convert", "a b") == ["2-2"]
    assert ledger.with_value("convert", "width") == []


def test_studies_are_found_by_a_series_that_was_left_out_or_that_they_were_rejected_for(ledger: Ledger) -> None:
    excluded = [{"series": 3, "reason": "not_cine"}, {"series": 4, "reason": "too_few"}]
    ledger.record(
        [
            Outcome("9-2", "convert", "ok", summary={"excluded": excluded}),
            Outcome("3-2", "convert", "absent", "no_sax", "2 series: too_few", summary={"excluded": []}),
            Outcome("4-2", "convert", "ok", summary={"excluded": excluded[:1]}),
            Outcome("5-2", "derive", "ok", summary={"excluded": excluded}),
            Outcome("6-2", "convert", "ok"),
        ]
    )
    assert ledger.with_series_left_out("convert", "too_few") == ["3-2", "9-2"]
    assert ledger.with_series_left_out("convert", "not_cine") == ["4-2", "9-2"]
    assert ledger.with_series_left_out("derive", "too_few") == ["5-2"]
    assert ledger.with_series_left_out("convert", "other") == []


def test_the_model_is_that_of_the_last_that_ended_well(ledger: Ledger) -> None:
    ledger.record(
        [
            Outcome("1-2", "segment", "ok", summary={"model": "old"}),
            Outcome("2-2", "segment", "ok", summary={"model": "new"}),
            Outcome("3-2", "segment", "quarantined", "x", summary={"model": "bad"}),
            Outcome("4-2", "segment", "ok"),
            Outcome("5-2", "predict", "ok", summary={"model": "other"}),
        ]
    )
    times = {"1-2": "2020-01-01", "2-2": "2021-01-01", "3-2": "2022-01-01", "4-2": "2023-01-01", "5-2": "2024-01-01"}
    for study, time in times.items():
        ledger._connection.execute("UPDATE outcomes SET finished = ? WHERE study = ?", (time, study))
    assert ledger.last_model("segment") == "new"
    assert ledger.last_model("derive") == ""


def test_counts_and_lengths_are_of_those_they_name(ledger: Ledger) -> None:
    ledger.record(
        [
            Outcome("1-2", "derive", "ok", summary={"q": []}),
            Outcome("2-2", "derive", "ok", summary={"q": ["a", "b"]}),
            Outcome("3-2", "derive", "ok", summary={"q": []}),
            Outcome("4-2", "derive", "ok"),
            Outcome("5-2", "derive", "absent", "no_sax", summary={"q": []}),
            Outcome("1-2", "convert", "ok", summary={"q": []}),
            Outcome("6-2", "derive", "absent", "no_cine"),
        ]
    )
    assert ledger.lengths("derive", "q") == {0: 2, 2: 1, None: 1}
    assert ledger.counts() == [
        ("convert", "ok", "", 1),
        ("derive", "absent", "no_cine", 1),
        ("derive", "absent", "no_sax", 1),
        ("derive", "ok", "", 4),
    ]
    assert ledger.stages() == ["convert", "derive"]


def test_what_is_forgotten_is_gone_at_that_stage_alone(ledger: Ledger) -> None:
    ledger.record([Outcome(f"{k}-2", stage, "ok") for k in (1, 2, 3) for stage in ("convert", "derive")])
    ledger.forget("derive", ["1-2", "3-2", "9-2"])
    assert list(ledger.entries("derive")) == ["2-2"]
    assert list(ledger.entries("convert")) == ["1-2", "2-2", "3-2"]


def test_files_of_the_archive_are_kept_as_they_were_seen(ledger: Ledger) -> None:
    odd = path_digest("b\udcff")  # a name that is no text
    files = [SourceFile(odd, 5, 7, {"study": "x", "n": [1]}), SourceFile("a", 2**40, 2**60)]
    ledger.remember_sources(
        files,
        forget_others=False,
        not_taken={"x.txt": ".txt", "y.txt": ".txt", "a.csv": ".csv", "b.csv": ".csv", "c": "hidden"},
    )
    assert ledger.sources() == {
        "a": SourceFile("a", 2**40, 2**60, {}), odd: SourceFile(odd, 5, 7, {"study": "x", "n": [1]}),
    }  # fmt: skip
    assert list(ledger.not_taken().items()) == [(".csv", 2), (".txt", 2), ("hidden", 1)]
    ledger.remember_sources([SourceFile(path_digest("x.txt"), 1, 1)], forget_others=False)
    assert list(ledger.not_taken().items()) == [(".csv", 2), (".txt", 1), ("hidden", 1)]
    assert set(ledger.sources()) == {"a", odd, path_digest("x.txt")}
    ledger.remember_sources([SourceFile("a", 1, 2)], forget_others=True)
    assert ledger.sources() == {"a": SourceFile("a", 1, 2)}
    assert ledger.not_taken() == {}


def test_sources_that_are_as_they_were_are_not_written_again(ledger: Ledger) -> None:
    files = [SourceFile("a", 1, 2, {"studies": []}), SourceFile("b", 3, 4)]
    ledger.remember_sources(files, forget_others=True, not_taken={"c": ".txt"})
    before = ledger._connection.total_changes
    ledger.remember_sources(files, forget_others=True, not_taken={"c": ".txt"})
    assert ledger._connection.total_changes == before
    ledger.remember_sources([files[0], SourceFile("b", 3, 5)], forget_others=True, not_taken={"c": ".csv"})
    assert ledger._connection.total_changes == before + 2
    assert (ledger.sources()["b"].mtime_ns, ledger.not_taken()) == (5, {".csv": 1})


def test_entries_are_read_once_until_an_outcome_is_written_or_forgotten(ledger: Ledger) -> None:
    ledger.record([Outcome("1-2", "a", "ok", key="k", wanted="w"), Outcome("2-2", "a", "absent", "no_sax")])
    asked = _asked(ledger)
    first = ledger.entries("a")
    assert ledger.entries("a") == first == {"1-2": ("ok", "", "k", "w", 1), "2-2": ("absent", "no_sax", "", "", 1)}
    assert len(asked) == 1
    assert ledger.entries_of("a", ["2-2", "9-2"]) == {"2-2": first["2-2"]}
    ledger.record([Outcome("1-2", "a", "ok", key="k2")])
    assert ledger.entries("a")["1-2"].key == "k2"
    assert first["1-2"].key == "k"
    ledger.forget("a", ["1-2"])
    assert list(ledger.entries("a")) == ["2-2"]


def test_those_that_ended_at_a_stage_itself_say_why(ledger: Ledger) -> None:
    ledger.record(
        [
            Outcome("1-2", "a", "quarantined", "zip_corrupt", "cut"), Outcome("2-2", "a", "ok"),
            Outcome("3-2", "a", "quarantined", "upstream", "x"), Outcome("4-2", "a", "absent", "no_sax"),
            Outcome("5-2", "a", "retired", "withdrawn"), Outcome("6-2", "b", "absent", "no_sax"),
        ]
    )  # fmt: skip
    assert ledger.ended("a") == {"1-2": ("zip_corrupt", "cut"), "4-2": ("no_sax", "")}
    assert ledger.ended("a", ["2-2", "4-2"]) == {"4-2": ("no_sax", "")}
    assert [outcome.study for outcome in ledger.outcomes("a", ["1-2", "6-2"])] == ["1-2"]


def test_parts_of_a_summary_come_without_the_rest(ledger: Ledger) -> None:
    summary = {"views": {"sax": {"flags": ["a"]}}, "excluded": [], "curves": [1.0] * 9}
    ledger.record([Outcome("1-2", "a", "ok", key="k", summary=summary), Outcome("2-2", "a", "absent", "no_sax")])
    found = list(ledger.with_parts("a", "views", "excluded"))
    assert [(o.study, o.status, o.reason, o.key) for o in found] == [
        ("1-2", "ok", "", "k"),
        ("2-2", "absent", "no_sax", ""),
    ]
    assert [o.summary for o in found] == [{"views": {"sax": {"flags": ["a"]}}, "excluded": []}, {}]
    assert [o.summary for o in ledger.with_parts("a")] == [{}, {}]


# what is asked of SQLite


def _asked(ledger: Ledger, monkeypatch: pytest.MonkeyPatch | None = None) -> list[str]:
    """The first words of the statements that follow."""
    seen: list[str] = []
    ledger._connection.set_trace_callback(lambda statement: seen.append(" ".join(statement.split()[:3])))
    return seen


def test_outcomes_are_written_in_one_transaction(ledger: Ledger) -> None:
    asked = _asked(ledger)
    ledger.record([Outcome("1-2", "a", "ok"), Outcome("2-2", "a", "ok")])
    assert list(dict.fromkeys(asked)) == ["BEGIN IMMEDIATE", "INSERT INTO outcomes", "COMMIT"]  # triggers repeat them
    assert (asked.count("BEGIN IMMEDIATE"), asked.count("COMMIT")) == (1, 1)


def test_a_row_that_cannot_be_written_takes_back_those_before_it(ledger: Ledger) -> None:
    asked = _asked(ledger)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.record([Outcome("1-2", "a", "ok"), Outcome("2-2", "a", None)])  # type: ignore[arg-type]
    assert asked[0] == "BEGIN IMMEDIATE"
    assert asked[-1] == "ROLLBACK"
    assert "COMMIT" not in asked
    assert ledger.entries("a") == {}
    ledger.record([Outcome("3-2", "a", "ok")])
    assert set(ledger.entries("a")) == {"3-2"}


def test_what_is_forgotten_goes_before_what_is_new_and_both_at_once(ledger: Ledger) -> None:
    asked = _asked(ledger)
    ledger.remember_sources([SourceFile("a", 1, 1)], forget_others=True, not_taken={"b": "x"})
    assert asked == [
        "BEGIN IMMEDIATE", "SELECT * FROM", "INSERT OR REPLACE", "SELECT * FROM", "INSERT OR REPLACE", "COMMIT",
    ]  # fmt: skip
    asked.clear()
    ledger.remember_sources([SourceFile("c", 1, 1)], forget_others=True, not_taken={"b": "x"})
    assert asked == [
        "BEGIN IMMEDIATE", "SELECT * FROM", "DELETE FROM sources", "INSERT OR REPLACE", "SELECT * FROM", "COMMIT",
    ]  # fmt: skip
    asked.clear()
    ledger.forget("s", ["1-2", "2-2"])
    assert asked == ["BEGIN IMMEDIATE", "DELETE FROM outcomes", "DELETE FROM outcomes", "COMMIT"]


def test_a_ledger_is_opened_to_write_ahead_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    connect = sqlite3.connect

    def traced(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        if "ledger.sqlite" not in str(args[0]):  # of a tool that watches the tests
            return connection
        assert options["isolation_level"] is None
        assert options["timeout"] >= 30
        connection.set_trace_callback(lambda statement: seen.append(" ".join(statement.split()[:6])))
        return connection

    monkeypatch.setattr(module.sqlite3, "connect", traced)
    with open_ledger(tmp_path / "sub" / "ledger.sqlite"):
        pass
    assert seen[:2] == ["PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL"]
    made = seen[seen.index("BEGIN IMMEDIATE") :]
    assert [words.split(" (")[0] for words in made] == [
        "BEGIN IMMEDIATE", "CREATE TABLE IF NOT EXISTS outcomes", "CREATE TABLE IF NOT EXISTS sources",
        "CREATE TABLE IF NOT EXISTS not_taken", "CREATE TABLE IF NOT EXISTS speeds",
        "CREATE TABLE IF NOT EXISTS recipes", "CREATE INDEX IF NOT EXISTS outcomes_by_stage",
        "CREATE TABLE IF NOT EXISTS changes", "CREATE INDEX IF NOT EXISTS changes_by_revision",
        "CREATE TABLE IF NOT EXISTS made", "CREATE TRIGGER IF NOT EXISTS changes_insert",
        "CREATE TRIGGER IF NOT EXISTS changes_update", "CREATE TRIGGER IF NOT EXISTS changes_delete",
        "PRAGMA user_version = 1", "COMMIT",
    ]  # fmt: skip
    seen.clear()
    with open_ledger(tmp_path / "sub" / "ledger.sqlite"):
        pass
    assert "BEGIN IMMEDIATE" not in seen
    assert "PRAGMA user_version = 1" not in seen


def test_a_ledger_that_cannot_be_written_to_but_holds_unmerged_rows_is_opened_as_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.sqlite"
    writer = Ledger(path)
    writer.record([Outcome("1-2", "a", "ok")])
    assert path.with_name("ledger.sqlite-wal").stat().st_size
    opened: list[Any] = []
    connect = sqlite3.connect
    monkeypatch.setattr(module.sqlite3, "connect", lambda *a, **k: (opened.append(a[0]), connect(*a, **k))[1])
    monkeypatch.setattr("os.access", lambda *_: False)
    with open_ledger(path, is_new=False) as ledger:
        assert set(ledger.entries("a")) == {"1-2"}
    writer.close()
    path.with_name("ledger.sqlite-wal").touch()  # nothing waits in it
    with open_ledger(path, is_new=False) as ledger:
        assert set(ledger.entries("a")) == {"1-2"}
    with open_ledger(path) as ledger:  # to be written to, whatever the folder says
        ledger.record([Outcome("2-2", "a", "ok")])
    assert [str(place) for place in opened if "ledger.sqlite" in str(place)] == [
        str(path),
        f"file:{path}?immutable=1",
        str(path),
    ]


@pytest.mark.parametrize(("version", "dropped"), [(0, ("sources",)), (1, ("outcomes", "sources", "not_taken"))])
def test_a_ledger_that_lacks_tables_is_damaged_whether_it_says_its_version_or_not(
    tmp_path: Path, version: int, dropped: tuple[str, ...]
) -> None:
    path = tmp_path / "ledger.sqlite"
    with open_ledger(path) as ledger:
        for table in dropped:
            ledger._connection.execute(f"DROP TABLE {table}")
        ledger._connection.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(ValueError, match=r"is damaged .it lacks (outcomes and )?sources"), open_ledger(path):
        pass


def test_an_empty_file_is_no_ledger_and_one_without_version_gets_it(tmp_path: Path) -> None:
    (tmp_path / "empty.sqlite").touch()
    with (
        pytest.raises(ValueError, match=r"empty\.sqlite is missing or empty"),
        open_ledger(tmp_path / "empty.sqlite", is_new=False),
    ):
        pass
    with open_ledger(tmp_path / "a.sqlite") as ledger:
        ledger._connection.execute("PRAGMA user_version = 0")
    with open_ledger(tmp_path / "a.sqlite", is_new=False) as ledger:
        assert ledger._connection.execute("PRAGMA user_version").fetchone() == (1,)


@pytest.mark.parametrize(
    ("error", "free", "kind", "words"),
    [
        (sqlite3.OperationalError("database or disk is full"), 2**40, OSError, "No space left"),
        (sqlite3.OperationalError("disk I/O error"), 2**20 - 1, OSError, "No space left"),
        (sqlite3.OperationalError("disk I/O error"), 2**20, sqlite3.OperationalError, "ledger.sqlite: disk I/O"),
        (
            sqlite3.OperationalError("database is locked"),
            0,
            sqlite3.OperationalError,
            "ledger.sqlite: database is locked",
        ),
        (sqlite3.DatabaseError("malformed I/O"), 0, ValueError, "is damaged"),
        (sqlite3.InterfaceError("odd"), 0, sqlite3.InterfaceError, "ledger.sqlite: odd"),
    ],
)
def test_what_sqlite_says_is_told_with_the_place_and_for_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: sqlite3.Error, free: int, kind: type[Exception], words: str
) -> None:
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=free))
    with pytest.raises(kind, match=words) as caught, open_ledger(tmp_path / "ledger.sqlite"):
        raise error
    assert caught.value.__cause__ is error


def test_summaries_are_written_in_one_way(ledger: Ledger) -> None:
    ledger.record([Outcome("1-2", "a", "ok", summary={"b": 1, "a": {"d": 2, "c": 3}})])
    ((text,),) = ledger._connection.execute("SELECT summary FROM outcomes").fetchall()
    assert text == '{"a": {"c": 3, "d": 2}, "b": 1}' == json.dumps(json.loads(text), sort_keys=True)
