"""The SLURM profile against stand-ins for sbatch, scancel and squeue, which run the job scripts on this machine."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.execution import standing_workers
from tasks.execution.cluster import open_client
from tasks.execution.scratch import PREFIX

pytest.importorskip("dask_jobqueue")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]

_SBATCH = """#!/bin/bash
job=$(mktemp {site}/job.XXXX)
cp "${{@: -1}}" $job
setsid bash $job >> {site}/jobs.log 2>&1 &
echo $! >> {site}/submitted
echo Submitted batch job $!
"""
_SCANCEL = "#!/bin/bash\nkill -- -$1 2>/dev/null\nexit 0\n"
_SQUEUE = "#!/bin/bash\nfor job in $(cat {site}/submitted); do kill -0 $job 2>/dev/null && echo $job; done\nexit 0\n"
_REFUSES = "#!/bin/bash\necho sbatch: error: invalid partition specified: gpu >&2\nexit 1\n"


class _Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "submitted").touch()

    def command(self, name: str, script: str) -> None:
        path = self.folder / name
        path.write_text(script.format(site=self.folder) if "{site}" in script else script)
        path.chmod(0o755)

    @property
    def jobs(self) -> list[int]:
        return [int(word) for word in (self.folder / "submitted").read_text().split()]

    def options(self, **more: Any) -> dict[str, Any]:
        scratch = str(self.folder / "scratch")
        return {"workers": 2, "cores": 1, "memory": "1GB", "local_directory": scratch, "death_timeout": 30} | more


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Site]:
    site = _Site(tmp_path)
    for name, script in {"sbatch": _SBATCH, "scancel": _SCANCEL, "squeue": _SQUEUE}.items():
        site.command(name, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")  # for _work
    yield site
    for job in site.jobs:
        assert not Path(f"/proc/{job}").exists() or not _is_running(job)


def _is_running(job: int) -> bool:
    """Whether the job is there and does not end within seconds."""
    for _ in range(100):
        state = Path(f"/proc/{job}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return False
        time.sleep(0.1)
    return True


def _work(k: int) -> int:
    time.sleep(1)
    return k


def _submitted(client: Any, n: int) -> list[Any]:
    return list(client.map(_work, range(n)))


def _scratch_of_worker(dask_worker: Any) -> str:
    return str(dask_worker.local_directory)


def test_work_longer_than_the_lifetime_of_all_workers_loses_nothing(site: _Site) -> None:
    arguments = ["--lifetime", "14s", "--lifetime-stagger", "1s", "--nthreads", "1"]
    with open_client("slurm", site.options(worker_extra_args=arguments), shared=site.folder) as client:
        assert client is not None
        assert client.gather(_submitted(client, 50)) == list(range(50))
    assert len(site.jobs) >= 4


def test_jobs_that_are_preempted_all_at_once_are_ordered_again(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_workers, "_SECONDS_BETWEEN_LISTS", 1.0)
    with open_client("slurm", site.options(), shared=site.folder) as client:
        assert client is not None
        futures = _submitted(client, 10)
        futures[0].result(timeout=60)
        for folder in client.run(_scratch_of_worker).values():
            own = site.folder / "scratch" / Path(folder).relative_to(site.folder / "scratch").parts[0]
            assert own.name.startswith(PREFIX)
            assert own.stat().st_mode & 0o777 == 0o700
        for job in site.jobs:
            os.killpg(job, signal.SIGKILL)
        assert client.gather(futures) == list(range(10))
        workers = client.scheduler_info()["workers"]
        assert all(address.startswith("tls://") for address in (client.scheduler.address, *workers))
        assert len(list(site.folder.glob(".credentials-*/key.pem"))) == 1
        assert len(list((site.folder / "scratch").iterdir())) == 2  # those of the jobs that were killed are gone
    assert len(site.jobs) == 4
    assert not list(site.folder.glob(".credentials-*"))


def test_a_job_that_the_site_refuses_is_told_with_its_words(site: _Site) -> None:
    site.command("sbatch", _REFUSES)
    begun = time.monotonic()
    expected = "no job can be submitted: sbatch: error: invalid partition specified: gpu"
    with pytest.raises(RuntimeError, match=expected), open_client("slurm", site.options(), shared=site.folder):
        pass
    assert time.monotonic() - begun < 30


def test_jobs_that_never_bring_a_worker_end_the_run(site: _Site, monkeypatch: pytest.MonkeyPatch) -> None:
    shorter = {"_SECONDS_BETWEEN_LOOKS": 0.2, "_SECONDS_BETWEEN_LISTS": 0.2, "_SECONDS_UNTIL_LISTED": 1.0}
    for name, seconds in shorter.items():
        monkeypatch.setattr(standing_workers, name, seconds)
    options = site.options(python="/nowhere/python")
    with (
        pytest.raises(RuntimeError, match="6 jobs in a row have ended"),
        open_client("slurm", options, shared=site.folder),
    ):
        pass
    assert len(site.jobs) >= 6
