"""The notebooks run on a cohort."""

import json
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient

from cmr_models.simulate.measured import measure_phenotypes
from flows.settings import read_settings
from tasks.analysis.by_settings import UserFiles, risk
from tasks.simulation import measured_table

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture
def larger(finished: Path, tmp_path: Path) -> Path:
    """The finished cohort with its own settings, and 300 people more in its tables, measured without images."""
    folder = tmp_path / "work"
    shutil.copytree(finished, folder)
    path = folder / "cohort/tables/phenotypes.parquet"
    imaged = pd.read_parquet(path)
    measured = measure_phenotypes(pd.read_parquet(folder / "truth.parquet"), np.random.default_rng(0))
    measured = measured_table(measured.assign(height_cm=np.nan, weight_kg=np.nan))
    pd.concat([imaged, measured[~measured["study"].isin(imaged["study"])]], ignore_index=True).to_parquet(path)
    files = UserFiles(folder / "participants.csv", folder / "outcomes.csv")
    settings = read_settings(folder / "cohort.toml").analysis  # of `make demo`: other covariates than the defaults
    assert settings.covariates == ("sex",)
    risk(folder / "cohort", settings.model_copy(update={"permutations": 19}), files)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, larger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMR_COHORT_FOLDER", str(larger / "cohort"))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    assert "refitted" in json.dumps(notebook.cells[-1].outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    assert not any(cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells)
