"""A shard through a stage: the same in this process and on a cluster, and one study never takes others with it."""

import errno
import json
import os
import re
import resource
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cmr_models.reasons import StudyRejected
from tasks.execution import shards
from tasks.execution.cluster import open_client
from tasks.execution.isolation import within_limit
from tasks.state.ledger import Outcome
from tasks.state.store import OutputError

ROOT = Path(__file__).parents[3]
UNITS = [{"study": f"{i}-2", "key": str(i)} for i in range(7)]


def _one(unit: shards.Unit, cohort: str, settings: dict[str, Any]) -> Outcome:
    if unit["study"] == settings.get("rejects"):
        raise StudyRejected("zip_corrupt", "3 bytes short")
    if unit["study"] == settings.get("breaks"):
        raise ZeroDivisionError("secret 1234567")
    if unit["study"] == settings.get("kills"):
        os._exit(1)
    return Outcome(unit["study"], "convert", "ok", key=unit["key"] * 2)


def work(units: Sequence[shards.Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    return [shards.attempt(_one, unit, cohort, settings, stage="convert") for unit in units]


def _run(settings: dict[str, Any], client: Any = None, per_chunk: int = 3) -> dict[str, tuple[str, str, str, str]]:
    chunks = shards.run(work, UNITS, Path("x"), settings, stage="convert", client=client, studies_per_chunk=per_chunk)
    return {o.study: (o.status, o.reason, o.key, o.wanted) for chunk in chunks for o in chunk}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with open_client("local", {"workers": 2}) as client:
        yield client


def test_a_rejected_study_has_its_reason_and_the_others_go_on() -> None:
    found = _run({"rejects": "3-2"})
    assert found["3-2"] == ("quarantined", "zip_corrupt", "3", "3")
    assert sum(status == "ok" for status, *_ in found.values()) == 6


def test_an_unforeseen_fault_says_where_and_not_what() -> None:
    (broken,) = [o for o in work(UNITS, "x", {"breaks": "2-2"}) if o.status != "ok"]
    assert broken.reason == "unexpected_error"
    assert broken.detail.startswith("ZeroDivisionError at test_shards.py:")
    assert "secret" not in broken.detail


def test_one_chunk_is_as_many() -> None:
    assert _run({}, per_chunk=1) == _run({}, per_chunk=100)


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_what_this_process_gives(client: Any) -> None:
    assert _run({"rejects": "3-2", "breaks": "5-2"}, client) == _run({"rejects": "3-2", "breaks": "5-2"})


@pytest.mark.filterwarnings("ignore")
def test_a_study_that_kills_its_worker_stands_alone(client: Any) -> None:
    found = _run({"kills": "4-2"}, client)
    assert found["4-2"][:2] == ("quarantined", "worker_lost")
    assert sum(status == "ok" for status, *_ in found.values()) == 6


# one study, measured


def _tried(one: shards.One, unit: shards.Unit | None = None) -> Outcome:
    return shards.attempt(one, unit or {"study": "1-2", "key": "asked"}, "x", {}, stage="convert")


def test_an_attempt_is_measured_and_keeps_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.34567891])
    monkeypatch.setattr(shards, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(shards, "_peak_mb", lambda: 812.345)
    made = Outcome("1-2", "convert", "ok", key="made", summary={"n": 1})
    found = _tried(lambda *_: made)
    assert found == replace(made, wanted="asked", seconds=2.3457, peak_mb=812.3, host=socket.gethostname())


def test_the_peak_is_that_of_this_process_in_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    (peak_kb,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert shards._peak_mb() == pytest.approx(int(peak_kb) / 1024, rel=0.1)
    monkeypatch.setattr(shards, "Path", lambda _: Path("/nowhere/at/all"))
    assert shards._peak_mb() == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, rel=0.1)


def _raise(error: Exception) -> shards.One:
    def one(*_: object) -> Outcome:
        raise error

    return one


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_run_and_is_no_fault_of_the_study(number: int) -> None:
    with pytest.raises(OSError, match="full") as caught:
        _tried(_raise(OSError(number, "full")))
    assert caught.value.errno == number


@pytest.mark.parametrize(
    ("error", "status", "reason", "key"),
    [
        (StudyRejected("no_sax", "d"), "absent", "no_sax", "asked"),
        (StudyRejected("zip_corrupt", "d"), "quarantined", "zip_corrupt", "asked"),
        (OSError(errno.EIO, "secret"), "quarantined", "unexpected_error", ""),
        (KeyError("secret"), "quarantined", "unexpected_error", ""),
    ],
)
def test_a_study_that_fails_says_why(error: Exception, status: str, reason: str, key: str) -> None:
    found = _tried(_raise(error))
    assert (found.study, found.stage, found.status, found.reason, found.key, found.wanted) == (
        "1-2",
        "convert",
        status,
        reason,
        key,
        "asked",
    )
    assert (
        found.detail == "d"
        if isinstance(error, StudyRejected)
        else found.detail.startswith(f"{type(error).__name__} at test_shards.py:")
    )
    assert _tried(_raise(error), {"study": "9-2"}).wanted == ""


def test_units_are_worked_on_in_their_order_in_chunks_of_the_size_that_is_asked() -> None:
    seen: list[list[str]] = []

    def noted(units: Sequence[shards.Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
        assert (cohort, settings) == ("x", {"a": 1})
        seen.append([unit["study"] for unit in units])
        return []

    for n, sizes in ((3, [3, 3, 1]), (7, [7]), (8, [7]), (1, [1] * 7)):
        seen.clear()
        assert list(shards.run(noted, UNITS, Path("x"), {"a": 1}, stage="convert", studies_per_chunk=n)) == [[]] * len(
            sizes
        )
        assert [len(chunk) for chunk in seen] == sizes
        assert [study for chunk in seen for study in chunk] == [unit["study"] for unit in UNITS]
    assert list(shards.run(noted, [], Path("x"), {}, stage="convert")) == []
    seen.clear()
    list(shards.run(noted, [*UNITS, *UNITS], Path("x"), {"a": 1}, stage="convert"))
    assert [len(chunk) for chunk in seen] == [8, 6]


class _Client:
    """A cluster of ``n`` threads that does at once what it is told; chunks with a study of ``kill`` die."""

    loop = None

    def __init__(self, n: int, kill: dict[str, int]) -> None:
        self.n, self.kill, self.in_flight, self.most, self.sent = n, kill, 0, 0, list[list[str]]()

    def nthreads(self) -> dict[str, int]:
        return {f"w{k}": 1 for k in range(self.n)}

    def submit(self, watched: Any, work: Any, chunk: list[shards.Unit], *given: Any, **how: Any) -> Any:
        assert (watched, how) == (within_limit, {"pure": False, "retries": 0})
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        names = [unit["study"] for unit in chunk]
        self.sent.append(names)
        died = [name for name in names if self.kill.get(name, 0) > 0]
        for name in died:
            self.kill[name] -= 1
        return _Future(self, len(self.sent), [] if died else watched(work, chunk, *given), bool(died))


class _Future:
    def __init__(self, client: _Client, key: int, outcomes: list[Outcome], died: bool) -> None:
        self.key, self._client, self._outcomes, self._died = key, client, outcomes, died

    def exception(self) -> Exception | None:
        from distributed.scheduler import KilledWorker

        return KilledWorker("task", SimpleNamespace(address="a"), 0) if self._died else None  # type: ignore[arg-type]

    def result(self) -> list[Outcome]:
        return self._outcomes

    def release(self) -> None:
        self._client.in_flight -= 1


class _Completed(list[Any]):
    def __init__(self, loop: Any) -> None:
        super().__init__()

    add = list.append

    def __next__(self) -> Any:
        return self.pop(0)


def _on(client: _Client, per_chunk: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, str, str]]:
    import distributed

    monkeypatch.setattr(distributed, "as_completed", _Completed)
    chunks = shards.run(work, UNITS, Path("x"), {}, stage="convert", client=client, studies_per_chunk=per_chunk)  # type: ignore[arg-type]
    outcomes = [outcome for chunk in chunks for outcome in chunk]
    assert len(outcomes) == len({outcome.study for outcome in outcomes}) == 7
    return {o.study: (o.status, o.reason, o.wanted) for o in outcomes}


def test_two_chunks_a_worker_are_in_flight_and_every_study_ends_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for n, most in ((1, 2), (2, 4), (0, 2), (9, 7)):
        client = _Client(n, {})
        assert {status for status, *_ in _on(client, 1, monkeypatch).values()} == {"ok"}
        assert client.most == most
    assert client.sent == [[unit["study"]] for unit in UNITS]


@pytest.mark.parametrize(("deaths", "is_lost"), [(1, False), (2, False), (3, True)])
def test_a_study_is_tried_in_its_chunk_then_by_itself_then_alone_and_then_is_lost(
    deaths: int, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = _Client(2, {"4-2": deaths})
    found = _on(client, 3, monkeypatch)
    assert found.pop("4-2") == (("quarantined", "worker_lost", "4") if is_lost else ("ok", "", "4"))
    assert {status for status, *_ in found.values()} == {"ok"}
    assert client.sent == [
        ["0-2", "1-2", "2-2"], ["3-2", "4-2", "5-2"], ["6-2"], ["3-2"], ["4-2"], ["5-2"], *[["4-2"]] * (deaths > 1),
    ]  # fmt: skip


# studies that end their process, or never end


def _dies(units: Any, _cohort: str, _settings: dict[str, Any]) -> list[Outcome]:
    """Ends its process at study 2-2, hangs at 3-2."""
    for unit in units:
        if unit["study"] == "2-2":
            os._exit(9)
        if unit["study"] == "3-2":
            time.sleep(60)
    return [Outcome(unit["study"], "s", "ok", key=unit["key"]) for unit in units]


def _fails(_units: Any, _cohort: str, _settings: dict[str, Any]) -> list[Outcome]:
    raise OutputError(errno.EROFS, "read-only", "studies/a.zip")


def _ended(note: Path, *studies: str, **more: Any) -> dict[str, tuple[str, str]]:
    units = [{"study": study, "key": "k"} for study in studies]
    found = shards.run(_dies, units, Path("c"), {}, stage="s", studies_per_chunk=2, note=note, **more)
    return {outcome.study: (outcome.status, outcome.reason) for chunk in found for outcome in chunk}


def test_what_a_dead_process_has_tried_is_tried_in_a_process_of_its_own_and_named(tmp_path: Path) -> None:
    note = tmp_path / "runs/.trying"
    note.parent.mkdir()
    note.write_text('["2-2", "4-2"]')  # as the process left it that died of 2-2
    assert _ended(note, "1-2", "2-2", "4-2", "5-2") == {
        "2-2": ("quarantined", "worker_lost"),
        "4-2": ("ok", ""),
        "1-2": ("ok", ""),
        "5-2": ("ok", ""),
    }
    assert not note.exists()


def test_a_suspect_never_comes_into_this_process_and_does_not_hang_it(tmp_path: Path) -> None:
    begun = time.monotonic()
    found = _ended(tmp_path / "note", "1-2", "3-2", suspects={"3-2"}, limit_s=20.0)
    assert found == {"3-2": ("quarantined", "worker_lost"), "1-2": ("ok", "")}
    assert time.monotonic() - begun < 55


def test_a_process_that_dies_leaves_the_names_of_what_it_tried_and_one_that_fails_does_not(tmp_path: Path) -> None:
    note = tmp_path / "note"
    child = get_context("fork").Process(target=_ended, args=(note, "1-2", "2-2", "4-2"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fork of a process with threads
        child.start()
    child.join()
    assert child.exitcode == 9
    assert json.loads(note.read_text()) == ["1-2", "2-2"]
    note.unlink()
    with pytest.raises(OutputError):
        list(shards.run(_fails, [{"study": "1-2", "key": "k"}], Path("c"), {}, stage="s", note=note))
    assert not note.exists()


def test_a_chunk_that_takes_too_long_ends_its_process_and_says_so() -> None:
    code = (
        "import time; from tasks.execution.isolation import within_limit\n"
        "within_limit(lambda *_: time.sleep(60), [{}, {}], '', {}, 0.2, 'too long')"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "too long\n")
    assert time.monotonic() - begun < 50


def test_where_nothing_can_be_written_the_stage_stops_and_no_study_is_blamed() -> None:
    with pytest.raises(OutputError) as caught:
        _tried(_raise(OutputError(errno.ESTALE, "stale, 3 kB are needed", "studies/a.zip")))
    assert caught.value.filename == "studies/a.zip"
