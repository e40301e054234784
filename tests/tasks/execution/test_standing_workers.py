"""When the replacement of a worker is ordered."""

import asyncio
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.execution import standing_workers
from tasks.execution.standing_workers import StandingWorkers, _Job

pytestmark = pytest.mark.timeout(60)  # a watch that does not end would hang


@pytest.mark.parametrize(
    ("wait_s", "age_s"),
    [
        (0.0, 70.0),  # at 0.7 of the lifetime of 100 s
        (9.0, 70.0),
        (15.0, 53.0),  # 100 - 3 x 15 - 2
        (20.0, 38.0),
        (60.0, 30.0),  # not before 0.3 of the lifetime
    ],
)
def test_the_longer_workers_took_to_come_the_sooner_the_next_is_ordered(wait_s: float, age_s: float) -> None:
    there = {"worker-0": {"name": "0"}}
    cluster = SimpleNamespace(worker_spec={"0": {}}, scheduler_info={"workers": there}, workers={})
    watch = StandingWorkers(cluster, lifetime_s=100.0, listed=None, say=print)
    watch._jobs["0"] = _Job(ordered=time.monotonic() - wait_s)
    watch._note_who_is_there()
    now = time.monotonic()
    assert watch._is_old(_Job(ordered=0.0, begun=now - age_s - 1.0))
    assert not watch._is_old(_Job(ordered=0.0, begun=now - age_s + 1.0))


# the watch, look by look, over a cluster that only writes down what it is asked for


class _Cluster:
    """Jobs by name; ``there``: jobs whose workers are there. What is asked of it is in ``asked``."""

    def __init__(self, n: int, groups: dict[str, list[str]] | None = None) -> None:
        self.asked: list[object] = []
        self.groups = groups or {}
        self.worker_spec: dict[str, Any] = {}
        self.workers: dict[str, Any] = {}
        self.there: set[str] = set()
        self._named = 0
        self.scheduler_comm = SimpleNamespace(retire_workers=self._retire)
        self.scale(n)
        self.asked.clear()

    @property
    def scheduler_info(self) -> dict[str, Any]:
        return {"workers": {f"tcp://{name}": {"name": name} for name in sorted(self.there)}}

    def scale(self, n: int) -> None:
        self.asked.append(n)
        while len(self.worker_spec) < n:
            name = str(self._named)
            self._named += 1
            self.worker_spec[name] = {"group": self.groups[name]} if name in self.groups else {}
            self.workers[name] = SimpleNamespace(job_id=f"j{name}", refusal="")

    async def _retire(self, names: list[str], close_workers: bool, remove: bool) -> None:
        assert close_workers
        assert remove
        self.asked.append(("retire", names))
        self.there -= set(names)


