"""Stage by stage, with a model that no settings file names."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from cmr_models import zoo

Command = Callable[..., "subprocess.Popen[str]"]


def test_what_was_segmented_by_another_model_is_derived_and_verified(
    finished: Path, command: Command, tmp_path: Path
) -> None:
    cohort = tmp_path / "cohort"
    shutil.copytree(finished / "cohort", cohort)
    network, card = zoo.load("default", "segment_sax")
    zoo.save(tmp_path / "mine", network, card)
    before = _phenotypes(cohort)
    _done(command("segment", "--cohort", cohort, "--model", tmp_path / "mine"))
    _done(command("derive", "--cohort", cohort))
    pd.testing.assert_frame_equal(_phenotypes(cohort), before)
    shutil.rmtree(cohort / "predictions" / "default")
    verified = _done(command("verify", "--cohort", cohort))
    assert "damaged 0" in verified or "0 damaged" in verified, verified


def _done(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def _phenotypes(cohort: Path) -> pd.DataFrame:
    table = pd.read_parquet(cohort / "tables" / "phenotypes.parquet")
    return table[["participant", "visit", "status", "reason", "lvedv_ml", "lvef_pct", "rvef_pct"]]
