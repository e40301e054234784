"""Jobs of SLURM: to whom they listen, what they say when they are refused, and which of them are in the queue."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import dask
from dask_jobqueue.slurm import SLURMJob
from distributed import Security
from distributed.core import Status
from distributed.utils import get_ip

from tasks.execution import job_worker

_ANSWER_S = 20.0
_CANCELLED_IN_S = 1.5  # a command that is interrupted ends within seconds
_submitted: set[str] = set()
_NO_PAGES = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
_EXPORTS = (
    "export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'",
    "export PYTHONSAFEPATH=1",  # no module of the working directory is imported
)
_CHOOSE_AN_ADDRESS = ("--host", "--interface", "--listen-address")
_OWN_ADDRESS = (
    "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((sys.argv[1], 1));"
    " print(s.getsockname()[0])"
)
"""Prints the address of the node that leads to a host; nothing is sent."""


def closed_to_others(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a cluster whose scheduler and workers listen on one address each, not on all, and show no pages.

    That address is the one by which they find each other: the scheduler's is that of this machine, a worker's the one
    of its node that leads to it. Where the user chose an interface or a host, that choice stands.
    """
    interface = options.get("interface") or dask.config.get("jobqueue.slurm.interface", None)
    scheduler = {"dashboard": False, "dashboard_address": "127.0.0.1:0", **options.get("scheduler_options", {})}
    arguments = [*options.get("worker_extra_args", ()), *_NO_PAGES]
    if not interface and not {"host", "interface"} & scheduler.keys():
        scheduler["host"] = get_ip()
    if not interface and not any(str(word).startswith(_CHOOSE_AN_ADDRESS) for word in arguments):
        python = options.get("python") or sys.executable
        towards = scheduler.get("host") or get_ip()
        own = shlex.join([python, "-c", _OWN_ADDRESS, str(towards).rpartition("://")[2]])
        arguments += ["--host", f'"$({own})"']
    prologue = [*_EXPORTS, *options.get("job_script_prologue", ())]
    return {
        **options,
        "scheduler_options": scheduler,
        "worker_extra_args": arguments,
        "job_script_prologue": prologue,
    }


class Job(SLURMJob):  # type: ignore[misc]  # the package has no types
    """A job that keeps what ``sbatch`` said when it refused it; Dask would throw it away.

    Its worker spills into a folder of its own (:mod:`tasks.execution.job_worker`).

    Args:
        arguments: as for the job of the package, as ``options`` are.
        security: with paths of files; they stand in the script of a shell.
    """

    refusal = ""

    def __init__(self, *arguments: Any, security: Security | None = None, **options: Any) -> None:
        super().__init__(*arguments, security=None if security is None else _quoted(security), **options)
        python, run, rest = self._command_template.partition(" -m ")
        self._command_template = f"{python}{run}{job_worker.__name__} {rest}"

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


def _quoted(credentials: Security) -> Security:
    paths = {
        name: shlex.quote(getattr(credentials, name)) for name in ("tls_ca_file", "tls_worker_cert", "tls_worker_key")
    }
    return Security(require_encryption=True, **paths)


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
