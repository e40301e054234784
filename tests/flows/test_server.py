"""The temporary Prefect server ends with the command that started it, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,  # a fresh home of Prefect has its database made first
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc"),
]

_SERVES_AND_IS_KILLED = """
import os, signal, sys
from pathlib import Path
from flows.server import bind_server
server = bind_server(Path(sys.argv[1]))
server.wait_until_ready()
first = server.process.pid
os.kill(first, signal.SIGINT)  # ignored
server._is_ready = False
server.wait_until_ready()
assert server.process.pid == first
os.kill(first, signal.SIGKILL)
server._is_ready = False
server.wait_until_ready()  # by another one, on the same port
assert server.process.pid != first
print(server.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_server_that_died_is_replaced_and_the_server_of_a_killed_command_ends(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"HOME": str(tmp_path / "home"), "PREFECT_HOME": str(tmp_path / "home")}
    command = subprocess.run(
        [sys.executable, "-c", _SERVES_AND_IS_KILLED, str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=240,
    )
    assert command.returncode == -signal.SIGKILL
    server = int(command.stdout)
    deadline = time.monotonic() + 10
    while _is_alive(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _is_alive(server)
