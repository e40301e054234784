"""The conversion benchmark still runs, and what it reports is whole."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not (shutil.which("dcm2niix") and shutil.which("unzip")), reason="dcm2niix and unzip are the peers")
def test_the_benchmark_of_a_small_study_runs(tmp_path: Path) -> None:
    out = tmp_path / "convert.json"
    command = [sys.executable, "-m", "benchmarks.convert", "--frames", "6", "--repeats", "1", "--out", str(out)]
    environment = {**os.environ, "CMR_TEST_DATA": str(tmp_path)}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(out.read_text()).values()
    assert result["size_of_nifti"] < 1.0
    assert set(result["cpu_s"]) == {"convert", "floor", "peer"}
    assert "x the floor" in done.stdout
