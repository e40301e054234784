"""The Prefect server that a command starts where none is configured: it works for one command, and cannot stop it.

    python -m flows.server DESCRIPTOR

The command opens the socket and the server accepts on it. So a request made before the server is ready, or while a new
one replaces a server that died, waits and does not fail. The server runs in a session of its own and ignores SIGINT:
Ctrl-C on the terminal is for the command alone. It reads from a pipe that only the command holds open: when the command
is gone, however it ended, so is the server. Its database is in the cohort's ``runs/``.

It answers this command alone. Every request needs a string that is drawn for the command and known to both processes;
requests that a web page makes, under another name of this machine or from another origin, are refused before that.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import http
import http.client
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tasks.state.mistakes import UserMistake

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = "127.0.0.1"
_STARTUP_S = 180.0  # the first start makes the database, on a busy machine
_MAX_DEATHS = 5
_ANSWER_S = 10.0
_OFF = dict.fromkeys(
    (
        "PREFECT_SERVER_ANALYTICS_ENABLED",
        "PREFECT_SERVER_UI_ENABLED",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED",
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START",  # see _make_tables
    ),
    "false",
)
DATABASE = f"prefect-{version('prefect')}.db"
"""Another version begins a new one: it would have to change the tables of the old one."""
_HERE: list[EmbeddedServer] = []
"""The server of this process, if it has one."""

_log = logging.getLogger("cmr_cohort")


class EmbeddedServer:
    """A Prefect server of this process, started again if it dies.

    Args:
        home: folder of its database and log; made here.
    """

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._home = home
        (home / "server.log").unlink(missing_ok=True)
        self._socket = socket.socket()
        self._socket.bind((_HOST, 0))
        self._socket.listen(128)
        self._ends = self._is_ready = False
        self.port: int = self._socket.getsockname()[1]
        self.password = f"cmr-cohort:{secrets.token_urlsafe(32)}"
        self.process = self._spawn()
        threading.Thread(target=self._watch, name="prefect-server-watch", daemon=True).start()

    def wait_until_ready(self, timeout_s: float = _STARTUP_S) -> None:
        """Wait for the first answer.

        Raises:
            RuntimeError: if there is none in ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        while not self._is_ready and time.monotonic() < deadline and not self._ends:
            self._is_ready = self._answers(deadline - time.monotonic())
        if not self._is_ready:
            raise RuntimeError(f"Prefect's server did not start; see {self._home / 'server.log'}")

    def _answers(self, timeout_s: float) -> bool:
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=timeout_s)
        try:
            connection.request("GET", "/api/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):  # it died, and another is on its way
            time.sleep(0.05)
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """End the server; it has nothing to save."""
        self._ends = True
        self.process.kill()
        self.process.wait()
        _close(self.process)
        self._socket.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log() as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "flows.server", str(self._socket.fileno())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._home,  # Prefect takes settings from files of the working directory
                env=self._environment(),
                pass_fds=[self._socket.fileno()],
                start_new_session=True,
            )

    def _log(self) -> IO[bytes]:
        return (self._home / "server.log").open("ab")

    def _environment(self) -> dict[str, str]:
        database = {
            "PREFECT_HOME": str(self._home),
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{self._home / DATABASE}",
        }
        closed = {  # another user cannot read the environment of a process
            "PREFECT_SERVER_API_AUTH_STRING": self.password,
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{_HOST}:{self.port}",
        }
        ephemeral = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
        return {**os.environ, **_OFF, **ephemeral, **database, **closed}

    def _watch(self) -> None:
        """Start the server again when it died; with a new database if twice it has never answered.

        Where it cannot be started, as its folder is gone or the disk full, requests fail and do not wait.
        """
        for n_deaths in range(1, _MAX_DEATHS + 1):
            died = self.process
            died.wait()
            if self._ends:
                return
            _close(died)
            if n_deaths > 1 and not self._is_ready:
                self._forget_database()
            try:
                self.process = self._spawn()
            except OSError as error:
                _log.warning("Prefect's server ended and could not be started again: %s", error.strerror)
                break
        self._socket.close()  # requests fail from now on, and do not wait

    def _forget_database(self) -> None:
        """It may be the reason; it holds nothing that a run needs."""
        for path in self._home.glob(f"{DATABASE}*"):
            path.unlink(missing_ok=True)


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe that the command holds open."""
    if process.stdin is not None:
        process.stdin.close()


def _home_in(runs: Path) -> Path:
    return runs.resolve() / ".prefect"


def check_server(address: str) -> None:
    """Whether the server that is configured answers at ``address`` of its API.

    Raises:
        UserMistake: if it does not.
    """
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=_ANSWER_S).close()
    except urllib.error.HTTPError:
        return  # it answers, if only that it wants to know who asks
    except (OSError, ValueError) as error:
        raise UserMistake(
            f"PREFECT_API_URL: no Prefect server answers at {address} ({getattr(error, 'reason', error)}); start it, or"
            " unset PREFECT_API_URL: a command then starts one for itself"
        ) from error


def bind_server(runs: Path) -> EmbeddedServer | None:
    """Start the server of this command and have Prefect use it; None where another one is configured.

    It starts before this process has imported Prefect, which takes as long as the start of the server.

    Args:
        runs: the cohort's folder of runs, for its database and log.

    Raises:
        UserMistake: if the other one does not answer.
    """
    if _HERE:
        return _HERE[0]
    if address := os.environ.get("PREFECT_API_URL"):
        check_server(address)
        _load_prefect(_home_in(runs))
        return None
    server = EmbeddedServer(_home_in(runs))
    with contextlib.chdir(_home_in(runs)):
        return _bound(server)


def _bound(server: EmbeddedServer) -> EmbeddedServer | None:
    """Have Prefect use ``server``, unless its settings name another one.

    It takes settings from files of the working directory, and code by them; so does every copy of its settings.
    """
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL

    if address := PREFECT_API_URL.value():
        server.stop()
        check_server(str(address))
        return None

    class BoundServer(SubprocessASGIServer):
        """What Prefect takes for its own temporary server."""

        def start(self, timeout: int | None = None) -> None:
            """Wait until the server answers."""
            self.port = server.port
            server.wait_until_ready()
            self.server_process = server.process
            self.running = True

        def stop(self) -> None:
            """Nothing: it ends with the command."""

    _show_the_password(server.password)
    BoundServer()  # the one instance of this process: Prefect finds it when it looks for its server
    _HERE.append(server)
    atexit.register(server.stop)
    return server


def _load_prefect(home: Path) -> None:
    """Import it in a folder of the cohort, as :func:`_bound` does."""
    home.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(home):
        import prefect.context

        prefect.context.get_settings_context()


def _show_the_password(password: str) -> None:
    """Have Prefect send it with every request of this process; no other process inherits it."""
    import prefect.context
    from prefect.settings import PREFECT_API_AUTH_STRING

    context = prefect.context.get_settings_context()
    settings = context.settings.copy_with_update(updates={PREFECT_API_AUTH_STRING: password})
    prefect.context.GLOBAL_SETTINGS_CONTEXT = prefect.context.SettingsContext(
        profile=context.profile, settings=settings
    )


def main() -> None:
    """Serve on the socket that is given until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_serve, args=(int(sys.argv[1]),), daemon=True).start()
    sys.stdin.buffer.read()
    os._exit(0)  # nobody is left to wait for it; SQLite recovers from its journal


