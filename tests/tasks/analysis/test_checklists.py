"""The items of STROBE and TRIPOD+AI that a run fills in, from a spec and tables of a few rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from cmr_models.analysis.spec import OutcomeDefinition, Source
from tasks.analysis.checklists import Facts, _definition, strobe, tripod_ai
from tasks.analysis.spec_file import SpecFile, read_spec

HAZARDS = pd.DataFrame(
    [
        ("stroke", "per_sd", "full", 70.0), ("death", "per_sd", "full", 40.0), ("death", "per_sd", "full", 45.0),
        ("death", "per_sd", "few", 90.0), ("death", "per_unit", "full", 99.0), ("gout", "per_sd", "full", np.nan),
    ],
    columns=["outcome", "scale", "covariate_set", "n_events"],
)  # fmt: skip
FLOW = pd.DataFrame(
    [("participants", "", 500.0), ("analysed", "death", 3.0), ("analysed", "", 480.0), ("excluded", "", np.nan)],
    columns=["step", "outcome", "n"],
)


def _file(folder: Path, **change: Any) -> SpecFile:
    content = {
        "name": "mass", "tables": {"participants": "p.csv", "outcomes": "o.csv", "phenotypes": "s.csv"},
        "conditions": ["death", "stroke"],
        "exposures": [{"name": "lvm_g", "transform": "inverse_normal"}, {"name": "lvef_pct"}],
        "covariate_sets": {"few": ["sex"], "full": ["sex", "bmi"]}, "primary": "full",
        **change,
    }  # fmt: skip
    for name in "pos":
        (folder / f"{name}.csv").touch()
    (folder / "analysis.yaml").write_text(yaml.safe_dump(content))
    return read_spec(folder / "analysis.yaml")


def _items(page: str) -> dict[str, str]:
    """Number of an item -> what stands there."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    return {row[0]: row[2] for row in rows[2:]}


def test_every_item_of_both_statements_has_a_row_and_those_of_people_say_so(tmp_path: Path) -> None:
    facts = Facts(_file(tmp_path), {})
    first, second = _items(strobe(facts)), _items(tripod_ai(facts))
    assert list(first) == [*map(str, range(1, 12)), *(f"12{k}" for k in "abcde"), *map(str, range(13, 23))]
    assert list(second) == [str(k) for k in range(1, 28)]
    by_hand = [number for number, text in first.items() if text == "to be written by the authors"]
    assert by_hand == ["1", "2", "3", "18", "19", "20", "22"]
    assert f"{26 - 7} of 26 items" in strobe(facts)
    assert facts.file.digest in strobe(facts)


def test_people_and_events_are_those_that_were_published(tmp_path: Path) -> None:
    items = _items(strobe(Facts(_file(tmp_path), {"flow": FLOW, "hazards": HAZARDS})))
    assert items["13"] == "500 people came, 480 are analysed; `flow.parquet`"
    assert items["10"] == "all of the imaging cohort: 480 people"
    assert items["15"] == "events: stroke 70, death 45, gout not published"  # of the primary set, per SD
    assert items["16"] == "`hazards.parquet`"
    assert items["17"] == "not run yet"
    hidden = _items(strobe(Facts(_file(tmp_path), {"flow": FLOW.assign(n=np.nan)})))
    assert hidden["10"] == "all of the imaging cohort: a suppressed number of people"
    assert hidden["15"] == "not run yet"
    assert "a suppressed number of people came" in _items(strobe(Facts(_file(tmp_path), {})))["13"]


def test_definitions_are_those_of_the_spec(tmp_path: Path) -> None:
    facts = Facts(_file(tmp_path), {})
    items = _items(tripod_ai(facts))
    assert items["8"] == "death, stroke"
    assert items["9"] == (
        "exposures lvm_g (inverse_normal), lvef_pct (none); outcomes death, stroke;"
        " age, and few: sex; full: sex, bmi; primary: full"
    )
    assert items["11"] == "complete cases of each model"
    assert items["5"] == "entry and exit as the outcome table gives them"
    assert items["6"] == "first imaging visit; excluded: none; numbers: not run yet"
    assert items["16"].startswith("adjusted models of `discrimination.parquet` are apparent")
    more = _file(
        tmp_path,
        strata=["centre"],
        missing={"imputations": 7},
        exclusions=[{"name": "men", "column": "sex", "values": ["m"]}],
        windows={"incident_from_days": 90},
        prediction={"steps": {"base": ["age_years"], "heart": ["lvm_g"]}, "folds": 4},
        fairness={"group_by": ["sex", "bmi"], "intersections": [["sex", "bmi"]], "margins": {"mean": 1.5}},
    )
    facts = Facts(more, {"hazards_imputed": HAZARDS})
    items = _items(tripod_ai(facts))
    assert items["9"].endswith("primary: full; strata centre")
    assert items["11"].endswith("7 imputations by chained equations beside them (`hazards_imputed.parquet`)")
    assert "excluded: men" in items["6"]
    assert items["14"].startswith("by sex, bmi, sex x bmi; margins of equivalence: mean 1.5;")
    assert items["16"].startswith("nested sets (base: age_years; heart: lvm_g), ")
    assert ", 4 folds of people;" in items["16"]
    assert _items(strobe(facts))["9"].endswith("`hazards_imputed.parquet`; follow-up from day 90")
    by_centre = Facts(_file(tmp_path, prediction={"steps": {"base": ["age_years"]}, "fold_by": "centre"}), {})
    assert ", each group of centre by the others;" in _items(tripod_ai(by_centre))["16"]


def test_the_protocol_says_what_was_registered_and_how_many_departures_have_no_reason(tmp_path: Path) -> None:
    file = _file(tmp_path)
    assert "no registered spec is named" in _items(tripod_ai(Facts(file, {})))["18"]
    departures = ({"path": "a", "why": ""}, {"path": "b", "why": "asked"}, {"path": "c", "why": ""})
    registered = replace(file, registered_digest="abc", departures=departures)
    assert "registered spec `abc`; 3 departures, 2 without a reason" in _items(strobe(Facts(registered, {})))["4"]


def test_the_gate_and_a_network_that_has_seen_the_people_are_told(tmp_path: Path) -> None:
    gated = _file(tmp_path, disclosure={"threshold": 10, "base": 5})
    assert _items(tripod_ai(Facts(gated, {})))["7"].startswith("numbers under 10 are masked, rounded to 5:")
    plain = _file(tmp_path, disclosure={"threshold": 10, "base": None})
    assert _items(tripod_ai(Facts(plain, {})))["7"].startswith("numbers under 10 are masked: ")
    seen = pd.DataFrame({"exposure": ["f1", "f0", "x", "f1"], "seen_in_training": ["yes", "unknown", "no", "yes"]})
    told = _items(tripod_ai(Facts(gated, {"prediction": seen})))["23"]
    assert told.startswith("`prediction.parquet`; by group: not run yet")
    assert told.endswith("; from a network whose training may overlap this cohort: f0 (unknown), f1 (yes)")
    assert "overlap" not in _items(tripod_ai(Facts(gated, {"prediction": seen.iloc[2:3]})))["23"]


def test_an_outcome_by_codes_names_its_sources_and_its_list() -> None:
    sources = (Source(kind="death", codes=("I21", "I22"), field=40001, dates=40000),)
    told = OutcomeDefinition(name="infarction", sources=sources, code_list="list 7")
    assert _definition(told) == "infarction (death I21/I22 field 40001, code list list 7)"
    assert _definition(told.model_copy(update={"code_list": ""})) == "infarction (death I21/I22 field 40001)"
