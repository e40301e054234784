"""The tables of a spec: whose values take part in a transform, who is kept, and in which rows."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.analysis import spec_tables
from tasks.analysis.features import features_path
from tasks.analysis.spec_file import read_spec
from tasks.analysis.spec_tables import SpecTables, read_tables

PHENOTYPES = pd.DataFrame(
    {
        "participant": ["5", "02", "3", "4", "1", "6"],
        "visit": ["2"] * 6,
        "status": ["ok", "ok", "quarantined", "ok", "ok", "ok"],
        "qc_ok": [True, True, True, False, True, True],
        "lvm_g": [90.0, 80.0, 1.0, 500.0, 100.0, np.nan],
        "lvef_pct": [60.0, 50.0, 10.0, 20.0, 70.0, 65.0],
    }
)
PEOPLE = pd.DataFrame(
    {"participant": ["1", "02", "3", "4", "5", "6"], "visit": "2", "age_years": 60, "sex": list("fmfmfm"), "lvm_g": 7}
)
OUTCOMES = pd.DataFrame(
    {"participant": ["6", "5", "1"], "visit": "2", "condition": "death", "prevalent": [0, 1, 0], "event": 0, "cause": 0}
).assign(entry_years=60, exit_years=65)


def _read(folder: Path, phenotypes: pd.DataFrame = PHENOTYPES, **change: Any) -> SpecTables:
    for name, table in (("phenotypes", phenotypes), ("people", PEOPLE), ("outcomes", OUTCOMES)):
        table.to_csv(folder / f"{name}.csv", index=False)
    content = {
        "name": "mass",
        "tables": {"participants": "people.csv", "outcomes": "outcomes.csv", "phenotypes": "phenotypes.csv"},
        "conditions": ["death"],
        "exposures": [{"name": "lvm_g", "transform": "inverse_normal"}, {"name": "lvef_pct"}],
        "covariate_sets": {"few": ["sex"]},
        "primary": "few",
        **change,
    }
    (folder / "analysis.yaml").write_text(yaml.safe_dump(content))
    return read_tables(read_spec(folder / "analysis.yaml"), None)


def test_only_studies_that_take_part_have_a_rank(tmp_path: Path) -> None:
    found = _read(tmp_path).phenotypes.set_index("participant")
    assert found.index.tolist() == ["5", "02", "3", "4", "1", "6"]
    # Of 80, 90 and 100: (rank - 3/8) / 3.25 is 0.1923, 0.5, 0.8077; the quarantined and the doubted have none.
    np.testing.assert_allclose(found["lvm_g"], [0, -0.869424, np.nan, np.nan, 0.869424, np.nan], atol=1e-6)
    np.testing.assert_array_equal(found["lvef_pct"], [60, 50, np.nan, np.nan, 70, 65])
    taken = _read(tmp_path, include_doubted=True).phenotypes.set_index("participant")
    # Of four: 0.1471, 0.3824, 0.6176, 0.8529.
    np.testing.assert_allclose(taken["lvm_g"], [-0.299307, -1.049131, np.nan, 1.049131, 0.299307, np.nan], atol=1e-6)


def test_people_who_are_left_out_leave_every_table_after_the_transform(tmp_path: Path) -> None:
    rules = [{"name": "men", "column": "sex", "values": ["m"]}, {"name": "ill", "prevalent": "death"}]
    found = _read(tmp_path, exclusions=rules)
    assert found.participants["participant"].tolist() == ["1", "3"]
    assert found.outcomes["participant"].tolist() == ["1"]
    assert found.phenotypes["participant"].tolist() == ["3", "1"]
    assert found.phenotypes.index.tolist() == [0, 1]
    np.testing.assert_allclose(found.phenotypes["lvm_g"], [np.nan, 0.869424], atol=1e-6)  # ranked among all
    assert found.flow[["step", "n"]].to_numpy().tolist() == [
        ["participants", 6.0], ["excluded: men", 3.0], ["excluded: ill", 1.0], ["analysed", 2.0],
    ]  # fmt: skip


def test_an_exposure_of_the_participants_gives_way_to_that_of_the_phenotypes(tmp_path: Path) -> None:
    assert "lvm_g" not in _read(tmp_path).participants
    with pytest.raises(ValueError, match="exposure lvm_g is not a column of the phenotypes"):
        _read(tmp_path, PHENOTYPES.drop(columns="lvm_g"))


@pytest.mark.parametrize(
    "verdicts",
    [
        ["True", "", "True", "False", "True", "True"],
        ["TRUE", "NA", "TRUE", "FALSE", "TRUE", "TRUE"],
        ["yes", "NA", "No", "no", "YES", "yes "],
        ["1", "", "0", "0", "1.0", "1"],
    ],
)
def test_verdicts_in_a_table_of_the_users_own_are_booleans_however_they_are_written(
    tmp_path: Path, verdicts: list[str]
) -> None:
    found = _read(tmp_path, PHENOTYPES.assign(qc_ok=verdicts), missing_values=["NA"]).phenotypes
    # of 5, 02, 3, 4, 1, 6: nobody judged 02, 3 was not measured, 4 is doubted
    np.testing.assert_array_equal(found["lvef_pct"], [60, np.nan, np.nan, np.nan, 70, 65])


def test_a_table_of_the_users_own_may_lack_status_and_use_the_words_for_missing(tmp_path: Path) -> None:
    own = PHENOTYPES.drop(columns=["status", "qc_ok"]).assign(lvef_pct=["60", "NA", "10", "20", "70", "65"])
    found = _read(tmp_path, own, missing_values=["NA"]).phenotypes
    np.testing.assert_array_equal(found["lvef_pct"], [60, np.nan, 10, 20, 70, 65])


def test_words_in_a_table_of_the_users_own_are_told_in_one_line(tmp_path: Path) -> None:
    for change, told in (
        ({"qc_ok": ["pass", "fail", "pass", "fail", "pass", "pass"]}, "phenotypes: 6 of 6 cells of qc_ok are neither"),
        ({"lvef_pct": ["60", "low", "10", "20", "70", "65"]}, "phenotypes: 1 of 6 values of lvef_pct are not numbers"),
    ):
        with pytest.raises(ValueError, match=told):
            _read(tmp_path, PHENOTYPES.assign(**change))


@pytest.mark.parametrize(
    ("withdrawn", "kept", "n"), [((), ["5", "2"], []), (("2",), ["5"], [1.0]), (("9",), ["5", "2"], [0.0])]
)
def test_rows_of_fields_of_people_who_withdrew_are_left_out_and_counted_where_there_is_a_list(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, withdrawn: tuple[str, ...], kept: list[str], n: list[float]
) -> None:
    (tmp_path / "ukb.csv").write_text("eid,p31_i0,p99_i0,note\n5,1,7,x\n2,0,8,y\n")
    built = SimpleNamespace(outcomes=OUTCOMES, flow=pd.DataFrame({"step": ["after"], "n": [3.0]}))
    seen: dict[str, Any] = {}

    def participants(data: Any, spec: Any) -> pd.DataFrame:
        seen["columns"] = list(data.table)
        people = data.table[["eid"]].rename(columns={"eid": "participant"})
        return people.assign(entry_date=1, birth_date=2, sex="f")

    monkeypatch.setattr(spec_tables, "spec_fields", lambda spec: {31})
    monkeypatch.setattr(spec_tables, "build_participants", participants)
    monkeypatch.setattr(spec_tables, "build_outcomes", lambda *_: built)
    spec: Any = SimpleNamespace(missing_values=())
    people, outcomes, steps = spec_tables._from_ukb(tmp_path / "ukb.csv", spec, withdrawn)
    assert people["participant"].astype(str).tolist() == kept
    assert list(people) == ["participant", "sex"]  # no date leaves
    assert seen["columns"] == ["eid", "p31_i0"]
    assert outcomes is OUTCOMES
    assert steps["n"].tolist() == [*n, 3.0]
    assert steps["step"].tolist() == [*["rows of people who withdrew, left out"] * len(n), "after"]


def test_features_of_a_cohort_need_the_cohort(tmp_path: Path) -> None:
    spec = SimpleNamespace(spec=SimpleNamespace(features=SimpleNamespace(table="age-cinema")))
    with pytest.raises(ValueError, match="give --cohort"):
        features_path(cast("Any", spec), None)
    with pytest.raises(FileNotFoundError, match=r"age-cinema\.parquet does not exist"):
        features_path(cast("Any", spec), tmp_path)
    spec.spec.features.table = ""
    assert features_path(cast("Any", spec), None) is None
