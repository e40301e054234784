"""The time of a stage, and with which workers it works by the settings."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.execution import stopwatch
from tasks.execution.settings import ComputeSettings
from tasks.execution.stopwatch import Stopwatch, Workers, workers_of, workers_there


@pytest.mark.parametrize(
    ("compute", "workers"),
    [
        ({"profile": "local", "workers": 3}, Workers("local", 3, 1, 0)),
        ({"profile": "cuda", "workers": 2}, Workers("cuda", 2, 1, 1)),
        ({"profile": "slurm"}, Workers("slurm", 1, 4, 0)),
        (
            {"profile": "slurm", "workers": 8, "cluster": {"cores": 8, "job_extra_directives": ["--gres=gpu:a100:2"]}},
            Workers("slurm", 8, 8, 2),
        ),
        (
            {"profile": "slurm", "cluster": {"cores": 8, "processes": 2, "job_extra_directives": ["--gres=gpu"]}},
            Workers("slurm", 1, 4, 1),
        ),
        (
            {"profile": "kubernetes", "cluster": {"resources": {"limits": {"cpu": "3500m", "nvidia.com/gpu": "1"}}}},
            Workers("kubernetes", 1, 4, 1),
        ),
    ],
)
def test_the_workers_are_those_of_the_settings(compute: dict[str, Any], workers: Workers) -> None:
    assert workers_of(ComputeSettings(**compute)) == workers


def test_this_process_has_the_cores_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch.os, "sched_getaffinity", lambda _: {0, 3, 5})
    monkeypatch.setattr(stopwatch, "_gpus_here", lambda _most=None: 0)
    assert workers_of(ComputeSettings()) == Workers("in-process", 1, 3, 0)


def test_the_first_result_and_the_last_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 112.0, 130.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    watch = Stopwatch("segment", Workers("local", 2, 1, 0))
    watch.lap(4)
    watch.lap(3)
    found = watch.speed(workers=1)
    assert (found.studies, found.seconds, found.first_studies, found.first_seconds) == (7, 30.0, 4, 12.0)
    assert (found.stage, found.profile, found.workers) == ("segment", "local", 1)


def test_workers_are_counted_where_there_is_a_cluster() -> None:
    assert workers_there(None) is None
    assert workers_there(SimpleNamespace(nthreads=lambda: {"a": 1, "b": 1})) == 2  # type: ignore[arg-type]
