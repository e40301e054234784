"""One small simulated cohort and one Prefect server for all end-to-end tests."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cmr_models.simulate.dicom import Session
from cmr_models.simulate.perfusion import simulated_scan
from cmr_models.simulate.perfusion.dicom import encode_scan
from tasks.simulation import SimulationSettings, write_cohort

FAULTS = ("truncated_zip", "single_frame_missing")
REAL_SCANS = ("dicom_study/patient1", "sunnybrook_dicom/SCD0000101")
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


@pytest.fixture(scope="session")
def real_cohort(
    real_data: Path, command: Callable[..., "subprocess.Popen[str]"], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The cohort that `cmr-cohort run` made of the scans."""
    sources = [real_data / source for source in REAL_SCANS]
    if missing := [source.name for source in sources if not source.is_dir()]:
        pytest.skip(f"no {' and '.join(missing)} among the real scans")
    folder = tmp_path_factory.mktemp("real")
    named = ", ".join(json.dumps(str(source)) for source in sources)
    (folder / "cohort.toml").write_text(f'directory = "cohort"\nsources = [{named}]\n')
    process = command("run", "--config", folder / "cohort.toml", "--profile", "in-process")
    output, _ = process.communicate(timeout=800)
    assert process.returncode == 0, output
    assert output.rstrip().endswith(f"report: {folder / 'cohort/reports/index.html'}")
    return folder / "cohort"


@pytest.fixture(scope="session")
def perfused(command: Callable[..., "subprocess.Popen[str]"], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a cohort of one person, whose left anterior descending artery is narrow."""
    folder, rng = tmp_path_factory.mktemp("perfused"), np.random.default_rng(31)
    session = Session("1000017", "1.2.3.1", "1.2.3.2", "20240102", 36000.0)
    (folder / "archive").mkdir()
    for k, state in enumerate(("rest", "stress")):
        scan = simulated_scan(rng, stress=state == "stress", territory="LAD" if state == "stress" else None)
        files = encode_scan(
            rng, scan, session, stress=state == "stress", start_s=600 + 900 * k, first_number=40 + 20 * k
        )
        for name, content in files:
            (folder / "archive" / f"{state}_{name}").write_bytes(content)
    (folder / "cohort.toml").write_text('directory = "cohort"\nsources = ["archive"]\n')
    process = command("run", "--config", folder / "cohort.toml")
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    return folder
