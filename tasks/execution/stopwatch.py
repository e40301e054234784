"""How fast a stage works, as it works: until its first result, until its last, and with which workers."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.execution.cluster import DEFAULTS
from tasks.execution.settings import ComputeSettings
from tasks.state.speeds import Speed

if TYPE_CHECKING:
    from distributed import Client

_GPUS = re.compile(r"gpu(?::[a-z][\w-]*)?(?:[:=](?P<n>\d+))?", re.IGNORECASE)
"""``--gres=gpu``, ``--gres=gpu:2``, ``--gres=gpu:a100:2``, ``--gpus-per-node=1``; the name alone means one."""


class Workers(NamedTuple):
    """With what a stage works.

    Attributes:
        profile: where.
        n: how many workers there are at the same time.
        cores: of each.
        gpus: of each.
    """

    profile: str
    n: int
    cores: int
    gpus: int


class Stopwatch:
    """The time of one stage, from when this is made.

    Args:
        stage: its name.
        workers: with what it works.
    """

    def __init__(self, stage: str, workers: Workers) -> None:
        self._stage, self._workers = stage, workers
        self._began, self._start = datetime.now(UTC).isoformat(), time.perf_counter()
        self._studies = self._first_studies = 0
        self._seconds = self._first_seconds = 0.0

    def lap(self, studies: int) -> None:
        """``studies`` more are through."""
        self._seconds = time.perf_counter() - self._start
        self._studies += studies
        if not self._first_studies:
            self._first_studies, self._first_seconds = studies, self._seconds

    def speed(self, workers: int | None = None) -> Speed:
        """What was measured; ``workers`` if there were other than planned."""
        return Speed(
            self._stage,
            self._began,
            socket.gethostname(),
            self._workers.profile,
            workers or self._workers.n,
            self._workers.cores,
            self._workers.gpus,
            self._studies,
            round(self._seconds, 4),
            self._first_studies,
            round(self._first_seconds, 4),
        )


def workers_of(compute: ComputeSettings) -> Workers:
    """With what the stages work on the profile of the settings. A running scheduler does not tell its cores: one."""
    profile, options = compute.profile, compute.cluster
    if profile == "in-process":
        return Workers(profile, 1, len(os.sched_getaffinity(0)), _gpus_here(1))
    if profile == "slurm":
        processes = int(options.get("processes", 1))
        cores = max(1, int(options.get("cores", DEFAULTS["slurm"]["cores"])) // processes)
        return Workers(profile, compute.workers or 1, cores, _gpus_of_jobs(options))
    if profile == "cuda":
        return Workers(profile, compute.workers or max(1, _gpus_here()), 1, 1)
    if profile == "kubernetes":
        limits: Mapping[str, Any] = options.get("resources", {}).get("limits", {})
        gpus = sum(int(n) for name, n in limits.items() if name.endswith("/gpu"))
        return Workers(profile, compute.workers or 1, _cores(str(limits.get("cpu", "1"))), gpus)
    return Workers(profile, compute.workers or os.cpu_count() or 1, 1, 0)


def workers_there(client: Client | None) -> int | None:
    """How many workers a cluster has now; None without a cluster."""
    return len(client.nthreads()) or None if client is not None else None


def _cores(cpu: str) -> int:
    """Cores of a quantity of Kubernetes: ``4``, ``3500m``."""
    return max(1, round(int(cpu[:-1]) / 1000) if cpu.endswith("m") else round(float(cpu)))


def _gpus_of_jobs(options: Mapping[str, Any]) -> int:
    words = [str(word) for word in options.get("job_extra_directives") or ()]
    return sum(int(found["n"] or 1) for word in words if (found := _GPUS.search(word)))


def _gpus_here(at_most: int | None = None) -> int:
    """GPUs of this machine that PyTorch can use; none where it is not loaded, as nothing has been computed then."""
    torch = sys.modules.get("torch")
    n = torch.cuda.device_count() if torch is not None and torch.cuda.is_available() else 0
    return n if at_most is None else min(n, at_most)
