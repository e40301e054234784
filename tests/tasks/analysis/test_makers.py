"""Whose values the models of a spec take in: doubted studies, columns beside, features."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from cmr_models.analysis.spec import StudySpec
from tasks.analysis.features import NO_FEATURES, FeatureTable, read_features, with_leakage
from tasks.analysis.makers import Inputs
from tasks.analysis.spec_file import read_spec
from tasks.analysis.spec_tables import SpecTables

PEOPLE = pd.DataFrame(
    {"participant": ["4", "1", "3", "2"], "visit": "2", "age_years": [61.0, 64, 63, 62], "sex": ["f", "m", "f", "m"]}
)
STUDIES = pd.DataFrame(
    {
        "participant": ["1", "2", "3", "4"],
        "visit": "2",
        "status": ["ok", "ok", "quarantined", "ok"],
        "qc_ok": [True, False, True, True],
        "lvm_g": [100.0, 200, 300, 400],
        "dice": [0.9, 0.1, 0.2, 0.8],
        "reference_g": [101.0, 201, 301, np.nan],
    }
)
OUTCOMES = pd.DataFrame(
    {"participant": list("1234"), "visit": "2", "condition": "death", "prevalent": 0, "event": 0, "cause": 0}
).assign(entry_years=60, exit_years=65)
FEATURES = FeatureTable(
    pd.DataFrame({"participant": ["3", "2", "1"], "visit": "2", "f0": [3.0, 2, 1], "f1": [30.0, 20, 10]}),
    ("f0", "f1"),
    True,
)


def _spec(folder: Path, **change: Any) -> StudySpec:
    content = {
        "name": "mass", "tables": {"participants": "p.csv", "outcomes": "o.csv", "phenotypes": "s.csv"},
        "conditions": ["death"], "exposures": [{"name": "lvm_g"}], "covariate_sets": {"few": ["sex"]}, "primary": "few",
        "fairness": {"group_by": ["sex"], "quality": ["dice"],
                     "agreement": [{"measured": "lvm_g", "reference": "reference_g"}]},
        **change,
    }  # fmt: skip
    for name in "pos":
        (folder / f"{name}.csv").touch()
    (folder / "analysis.yaml").write_text(yaml.safe_dump(content))
    return read_spec(folder / "analysis.yaml").spec


def _inputs(folder: Path, network: FeatureTable = NO_FEATURES, **change: Any) -> Inputs:
    tables = SpecTables(STUDIES, PEOPLE, OUTCOMES, pd.DataFrame(), network)
    return Inputs.of(_spec(folder, **change), tables)


def test_what_was_measured_on_a_doubted_study_is_missing_unless_it_is_taken_in(tmp_path: Path) -> None:
    people = _inputs(tmp_path, FEATURES).people.set_index("participant").loc[list("1234")]
    for name, values in {
        "lvm_g": [100, np.nan, np.nan, 400], "dice": [0.9, np.nan, np.nan, 0.8],
        "reference_g": [101, np.nan, np.nan, np.nan], "f0": [1, np.nan, np.nan, np.nan],
        "age_years": [64, 62, 63, 61],
    }.items():  # fmt: skip
        np.testing.assert_array_equal(people[name].to_numpy(float), values, err_msg=name)
    taken = _inputs(tmp_path, FEATURES, include_doubted=True).people.set_index("participant").loc[list("1234")]
    np.testing.assert_array_equal(taken["dice"].to_numpy(float), [0.9, 0.1, np.nan, 0.8])
    np.testing.assert_array_equal(taken["f1"].to_numpy(float), [10, 20, np.nan, np.nan])


def test_a_column_that_nobody_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the spec names columns \['jaccard'\]"):
        _inputs(tmp_path, fairness={"group_by": ["sex"], "quality": ["jaccard", "dice"]})


@pytest.mark.parametrize(
    ("seen", "choice", "columns"),
    [(True, "exclude", ()), (True, "flag", ("f0", "f1")), (False, "exclude", ("f0", "f1"))],
)
def test_features_of_a_network_that_has_seen_the_cohort_predict_only_if_the_spec_allows_it(
    tmp_path: Path, seen: bool, choice: str, columns: tuple[str, ...]
) -> None:
    inputs = _inputs(tmp_path, FEATURES._replace(seen=seen), features={"table": "net", "seen": choice})
    assert inputs.plan.features == columns


def test_features_count_who_has_them_and_who_has_not(tmp_path: Path) -> None:
    steps = FEATURES.flow(_inputs(tmp_path, FEATURES).people)
    assert steps[["step", "n"]].to_numpy().tolist() == [
        ["with features of the network", 3], ["without features of the network", 1]
    ]  # fmt: skip
    assert NO_FEATURES.flow(PEOPLE).empty


@pytest.mark.parametrize(("seen", "word"), [(True, "yes"), (False, "no"), (None, "unknown")])
def test_an_exposure_from_a_network_says_whether_it_has_seen_the_people(seen: bool | None, word: str) -> None:
    table = pd.DataFrame(
        {"exposure": ["f1", "lvm_g", "deep"], "estimate": [1.0, 2.0, 3.0], "status": "ok", "reason": ""}
    )
    flagged = with_leakage(table, FEATURES._replace(seen=seen), "flag")
    assert flagged["seen_in_training"].tolist()[:2] == [word, ""]
    assert flagged["estimate"].tolist() == [1, 2, 3]
    left = with_leakage(table, FEATURES._replace(seen=seen), "exclude")
    expected = [np.nan, 2.0] if seen else [1.0, 2.0]
    np.testing.assert_array_equal(left["estimate"].to_numpy()[:2], expected)
    assert left["reason"].tolist()[:2] == (["seen_in_training", ""] if seen else ["", ""])
    assert left["status"].tolist()[:2] == (["failed", "ok"] if seen else ["ok", "ok"])
    assert with_leakage(table, NO_FEATURES, "exclude") is table


def test_features_are_the_numbers_of_the_studies_that_were_predicted(tmp_path: Path) -> None:
    def read(columns: tuple[str, ...] = (), **change: Any) -> FeatureTable:
        table = pd.DataFrame(
            {"participant": [7, 8, 9], "visit": [2, 2, 2], "status": ["ok", "failed", "ok"], "f0": [1.0, 2.0, 3.0],
             "word": "x", "f1": [4, 5, 6], "model_has_seen_cohort": [False, True, None]}
        ).assign(**change)  # fmt: skip
        folder = tmp_path / "cohort" / "tables" / "predictions"
        folder.mkdir(parents=True, exist_ok=True)
        table.to_parquet(folder / "net.parquet")
        spec = SimpleNamespace(features=SimpleNamespace(table="net", columns=columns))
        return read_features(SimpleNamespace(spec=spec), tmp_path / "cohort")  # type: ignore[arg-type]

    found = read()
    assert found.columns == ("f0", "f1")
    assert found.table.to_numpy().tolist() == [["7", "2", 1, 4], ["9", "2", 3, 6]]
    assert found.seen is False  # the study that failed does not say
    assert read(model_has_seen_cohort=[False, False, True]).seen is True
    assert read(model_has_seen_cohort=None).seen is None
    assert read(("f1",)).columns == ("f1",)
    with pytest.raises(ValueError, match=r"no numeric columns \['f9', 'word'\]"):
        read(("f9", "f1", "word"))
    nothing = SimpleNamespace(spec=SimpleNamespace(features=SimpleNamespace(table="", columns=())))
    assert read_features(nothing, None) is NO_FEATURES  # type: ignore[arg-type]
