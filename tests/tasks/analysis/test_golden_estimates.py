"""Every estimate of a simulated cohort of 600 people is the one that was reviewed (:mod:`golden_tables`)."""

from pathlib import Path

import pandas as pd
import pytest
from golden_tables import check, digest

from tasks.analysis.by_settings import UserFiles, associate, risk
from tasks.analysis.settings import AnalysisSettings
from tasks.simulation import SimulationSettings, write_measured_cohort

_NAMES = ("associations", "hazards", "discrimination", "survival_curves", "fairness")
_ROW = ("outcome", "exposure", "model", "measure", "scale", "group_by", "group")
_ALSO = {"survival_curves": ("years",), "fairness": ("gap_groups",)}
_SHARE = {"": 1e-5}
"""Iterations end within this share of each other on processors of other kinds."""

SETTINGS = AnalysisSettings(
    phenotypes=("lvef_pct", "lvm_g"),
    conditions=("hypertension", "myocardial_infarction", "death"),
    covariates=("sex", "height_cm"),
    group_by=("sex", "age_band"),
    permutations=19,
    curve_groups=3,
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    write_measured_cohort(folder, SimulationSettings(people=600, seed=20))
    files = UserFiles(folder / "participants.csv", folder / "outcomes.csv")
    for stage in (associate, risk):
        assert stage(folder / "cohort", SETTINGS, files)["status"] == "done"
    return folder / "cohort"


@pytest.mark.parametrize("name", _NAMES)
def test_golden_estimates_are_as_reviewed(cohort: Path, name: str) -> None:
    table = pd.read_parquet(cohort / "tables" / "estimates" / f"{name}.parquet").drop(columns="spec_digest")
    check(name, table, [*_ROW, *_ALSO.get(name, ())], _SHARE)


def test_golden_measurements_are_as_reviewed(cohort: Path) -> None:
    table = pd.read_parquet(cohort / "tables" / "phenotypes.parquet").drop(columns="key")
    check("measured", table.iloc[::20], ["study"], _SHARE)


def test_golden_people_flow_is_as_reviewed(cohort: Path) -> None:
    table = pd.read_parquet(cohort / "tables" / "people_flow.parquet")
    check("people_flow", table, ["outcome", "group_by", "step"], {"": 0.0})


def test_the_changelog_speaks_of_the_golden_tables_as_they_are() -> None:
    changelog = (Path(__file__).parents[3] / "CHANGELOG.md").read_text()
    assert f"golden {digest()}" in changelog, (
        f"the kept tables have changed: say in CHANGELOG.md, under *Numbers change*, which and why (golden {digest()})"
    )
