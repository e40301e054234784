"""A command needs no Prefect server and starts none; one that is configured must answer."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flows import orchestration
from flows.orchestration import all_at_once, check_server, task
from tasks.state.mistakes import UserMistake


@pytest.fixture
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestration, "has_server", lambda: False)


_DOUBLES = """
import multiprocessing, subprocess, sys
def refuse(*_arguments, **_named):
    raise AssertionError("a process was started")
subprocess.Popen.__init__ = refuse
from flows.orchestration import flow, task
@task
def double(stage, n):
    return 2 * n
@flow
def doubled(n):
    return double("double", n)
print(doubled(21))
"""


def test_without_a_configured_server_a_flow_is_a_plain_call(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    done = subprocess.run(
        [sys.executable, "-c", _DOUBLES],
        env={**environment, "HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert not list(tmp_path.glob("*.db"))


@pytest.mark.usefixtures("_no_server")
def test_calls_at_once_run_side_by_side_and_an_error_is_not_lost() -> None:
    meet = threading.Barrier(2, timeout=20)  # passed only by two at the same time
    done: list[int] = []

    @task
    def work(stage: str, n: int) -> None:
        if n < 2:
            meet.wait()
        if n == 2:
            raise OSError("disk")
        done.append(n)

    all_at_once(work, [("a", 0), ("a", 1)])
    assert sorted(done) == [0, 1]
    with pytest.raises(OSError, match="disk"):
        all_at_once(work, [("a", 2)])


def test_a_server_that_does_not_answer_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead:
        @staticmethod
        def value() -> str:
            return "http://127.0.0.1:9/api"

    monkeypatch.setattr(orchestration, "PREFECT_API_URL", Dead)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    begun = time.monotonic()
    with pytest.raises(UserMistake, match=r"no Prefect server answers at http://127.0.0.1:9/api .*unset"):
        check_server()
    assert time.monotonic() - begun < 11
