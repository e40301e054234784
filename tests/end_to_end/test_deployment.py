"""`infra/prefect.yaml` on a Prefect server: deployed, triggered, picked up by a worker, completed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]
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
