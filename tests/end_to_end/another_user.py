"""The attacker of ``test_another_user.py``: another user, who looks at all that can be reached of a run.

python another_user.py FOLDER SINCE

reads lines of JSON, ``{"pids": [...], "ports": [...], "folders": [...]}``, and looks at these, at temporary files and
at shared memory that are root's and newer than SINCE. Answers each with a line; at the end with what it has found.
"""

import contextlib
import encodings.idna  # noqa: F401  needed to connect; no more can be imported from a home directory as another user
import http.client
import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

_NOBODY = 65534
_SHARED = (tempfile.gettempdir(), "/dev/shm", "/var/tmp")
_OF_A_PROCESS = ("environ", "mem", "maps", "stack", "auxv", "syscall")
_PAGES = (
    "/", "/api/health", "/api/version", "/api/admin/settings", "/docs", "/openapi.json", "/status", "/metrics",
    "/info/main/workers.html", "/json/identity.json", "/api/flow_runs/filter", "/api/logs/out", "/api/events/in",
)  # fmt: skip

found: dict[str, set[Any]] = {kind: set() for kind in ("cmdline", "read", "listed", "written", "ports", "answers")}


def _tried(kind: str, name: str, action: Callable[[], object]) -> None:
    with contextlib.suppress(OSError, ValueError):
        action()
        found[kind].add(name)


def _read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def _read_something(path: str) -> None:
    """Of a process that has just ended there is nothing to read."""
    with open(path, "rb") as file:
        if not file.read(1):
            raise ValueError(path)


def _write(path: str) -> None:
    with open(path, "ab"):
        pass


def _look_at_process(pid: int) -> None:
    with contextlib.suppress(OSError):
        found["cmdline"].add(Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"))
    for name in _OF_A_PROCESS:
        _tried("read", f"/proc/{name}", partial(_read_something, f"/proc/{pid}/{name}"))
    for name in ("fd", "map_files"):
        _tried("listed", f"/proc/{name}", partial(os.listdir, f"/proc/{pid}/{name}"))
    for name in ("cwd", "root", "exe"):
        _tried("read", f"/proc/{name}", partial(os.readlink, f"/proc/{pid}/{name}"))
    _tried("written", "/proc/signal", lambda: os.kill(pid, 0))


def _look_into(top: str, since: float) -> None:
    for entry in os.scandir(top):
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if status.st_uid != 0 or status.st_ctime < since:
                continue
            path = entry.path
            if entry.is_dir(follow_symlinks=False):
                _look_at_folder(path)
            else:
                _tried("read", path, partial(_read, path))
                _tried("written", path, partial(_write, path))


def _look_at_folder(path: str) -> None:
    _tried("listed", path, lambda: os.listdir(path))
    _tried("written", path, lambda: os.mkdir(f"{path}/planted"))


def _ask(port: int, page: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    method, headers = ("POST" if page.endswith("filter") else "GET"), {"Content-Type": "application/json"}
    try:
        connection.request(method, page, "{}", headers)
        answer = connection.getresponse()
        body = answer.read(400).decode(errors="replace")
        found["answers"].add((page, answer.status, body if answer.status < http.client.BAD_REQUEST else ""))
    except (OSError, http.client.HTTPException):
        pass  # it speaks another protocol
    finally:
        connection.close()


def main(folder: str, since: float) -> None:
    """Look at what each line names until there are no more."""
    os.setgroups([])
    os.setgid(_NOBODY)
    os.setuid(_NOBODY)
    print("ready", flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        for pid in told["pids"]:
            _look_at_process(pid)
        for port in set(told["ports"]) - found["ports"]:
            found["ports"].add(port)
            for page in _PAGES:
                _ask(port, page)
        for top in (*_SHARED, folder):
            _look_into(top, since)
        for path in told["folders"]:
            _look_at_folder(path)
        print("done", flush=True)
    print(json.dumps({kind: sorted(names) for kind, names in found.items()}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
