"""The spec as a file: what is refused, what the digest sees, what a departure is."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from tasks.analysis.spec_file import read_spec

EXAMPLE = Path(__file__).parents[3] / "infra/analysis/ukb.yaml"


@pytest.fixture
def content() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    return loaded


def _write(folder: Path, content: dict[str, Any], name: str = "analysis.yaml") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_the_example_is_a_spec() -> None:
    spec = read_spec(EXAMPLE).spec
    assert spec.outcome_names[0] == "heart_failure"
    assert spec.models(spec.covariate_sets["full"]).group_by[-1] == "sex x age_band"


def test_comments_order_and_places_do_not_change_the_digest(tmp_path: Path, content: dict[str, Any]) -> None:
    before = read_spec(EXAMPLE).digest
    turned = {name: content[name] for name in reversed(content)}
    turned["tables"] = {"ukb": "elsewhere.parquet"}
    assert read_spec(_write(tmp_path, turned)).digest == before


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"windows": {"undated": "prevalent"}},
        {"disclosure": {"threshold": 10}},
        {"strata": ["sex"]},
        {"minimum_events": 20},
    ],
)
def test_every_decision_changes_the_digest(tmp_path: Path, content: dict[str, Any], change: dict[str, Any]) -> None:
    assert read_spec(_write(tmp_path, content | change)).digest != read_spec(EXAMPLE).digest


def _changed(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    *parents, last = path.split(".")
    inner = changed
    for name in parents:
        inner = inner[int(name)] if isinstance(inner, list) else inner[name]
    inner[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("primary", "none", "there is no set of covariates"),
        ("colour", "red", "Extra inputs are not permitted"),
        ("outcomes.0.sources", [{"kind": "icd10", "codes": ["heart"]}], "not ICD-10 codes"),
        ("outcomes.0.sources", [{"kind": "first_occurrence"}], "needs the field of its date"),
        ("dates.censoring.inpatient", {"england": "2022-10-31"}, "lacks"),
        ("dates.censoring", {"death": dict.fromkeys(("england", "scotland", "wales"), "2022-01-01")}, "cancer"),
        ("families", {"left": ["lvef"]}, "there is no exposure .lvef.; did you mean .lvef_pct."),
        ("exclusions", [{"name": "x"}], "give `prevalent`"),
        ("exclusions", [{"name": "x", "prevalent": "gout"}], "there is no outcome .gout."),
        ("tables", {}, "give `ukb`"),
        ("fairness.specificity", 1.0, "less than 1"),
        ("seed", "soon", "valid integer"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, content: dict[str, Any], path: str, value: Any, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        read_spec(_write(tmp_path, _changed(content, path, value)))


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "analysis.yaml"
    path.write_text(EXAMPLE.read_text() + "\nseed: 3\n")
    with pytest.raises(ValueError, match=r"keys \['seed'\] are given twice"):
        read_spec(path)


def test_departures_from_the_registered_spec_are_listed_with_their_reasons(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    _write(tmp_path, content, "registered.yaml")
    used = _changed(content, "windows.incident_from_days", 730)
    used = used | {"seed": 7, "registered": "registered.yaml"}
    used["departures"] = [{"path": "windows", "why": "a reviewer asked for it"}]
    file = read_spec(_write(tmp_path, used))
    found = {row["path"]: (row["registered"], row["used"], row["why"]) for row in file.departures}
    assert found == {
        "windows.incident_from_days": ("0", "730", "a reviewer asked for it"),
        "seed": ("2026", "7", ""),
    }
    assert file.registered_digest == read_spec(EXAMPLE).digest


def test_an_outcome_in_another_place_is_no_departure(tmp_path: Path, content: dict[str, Any]) -> None:
    _write(tmp_path, content, "registered.yaml")
    turned = content | {"outcomes": content["outcomes"][::-1], "registered": "registered.yaml"}
    assert read_spec(_write(tmp_path, turned)).departures == ()
