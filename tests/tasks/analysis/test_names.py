"""A name that is nowhere is found before any work, in one line that says what, where and which is near."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from cmr_models.simulate.measured import example_tables
from tasks.analysis.names import check_profile, check_settings_names, check_spec_names
from tasks.analysis.settings import AnalysisSettings
from tasks.state.mistakes import UserMistake


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cohort")
    phenotypes, participants, outcomes = example_tables(40, np.random.default_rng(0))
    (root / "tables").mkdir()
    phenotypes.to_parquet(root / "tables" / "phenotypes.parquet")
    participants.to_csv(root / "participants.csv", index=False)
    outcomes.to_csv(root / "outcomes.csv", index=False)
    return root


def _check(folder: Path, participants: str = "participants.csv", **changes: Any) -> None:
    settings = AnalysisSettings(**changes)
    check_settings_names("cohort.toml", settings, folder / participants, folder / "outcomes.csv", folder)


def test_a_cohort_may_lack_some_of_the_conditions_that_nobody_named(folder: Path, tmp_path: Path) -> None:
    outcomes = pd.read_csv(folder / "outcomes.csv")
    outcomes[outcomes["condition"] == "heart_failure"].to_csv(tmp_path / "outcomes.csv", index=False)
    settings = AnalysisSettings()
    assert len(settings.conditions) > 1
    check_settings_names("cohort.toml", settings, folder / "participants.csv", tmp_path / "outcomes.csv", folder)


def test_right_names_pass(folder: Path) -> None:
    _check(folder)
    _check(folder, conditions=("heart_failure",), group_by=("sex x age_band",), types={"centre": "text"})


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"covariates": ("sexx",)},
            "covariates: there is no column of participants.csv 'sexx'; did you mean 'sex'?",
        ),
        (
            {"strata": ("Centre",)},
            "strata: there is no column of participants.csv 'Centre'; did you mean 'centre'?",
        ),
        ({"group_by": ("sex x etnicity",)}, "'etnicity'; did you mean 'ethnicity'?"),
        ({"types": {"smokin": "text"}}, "analysis.types: there is no column of participants.csv 'smokin'"),
        ({"phenotypes": ("lvef",)}, "analysis.phenotypes: there is no phenotype 'lvef'; did you mean 'lvef_pct'?"),
        ({"families": {"left": ("lvedv",)}}, "analysis.families: there is no phenotype 'lvedv'"),
        (
            {"conditions": ("heart failure",)},
            "in outcomes.csv 'heart failure'; did you mean 'heart_failure'?",
        ),
        ({"participant_columns": {"sex": "Sex_"}}, "analysis.participant_columns: there is no column of"),
        ({"outcome_columns": {"event": "evnt"}}, "analysis.outcome_columns: there is no column of outcomes.csv 'evnt'"),
        ({"participants": "participant.csv"}, "there is no file 'participant.csv'; did you mean 'participants.csv'?"),
    ],
)
def test_a_wrong_name_is_one_line_with_the_nearest(folder: Path, changes: dict[str, Any], line: str) -> None:
    with pytest.raises(UserMistake) as caught:
        _check(folder, **changes)
    assert line in str(caught.value)
    assert str(caught.value).startswith("cohort.toml, ")
    assert "\n" not in str(caught.value)


def test_a_table_of_people_alone_needs_no_covariates(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("participant,visit,height_cm\n1,2,170\n")
    check_settings_names("cohort.toml", AnalysisSettings(), tmp_path / "people.csv", None, folder)


def test_a_profile_is_one_of_the_known_or_an_address() -> None:
    check_profile("cohort.toml", "slurm")
    check_profile("cohort.toml", "tcp://10.0.0.1:8786")
    with pytest.raises(UserMistake, match="there is no profile 'slrum'; did you mean 'slurm'"):
        check_profile("cohort.toml", "slrum")


_SPEC: dict[str, Any] = {
    "name": "own",
    "tables": {"participants": "participants.csv", "outcomes": "outcomes.csv"},
    "conditions": ["heart_failure"],
    "exposures": [{"name": "lvef_pct"}],
    "covariate_sets": {"small": ["sex"]},
    "primary": "small",
}


def _check_spec(folder: Path, **changes: Any) -> None:
    (folder / "spec.yaml").write_text(yaml.safe_dump({**_SPEC, **changes}))
    check_spec_names(folder / "spec.yaml", folder)


def test_a_spec_with_right_names_passes(folder: Path) -> None:
    _check_spec(folder)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"conditions": ["hart_failure"]}, "conditions: there is no condition in outcomes.csv 'hart_failure'"),
        ({"exposures": [{"name": "lvef"}]}, "exposures: there is no phenotype 'lvef'; did you mean 'lvef_pct'?"),
        ({"covariate_sets": {"small": ["sexs"]}}, "covariate_sets.small: there is no column of people 'sexs'"),
        (
            {"fairness": {"group_by": ["center"]}},
            "fairness.group_by: there is no column of people 'center'; did",
        ),
        ({"prediction": {"steps": {"a": ["bmi"]}}}, "prediction.steps.a: there is no column of people 'bmi'"),
        (
            {"exclusions": [{"name": "x", "column": "agee", "below": 1}]},
            "exclusions: there is no column of people",
        ),
        (
            {"fairness": {"margins": {"cox_agee": 0.2}}},
            "fairness.margins: there is no model with gaps 'cox_agee'; did you mean 'cox_age'?",
        ),
        (
            {"fairness": {"margins": {"mean/lvef_pc": 0.2}}},
            "fairness.margins: there is no phenotype 'lvef_pc'; did you mean 'lvef_pct'?",
        ),
        (
            {"participation": {"margins": {"sexx": {"male": 1.0}}}},
            "participation.margins: there is no column of people",
        ),
        ({"fairness": {"quality": ["dic"]}}, "fairness.quality: there is no column of people 'dic'"),
        ({"prediction": {"fold_by": "center"}}, "'center'; did you mean 'centre'?"),
        ({"departures": [{"path": "seed", "why": "another draw"}]}, "departures: there is no departure at 'seed'"),
        (
            {"tables": {"participants": "participants.csv", "outcomes": "outcomes.csv", "withdrawn": "gone.csv"}},
            "tables.withdrawn: there is no file 'gone.csv'",
        ),
        ({"features": {"table": "cnn"}}, "features.table: there is no table of predictions 'cnn'"),
        (
            {"tables": {"participants": "people.csv", "outcomes": "outcomes.csv"}},
            "tables.participants: there is no file 'people.csv'",
        ),
    ],
)
def test_a_wrong_name_in_a_spec_is_one_line(folder: Path, changes: dict[str, Any], line: str) -> None:
    with pytest.raises(UserMistake) as caught:
        _check_spec(folder, **changes)
    assert line in str(caught.value)
    assert str(caught.value).startswith("spec.yaml, ")
