"""Profiles: what a job script asks for, and what an unknown name says."""

import os
import shlex
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from dask.utils import parse_timedelta
from distributed.utils import get_ip

from tasks.execution.cluster import check_profile, open_client
from tasks.execution.credentials import credentials_in_files
from tasks.state.mistakes import UserMistake


def test_in_process_means_no_client() -> None:
    with open_client("in-process") as client:
        assert client is None


def test_an_unknown_profile_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"unknown profile 'slrum'.*slurm"), open_client("slrum"):
        pass


@pytest.mark.filterwarnings("ignore")
def test_a_slurm_job_asks_for_what_the_profile_says_and_is_closed_to_others(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    profile = tomllib.loads((Path(__file__).parents[3] / "infra/profiles/slurm.toml").read_text())["compute"]
    from dask_jobqueue.slurm import SLURMCluster

    from tasks.execution.slurm_jobs import Job, closed_to_others

    with (
        credentials_in_files(tmp_path / "a folder") as credentials,
        SLURMCluster(job_cls=Job, **closed_to_others(profile["cluster"]), security=credentials) as cluster,
    ):
        script = cluster.job_script()
        assert cluster.scheduler_address.startswith(f"tls://{get_ip()}:")
        key = shlex.quote(credentials.tls_worker_key)
        secret = Path(credentials.tls_worker_key).read_text().splitlines()[1]
    for line in ("#SBATCH -p gpu", "#SBATCH --gres=gpu:1", "#SBATCH -t 08:00:00", "--nthreads 1", "--lifetime 465m"):
        assert line in script
    assert f"--tls-key {key}\n" in script
    assert secret not in script
    assert '--no-dashboard --dashboard-address 127.0.0.1:0 --host "$(' in script
    assert (
        parse_timedelta("465m") == 7 * 3600 + 45 * 60
    )  # a lifetime that Dask cannot read ends every worker as it begins


def test_a_lifetime_that_no_worker_could_read_is_told_before_any_job_is_ordered() -> None:
    options = {"worker_extra_args": ["--lifetime", "7h45m"]}
    with pytest.raises(UserMistake, match=r"lifetime '7h45m' cannot be read"), open_client("slurm", options):
        pass


@pytest.mark.parametrize(
    "choice",
    [
        {"interface": "ib0"},
        {"scheduler_options": {"interface": "ib0"}, "worker_extra_args": ["--interface", "ib1"]},
        {"scheduler_options": {"host": "10.0.0.1"}, "worker_extra_args": ["--host=node1"]},
    ],
)
def test_an_interface_that_the_user_chose_for_jobs_stands(choice: dict[str, Any]) -> None:
    pytest.importorskip("dask_jobqueue")
    from tasks.execution import slurm_jobs

    options = slurm_jobs.closed_to_others(choice)
    assert options["worker_extra_args"] == [*choice.get("worker_extra_args", []), *slurm_jobs._NO_PAGES]
    assert options["scheduler_options"].get("host") == choice.get("scheduler_options", {}).get("host")


def test_jobs_without_a_folder_for_their_credentials_are_not_started() -> None:
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(ValueError, match="need a folder that they can read too"), open_client("slurm"):
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
