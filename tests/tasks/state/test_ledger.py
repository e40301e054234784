"""The ledger keeps the last outcome of every study x stage, and counts attempts."""

import errno
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from cmr_models.contracts import ContractError
from tasks.maintenance.status import overview
from tasks.state.ledger import Ledger, LookedAt, Outcome, SourceFile, open_ledger, path_digest
from tasks.state.mistakes import UserMistake
from tasks.state.speeds import Speed


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


def test_the_last_outcome_counts(ledger: Ledger) -> None:
    ledger.record([Outcome("1-2", "convert", "quarantined", "zip_corrupt", key="a", wanted="w")])
    ledger.record([Outcome("1-2", "convert", "ok", key="b", wanted="w2", summary={"views": {"sax": {}}})])
    (outcome,) = ledger.outcomes("convert")
    assert (outcome.status, outcome.key, outcome.wanted) == ("ok", "b", "w2")
    assert outcome.summary == {"views": {"sax": {}}}
    assert ledger.counts() == [("convert", "ok", "", 1)]


def test_a_failed_transaction_records_nothing(ledger: Ledger) -> None:
    broken = Outcome("2-2", "convert", "ok", summary={"not plain": object()})
    with pytest.raises(TypeError, match="JSON"):
        ledger.record([Outcome("1-2", "convert", "ok"), broken])
    assert ledger.counts() == []


