"""`infra/prefect.yaml` on a Prefect server: deployed, triggered, picked up by a worker, completed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]
ROOT = Path(__file__).parents[2]


def _prefect(address: str, config: Path, *words: str) -> str:
    environment = {
        **os.environ,
        "PREFECT_API_URL": address,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "CMR_COHORT_HOME": str(ROOT),
        "CMR_COHORT_CONFIG": str(config),
    }
    program = str(Path(sys.executable).with_name("prefect"))
    done = subprocess.run(
        [program, *words], cwd=ROOT, env=environment, text=True, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _runs(address: str) -> list[Any]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return [run for run in client.read_flow_runs() if run.deployment_id is not None]


def test_the_nightly_flow_is_deployed_and_completes(prefect_server: str, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    shutil.rmtree(folder / "cohort/reports")
    settings = folder / "cohort.toml"
    settings.write_text(settings.read_text().replace('profile = "local"', 'profile = "in-process"'))
    _prefect(prefect_server, settings, "work-pool", "create", "cohort", "--type", "process")
    _prefect(prefect_server, settings, "--no-prompt", "deploy", "--all", "--prefect-file", "infra/prefect.yaml")
    assert "0 1 * * *" in _prefect(prefect_server, settings, "deployment", "schedule", "ls", "cohort/nightly")
    _prefect(prefect_server, settings, "deployment", "run", "cohort/nightly")
    _prefect(prefect_server, settings, "worker", "start", "--pool", "cohort", "--run-once")
    triggered = [run for run in _runs(prefect_server) if run.created_by is None or run.created_by.type != "SCHEDULE"]
    states = [run.state.type.value for run in triggered if not run.auto_scheduled]
    assert states == ["COMPLETED"]
    assert (folder / "cohort/reports/index.html").exists()


@pytest.fixture
def standing_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server as a site starts it, with the services that make schedules fire."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PREFECT_API_URL", address)
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "5")
    program = str(Path(sys.executable).with_name("prefect"))
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen([program, "server", "start", "--port", str(port)], stdout=log, stderr=log)
        try:
            _wait(lambda: _answers(f"{address}/health"), 180)
            yield address
        finally:
            server.terminate()
            server.wait(60)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _wait(until: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(1)


def _scheduled(address: str) -> list[dict[str, Any]]:
    """Runs that the scheduler made, not a person."""
    asked = urllib.request.Request(
        f"{address}/flow_runs/filter", data=b"{}", headers={"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return [run for run in json.load(answer) if run["auto_scheduled"]]


def test_a_scheduled_run_starts_by_itself_and_completes(standing_server: str, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    settings = folder / "cohort.toml"
    settings.write_text(settings.read_text().replace('profile = "local"', 'profile = "in-process"'))
    _prefect(standing_server, settings, "work-pool", "create", "cohort", "--type", "process")
    _prefect(standing_server, settings, "--no-prompt", "deploy", "--all", "--prefect-file", "infra/prefect.yaml")
    _prefect(standing_server, settings, "deployment", "schedule", "create", "cohort/nightly", "--interval", "60")
    program = str(Path(sys.executable).with_name("prefect"))
    worker = subprocess.Popen([program, "worker", "start", "--pool", "cohort"], cwd=ROOT)
    try:
        _wait(lambda: any(run["state_type"] == "COMPLETED" for run in _scheduled(standing_server)), 400)
    finally:
        worker.terminate()
        worker.wait(60)
    assert "bulk DML" not in (tmp_path / "server.log").read_text()