def _serve(descriptor: int) -> None:
    import uvicorn

    try:
        asyncio.run(_make_tables())
        config = uvicorn.Config(_app(), log_level="error", lifespan="on")
        uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])
    except BaseException:
        traceback.print_exc()  # into the log of the server
        raise
    finally:
        os._exit(1)  # the command starts another


def _app() -> ASGIApp:
    """Prefect's application for requests to this address, not to a name that a web page has made point to it."""
    from fastapi.middleware.trustedhost import TrustedHostMiddleware
    from prefect.server.api.server import create_app

    return TrustedHostMiddleware(_api_alone(create_app()), allowed_hosts=[_HOST], www_redirect=False)


def _api_alone(app: ASGIApp) -> ASGIApp:
    """``app`` without its pages, which describe it to whoever asks."""
    from fastapi import Response

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        is_request = scope["type"] in ("http", "websocket")
        if is_request and not scope["path"].startswith("/api/"):
            await Response(status_code=http.HTTPStatus.NOT_FOUND)(scope, receive, send)
            return
        await app(scope, receive, send)

    return answer


async def _make_tables() -> None:
    """The tables of a new database, at once: Prefect's own way, a hundred migrations, takes ten times as long."""
    from prefect.server.database import provide_database_interface
    from sqlalchemy.schema import CreateIndex, CreateTable

    database = provide_database_interface()
    engine = await database.engine()
    async with engine.begin() as connection:
        for table in database.Base.metadata.sorted_tables:
            await connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:  # some are declared twice
                await connection.execute(CreateIndex(index, if_not_exists=True))
    await engine.dispose()


if __name__ == "__main__":
    main()
