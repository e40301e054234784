"""The Prefect server that a command starts where none is configured, such that it ends with the command.

    python -m flows.server PORT

Prefect stops its temporary server when the command exits; one that is killed would leave it running. So the server
reads from a pipe that only the command holds open: when the command is gone, however it ended, so is the server.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Any

_APP = "prefect.server.api.server:create_app"


def bind_server() -> None:
    """Have Prefect's temporary server, should one be needed, end with this process."""
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL, get_current_settings

    class BoundServer(SubprocessASGIServer):
        """Prefect's own, started as the child of this module rather than of uvicorn's command line."""

        def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
            set_here = get_current_settings().to_environment_variables(exclude_unset=True)
            ephemeral = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
            return subprocess.Popen(
                [sys.executable, "-m", "flows.server", str(self.port)],
                stdin=subprocess.PIPE,
                env={**os.environ, **ephemeral, **set_here},
            )

    if not PREFECT_API_URL.value():
        BoundServer()  # the one instance of this process: Prefect finds it when it looks for its server


def main() -> None:
    """Serve on the port that is given until the pipe closes."""
    import uvicorn

    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    uvicorn.run(_APP, factory=True, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="on")


def _end_with_the_pipe() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)  # nobody is left to wait for it; SQLite recovers from its journal


if __name__ == "__main__":
    main()
