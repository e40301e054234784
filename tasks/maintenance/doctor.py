"""What a machine and a cohort are like, a line each, and what is wrong with them: to be sent with a question.

No line names a study or a person. Nothing is changed, and nothing on a network is asked but the server that is named.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from tasks.maintenance.installation import faults
from tasks.state.runs import versions
from tasks.state.store import Cohort

Verdict = Literal["ok", "look", "fault"]

_GB = 1e9
_LITTLE_SPACE, _LITTLE_SHARE = 20 * _GB, 0.05
_FEW_INODES = 100_000
_SECONDS = 3
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class Finding(NamedTuple):
    """One thing that was looked at: ``look`` may be as it should, ``fault`` stops the work."""

    what: str
    verdict: Verdict
    text: str

    def line(self) -> str:
        """It in a line."""
        return f"{self.what:<12}{self.verdict:<7}{self.text}"


def examine(cohort: Cohort | None, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Findings on the installation and the machine, and on a cohort if one is given."""
    yield from _installation()
    yield from _processors()
    yield _gpu()
    yield _proxy(environment)
    yield _server(environment)
    if cohort is not None:
        yield from _disk(cohort.root)
        yield _lock(cohort.root / ".lock")
        yield from _ledger(cohort)
        yield from _left_over(cohort)


def _installation() -> Iterator[Finding]:
    yield Finding("versions", "ok", ", ".join(f"{name} {number}" for name, number in versions().items()))
    yield Finding("system", "ok", f"{platform.system()} {platform.release()} {platform.machine()}")
    yield from (Finding("versions", "fault", fault) for fault in faults())


def _processors() -> Iterator[Finding]:
    usable, there = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    yield Finding("processors", "ok", f"{usable} of {there} may be used, load {os.getloadavg()[0]:.1f}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding("memory", "ok", f"{memory / _GB:.1f} GB")


def _gpu() -> Finding:
    """By the driver's own tool: to load PyTorch would take seconds and a gigabyte."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=10 * _SECONDS, check=True).stdout.split(
            "\n"
        )
    except FileNotFoundError:
        return Finding("gpu", "ok", "none: no NVIDIA driver; profiles but cuda work")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        return Finding("gpu", "look", f"nvidia-smi does not answer ({type(error).__name__}); restart the driver")
    return Finding("gpu", "ok", "; ".join(line.strip() for line in told if line.strip()) or "none")


def _proxy(environment: Mapping[str, str]) -> Finding:
    given = {name: environment.get(name) or environment.get(name.upper(), "") for name in _PROXIES}
    told = [f"{name}={_without_password(value)}" for name, value in given.items() if value]
    return Finding("proxy", "ok", ", ".join(told) or "none")


def _without_password(address: str) -> str:
    return f"***@{address.rpartition('@')[2]}" if "@" in address else address


def _server(environment: Mapping[str, str]) -> Finding:
    address = environment.get("PREFECT_API_URL", "")
    if not address:
        return Finding("server", "ok", "none is named; a run starts one of its own")
    shown = _without_password(address)
    if urlsplit(address).scheme not in ("http", "https"):
        return Finding("server", "fault", f"{shown} is no address; PREFECT_API_URL is like http://host:4200/api")
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=_SECONDS):  # the user's own address
            return Finding("server", "ok", f"{shown} answers")
    except (urllib.error.URLError, TimeoutError, OSError, ValueError) as error:
        return Finding(
            "server", "fault", f"{shown} does not answer ({type(error).__name__}); start it or unset PREFECT_API_URL"
        )


def _disk(root: Path) -> Iterator[Finding]:
    usage, status = shutil.disk_usage(root), os.statvfs(root)
    is_little = usage.free < min(_LITTLE_SPACE, _LITTLE_SHARE * usage.total)
    text = f"{usage.free / _GB:.1f} of {usage.total / _GB:.1f} GB are free"
    yield Finding("disk", "look" if is_little else "ok", text)
    if status.f_files:  # some file systems have no fixed number
        verdict: Verdict = "look" if status.f_favail < _FEW_INODES else "ok"
        yield Finding("inodes", verdict, f"{status.f_favail:,} of {status.f_files:,} are free")
    if not os.access(root, os.W_OK):
        yield Finding("disk", "fault", "the cohort's folder cannot be written to by this user")


def _lock(path: Path) -> Finding:
    try:
        with path.open("rb+") as file:  # NFS locks what may be written to
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return Finding("lock", "ok", "no command has used the cohort yet")
    except PermissionError:
        return Finding("lock", "look", "this user cannot open the lock; whoever made the cohort can")
    except BlockingIOError:
        return Finding("lock", "look", "a command is using the cohort")
    except OSError as error:
        return Finding("lock", "fault", f"the file system has no locks ({type(error).__name__}); two runs could meet")
    return Finding("lock", "ok", "free")


def _ledger(cohort: Cohort) -> Iterator[Finding]:
    path = cohort.ledger
    if not path.is_file():
        yield Finding("ledger", "look", "there is none; `cmr-cohort verify` makes it from the files")
        return
    size, waiting = path.stat().st_size, path.with_name(f"{path.name}-wal")
    n_waiting = waiting.stat().st_size if waiting.exists() else 0
    yield Finding("ledger", "ok", f"{size / 1e6:,.1f} MB, {n_waiting / 1e6:,.1f} MB of it not merged")
    try:
        with sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True, timeout=_SECONDS) as connection:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        is_whole = answer == "ok"
    except sqlite3.Error:
        is_whole = False
    if not is_whole:
        yield Finding("ledger", "fault", "it is damaged; move it away and type `cmr-cohort verify`")


def _left_over(cohort: Cohort) -> Iterator[Finding]:
    runs = [path for path in cohort.runs.glob("[0-9]*") if path.is_dir()]
    stopped = sum(not (path / "finished.json").exists() for path in runs)
    size = sum(path.stat().st_size for path in (cohort.runs / ".prefect").rglob("*") if path.is_file())
    yield Finding(
        "runs", "ok", f"{len(runs)}, {stopped} of them stopped; Prefect's own files take {size / 1e6:,.1f} MB"
    )
