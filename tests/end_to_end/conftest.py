"""One small simulated cohort and one Prefect server for all end-to-end tests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tasks.simulation import SimulationSettings, write_cohort

FAULTS = ("truncated_zip", "single_frame_missing")
SETTINGS = SimulationSettings(people=300, imaged=8, frames=20, faults=FAULTS, seed=5)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated cohort, not run yet; never write into it."""
    folder = tmp_path_factory.mktemp("simulated")
    for _ in write_cohort(folder, SETTINGS, workers=2):
        pass
    return folder


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """The address of one server that the session's flows talk to."""
    os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "180"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        address = PREFECT_API_URL.value()
        assert address
        yield address


@pytest.fixture
def cohort(archive: Path, tmp_path: Path) -> Path:
    """A copy of the simulated cohort to work in."""
    shutil.copytree(archive, tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture(scope="session")
def command(prefect_server: str) -> Callable[..., "subprocess.Popen[str]"]:
    """Start ``cmr-cohort`` as a user would."""
    return partial(_start, prefect_server, [Path(sys.executable).with_name("cmr-cohort")])


@pytest.fixture(scope="session")
def killed_command(prefect_server: str) -> Callable[..., "subprocess.Popen[str]"]:
    """Start ``cmr-cohort`` such that it is killed at a moment: see ``killed_at.py``."""
    return partial(_start, prefect_server, [sys.executable, Path(__file__).with_name("killed_at.py")])


def _start(server: str, program: list[str | Path], *arguments: str | int | Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PREFECT_API_URL": server, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [str(word) for word in (*program, *arguments)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.fixture(scope="session")
def finished(
    archive: Path, command: Callable[..., "subprocess.Popen[str]"], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A cohort that went through everything once; never write into it."""
    folder = tmp_path_factory.mktemp("finished") / "work"
    shutil.copytree(archive, folder)
    process = command("run", "--config", folder / "cohort.toml", "--profile", "in-process")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert output.rstrip().endswith(f"report: {folder / 'cohort/reports/index.html'}")
    return folder
