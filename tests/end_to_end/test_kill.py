"""A run killed in the middle of a stage: nothing half-written is ever visible, nothing finished is done again."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.store import published_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PATTERNS = {"convert": "studies/*/*/*.zarr.zip", "segment": "predictions/*/*/*/*.zarr.zip"}
N_MEASURABLE = 7


def _files(root: Path, stage: str) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in root.glob(PATTERNS[stage])}


def _kill_in(stage: str, process: "subprocess.Popen[str]", root: Path) -> None:
    deadline = time.monotonic() + 400
    while process.poll() is None and time.monotonic() < deadline:
        if 1 <= len(_files(root, stage)) < N_MEASURABLE:
            break
        time.sleep(0.02)
    assert process.poll() is None, f"the run ended before it could be killed in {stage}"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_killed_run_resumes(cohort: Path, command: Callable[..., "subprocess.Popen[str]"]) -> None:
    settings = cohort / "cohort.toml"
    text = settings.read_text().replace("[compute]", "[compute]\nstudies_per_chunk = 1")
    settings.write_text(text)
    root = cohort / "cohort"
    finished: dict[Path, int] = {}
    for stage in PATTERNS:
        _kill_in(stage, command("run", "--config", settings, "--profile", "in-process"), root)
        visible = {path: inode for name in PATTERNS for path, inode in _files(root, name).items()}
        assert all(published_key(path) for path in visible)
        assert finished.items() <= visible.items()
        finished = visible
    process = command("run", "--config", settings, "--profile", "in-process")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    at_last = {path: inode for name in PATTERNS for path, inode in _files(root, name).items()}
    assert finished.items() <= at_last.items()
    assert len(at_last) == 2 * N_MEASURABLE
    assert not list(root.rglob(".*.tmp"))