def test_what_is_recorded_survives_reopening(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record([Outcome("1-2", "derive", "ok", key="k")])
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.entries("derive")["1-2"].key == "k"


def test_sources_are_added_or_replaced(ledger: Ledger) -> None:
    ledger.remember_sources([SourceFile("a", 1, 1), SourceFile("b", 1, 1)], forget_others=False)
    ledger.remember_sources([SourceFile("b", 2, 2)], forget_others=False)
    assert {path: file.size for path, file in ledger.sources().items()} == {"a": 1, "b": 2}
    ledger.remember_sources([SourceFile("b", 2, 2)], forget_others=True)
    assert set(ledger.sources()) == {"b"}


def test_the_model_that_worked_last_is_told(ledger: Ledger) -> None:
    assert ledger.last_model("segment") == ""
    ledger.record([Outcome("1-2", "segment", "ok", key="a")])
    assert ledger.last_model("segment") == ""
    ledger.record([Outcome("2-2", "segment", "ok", key="b", summary={"model": "tiny"})])
    ledger.record([Outcome("3-2", "segment", "quarantined", "image_flat", summary={"model": "other"})])
    assert ledger.last_model("segment") == "tiny"


def test_a_ledger_of_a_newer_version_says_to_update(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with open_ledger(path):
        pass
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    message = r"the ledger was written by a newer version of cmr-cohort \(schema 2, this one reads 1\): update"
    with pytest.raises(ContractError, match=message), open_ledger(path):
        pass


def test_a_ledger_of_before_its_version_was_said_is_of_version_1(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with open_ledger(path) as ledger:
        ledger.record([Outcome("1-2", "derive", "ok", key="k")])
    _execute(path, "PRAGMA user_version = 0")
    with open_ledger(path) as ledger:
        assert ledger.entries("derive")["1-2"].key == "k"


@pytest.mark.parametrize("statement", ["DROP TABLE outcomes", "DROP TABLE sources"])
def test_a_ledger_without_its_tables_is_damaged(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "ledger.sqlite"
    with open_ledger(path):
        pass
    _execute(path, statement)
    with pytest.raises(UserMistake, match=r"is damaged .it lacks .*move it away.*verify"), open_ledger(path):
        pass


def test_a_ledger_that_is_another_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"PK not SQLite" * 100)
    with pytest.raises(UserMistake, match=r"is damaged .file is not a database"), open_ledger(path):
        pass


def test_a_ledger_is_not_made_where_one_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with pytest.raises(UserMistake, match="is missing or empty"), open_ledger(path, is_new=False):
        pass
    assert not path.exists()


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_files_of_no_study_are_remembered_until_they_are_taken_or_gone(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        left = {"a.txt": ".txt", "b.txt": ".txt", "c": "no ending"}
        ledger.remember_sources([], forget_others=False, not_taken=left)
        ledger.remember_sources(
            [SourceFile(path_digest("b.txt"), 1, 1)], forget_others=False, not_taken={"a.txt": ".txt"}
        )
        assert ledger.not_taken() == {".txt": 1, "no ending": 1}
        ledger.remember_sources([], forget_others=True, not_taken={"d.png": ".png"})
        assert ledger.not_taken() == {".png": 1}


def test_a_ledger_of_before_gets_the_table_of_files_of_no_study(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record([])
    connection = sqlite3.connect(tmp_path / "ledger.sqlite")
    connection.execute("DROP TABLE not_taken")
    connection.commit()
    connection.close()
    with open_ledger(tmp_path / "ledger.sqlite", is_new=False) as ledger:
        assert ledger.not_taken() == {}


@pytest.mark.parametrize("version", [0, 1])
def test_a_ledger_of_before_that_cannot_be_written_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    path = tmp_path / "ledger.sqlite"
    with open_ledger(path) as ledger:
        ledger.record([Outcome("1-2", "convert", "ok"), Outcome("2-2", "convert", "absent", "wrong_series")])
    _execute(path, "DROP TABLE not_taken")
    _execute(path, f"PRAGMA user_version = {version}")
    content = path.read_bytes()
    monkeypatch.setattr("os.access", lambda *_: False)  # whoever runs this test may write
    with open_ledger(path, is_new=False) as ledger:
        assert ledger.not_taken() == {}
        assert ledger.counts() == [("convert", "absent", "wrong_series", 1), ("convert", "ok", "", 1)]
        assert len(list(overview(ledger))) == 3
    assert path.read_bytes() == content


def test_a_full_disk_is_named_and_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.sqlite"
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=4096))
    for words in ("database or disk is full", "disk I/O error"):
        with pytest.raises(OSError, match="No space left") as raised, open_ledger(path):
            raise sqlite3.OperationalError(words)
        assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))


def test_a_ledger_damaged_inside_is_told_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with open_ledger(path) as ledger:
        ledger.record(Outcome(f"{n}-2", "convert", "ok", detail="x" * 200) for n in range(200))
    content = bytearray(path.read_bytes())
    content[4096:-4096] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(UserMistake, match=r"ledger.sqlite is damaged .*verify"), open_ledger(path) as ledger:
        ledger.entries("convert")


def test_a_ledger_where_nothing_can_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a folder #1?" / "ledger.sqlite"
    with open_ledger(path) as ledger:
        ledger.record([Outcome("1-2", "convert", "ok")])
    monkeypatch.setattr("os.access", lambda *_: False)
    with open_ledger(path, is_new=False) as ledger:
        assert set(ledger.entries("convert")) == {"1-2"}
    assert sorted(file.name for file in path.parent.iterdir()) == ["ledger.sqlite"]


def test_attempts_count_for_one_key_until_they_are_forgotten(tmp_path: Path) -> None:
    lost = Outcome("1-2", "convert", "quarantined", "worker_lost", wanted="k")
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        for wanted, attempts in (("k", 1), ("k", 2), ("another", 1), ("another", 2)):
            ledger.record([replace(lost, wanted=wanted)])
            assert ledger.entries("convert")["1-2"].attempts == attempts
        ledger.forget_attempts("segment", ["1-2"])
        assert ledger.entries("convert")["1-2"].attempts == 2
        ledger.forget_attempts("convert", ["1-2"])
        assert ledger.entries("convert")["1-2"].attempts == 0


def test_speeds_and_recipes_come_back_as_they_were_kept(tmp_path: Path) -> None:
    speed = Speed("convert", "2026-01-01", "node", "local", 2, 1, 0, 20, 12.5, 4, 5.25)
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.remember_speed(speed)
        ledger.remember_recipe("convert", {"version": 1})
        ledger.remember_recipe("convert", {"version": 2})
        ledger.remember_recipe("convert", {"version": 1})  # back to it: asked for last
        assert ledger.speeds() == [speed]
        assert ledger.recipes("convert") == [{"version": 1}, {"version": 2}]
        assert ledger.recipes("segment") == []


def test_a_ledger_that_is_looked_at_remembers_no_source(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with open_ledger(path) as ledger:
        ledger.remember_sources([SourceFile("a", 1, 2)], forget_others=True)
    with open_ledger(path, is_new=False, kind=LookedAt) as ledger:
        ledger.remember_sources([SourceFile("b", 1, 2)], forget_others=True)
        assert list(ledger.sources()) == ["a"]
