"""The temporary Prefect server ends with the command that started it, however that ends."""

import asyncio
import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.server import EmbeddedServer, check_server
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


_SERVES = """
import json, os, sys
from pathlib import Path
from flows.server import bind_server
server = bind_server(Path(sys.argv[1]))
server.wait_until_ready()
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    n = len(client.read_flow_runs())
is_inherited = "PREFECT_API_AUTH_STRING" in os.environ
print(json.dumps([server.port, server.process.pid, server.password, n, is_inherited]), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, str, Path]]:
    """Port, process and password of the server of a command that has spoken to it, and its folder."""
    folder = tmp_path_factory.mktemp("served")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    with (folder / "stderr").open("w") as said, subprocess.Popen(
        [sys.executable, "-c", _SERVES, str(folder)],
        env={**environment, "HOME": str(folder), "PREFECT_HOME": str(folder), "PREFECT_LOGGING_LEVEL": "DEBUG"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
    ) as command:  # fmt: skip
        assert command.stdout is not None
        port, pid, password, n_runs, is_inherited = json.loads(command.stdout.readline())
        assert n_runs == 0  # it was let in
        assert not is_inherited
        yield port, pid, password, folder
        command.communicate()


def _ask(port: int, path: str, method: str = "POST", body: str = "{}", **headers: str) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        sent = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        connection.request(method, path, body if method == "POST" else None, sent)
        answer = connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): text for name, text in answer.getheaders()}
    finally:
        connection.close()


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(password.encode()).decode()


_RUNS = "/api/flow_runs/filter"


@pytest.mark.parametrize("path", [_RUNS, "/api/admin/settings", "/api/admin/database/clear", "/api/logs/filter"])
def test_who_does_not_know_the_password_is_told_nothing(serving: tuple[int, int, str, Path], path: str) -> None:
    port, _, password, _ = serving
    method = "GET" if path.endswith("settings") else "POST"
    assert _ask(port, path, method)[0] == 401
    for wrong in ("", "cmr-cohort:", password[:-1], f"{password}x"):
        assert _ask(port, path, method, Authorization=_basic(wrong))[0] == 401
    assert _ask(port, path, method, Authorization=f"Bearer {password}")[0] == 401
    assert _ask(port, path, method, body="{}", Content_Type="text/plain")[0] == 401  # needs no leave of a browser


def test_no_page_describes_the_server(serving: tuple[int, int, str, Path]) -> None:
    port, _, password, _ = serving
    for path in ("/", "/docs", "/redoc", "/openapi.json", "/static/prefect-logo-mark-gradient.png", "/apidocs"):
        assert _ask(port, path, "GET")[0] == 404
        assert _ask(port, path, "GET", Authorization=_basic(password))[0] == 404


_SOCKETS = ("/api/events/in", "/api/events/out", "/api/logs/out", "/api/task_runs/subscriptions/scheduled")


async def _first_words(port: int, path: str, token: str, **options: object) -> str:
    """What a websocket answers to a token, or that it was closed or refused."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    try:
        async with connect(f"ws://127.0.0.1:{port}{path}", proxy=None, open_timeout=20, **options) as link:  # type: ignore[arg-type]
            await link.send(json.dumps({"type": "auth", "token": token}))
            return str(json.loads(await asyncio.wait_for(link.recv(), 20))["type"])
    except (WebSocketException, OSError, TimeoutError) as error:
        return type(error).__name__


@pytest.mark.parametrize("path", _SOCKETS)
def test_a_websocket_needs_the_password_and_the_name_of_this_machine_too(
    serving: tuple[int, int, str, Path], path: str
) -> None:
    port, _, password, _ = serving
    spoken = {"subprotocols": ["prefect"]}
    assert asyncio.run(_first_words(port, path, password, **spoken)) == "auth_success"
    for token in ("", password[:-1], "cmr-cohort:"):
        assert asyncio.run(_first_words(port, path, token, **spoken)) == "ConnectionClosedError"
    assert asyncio.run(_first_words(port, path, password)) == "InvalidStatus"  # as old clients speak
    rebound = {**spoken, "host": "127.0.0.1", "port": port}
    assert asyncio.run(_from_a_page(port, path, password, rebound)) == "InvalidStatus"


async def _from_a_page(port: int, path: str, password: str, options: dict[str, object]) -> str:
    """From a page under a name that its owner made point to this machine."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    try:
        async with connect(f"ws://evil.example:{port}{path}", proxy=None, **options) as link:  # type: ignore[arg-type]
            await link.send(json.dumps({"type": "auth", "token": password}))
            return str(await link.recv())
    except InvalidStatus as error:
        return type(error).__name__


def test_who_knows_it_is_answered(serving: tuple[int, int, str, Path]) -> None:
    port, _, password, _ = serving
    assert _ask(port, _RUNS, Authorization=_basic(password))[0] == 200


def test_a_web_page_is_refused_even_with_the_password(serving: tuple[int, int, str, Path]) -> None:
    port, _, password, _ = serving
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", ""):
        assert _ask(port, _RUNS, Host=host, Authorization=_basic(password))[0] == 400
        assert _ask(port, "/api/health", "GET", Host=host)[0] == 400
    asked = {"Origin": "http://evil.example", "Access_Control_Request_Method": "POST"}
    status, headers = _ask(port, _RUNS, "OPTIONS", **asked)
    assert status == 400
    assert "access-control-allow-origin" not in headers
    _, headers = _ask(port, _RUNS, Origin="http://evil.example", Authorization=_basic(password))
    assert headers.get("access-control-allow-origin", "") not in ("*", "http://evil.example")


def test_the_password_is_on_no_command_line_in_no_log_and_not_for_other_users(
    serving: tuple[int, int, str, Path],
) -> None:
    port, pid, password, folder = serving
    secret = password.partition(":")[2]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert secret not in process.read_bytes().decode(errors="replace")
    assert not any(secret.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    environment = Path(f"/proc/{pid}/environ")
    assert stat.S_IMODE(environment.stat().st_mode) == 0o400
    assert environment.stat().st_uid == os.getuid()
    listening = [c.laddr for c in psutil.Process(pid).net_connections("inet") if c.status == "LISTEN"]
    assert {tuple(address) for address in listening} == {("127.0.0.1", port)}


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


def test_a_server_that_cannot_be_started_again_is_given_up(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "home")
    try:
        shutil.rmtree(tmp_path / "home")
        server.process.kill()
        deadline = time.monotonic() + 10
        while _takes_connections(server.port) and time.monotonic() < deadline:  # it does as long as it is watched
            time.sleep(0.05)
        assert not _takes_connections(server.port)
    finally:
        server.stop()


def _takes_connections(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0
