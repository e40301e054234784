"""A run killed in the middle of every stage: nothing half-written is ever visible, nothing finished is done again."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tasks.state.store import published_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3400)]
PATTERNS = {"convert": "studies/*/*/*.zarr.zip", "segment": "predictions/*/*/*/*.zarr.zip"}
N_MEASURABLE = 7
MOMENTS = (
    ("calling", "tasks.derive.derivation.derive_chunk", 4),  # in the middle of the studies
    ("publishing", "phenotypes.parquet", 1),  # between the tables of derive
    ("publishing", "associations.parquet", 1),
    ("publishing", "survival_curves.parquet", 1),  # in the middle of the tables of risk
    ("calling", "tasks.report.study_page.study_page", 3),  # in the middle of the pages
    ("publishing", "reports", 1),  # between the draft and its place
)

Command = Callable[..., "subprocess.Popen[str]"]


def _inodes(root: Path, *patterns: str) -> dict[Path, int]:
    return {path: path.stat().st_ino for pattern in patterns for path in root.glob(pattern)}


def _kill_in(stage: str, process: "subprocess.Popen[str]", root: Path) -> None:
    deadline = time.monotonic() + 400
    while process.poll() is None and time.monotonic() < deadline:
        if 1 <= len(_inodes(root, PATTERNS[stage])) < N_MEASURABLE:
            break
        time.sleep(0.02)
    assert process.poll() is None, f"the run ended before it could be killed in {stage}"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _assert_whole(root: Path) -> None:
    """Whatever carries a final name can be read to its end."""
    assert all(published_key(path) for path in root.glob("*/**/*.zarr.zip"))
    for path in root.glob("tables/**/*.parquet"):
        assert len(pd.read_parquet(path).columns)
    for path in root.glob("reports*/studies/*.html"):
        assert path.read_text().rstrip().endswith("</html>")


def _finished(root: Path) -> dict[Path, int]:
    """Studies, predictions, tables and pages, whether in the report or in its draft, by what they are."""
    pages = {Path(path.name): inode for path, inode in _inodes(root, "reports*/studies/2*.html").items()}
    return _inodes(root, *PATTERNS.values(), "tables/estimates/*.parquet") | pages


def test_xx_run_killed_in_every_stage_resumes(cohort: Path, command: Command, killed_command: Command) -> None:
    settings = cohort / "cohort.toml"
    settings.write_text(settings.read_text().replace("[compute]", "[compute]\nstudies_per_chunk = 1"))
    run, root = ("run", "--config", settings, "--profile", "in-process"), cohort / "cohort"
    finished: dict[Path, int] = {}
    for stage in PATTERNS:
        _kill_in(stage, command(*run), root)
        _assert_whole(root)
        assert finished.items() <= _finished(root).items()
        finished = _finished(root)
    for moment in MOMENTS:
        process = killed_command(*moment, *run)
        output, _ = process.communicate(timeout=600)
        assert process.returncode == -signal.SIGKILL, f"{moment}: {output}"
        _assert_whole(root)
        assert finished.items() <= _finished(root).items()
        finished = _finished(root)
    output, _ = (process := command(*run)).communicate(timeout=600)
    assert process.returncode == 0, output
    assert finished.items() <= _finished(root).items()
    assert len(_inodes(root, *PATTERNS.values())) == 2 * N_MEASURABLE
    assert not [*root.rglob(".*.tmp"), *root.glob("reports.*")]
