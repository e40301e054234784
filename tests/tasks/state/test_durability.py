"""What is published survives a crash at any moment: the calls that make it so, in their order."""

import errno
import os
import re
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.state import store
from tasks.state.ledger import Ledger, Outcome, open_ledger


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the disk, in order: "sync file", "sync folder", "rename NAME", "remove NAME"."""
    seen: list[str] = []

    def watched(name: str, label: Callable[..., str]) -> None:
        original = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            seen.append(label(*args))
            return original(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    watched("fsync", lambda handle: "sync folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync file")
    watched("replace", lambda _, target: f"rename {Path(target).name}")
    watched("unlink", lambda path: f"remove {Path(path).name}")
    return seen


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_before_anything_else(
    calls: list[str], tmp_path: Path
) -> None:
    calls.clear()
    store.publish_bytes(b"content", tmp_path / "a.csv")
    assert [call for call in calls if not call.startswith("remove .")] == ["sync file", "rename a.csv", "sync folder"]


def test_a_receipt_is_there_before_the_file_that_it_stands_for_goes(calls: list[str], tmp_path: Path) -> None:
    path = tmp_path / "1-2.zarr.zip"
    store.publish({"zarr.json": b"{}"}, path)
    calls.clear()
    store.publish_rejection(path, key="k", status="quarantined", reason="zip_corrupt", detail="")
    named = [call for call in calls if call.startswith(("rename", "remove 1"))]
    assert named[0] == "rename 1-2.rejected.json"
    assert not path.exists()


def test_a_receipt_that_cannot_be_written_costs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "1-2.zarr.zip"
    store.publish({"zarr.json": b"{}"}, path)

    def fail(*_: object) -> None:
        raise OSError("killed here")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="killed here"):
        store.publish_rejection(path, key="k", status="quarantined", reason="zip_corrupt", detail="")
    assert path.exists()


def test_a_success_drops_the_receipt_only_when_its_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "1-2.zarr.zip"
    store.publish_rejection(path, key="k", status="quarantined", reason="zip_corrupt", detail="")

    def fail(*_: object) -> None:
        raise OSError("killed here")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="killed here"):
            store.publish({"zarr.json": b"{}"}, path)
    assert store.rejection(path) is not None
    store.publish({"zarr.json": b"{}"}, path)
    assert store.rejection(path) is None


def test_the_ledger_writes_ahead_and_syncs(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        connection: sqlite3.Connection = ledger._connection
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone()[0] >= 1


class _Watched:
    """A file that tells what is done to it."""

    def __init__(self, file: Any, seen: list[str]) -> None:
        self._file, self._seen = file, seen

    def __enter__(self) -> "_Watched":
        return self

    def __exit__(self, *error: object) -> None:
        self._seen.append("close")
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        if name in ("write", "flush"):
            self._seen.append(name)
        return getattr(self._file, name)


_PUBLISHED = ["write", "flush", "sync file", "close"]


@pytest.fixture
def every_call(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> list[str]:
    """The same, with what is done to a file before it has its name."""
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *args: _Watched(opened(path, *args), calls))
    return calls


def _without_temporary(calls: list[str]) -> list[str]:
    return [call for call in calls if not call.startswith("remove .")]


def test_a_tree_is_on_the_disk_under_its_name_before_its_receipt_goes(every_call: list[str], tmp_path: Path) -> None:
    path = tmp_path / "new" / "1-2.zarr.zip"
    store.publish_rejection(path, key="k", status="quarantined", reason="zip_corrupt", detail="")
    every_call.clear()
    store.publish({"zarr.json": b"{}"}, path)
    assert _without_temporary(every_call) == [
        *_PUBLISHED,
        "rename 1-2.zarr.zip",
        "sync folder",
        "remove 1-2.rejected.json",
    ]


def test_a_receipt_is_on_the_disk_under_its_name_before_its_file_goes(every_call: list[str], tmp_path: Path) -> None:
    path = tmp_path / "1-2.zarr.zip"
    store.publish({"zarr.json": b"{}"}, path)
    every_call.clear()
    store.publish_rejection(path, key="k", status="absent", reason="no_sax", detail="")
    assert _without_temporary(every_call) == [
        *_PUBLISHED,
        "rename 1-2.rejected.json",
        "sync folder",
        "remove 1-2.zarr.zip",
    ]


def test_a_file_is_written_beside_its_place_under_a_hidden_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[tuple[str, Path]] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (names.append((Path(a).name, Path(a).parent)), replace(a, b))[1])
    for _ in range(2):
        store.publish_bytes(b"content", tmp_path / "sub" / "a.csv")
    assert (tmp_path / "sub" / "a.csv").read_bytes() == b"content"
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.csv"]
    for name, folder in names:
        assert folder == tmp_path / "sub"
        assert re.fullmatch(
            rf"\.a\.csv\.{os.getpid()}\.[0-9a-f]{{8}}\.tmp", name
        )  # as the sweep after a kill looks for it
    assert names[0] != names[1]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_tells_the_file_and_how_much_it_needs(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_bytes(b"old")

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="1,234 kB are needed") as caught:
        store.publish_bytes(bytes(1_234_400), tmp_path / "a.csv")
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "a.csv"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.csv": b"old"}


def test_another_fault_of_the_disk_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "as it is")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="as it is") as caught:
        store.publish_bytes(b"new", tmp_path / "a.csv")
    assert caught.value.errno == errno.EIO
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_closed_whether_it_could_be_synced_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    closed: list[int] = []
    real_open, real_close, real_sync = os.open, os.close, os.fsync

    def sync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError("folders cannot be synced")
        real_sync(handle)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "open", lambda path, *rest: (opened.append(handle := real_open(path, *rest)), handle)[1])
    monkeypatch.setattr(os, "close", lambda handle: (closed.append(handle), real_close(handle))[1])
    with pytest.raises(OSError, match="cannot be synced"):
        store.publish_bytes(b"x", tmp_path / "a")
    assert opened
    assert set(opened) <= set(closed)


_CHANGES = {
    "status": Outcome("1-2", "derive", "absent", "", "", "k1"),
    "reason": Outcome("1-2", "derive", "ok", "no_sax", "", "k1"),
    "key": Outcome("1-2", "derive", "ok", "", "", "k2"),
    "study": Outcome("1-3", "derive", "ok", "", "", "k1"),
}


@pytest.mark.parametrize("what", _CHANGES)
def test_tables_are_made_anew_whatever_changes_of_a_study(what: str, tmp_path: Path) -> None:
    def state(*outcomes: Outcome) -> str:
        with open_ledger(tmp_path / f"{len(list(tmp_path.iterdir()))}.sqlite") as ledger:
            ledger.record(outcomes)
            return ledger.state("derive")

    before = Outcome("1-2", "derive", "ok", "", "", "k1")
    assert state(before) == state(before)
    assert state(before) != state(_CHANGES[what])
    assert state(before) != state(before, Outcome("1-9", "derive", "ok", "", "", "k1"))


def test_the_state_of_some_stages_does_not_change_with_others(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record([Outcome("1-2", "derive", "ok", "", "", "k1"), Outcome("1-2", "segment", "ok", "", "", "s1")])
        one, both = ledger.state("derive"), ledger.state("derive", "segment")
        ledger.record([Outcome("1-2", "segment", "ok", "", "", "s2")])
        assert ledger.state("derive") == one
        assert ledger.state("derive", "segment") != both


def test_a_ledger_tells_attempts_and_the_last_outcome_of_each_study_and_stage(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        _record(ledger, "quarantined", "ok", "ok")
        assert ledger._connection.execute("SELECT attempts, status FROM outcomes").fetchall() == [(3, "ok")]
        ledger.record([Outcome("1-2", "segment", "absent", "no_sax"), Outcome("0-2", "convert", "absent", "no_cine")])
        assert ledger.counts() == [
            ("convert", "absent", "no_cine", 1),
            ("convert", "ok", "", 1),
            ("segment", "absent", "no_sax", 1),
        ]
        assert ledger.stages() == ["convert", "segment"]
        assert list(ledger.entries("convert")) == ["0-2", "1-2"]


def _record(ledger: Ledger, *statuses: str) -> None:
    for status in statuses:
        ledger.record([Outcome("1-2", "convert", status, "")])  # type: ignore[arg-type]
