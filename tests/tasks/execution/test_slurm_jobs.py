"""What is asked of SLURM's commands, and what is made of their answers."""

import asyncio
import os
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("dask_jobqueue")

from dask_jobqueue.slurm import SLURMJob
from distributed.core import Status

from tasks.execution import slurm_jobs
from tasks.execution.slurm_jobs import Job, cancel_all, jobs_in_the_queue


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    asked: list[list[str]] = []

    def run(command: list[str], **how: Any) -> Any:
        # What waits for an answer ends: a command that is interrupted within 2 s; nothing of it is on the terminal.
        assert how["timeout"] <= (2 if command[0] == "scancel" else 20)
        assert how["capture_output"]
        assert how["check"] == (command[0] == "squeue")
        asked.append(command)
        return SimpleNamespace(stdout="17\n 9\n\n17\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(slurm_jobs, "_submitted", set())
    return asked


def test_jobs_of_the_user_are_listed_by_their_numbers(commands: list[list[str]]) -> None:
    assert jobs_in_the_queue() == {"17", "9"}
    assert commands == [["squeue", "--noheader", "--format=%A", f"--user={os.getuid()}"]]


@pytest.mark.parametrize(
    "error", [OSError("no squeue"), subprocess.TimeoutExpired("squeue", 20), subprocess.CalledProcessError(1, "squeue")]
)
def test_a_queue_that_does_not_answer_tells_nothing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **how: object) -> Any:
        assert how["check"]
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert jobs_in_the_queue() is None


def _job(monkeypatch: pytest.MonkeyPatch, number: str, error: Exception | None = None) -> Job:
    async def start(job: Any) -> None:
        if error is not None:
            raise error
        job.job_id = number

    async def close(job: Any) -> None:
        job.status = Status.closing

    monkeypatch.setattr(SLURMJob, "start", start)
    monkeypatch.setattr(SLURMJob, "close", close)
    job = Job.__new__(Job)
    asyncio.run(job.start())
    return job


def test_what_was_submitted_and_not_closed_is_cancelled_at_the_end(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel_all()
    assert commands == []
    jobs = [_job(monkeypatch, number) for number in ("8", "11", "10")]
    assert [job.refusal for job in jobs] == ["", "", ""]
    asyncio.run(jobs[1].close())
    assert jobs[1].status == Status.closed
    cancel_all()
    assert commands == [["scancel", "10", "8"]]


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (
            RuntimeError("Command exited\nstdout:\nx\nstderr:\nsbatch: error:\n  no partition\n"),
            "sbatch: error: no partition",
        ),
        (ValueError("cannot read the number"), "cannot read the number"),
        (OSError("no sbatch"), "no sbatch"),
    ],
)
def test_a_job_that_was_refused_keeps_the_words_and_is_not_cancelled(
    error: Exception, refusal: str, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(monkeypatch, "5", error)
    assert job.refusal == refusal
    assert job.status == Status.running
    cancel_all()
    assert commands == []
