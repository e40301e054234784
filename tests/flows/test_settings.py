"""cohort.toml: checked at the door, paths relative to the file, the environment above it."""

import json
from pathlib import Path

import pydantic
import pytest

from cmr_models.analysis.model_spec import AnalysisSpec
from flows.planning import resolved_settings
from flows.settings import read_settings


def _write(folder: Path, text: str) -> Path:
    (folder / "archive").mkdir(exist_ok=True)
    path = folder / "cohort.toml"
    path.write_text('directory = "cohort"\nsources = ["archive"]\n' + text)
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    settings = read_settings(_write(tmp_path, 'participants = "people.csv"\n'))
    assert settings.directory == tmp_path / "cohort"
    assert settings.sources == (tmp_path / "archive",)
    assert settings.participants == tmp_path / "people.csv"


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMR_COHORT_COMPUTE__PROFILE", "slurm")
    settings = read_settings(_write(tmp_path, '[compute]\nprofile = "local"\nworkers = 3\n'))
    assert (settings.compute.profile, settings.compute.workers) == ("slurm", 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[analysis]\nminimum_cell = 0\n", "minimum_cell"),
        ("[convert]\nframes_missing_max = 2\n", "frames_missing_max"),
        ("[segment]\nprecison = 'fp32'\n", "precison"),
        ("[segment]\nprecision = 'fp8'\n", "precision"),
        ("unknown = 1\n", "unknown"),
    ],
)
def test_a_wrong_setting_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        read_settings(_write(tmp_path, text))


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path, "")
    (tmp_path / "archive").rmdir()
    with pytest.raises(pydantic.ValidationError, match="archive"):
        read_settings(path)


def test_settings_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cohort\.toml"):
        read_settings(tmp_path / "cohort.toml")


def test_settings_are_saved_with_the_defaults_of_the_analysis(tmp_path: Path) -> None:
    resolved = resolved_settings(read_settings(_write(tmp_path, "[analysis]\nseed = 7\n")))
    assert resolved["analysis"]["seed"] == 7
    assert resolved["analysis"]["covariates"] == list(AnalysisSpec().covariates)
    assert None not in resolved["analysis"].values()
    assert json.loads(json.dumps(resolved))["analysis"]["horizon_years"] == AnalysisSpec().horizon_years
