"""The internal list of studies: where each ended, why, its state, and who lies far from the others; by hand."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from cmr_models.phenotypes.states import TITLES
from tasks.report.study_list import (
    COLUMNS,
    _find_outliers,
    _last_stages,
    _states,
    list_rows,
    page_unit,
    reason_counts,
    rows_script,
    studies_with_page,
)
from tasks.report.tables import ReportTables

NAN = math.nan


def outcomes(*rows):
    """Rows (study, stage, status, reason, flags), unsorted as a ledger may give them."""
    table = pd.DataFrame(rows, columns=["study", "stage", "status", "reason", "flags"])
    return table.assign(flags=[json.dumps(flags) for flags in table["flags"]])


ENDED = outcomes(
    ("b-2", "derive", "ok", "", []), ("b-2", "convert", "ok", "", ["slice_gap", "phase_gap"]),
    ("b-2", "segment", "ok", "", []),
    ("a-2", "segment", "quarantined", "upstream", []), ("a-2", "derive", "quarantined", "upstream", []),
    ("a-2", "convert", "quarantined", "zip_corrupt", []),
    ("c-2", "convert", "ok", "", ["slice_gap"]), ("c-2", "segment", "ok", "", []),
    ("d-2", "derive", "quarantined", "lv_empty", []), ("d-2", "convert", "ok", "", []),
    ("d-2", "segment", "ok", "", []),
    ("e-2", "derive", "quarantined", "upstream", []), ("e-2", "segment", "absent", "no_sax", []),
    ("e-2", "convert", "ok", "", []),
    ("f-2", "derive", "ok", "", []), ("f-2", "convert", "ok", "", []), ("f-2", "segment", "ok", "", []),
)  # fmt: skip


def test_the_first_stage_that_ended_a_study_decides_or_else_the_last_it_passed():
    found = _last_stages(ENDED).set_index("study")
    assert found[["stage", "status", "reason"]].T.to_dict("list") == {
        "a-2": ["convert", "quarantined", "zip_corrupt"], "b-2": ["derive", "ok", ""], "c-2": ["segment", "ok", ""],
        "d-2": ["derive", "quarantined", "lv_empty"], "e-2": ["segment", "absent", "no_sax"],
        "f-2": ["derive", "ok", ""],
    }  # fmt: skip
    assert json.loads(found.loc["b-2", "flags"]) == ["slice_gap", "phase_gap"]  # those of conversion
    two = outcomes(("x-1", "derive", "quarantined", "lv_empty", []), ("x-1", "segment", "absent", "no_sax", []))
    assert _last_stages(two)["stage"].tolist() == ["segment"]
    assert _last_stages(two)["flags"].tolist() == ["[]"]


PHENOTYPES = pd.DataFrame(
    {
        "study": ["f-2", "b-2", "d-2"], "status": ["ok", "ok", "quarantined"], "qc_ok": [True, False, None],
        "qc_reasons": ["", "phase_gap;ef_implausible", None], "lvef_pct": [61.25, 12.0, NAN],
        "lvedv_ml": [150.6, 99.5, NAN],
    }
)  # fmt: skip


def list_of(phenotypes):
    return list_rows(ReportTables(ENDED, ENDED, phenotypes, None, {}, {})).set_index("study")


def test_a_row_has_its_state_its_reasons_once_each_and_its_numbers():
    rows = list_of(PHENOTYPES)
    assert rows["state"].to_dict() == {
        "a-2": TITLES["set_aside"], "b-2": TITLES["doubted"], "c-2": "unfinished", "d-2": TITLES["set_aside"],
        "e-2": TITLES["absent"], "f-2": TITLES["passed"],
    }  # fmt: skip
    assert rows["reasons"].to_dict() == {
        "a-2": "zip_corrupt", "b-2": "slice_gap phase_gap ef_implausible", "c-2": "slice_gap", "d-2": "lv_empty",
        "e-2": "no_sax", "f-2": "",
    }  # fmt: skip
    assert rows.loc["f-2", "lvef_pct"] == 61.25
    assert np.isnan(rows.loc["c-2", "lvef_pct"])
    before = list_of(None)
    assert before["state"].to_dict()["b-2"] == TITLES["doubted"]  # no verdict yet
    assert before["reasons"].to_dict()["b-2"] == "slice_gap phase_gap"
    own = list_of(PHENOTYPES.drop(columns="qc_ok"))  # a user's table without verdicts
    assert own["state"].to_dict()["b-2"] == TITLES["passed"]


@pytest.mark.parametrize(("value", "outlying"), [(65.9, False), (66.0, True), (54.1, False), (54.0, True)])
def test_four_robust_deviations_are_far(value, outlying):
    # median 60, median distance 1: a deviation of 1.4826, four of them 5.93
    rows = pd.DataFrame({"lvef_pct": [58.0, 59, 59, 60, 60, 61, 61, 62, value, NAN]})
    found = _find_outliers(rows.assign(lvm_g=7.0, lvesv_ml=[0.0] * 9 + [999.0]))
    assert found.tolist() == [False] * 8 + [outlying, False]
    assert not _find_outliers(pd.DataFrame({"lvef_pct": [NAN, NAN]})).any()
    assert not _find_outliers(pd.DataFrame({"lvm_g": [5.0, 5, 5, 99]})).any()  # no spread


def test_studies_to_look_at_have_pages_first_and_failed_conversions_have_no_images():
    rows = pd.DataFrame(
        {
            "study": [f"s{k}" for k in range(8)],
            "reasons": ["", "zip_corrupt", "lv_empty", "", "slice_gap", "", "", ""],
            "stage": ["derive", "convert", "derive", "derive", "derive", "derive", "derive", "derive"],
            "outlying": [False, False, False, False, False, True, False, False],
        }
    )
    chosen, rule = studies_with_page(rows, 3)
    assert chosen == ["s2", "s4", "s5"]
    assert rule.startswith("3 of 8 studies have a page")
    assert "more than 4 robust" in rule
    assert studies_with_page(rows, 8)[0] == [f"s{k}" for k in range(8)]
    assert set(studies_with_page(rows, 7)[0]) >= {"s2", "s4", "s5"}


def test_reasons_are_counted_by_stage_the_most_frequent_first():
    rows = reason_counts(pd.concat([ENDED, outcomes(
        ("g-2", "convert", "quarantined", "no_dicom", []), ("h-2", "convert", "quarantined", "zip_corrupt", []),
        ("i-2", "convert", "quarantined", "dicom_corrupt", []),
    )]))  # fmt: skip
    assert [(row["stage"], row["code"], row["n"], row["state"]) for row in rows] == [
        ("convert", "zip_corrupt", 2, "set_aside"), ("convert", "dicom_corrupt", 1, "set_aside"),
        ("convert", "no_dicom", 1, "set_aside"), ("segment", "no_sax", 1, "absent"),
        ("derive", "lv_empty", 1, "set_aside"),
    ]  # fmt: skip
    assert rows[0]["title"] == TITLES["set_aside"]
    assert rows[0]["sentence"] != "zip_corrupt"


def test_the_script_has_rounded_numbers_and_links_to_the_pages_that_there_are():
    script = rows_script(list_of(PHENOTYPES).reset_index(), ["f-2"])
    table = json.loads(script.removeprefix("window.STUDY_TABLE=").rstrip(";\n"))
    by_study = {row[0]: row for row in table["rows"]}
    names = [name for name, _, _ in COLUMNS]
    f = dict(zip(names, by_study["f-2"], strict=False))
    assert (f["lvedv_ml"], f["lvef_pct"], f["lvm_g"], f["reasons"]) == (151, 61.2, None, "")
    assert by_study["f-2"][-1] == "f-2.html"
    assert by_study["b-2"][-1] == 0
    assert (table["state"], table["reason"], table["page"]) == (1, 3, len(COLUMNS))
    assert table["columns"][6] == {"title": "LV EF (%)", "number": True, "digits": 1}
    assert table["columns"][0] == {"title": "Study"}


def test_a_page_gets_plain_values_without_what_names_a_person():
    row = {"participant": "5", "visit": "2", "sex": "male", "a": np.float64(1.5), "b": pd.NA, "c": np.bool_(True),
           "d": 3, "e": "x", "f": None, "g": np.nan, "h": np.int64(4)}  # fmt: skip
    found = page_unit(row, "male")
    assert (found["row"].pop("g") != 0, found["sex"]) == (True, "male")
    assert found["row"] == {"a": 1.5, "b": None, "c": True, "d": 3.0, "e": "x", "f": None, "h": 4.0}
    assert found["row"]["c"] is True
    assert page_unit(row, "unknown")["sex"] is None


def test_only_a_measured_study_has_passed():
    rows = pd.DataFrame({"status": ["ok", "ok", "ok"], "stage": ["derive", "segment", "derive"]})
    assert _states(rows) == [TITLES["passed"], "unfinished", TITLES["passed"]]
    assert _states(rows.assign(qc_ok=pd.NA)) == [TITLES["doubted"], "unfinished", TITLES["doubted"]]
    assert _states(rows.assign(qc_ok=[False, False, True])) == [TITLES["doubted"], "unfinished", TITLES["passed"]]