class _Site:
    """A watch over a cluster, a queue and a clock that stands unless it is moved."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, n: int, *, queue: bool, lifetime_s: float | None = None, **more: Any
    ) -> None:
        self.now = 1000.0
        monkeypatch.setattr(standing_workers, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.cluster = _Cluster(n, **more)
        self.queue: set[str] | None = {"j0", "j1", "j2"}
        self.n_listed = 0
        self.said: list[str] = []
        listed = self._list if queue else None
        self.watch = StandingWorkers(self.cluster, lifetime_s=lifetime_s, listed=listed, say=self.said.append)

    def _list(self) -> set[str] | None:
        self.n_listed += 1
        return self.queue

    def look(self, after_s: float = 0.0) -> list[object]:
        """What a look asks of the cluster."""
        self.now += after_s
        self.cluster.asked.clear()
        self.watch._ask_the_queue()
        asyncio.run(self.watch._look())
        return list(self.cluster.asked)


def test_a_local_worker_that_is_away_for_more_than_15_s_is_given_up_and_ordered_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = _Site(monkeypatch, 2, queue=False)
    assert site.look(3000) == [2]  # none has begun: there is no queue that would tell what became of it
    site.cluster.there = {"0", "1"}
    assert site.look() == [2]
    site.cluster.there = {"1"}
    assert site.look(15.0) == [2]  # its nanny may start it again
    assert site.look(0.1) == [1]
    assert set(site.cluster.worker_spec) == {"1"}
    assert site.look() == [2]
    assert set(site.cluster.worker_spec) == {"1", "2"}
    assert site.watch.failure == ""


def test_a_worker_that_came_back_in_time_is_counted_from_then(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _Site(monkeypatch, 1, queue=False)
    site.cluster.there = {"0"}
    site.look()
    site.cluster.there = set()
    site.look(14)
    site.cluster.there = {"0"}
    site.look(0.5)
    site.cluster.there = set()
    assert site.look(14.9) == [1]
    assert set(site.cluster.worker_spec) == {"0"}


def test_a_job_that_has_left_the_queue_is_given_up_after_2_s_and_one_that_runs_on_after_120(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = _Site(monkeypatch, 2, queue=True)
    site.look()  # both are listed, none has begun
    site.cluster.there = {"0", "1"}
    site.look()
    site.cluster.there = set()
    site.queue = {"j1"}
    assert site.look(11) == [1]  # the queue is asked at most every 10 s
    assert set(site.cluster.worker_spec) == {"1"}
    site.look()
    assert set(site.cluster.worker_spec) == {"1", "2"}
    site.queue = {"j1", "j2"}
    site.look(108)
    assert "1" in site.cluster.worker_spec  # 119 s
    site.look(1.5)
    assert "1" not in site.cluster.worker_spec
    assert "2" in site.cluster.worker_spec  # waits, and is in the queue


def test_the_queue_is_asked_only_while_a_worker_lacks_and_at_most_every_10_s(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _Site(monkeypatch, 2, queue=True)
    site.cluster.there = {"0"}
    site.look()
    assert site.n_listed == 1
    site.look(10.0)
    assert site.n_listed == 1
    site.look(0.1)
    assert site.n_listed == 2
    site.cluster.there = {"0", "1"}
    site.look(100)
    assert site.n_listed == 2


def test_a_job_that_the_queue_never_showed_is_stillborn_after_a_minute_and_one_it_showed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = _Site(monkeypatch, 2, queue=True)
    site.queue = {"j1"}
    assert site.look() == [2]
    site.queue = set()
    assert site.look(11) == [1]  # j1 was listed
    assert set(site.cluster.worker_spec) == {"0"}
    site.look(49)
    assert "0" in site.cluster.worker_spec  # asked 60 s after it was ordered
    site.look(11)
    assert "0" not in site.cluster.worker_spec
    unknown = _Site(monkeypatch, 1, queue=True)
    unknown.queue = None
    unknown.look(500)
    assert set(unknown.cluster.worker_spec) == {"0"}  # squeue does not answer


@pytest.mark.parametrize(("n_jobs", "most"), [(1, 5), (2, 5), (3, 6), (10, 20)])
def test_jobs_that_end_before_their_worker_starts_end_the_run_when_they_are_many_in_a_row(
    monkeypatch: pytest.MonkeyPatch, n_jobs: int, most: int
) -> None:
    site = _Site(monkeypatch, n_jobs, queue=True)
    site.watch._judge(dict.fromkeys(range(most), "stillborn") | {"x": "gone"})
    assert site.watch.failure == ""
    site.watch._judge({"y": "stillborn"})
    assert site.watch.failure.startswith(f"{most + 1} jobs in a row have ended before their worker had started")
    other = _Site(monkeypatch, n_jobs, queue=True)
    other.watch._judge(dict.fromkeys(range(most), "stillborn"))
    other.cluster.there = {"0"}
    other.look()  # one has begun: they are counted anew
    other.watch._judge(dict.fromkeys(range(most), "stillborn"))
    assert other.watch.failure == ""


def test_a_refusal_ends_the_run_at_once_if_no_job_ever_began_and_else_when_there_were_21(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = _Site(monkeypatch, 2, queue=True)
    site.cluster.workers["1"].refusal = "no such partition"
    site.look()
    assert site.watch.failure == "no job can be submitted: no such partition"
    later = _Site(monkeypatch, 2, queue=True)
    later.cluster.there = {"0", "1"}
    later.look()
    later.cluster.there = {"0"}
    for _ in range(20):
        later.watch._judge({"1": "refused", "7": "gone"})
    assert later.watch.failure == ""
    later.watch._judge({"1": "refused"})
    assert later.watch.failure.startswith("no job can be submitted")
    again = _Site(monkeypatch, 2, queue=True)
    again.cluster.there = {"0", "1"}
    again.look()
    for _ in range(15):
        again.watch._judge({"1": "refused"})
    again.look()  # workers are there: what was refused before counts no more
    for _ in range(15):
        again.watch._judge({"1": "refused"})
    assert again.watch.failure == ""


def test_after_a_refusal_nothing_is_ordered_for_30_s(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _Site(monkeypatch, 2, queue=True)
    site.cluster.there = {"0", "1"}
    assert site.look() == [2]
    site.cluster.there = {"0"}
    site.cluster.workers["1"].refusal = "too many jobs"
    assert site.look() == [1]
    assert set(site.cluster.worker_spec) == {"0"}
    assert site.look(30) == []
    assert site.look(0.5) == [2]


def test_an_old_worker_leaves_when_its_replacement_is_there_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _Site(monkeypatch, 2, queue=True, lifetime_s=100.0, groups={"0": ["-a", "-b"]})
    site.queue = {"j0", "j1", "j2", "j3"}
    site.cluster.there = {"0-a", "0-b"}
    site.look()
    site.cluster.there = {"0-a", "0-b", "1"}
    assert site.look(10) == [2]  # it has waited 10 s: replaced at 100 - 3 x 10 - 2 = 68 s, the first then at 68 s
    assert site.look(57) == [2]
    assert site.look(2) == [3]  # one more for the first, 69 s old
    assert site.look(5) == [3]
    site.cluster.there |= {"2"}
    assert site.look(1) == [("retire", ["0-a", "0-b"]), 2]
    assert set(site.cluster.worker_spec) == {"1", "2"}
    assert site.look(2) == [2]  # the other is 67 s old, and then 69
    assert site.look(2) == [3]
    site.cluster.there |= {"3"}
    assert site.look(1) == [("retire", ["1"]), 2]
    assert set(site.cluster.worker_spec) == {"2", "3"}
    endless = _Site(monkeypatch, 1, queue=True)
    endless.cluster.there = {"0"}
    endless.look()
    assert endless.look(10**6) == [1]


def test_workers_of_a_job_are_those_of_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _Site(monkeypatch, 2, queue=True, groups={"1": ["-0", "-1"]})
    site.cluster.there = {"0", "1", "1-0", "1-1", "11-0", "0-0"}
    assert site.watch._workers_of("0") == ["0"]
    assert site.watch._workers_of("1") == ["1-0", "1-1"]
    assert site.watch._workers_of("5") == []
    assert not site.watch._is_short
    site.cluster.there = {"1-1"}
    assert site.watch._is_short


class _Client:
    def __init__(self, n_looks_until_a_worker: int, site: _Site, step_s: float) -> None:
        self._left, self._site, self._step_s, self.closed = n_looks_until_a_worker, site, step_s, threading.Event()

    def nthreads(self) -> dict[str, int]:
        self._left -= 1
        self._site.now += self._step_s
        return {"tcp://a": 1} if self._left < 0 else {}

    def close(self) -> None:
        self.closed.set()


def _impatient(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.watch._over, "wait", lambda _s: False)


def test_a_queue_is_waited_for_as_long_as_it_takes_and_the_user_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = _Site(monkeypatch, 3, queue=True)
    _impatient(site, monkeypatch)
    site.watch.wait_for_one(_Client(1300, site, 1.0))
    # after more than 20 s, and more than 600 s after each time
    told = [f"3 jobs are ordered and none has begun yet; waiting for {s} s" for s in (21, 622, 1223)]
    assert site.said == told
    at_once = _Site(monkeypatch, 3, queue=True)
    at_once.watch.wait_for_one(_Client(0, at_once, 10.0))
    assert at_once.said == []


def test_a_local_worker_that_does_not_start_within_10_minutes_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    site = _Site(monkeypatch, 1, queue=False)
    _impatient(site, monkeypatch)
    site.watch.wait_for_one(_Client(59, site, 10.0))
    with pytest.raises(RuntimeError, match="no worker has started in 600 s"):
        site.watch.wait_for_one(_Client(100, site, 10.0))
    site.watch.failure = "refused"
    with pytest.raises(RuntimeError, match="refused"):
        site.watch.wait_for_one(_Client(0, site, 10.0))


def test_a_run_without_workers_ends_with_the_reason_and_another_fault_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_workers, "_SECONDS_BETWEEN_LOOKS", 0.01)
    cluster = _Cluster(1)
    looks: list[int] = []

    def sync(look: Callable[[], Any]) -> None:
        looks.append(1)
        if len(looks) == 1:
            raise OSError("busy")  # such a look is taken again
        asyncio.run(look())

    cluster.sync = sync  # type: ignore[attr-defined]
    cluster.workers["0"].refusal = "no"
    site = SimpleNamespace(now=0.0)
    client = _Client(0, site, 0.0)  # type: ignore[arg-type]
    watch = StandingWorkers(cluster, lifetime_s=None, listed=None, say=print)
    cause = KeyError("cancelled")

    def work() -> None:
        assert client.closed.wait(10)
        raise cause

    with pytest.raises(RuntimeError, match="no job can be submitted: no") as caught, watch.watched(client):
        work()
    assert caught.value.__cause__ is cause
    assert len(looks) == 2
    assert not [thread for thread in threading.enumerate() if thread.name == "standing-workers"]


def test_the_watch_asks_the_queue_and_has_ended_when_the_work_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_workers, "_SECONDS_BETWEEN_LOOKS", 0.01)
    looking, n_listed = threading.Event(), list[int]()

    def slow(look: Callable[[], Any]) -> None:
        looking.set()
        time.sleep(0.3)
        asyncio.run(look())

    def listed() -> set[str]:
        n_listed.append(1)
        return {"j0"}

    cluster = _Cluster(1)
    cluster.sync = slow  # type: ignore[attr-defined]
    watch = StandingWorkers(cluster, lifetime_s=None, listed=listed, say=print)

    def work() -> None:
        assert looking.wait(10)
        raise KeyError("as it is")

    with pytest.raises(KeyError, match="as it is"), watch.watched(SimpleNamespace()):
        work()
    assert not [thread for thread in threading.enumerate() if thread.name == "standing-workers"]
    assert n_listed == [1]
