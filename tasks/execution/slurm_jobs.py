"""Jobs of SLURM: what they say when they are refused, and which of them are in the queue."""

from __future__ import annotations

import contextlib
import os
import subprocess

from dask_jobqueue.slurm import SLURMJob
from distributed.core import Status

_ANSWER_S = 20.0
_CANCELLED_IN_S = 1.5  # a command that is interrupted ends within seconds
_submitted: set[str] = set()


class Job(SLURMJob):  # type: ignore[misc]  # the package has no types
    """A job that keeps what ``sbatch`` said when it refused it; Dask would throw it away."""

    refusal = ""

    async def start(self) -> None:
        """Submit it."""
        try:
            await super().start()
            _submitted.add(str(self.job_id))
        except (RuntimeError, ValueError, OSError) as error:
            self.refusal = " ".join(str(error).rpartition("stderr:")[2].split())
            self.status = Status.running  # as Dask expects; it is given up when its refusal is seen

    async def close(self) -> None:
        """Cancel it."""
        await super().close()
        _submitted.discard(str(self.job_id))
        self.status = Status.closed


def cancel_all() -> None:
    """Cancel what this process has submitted; for the end of a process that closes no cluster any more."""
    if _submitted:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["scancel", *sorted(_submitted)], capture_output=True, timeout=_CANCELLED_IN_S, check=False)


def jobs_in_the_queue() -> set[str] | None:
    """Ids of the user's jobs that wait or run; None where ``squeue`` does not tell."""
    command = ["squeue", "--noheader", "--format=%A", f"--user={os.getuid()}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return set(answer.stdout.split())
