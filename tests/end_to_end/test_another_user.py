"""What another user of the machine can see of a run and do to it while it works: nothing but that it is there.

The run is root's, as these tests are; the attacker has another number and looks at everything that it can reach, again
and again until the run ends: processes, ports, sockets, folders, temporary files and shared memory.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.fuzz import seeds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]

_ATTACKER = Path(__file__).with_name("another_user.py")
_OURS = ("/dev/shm", *(f"{tempfile.gettempdir()}/{name}" for name in ("cmr", "dask", "pymp")))


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A folder that every user can enter and read."""
    with tempfile.TemporaryDirectory(prefix="everybodys-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def seen(base: Path) -> tuple[dict[str, Any], set[str]]:
    """What the attacker has found, and what it must not: the password of the server and lines of the key of Dask."""
    (base / "archive").mkdir()
    for k in range(3):
        (base / f"archive/{k}.dcm").write_bytes(seeds.dicom_bytes(seeds.image(k)))
    (base / "cohort.toml").write_text(
        'directory = "cohort"\nsources = ["archive"]\n[compute]\nprofile = "local"\nworkers = 1\n'
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    since = time.time()
    with _attacker(base, since) as attacker:
        run = subprocess.Popen(
            [sys.executable, "-c", "from flows.start import main; main()", "run", "--config", "cohort.toml"],
            cwd=base, env=environment | {"HOME": str(base / "home")}, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, umask=0o022,
        )  # fmt: skip
        secrets = _attacked(run, attacker, base)
        _, said = run.communicate(timeout=300)
        assert run.returncode in (0, 3), said
        found = json.loads(attacker.communicate(timeout=60)[0].splitlines()[-1])
    return found, secrets


def _attacker(base: Path, since: float) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, _ATTACKER, base, str(since)],
        cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _attacked(run: "subprocess.Popen[str]", attacker: "subprocess.Popen[str]", base: Path) -> set[str]:
    """Have the attacker look until the run has ended; the secrets that processes of the run have held meanwhile."""
    assert attacker.stdin is not None
    assert attacker.stdout is not None
    secrets: set[str] = set()
    while run.poll() is None:
        family, ports = [], set()
        for process in (psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)):
            try:
                family.append(process.pid)
                ports |= {c.laddr.port for c in process.net_connections("inet") if c.status == "LISTEN"}
                word = process.environ().get("PREFECT_SERVER_API_AUTH_STRING", "")
                secrets |= {word.partition(":")[2]} - {""}
            except psutil.Error:
                continue
        folders = [str(path) for path in (base / "cohort", *(base / "cohort").glob("*"))]
        attacker.stdin.write(json.dumps({"pids": family, "ports": sorted(ports), "folders": folders}) + "\n")
        attacker.stdin.flush()
        attacker.stdout.readline()
        time.sleep(0.1)
    return secrets


def test_the_attacker_saw_the_run_at_work(seen: tuple[dict[str, Any], set[str]]) -> None:
    found, secrets = seen
    assert len(secrets) == 1
    assert any("flows.server" in line for line in found["cmdline"])
    assert any("multiprocessing" in line for line in found["cmdline"])  # a worker of Dask
    assert len(found["ports"]) >= 4  # Prefect's server; Dask's scheduler, nanny and worker


def test_no_secret_is_on_a_command_line_and_nothing_of_a_process_can_be_read(
    seen: tuple[dict[str, Any], set[str]],
) -> None:
    found, secrets = seen
    assert not any(secret in line for secret in secrets for line in found["cmdline"])
    assert not any("PRIVATE KEY" in line for line in found["cmdline"])
    assert not [name for name in (*found["read"], *found["listed"], *found["written"]) if name.startswith("/proc")]
    assert "signal" not in found["written"]


def test_no_folder_of_the_cohort_and_no_temporary_file_can_be_read_or_written(
    seen: tuple[dict[str, Any], set[str]], base: Path
) -> None:
    found, _ = seen
    open_to_all = {str(base / name) for name in ("archive", "cohort.toml", "home")}
    reached = {*found["read"], *found["listed"]} - open_to_all
    assert not [name for name in reached if name.startswith((f"{base}/", *_OURS))]
    assert not [name for name in found["written"] if name.startswith((str(base), *_OURS))]


def test_ports_answer_nothing_but_that_somebody_is_there(seen: tuple[dict[str, Any], set[str]]) -> None:
    found, _ = seen
    told = {(path, body) for path, status, body in found["answers"] if status < 400}
    assert told <= {("/api/health", "true")}, told
