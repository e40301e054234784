"""When the replacement of a worker is ordered."""

import time
from types import SimpleNamespace

import pytest

from tasks.execution.standing_workers import StandingWorkers, _Job


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
