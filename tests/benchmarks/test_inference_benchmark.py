"""The inference benchmark still runs, on a tiny network, and the published way and ours agree."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_the_benchmark_of_a_tiny_network_runs(tmp_path: Path) -> None:
    out = tmp_path / "inference.json"
    command = [sys.executable, "-m", "benchmarks.inference", "--size", "tiny", "--frames", "1", "--slices", "2"]
    command += ["--repeats", "1", "--seeds", "2"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, "--out", str(out)], cwd=root, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["labels_that_agree"] > 0.95
    assert result["flop_per_frame"] > 1e9
    assert result["bf16_logit_error"]["max"] <= 1e-2
    assert result["stage_over_published"] > 0
