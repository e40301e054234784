"""A Dask client from the name of a profile: in this process, local, one process a GPU, SLURM or Kubernetes.

Every cluster that is started here has credentials of its own (:mod:`tasks.execution.credentials`) and no dashboard; a
running scheduler is spoken to as the user's Dask settings say.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import inspect
import itertools
import logging
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cmr_models.contracts.names import nearest
from tasks.execution.credentials import credentials_in_files, temporary_credentials
from tasks.execution.process import (
    prepare_process,
    start_resource_tracker,
    workers_leave_ctrl_c_to_the_command,
)
from tasks.execution.scratch import own_scratch
from tasks.execution.standing_workers import Say, StandingWorkers
from tasks.state.mistakes import UserMistake

if TYPE_CHECKING:
    from distributed import Client

_log = logging.getLogger("cmr_cohort")
PROFILES = ("in-process", "local", "cuda", "slurm", "kubernetes")
_SCHEDULER_S = 5.0  # a scheduler that takes longer to accept is not there
_ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}  # see cmr_models.zoo.process_memory.share_one_arena
_DASK: dict[str, Any] = {
    # StandingWorkers replaces workers; this would forget that they ended.
    "distributed.deploy.lost-worker-timeout": "365d",
    # A prepared process keeps the memory that it has freed, so its size does not tell what it needs.
    "distributed.worker.memory.pause": False,
    # Pages that would answer whoever asks: what runs, where, and its logs.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # The C library reads these when a process starts; `env` of a cluster would come too late.
    **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in _ONE_ARENA.items()},
}
# A chunk that dies with its worker comes back at once, to be halved by `shards`, rather than kill more. Jobs end for
# many reasons that are no fault of what they do: another one has it next.
_FAILURES_OF_A_TASK = {"slurm": 3}
_FIRST_WORKER_S = 600.0
DEFAULTS: dict[str, dict[str, Any]] = {
    "slurm": {  # each job is one worker, which ends itself before the wall time does
        "cores": 4,
        "processes": 1,
        "memory": "16GB",
        "walltime": "08:00:00",
        "job_script_prologue": [f"export {name}={value}" for name, value in _ONE_ARENA.items()],
        "worker_extra_args": ["--lifetime", "465m", "--lifetime-stagger", "5m", "--nthreads", "1"],
    }
}
"""Profile -> options of its cluster where the settings give none."""
_NO_DASHBOARD: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
_ON_THIS_MACHINE = ("local", "cuda")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@contextlib.contextmanager
def open_client(
    profile: str, options: dict[str, Any] | None = None, say: Say = _log.info, shared: Path | None = None
) -> Iterator[Client | None]:
    """A client for ``profile``; None for "in-process", where work is called directly.

    The process that will work, this one or each worker, is prepared: :func:`tasks.execution.process.prepare_process`.

    Args:
        profile: one of :data:`PROFILES`, or the address of a running scheduler (``tcp://...``, ``tls://...``).
        options: keyword arguments of the cluster (``workers``, and for SLURM queue, cores, memory, walltime ...).
        say: tells the user that jobs are waited for.
        shared: folder that jobs of a queue can read too; it holds their credentials meanwhile.

    Raises:
        ValueError: if the profile is unknown, or jobs have no folder to share.
        RuntimeError: if no worker can be had.
    """
    if profile == "in-process":
        prepare_process()
        yield None
        return
    import dask
    from distributed import Client

    from tasks.execution.worker_plugin import PreparedProcess

    dask.config.set(_DASK)
    options = dict(options or {})
    if "://" in profile:
        with Client(profile, set_as_default=False, timeout=2 * _SCHEDULER_S) as client:
            client.register_plugin(PreparedProcess())
            yield client
        return
    if profile not in PROFILES:
        raise UserMistake(f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)} or a scheduler address")
    options = DEFAULTS.get(profile, {}) | options
    workers, lifetime_s = options.pop("workers", None), _lifetime_s(options)
    place = options.pop("local_directory", None) if profile in _ON_THIS_MACHINE else None
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": _FAILURES_OF_A_TASK.get(profile, 0)}),
        _spills_into_a_folder_of_its_own(place),
        _CLUSTERS[profile](workers, options, shared) as cluster,
        Client(cluster, set_as_default=False) as client,
        _standing_workers(cluster, profile, lifetime_s, client, say),
    ):
        yield client


@contextlib.contextmanager
def _spills_into_a_folder_of_its_own(place: str | None) -> Iterator[None]:
    """Dask puts what does not fit into memory into a new folder in ``place``, or where its settings name one."""
    import dask

    with own_scratch(Path(place) if place else None) as folder, dask.config.set({"temporary-directory": str(folder)}):
        yield


@contextlib.contextmanager
def _standing_workers(cluster: Any, profile: str, lifetime_s: float | None, client: Client, say: Say) -> Iterator[None]:
    """From the first worker on, those that end are replaced; an operator of Kubernetes does that by itself."""
    from tasks.execution.worker_plugin import PreparedProcess

    client.register_plugin(PreparedProcess())
    if not getattr(cluster, "worker_spec", None):
        client.wait_for_workers(1, timeout=_FIRST_WORKER_S)
        yield
        return
    workers = StandingWorkers(cluster, lifetime_s=lifetime_s, listed=_QUEUES.get(profile), say=say)
    with workers.watched(client):
        workers.wait_for_one(client)
        yield


def _lifetime_s(options: Mapping[str, Any]) -> float | None:
    """Seconds after which a worker ends itself, by the options of the cluster or of the command that starts it.

    Raises:
        UserMistake: if Dask could not read it; each worker would end as it begins.
    """
    from dask.utils import parse_timedelta

    words = " ".join(options.get("worker_extra_args") or ()).replace("=", " ").split()
    given = dict(itertools.pairwise(words)).get("--lifetime", options.get("lifetime"))
    try:
        return None if given is None else float(parse_timedelta(given))
    except (ValueError, KeyError) as error:
        raise UserMistake(f"compute.cluster: the lifetime {given!r} cannot be read; write 465m for 7 h 45") from error


def check_profile(profile: str) -> None:
    """Whether work can be sent to ``profile``, as far as can be told at once.

    Raises:
        UserMistake: if there is no such profile, if no scheduler answers at the address, or if what the profile needs
            is not installed.
    """
    if "://" in profile:
        _check_scheduler(profile)
    elif profile not in PROFILES:
        near = difflib.get_close_matches(profile, PROFILES, 1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise UserMistake(
            f"compute.profile: there is no profile {profile!r}{meant} Choose {', '.join(PROFILES)} or the address of a"
            " scheduler (tcp://host:8786)"
        )
    elif profile in _NEEDED and not _is_installed(_NEEDED[profile]):
        raise UserMistake(
            f"compute.profile: {profile!r} needs a package that is not installed; type"
            f" pip install 'cmr-cohort[{profile}]'"
        )
    elif profile == "slurm" and not shutil.which("sbatch"):
        raise UserMistake("compute.profile: 'slurm' needs the command sbatch; run on a login node, or choose 'local'")


def check_cluster_options(profile: str, options: Mapping[str, Any]) -> None:
    """Check the names in ``compute.cluster``: what the cluster of a profile, its jobs and its workers take.

    Raises:
        UserMistake: one is none of these; the message has the nearest.
    """
    if not options or profile not in _TAKE:
        return
    known: set[str] = set()
    for name in _TAKE[profile]:
        module, _, attribute = name.partition(":")
        for kind in getattr(importlib.import_module(module), attribute).__mro__[:-1]:
            known |= set(inspect.signature(kind.__init__).parameters)
    for name in options:
        if name not in known - {"self", "args", "kwargs"}:
            raise UserMistake(f"compute.cluster: a {profile} cluster has no option {name!r}{nearest(name, known)}")


_TAKE = {
    "local": ("distributed:LocalCluster", "distributed:Nanny", "distributed:Worker"),
    "slurm": ("dask_jobqueue.slurm:SLURMCluster", "dask_jobqueue.slurm:SLURMJob"),
}
"""Profile -> the classes to which its options go; those of other profiles are checked where their packages are."""

_NEEDED = {"cuda": "dask_cuda", "slurm": "dask_jobqueue", "kubernetes": "dask_kubernetes"}


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _check_scheduler(address: str) -> None:
    from dask import config

    where = urlsplit(address)
    if where.scheme == "tls" and not config.get("distributed.comm.tls.ca-file", None):
        raise UserMistake(
            f"compute.profile: {address} needs credentials; name their files under distributed.comm.tls in Dask's"
            " configuration (~/.config/dask/distributed.yaml), as its scheduler does"
        )
    try:
        if where.scheme in ("tcp", "tls") and where.port:
            socket.create_connection((where.hostname or "", where.port), timeout=_SCHEDULER_S).close()
    except (OSError, ValueError) as error:
        raise UserMistake(
            f"compute.profile: no scheduler answers at {address} ({error}); start one with `dask scheduler`, or choose"
            " another profile"
        ) from error


@contextlib.contextmanager
def _slurm_jobs(workers: int | None, options: dict[str, Any], shared: Path | None) -> Iterator[Any]:
    from dask_jobqueue.slurm import SLURMCluster

    from tasks.execution.slurm_jobs import Job, closed_to_others

    if shared is None:
        raise ValueError("jobs of a queue need a folder that they can read too, for their credentials")
    with (
        credentials_in_files(shared) as credentials,
        SLURMCluster(job_cls=Job, **closed_to_others(options), security=credentials) as cluster,  # type: ignore[arg-type]  # it takes the class
    ):
        cluster.scale(workers or 1)
        yield cluster


def _local_cluster(workers: int | None, options: dict[str, Any], _shared: Path | None) -> Any:
    from distributed import LocalCluster

    start_resource_tracker()
    with workers_leave_ctrl_c_to_the_command():
        return LocalCluster(
            **{
                "n_workers": workers or os.cpu_count() or 1,
                "threads_per_worker": 1,
                "processes": True,
                "env": _ONE_THREAD,
                **_on_this_machine(options),
            }
        )


def _cuda_cluster(workers: int | None, options: dict[str, Any], _shared: Path | None) -> Any:
    from dask_cuda import LocalCUDACluster

    with workers_leave_ctrl_c_to_the_command():
        return LocalCUDACluster(**{"n_workers": workers, "threads_per_worker": 1, **_on_this_machine(options)})


def _on_this_machine(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a cluster of processes of this machine, to which nobody else can talk, and with no dashboard."""
    dashboard = {} if "dashboard_address" in options else _NO_DASHBOARD
    return {**dashboard, **options, "security": temporary_credentials()}


def _kubernetes_cluster(workers: int | None, options: dict[str, Any], _shared: Path | None) -> Any:
    from tasks.execution.kubernetes_pods import pods

    return pods(workers or 1, options)


def _slurm_queue() -> set[str] | None:
    from tasks.execution.slurm_jobs import jobs_in_the_queue

    return jobs_in_the_queue()


_QUEUES = {"slurm": _slurm_queue}
_CLUSTERS = {
    "local": _local_cluster,
    "cuda": _cuda_cluster,
    "slurm": _slurm_jobs,
    "kubernetes": _kubernetes_cluster,
}
