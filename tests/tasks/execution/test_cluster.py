"""Profiles: what a job script asks for, and what an unknown name says."""

import os
import time

import pytest
from dask.utils import parse_timedelta

from tasks.execution.cluster import check_profile, open_client
from tasks.state.mistakes import UserMistake


def test_in_process_means_no_client() -> None:
    with open_client("in-process") as client:
        assert client is None


def test_an_unknown_profile_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"unknown profile 'slrum'.*slurm"), open_client("slrum"):
        pass


@pytest.mark.filterwarnings("ignore")
def test_a_slurm_job_asks_for_what_the_profile_says() -> None:
    pytest.importorskip("dask_jobqueue")
    import tomllib
    from pathlib import Path

    profile = tomllib.loads((Path(__file__).parents[3] / "infra/profiles/slurm.toml").read_text())["compute"]
    from dask_jobqueue.slurm import SLURMCluster

    from tasks.execution.slurm_jobs import Job

    cluster = SLURMCluster(job_cls=Job, **profile["cluster"])
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    for line in ("#SBATCH -p gpu", "#SBATCH --gres=gpu:1", "#SBATCH -t 08:00:00", "--nthreads 1", "--lifetime 465m"):
        assert line in script
    assert (
        parse_timedelta("465m") == 7 * 3600 + 45 * 60
    )  # a lifetime that Dask cannot read ends every worker as it begins


def test_a_lifetime_that_no_worker_could_read_is_told_before_any_job_is_ordered() -> None:
    options = {"worker_extra_args": ["--lifetime", "7h45m"]}
    with pytest.raises(UserMistake, match=r"lifetime '7h45m' cannot be read"), open_client("slurm", options):
        pass


def _who() -> int:
    return os.getpid()


@pytest.mark.slow
def test_workers_that_end_by_lifetime_are_replaced() -> None:
    """As SLURM jobs do before their wall time: here after 3 s, with work for longer."""
    options = {"workers": 1, "lifetime": "3s", "lifetime_stagger": "0s", "lifetime_restart": False}
    with open_client("local", options) as client:
        assert client is not None
        processes = set()
        deadline = time.monotonic() + 120
        while len(processes) < 3 and time.monotonic() < deadline:
            processes.add(client.submit(_who, pure=False).result(timeout=60))
            time.sleep(0.5)
    assert len(processes) >= 3


def test_a_scheduler_that_is_not_there_is_told_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(UserMistake, match=r"no scheduler answers at tcp://127.0.0.1:9 .* start one with"):
        check_profile("tcp://127.0.0.1:9")
    assert time.monotonic() - begun < 6


@pytest.mark.parametrize("profile", ["lokal", "", "in process"])
def test_a_profile_that_is_not_there_is_told_with_those_there_are(profile: str) -> None:
    with pytest.raises(UserMistake, match=r"compute.profile: there is no profile .* in-process, local, cuda"):
        check_profile(profile)
