"""Stage by stage by the command line, with a model that the settings do not name."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cmr_models import zoo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_derive_measures_what_was_segmented_last(
    archive: Path, command: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    source, cohort, model = tmp_path / "archive", tmp_path / "cohort", tmp_path / "renamed"
    source.mkdir()
    shutil.copy(max((archive / "archive").glob("*_20209_2_0.zip"), key=lambda path: path.stat().st_size), source)
    zoo.save(model, *zoo.load("default", "segment_sax"))
    for words in (["convert", source], ["segment", "--model", model], ["derive"]):
        output, _ = (process := command(*words, "--cohort", cohort)).communicate(timeout=300)
        assert process.returncode == 0, output
    assert list((cohort / "predictions").glob("renamed/*/*/*.zarr.zip"))
    assert pd.read_parquet(cohort / "tables/phenotypes.parquet")["status"].tolist() == ["ok"]
