"""Profiles: what a job script asks for, and what an unknown name says."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from dask.utils import parse_timedelta
from distributed.utils import get_ip

from tasks.execution import cluster
from tasks.execution.cluster import check_cluster_options, check_profile, open_client
from tasks.execution.credentials import credentials_in_files
from tasks.execution.process import workers_leave_ctrl_c_to_the_command
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
        SLURMCluster(job_cls=Job, **closed_to_others(profile["cluster"]), security=credentials) as jobs,
    ):
        script = jobs.job_script()
        assert jobs.scheduler_address.startswith(f"tls://{get_ip()}:")
        key = shlex.quote(credentials.tls_worker_key)
        secret = Path(credentials.tls_worker_key).read_text().splitlines()[1]
    for line in ("#SBATCH -p gpu", "#SBATCH --gres=gpu:1", "#SBATCH -t 08:00:00", "--nthreads 1", "--lifetime 465m"):
        assert line in script
    assert f"--tls-key {key}\n" in script
    assert "export PYTHONSAFEPATH=1\n" in script  # no module of the working directory is imported
    assert " -m tasks.execution.job_worker distributed.cli.dask_worker tls://" in script
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


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, None),
        ({"lifetime": "90s"}, 90.0),
        ({"worker_extra_args": ["--nthreads", "1", "--lifetime", "465m"]}, 27900.0),
        ({"worker_extra_args": ["--lifetime=2h", "--lifetime-stagger=5m"], "lifetime": "1s"}, 7200.0),
        ({"worker_extra_args": ["--lifetime-stagger", "5m"]}, None),
        ({"worker_extra_args": None, "lifetime": 30}, 30.0),
    ],
)
def test_a_lifetime_is_read_from_the_options_of_the_worker(options: dict[str, Any], seconds: float | None) -> None:
    assert cluster._lifetime_s(options) == seconds


def test_a_scheduler_that_is_there_is_fine_and_what_a_profile_needs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_profile(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(UserMistake, match="no scheduler answers at tcp://:"):  # no machine is named
            check_profile(f"tcp://:{server.getsockname()[1]}")
    check_profile("inproc://nowhere/1")  # of this process: nothing to connect to
    with pytest.raises(UserMistake, match="no scheduler answers"):
        check_profile("tcp://127.0.0.1:notaport")
    for profile in ("in-process", "local"):
        check_profile(profile)
    monkeypatch.setattr(cluster, "_is_installed", lambda module: module != "dask_cuda")
    with pytest.raises(
        UserMistake, match=r"'cuda' needs a package that is not installed; type pip install 'cmr-cohort\[cuda\]'"
    ):
        check_profile("cuda")
    check_profile("kubernetes")
    monkeypatch.setattr(cluster.shutil, "which", lambda name: None if name == "sbatch" else "/bin/x")
    with pytest.raises(UserMistake, match="'slurm' needs the command sbatch"):
        check_profile("slurm")
    monkeypatch.setattr(cluster.shutil, "which", lambda name: "/bin/x")
    check_profile("slurm")
    with pytest.raises(UserMistake, match="did you mean 'local'"):
        check_profile("locl")


def test_options_of_a_cluster_its_jobs_and_its_workers_are_known_and_others_told() -> None:
    check_cluster_options("local", {"n_workers": 1, "lifetime": "1h", "silence_logs": True})
    check_cluster_options("local", {})
    check_cluster_options("kubernetes", {"anything": 1})
    for name in ("memory_limt", "self", "kwargs"):
        with pytest.raises(UserMistake, match=f"compute.cluster: a local cluster has no option '{name}'"):
            check_cluster_options("local", {"lifetime": 1, name: 1})


def test_ctrl_c_reaches_what_starts_while_it_is_for_the_command_no_more_than_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    meanwhile: list[Any] = []

    def fail() -> None:
        meanwhile.extend(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), workers_leave_ctrl_c_to_the_command():
        fail()
    assert set(meanwhile) == {*before, signal.SIGINT}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


# what clusters are asked for


class _Asked:
    """Stands for a cluster or a client: keeps what it was made with."""

    made: list[tuple[tuple[Any, ...], dict[str, Any]]]

    def __init__(self, *given: Any, **options: Any) -> None:
        self.made.append((given, options))
        self.scaled: list[int] = []
        self.plugins: list[Any] = []
        self.waited: list[Any] = []

    def __enter__(self) -> "_Asked":
        return self

    def __exit__(self, *error: object) -> None:
        self.made.append((("closed",), {}))

    def scale(self, n: int) -> None:
        self.scaled.append(n)

    def register_plugin(self, plugin: Any) -> None:
        self.plugins.append(plugin)

    def wait_for_workers(self, n: int, timeout: float) -> None:
        self.waited.append((n, timeout))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    _Asked.made = []
    return _Asked.made


@pytest.mark.parametrize(("workers", "n"), [(None, 1), (3, 3)])
def test_as_many_jobs_are_ordered_as_are_asked_for_one_by_default(
    workers: int | None, n: int, made: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slurm = pytest.importorskip("dask_jobqueue.slurm")
    monkeypatch.setattr(slurm, "SLURMCluster", _Asked)
    from tasks.execution.slurm_jobs import Job

    with cluster._slurm_jobs(workers, {"cores": 2}, tmp_path) as jobs:
        assert jobs.scaled == [n]
    ((_, options), _) = made
    assert options["security"].tls_worker_key.startswith(str(tmp_path))
    assert (options["job_cls"], options["cores"]) == (Job, 2)


@pytest.mark.parametrize(("workers", "cores", "n"), [(None, 6, 6), (None, None, 1), (3, 6, 3)])
def test_a_local_cluster_has_a_process_of_one_thread_for_every_core_or_as_many_as_are_asked_for(
    workers: int | None, cores: int | None, n: int, made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import distributed

    monkeypatch.setattr(distributed, "LocalCluster", _Asked)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    cluster._local_cluster(workers, {"lifetime": "1h"}, None)
    ((_, options),) = made
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    assert options.pop("security").require_encryption
    assert options == {
        "n_workers": n,
        "threads_per_worker": 1,
        "processes": True,
        "dashboard_address": "127.0.0.1:0",
        "scheduler_kwargs": {"dashboard": False},
        "env": one,
        "lifetime": "1h",
    }


def test_a_running_scheduler_is_waited_for_10_s_and_its_workers_are_prepared(
    made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import distributed

    monkeypatch.setattr(distributed, "Client", _Asked)
    with open_client("tcp://host:1") as client:
        assert isinstance(client, _Asked)
        assert [plugin.name for plugin in client.plugins] == ["cmr-cohort-process"]
        assert made == [(("tcp://host:1",), {"set_as_default": False, "timeout": 10.0})]
    assert made[-1] == (("closed",), {})


def test_options_of_the_user_go_before_those_of_the_profile_and_both_to_the_cluster(
    made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask
    import distributed

    asked: list[Any] = []

    def started(workers: int | None, options: dict[str, Any], _shared: Path | None) -> _Asked:
        asked.append((workers, options, dask.config.get("distributed.scheduler.allowed-failures")))
        return _Asked()

    dask.config.set({"distributed.worker.memory.pause": 0.8, "distributed.deploy.lost-worker-timeout": "15s"})
    monkeypatch.setattr(distributed, "Client", _Asked)
    monkeypatch.setattr(cluster, "_CLUSTERS", dict.fromkeys(("kubernetes", "slurm", "local"), started))
    monkeypatch.setattr(cluster, "DEFAULTS", {"slurm": {"cores": 4, "memory": "16GB"}})
    given = {"workers": 2, "cores": 8}
    for profile in ("kubernetes", "slurm"):
        with open_client(profile, given) as client:  # a cluster that names no workers replaces them itself
            assert isinstance(client, _Asked)
            assert client.waited == [(1, 600.0)]
            assert [plugin.name for plugin in client.plugins] == ["cmr-cohort-process"]
    assert given == {"workers": 2, "cores": 8}
    assert asked == [(2, {"cores": 8}, 0), (2, {"cores": 8, "memory": "16GB"}, 3)]
    assert dask.config.get("distributed.worker.memory.pause") is False
    assert dask.config.get("distributed.deploy.lost-worker-timeout") == "365d"


def test_a_package_is_installed_or_not() -> None:
    assert cluster._is_installed("distributed")
    assert not cluster._is_installed("no_such_package_anywhere")


def _scratch_of_worker(dask_worker: Any) -> str:
    return str(dask_worker.local_directory)


def test_a_planted_scratch_folder_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "shared"))
    (tmp_path / "other").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/dask-scratch-space").symlink_to(tmp_path / "other")
    with open_client("local", {"workers": 1}) as client:
        assert client is not None
        (scratch,) = client.run(_scratch_of_worker).values()
        top = tmp_path / "shared" / Path(scratch).relative_to(tmp_path / "shared").parts[0]
        assert top.name.startswith("cmr-cohort-")
        assert top.stat().st_mode & 0o777 == 0o700
    assert not list((tmp_path / "other").iterdir())
    assert not top.exists()


_IS_KILLED = """
import os, signal, sys, tempfile
tempfile.tempdir = sys.argv[1]
from tasks.execution.cluster import open_client
if __name__ == "__main__":
    with open_client("local", {"workers": 1, "local_directory": sys.argv[1]}):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_command_that_was_killed_leaves_a_folder_that_the_next_one_removes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_IS_KILLED)
    done = subprocess.run([sys.executable, tmp_path / "program.py", tmp_path / "scratch"], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    (left,) = (tmp_path / "scratch").iterdir()
    assert (left / "dask-scratch-space").exists()
    with open_client("local", {"workers": 1, "local_directory": str(tmp_path / "scratch")}) as client:
        assert client is not None
        (used,) = (tmp_path / "scratch").iterdir()
        (worker,) = client.run(_scratch_of_worker).values()
        assert Path(worker).is_relative_to(used)
        assert used != left
    assert not list((tmp_path / "scratch").iterdir())
