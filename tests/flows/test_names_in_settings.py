"""Every name in the settings is looked up before any work; one that is nowhere is a line with the nearest there is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from flows.cli import main
from tasks.simulation import LARGE_COHORT, SimulationSettings, write_measured_cohort

SCHEMA = Path(__file__).parents[2] / "docs/settings.schema.json"

# Setting -> what is written (TOML, in its section), and the name that is offered.
MISSPELT = {
    "access": ('access = "grup"', "group"),
    "sources": ('sources = ["archiv"]', "archive"),
    "participants": ('participants = "participant.csv"', "participants.csv"),
    "outcomes": ('outcomes = "outcome.csv"', "outcomes.csv"),
    "withdrawn": ('withdrawn = "withdrawal.csv"', "withdrawn.csv"),
    "segment.model": ('model = "defautl"', "default"),
    "segment.precision": ('precision = "fp23"', "fp32"),
    "segment.padding": ('padding = "blak"', "black"),
    "derive.basal_slices": ('basal_slices = "part"', "parts"),
    "compare.dice_min": ("dice_min = {myocardum = 0.8}", "myocardium"),
    "compare.bias_max": ("bias_max = {lvef_pc = 3.0}", "lvef_pct"),
    "compare.agreement_max": ("agreement_max = {rvef_pc = 9.0}", "rvef_pct"),
    "compute.profile": ('profile = "lokal"', "local"),
    "compute.cluster": ('profile = "local"\ncluster = {memory_limits = "4GB"}', "memory_limit"),
    "analysis.phenotypes": ('phenotypes = ["lvef_pc"]', "lvef_pct"),
    "analysis.conditions": ('conditions = ["heart_failur"]', "heart_failure"),
    "analysis.covariates": ('covariates = ["Sexx"]', "sex"),
    "analysis.strata": ('strata = ["center"]', "centre"),
    "analysis.families": ('families = {left = ["lvedv"]}', "lvedv_ml"),
    "analysis.group_by": ('group_by = ["sex x age_bnd"]', "age_band"),
    "analysis.margins": ("margins = {cox_aeg = 0.2}", "cox_age"),
    "analysis.margins, phenotype": ('margins = {"adjusted_mean/lvef_pc" = 2.0}', "lvef_pct"),
    "analysis.types": ('types = {smokin = "text"}', "smoking"),
    "analysis.types, value": ('types = {smoking = "txt"}', "text"),
    "analysis.participant_columns": ('participant_columns = {age_yaers = "age_years"}', "age_years"),
    "analysis.participant_columns, value": ('participant_columns = {age_years = "age_yers"}', "age_years"),
    "analysis.outcome_columns": ('outcome_columns = {evnt = "event"}', "event"),
    "analysis.outcome_columns, value": ('outcome_columns = {event = "evnt"}', "event"),
}
# Texts that name nothing: they are made or shown.
FREE = {"directory", "metrics", "analysis.missing_values", "report.title"}


def _holds_text(row: dict[str, Any]) -> bool:
    """Whether a setting is text, a list or mapping of text, or a mapping (whose keys are text)."""
    kinds = [row, *row.get("anyOf", [])]
    items = [kind.get("items", {}) for kind in kinds]
    return any(kind.get("type") in ("string", "object") for kind in [*kinds, *items])


def _texts(part: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, row in part["properties"].items():
        if "$ref" in row:
            found |= _texts(schema["$defs"][row["$ref"].rpartition("/")[2]], schema, f"{prefix}{name}.")
        elif _holds_text(row):
            found.add(prefix + name)
    return found


def test_every_setting_that_is_text_is_a_name_that_is_tried_here_or_free() -> None:
    schema = json.loads(SCHEMA.read_text())
    assert _texts(schema, schema) == {name.partition(",")[0] for name in MISSPELT} | FREE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("names")
    write_measured_cohort(root, SimulationSettings(people=40, imaged=None, seed=1, cohort=LARGE_COHORT))
    (root / "archive").mkdir()
    (root / "archive/1000001_20209_2_0.zip").write_bytes(b"")
    (root / "withdrawn.csv").write_text("")
    return root


@pytest.mark.parametrize("setting", MISSPELT)
def test_a_misspelt_name_is_refused_at_once_with_the_nearest(folder: Path, setting: str) -> None:
    written, offered = MISSPELT[setting]
    section, _, key = setting.partition(",")[0].rpartition(".")
    top = {"directory": '"cohort"', "sources": '["archive"]', "participants": '"participants.csv"'}
    top |= {"outcomes": '"outcomes.csv"', "withdrawn": '"withdrawn.csv"'}
    lines = [f"{name} = {value}" for name, value in top.items() if section or name != key]
    text = [*lines, f"[{section}]" if section else "", written]
    (folder / "cohort.toml").write_text("\n".join(text))
    result = CliRunner().invoke(main, ["run", "--config", str(folder / "cohort.toml")])
    assert result.exit_code == 2, result.output
    assert f"did you mean {offered!r}?" in result.output
    assert not (folder / "cohort/runs").exists()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (lambda name: name.upper() if name == "hypertension" else name, "'hypertension'; did you mean 'HYPERTENSION'?"),
        (lambda name: name.replace("_", " ").title(), "'heart_failure'; did you mean 'Heart Failure'?"),
        (lambda _: "gout", "'heart_failure'; there are 1 others"),
    ],
    ids=["one in capitals", "all in other words", "none"],
)
def test_a_default_condition_that_the_table_spells_otherwise_is_refused(
    folder: Path, tmp_path: Path, written: Callable[[str], str], said: str
) -> None:
    outcomes = pd.read_csv(folder / "outcomes.csv").assign(condition=lambda t: t["condition"].map(written))
    outcomes.to_csv(tmp_path / "outcomes.csv", index=False)
    tables = f'participants = "{folder}/participants.csv"\noutcomes = "outcomes.csv"'
    (tmp_path / "cohort.toml").write_text(f'directory = "{folder}/cohort"\n{tables}\n')
    result = CliRunner().invoke(main, ["associate", "--config", str(tmp_path / "cohort.toml")])
    assert result.exit_code == 2, result.output
    assert f"analysis.conditions: there is no condition in outcomes.csv {said}" in result.output
