"""The temporary Prefect server ends with the command that started it, however that ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.server import check_server
from tasks.state.mistakes import UserMistake

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


_TABLES_TWICE = """
import asyncio, json, sys
from sqlalchemy import create_engine, inspect

def columns(path):
    looked_at = inspect(create_engine(f"sqlite:///{path}"))
    return {table: {column["name"] for column in looked_at.get_columns(table)} for table in looked_at.get_table_names()}

if sys.argv[2] == "ours":
    from flows.server import _make_tables
    asyncio.run(_make_tables())
else:
    from prefect.server.database import provide_database_interface
    asyncio.run(provide_database_interface().create_db())
print(json.dumps({table: sorted(n) for table, n in columns(sys.argv[1]).items() if table != "alembic_version"}))
"""


def test_the_tables_of_the_server_are_those_that_the_migrations_of_this_prefect_make(tmp_path: Path) -> None:
    made = []
    for way in ("ours", "migrations"):
        path = tmp_path / f"{way}.db"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
        environment |= {"PREFECT_HOME": str(tmp_path / way), "HOME": str(tmp_path)}
        environment |= {"PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{path}"}
        done = subprocess.run(
            [sys.executable, "-c", _TABLES_TWICE, str(path), way],
            env=environment, capture_output=True, text=True, timeout=240, check=True,
        )  # fmt: skip
        made.append(json.loads(done.stdout))
    ours, migrated = made
    assert set(migrated) - set(ours) <= {"deployment_version"}  # which Prefect has given up
    assert set(ours) <= set(migrated)
    assert "flow_run" in ours
    lacking = {table: set(names) - set(migrated[table]) for table, names in ours.items()}
    assert not any(lacking.values())
    left_over = {(table, name) for table in ours for name in set(migrated[table]) - set(ours[table])}
    assert len(left_over) < 10, left_over  # columns that Prefect itself has given up


def test_a_server_that_is_configured_and_does_not_answer_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    begun = time.monotonic()
    with pytest.raises(UserMistake, match=r"no Prefect server answers at http://127\.0\.0\.1:9/api .*unset PREFECT"):
        check_server("http://127.0.0.1:9/api")
    assert time.monotonic() - begun < 11
