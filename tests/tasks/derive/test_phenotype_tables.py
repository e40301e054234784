"""Rows of the tables of phenotypes from outcomes written by hand, out of order."""

import json

import numpy as np
import pandas as pd
import pytest

from cmr_models.phenotypes import PHENOTYPES
from cmr_models.phenotypes.quality import RULES
from tasks.derive.phenotype_tables import (
    are_current,
    curve_table,
    dictionary_csv,
    phenotype_table,
    with_state,
    write_tables,
)
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort

NAMES = [row.name for row in PHENOTYPES]
CURVES = {"time_ms": [0.0, 31.5], "lv_ml": [150.25, None], "myocardium_ml": [90.0, 91.0], "rv_ml": [160.0, 70.0]}


def measured(study, missing=None, broken=(), curves=None, **numbers):
    quality = {rule.column: None for rule in RULES} | {"qc_ef": "ef_implausible" not in broken, "qc_edv": True}
    summary = {"phenotypes": numbers, "missing": missing or {}, "quality": quality, "quality_reasons": list(broken)}
    if curves:
        summary["curves"] = curves
    status, reason = ("quarantined", broken[0]) if "ef_implausible" in broken else ("ok", "")
    return Outcome(study, "derive", status, reason, "lvef_pct 2" if reason else "", f"key-{study}", summary=summary)


OUTCOMES = [
    measured("9-3", dict.fromkeys(NAMES, "view_missing")),
    Outcome("7-2", "derive", "quarantined", "upstream", "told by the stage before", "key-7-2"),
    measured(
        "a-b-2", {"lvm_g": "myocardium_empty", "rvef_pct": "rv_empty"}, curves=CURVES, lvef_pct=61.5, ed_frame=3.0
    ),
    measured("10-2", dict.fromkeys(NAMES, "ef_implausible"), ("ef_implausible", "es_timing"), curves=CURVES),
    Outcome("8-2", "derive", "quarantined", "no_prediction", "gone", "key-8-2"),
    measured("6-2", {"lvm_g": "rv_empty"}, ("es_timing", "stroke_volumes_differ")),
    Outcome("5-2", "derive", "quarantined", "upstream", "nothing else is known", "key-5-2"),
]
ENDED = {"7-2": ("convert", "zip_corrupt", "cut short"), "8-2": ("convert", "no_dicom", "not this one")}


@pytest.fixture
def table():
    return phenotype_table(OUTCOMES, ENDED).set_index("study")


def test_rows_are_in_the_order_of_studies_and_a_participant_may_have_a_hyphen(table):
    assert list(table.index) == ["10-2", "5-2", "6-2", "7-2", "8-2", "9-3", "a-b-2"]
    assert table["participant"].tolist() == ["10", "5", "6", "7", "8", "9", "a-b"]
    assert table["visit"].tolist() == ["2", "2", "2", "2", "2", "3", "2"]
    assert table["key"].tolist() == [f"key-{study}" for study in table.index]


def test_slices_that_do_not_count_are_json_and_empty_where_it_is_not_said():
    left = {"ventricle": "lv", "phase": "ed", "slice": 0, "reason": "slice_open"}
    said = measured("1-2")
    said.summary["slices_left_out"] = [left]
    table = phenotype_table([said, measured("2-2")], {}).set_index("study")
    assert json.loads(table.loc["1-2", "slices_left_out"]) == [left]
    assert table.loc["2-2", "slices_left_out"] == ""


def test_each_study_says_where_it_ended_and_why(table):
    columns = ["status", "state", "stage", "reason", "detail"]
    assert table[columns].to_numpy().tolist() == [
        ["quarantined", "set_aside", "derive", "ef_implausible", "lvef_pct 2"],
        ["quarantined", "set_aside", "derive", "upstream", "nothing else is known"],
        ["ok", "doubted", "derive", "", ""],
        ["quarantined", "set_aside", "convert", "zip_corrupt", "cut short"],
        ["quarantined", "set_aside", "derive", "no_prediction", "gone"],
        ["ok", "passed", "derive", "", ""],
        ["ok", "passed", "derive", "", ""],
    ]


def test_numbers_verdicts_and_reasons_are_those_of_the_outcome(table):
    row = table.loc["a-b-2"]
    assert (row["lvef_pct"], row["ed_frame"]) == (61.5, 3)
    assert np.isnan(row["lvm_g"])
    assert {str(table[name].dtype) for name in ("ed_frame", "es_frame")} == {"Int64"}
    assert str(table["lvef_pct"].dtype).lower() == "float64"
    assert json.loads(row["missing_reasons"]) == {"lvm_g": "myocardium_empty", "rvef_pct": "rv_empty"}
    assert (row["qc_ok"], row["qc_ef"], row["qc_reasons"]) == (True, True, "")
    assert row["qc_mass"] is pd.NA
    assert (table.loc["6-2", "qc_ok"], table.loc["6-2", "qc_reasons"]) == (False, "es_timing;stroke_volumes_differ")
    assert (table.loc["10-2", "qc_ef"], table.loc["10-2", "qc_ok"]) == (False, False)
    assert table.loc["7-2", "qc_ok"] is pd.NA


def test_one_reason_for_all_numbers_is_told_once(table):
    assert {study: json.loads(text) for study, text in table["missing_reasons"].items() if "*" in text} == {
        "9-3": {"*": "view_missing"}, "10-2": {"*": "ef_implausible"}, "7-2": {"*": "zip_corrupt"},
        "8-2": {"*": "no_prediction"}, "5-2": {"*": "upstream"},
    }  # fmt: skip
    mixed = dict.fromkeys(NAMES, "view_missing") | {"lvm_g": "rv_empty"}
    (row,) = phenotype_table([measured("1-2", mixed)], {}).to_dict("records")
    assert json.loads(row["missing_reasons"]) == mixed
    assert json.loads(table.loc["6-2", "missing_reasons"]) == {"lvm_g": "rv_empty"}


def test_curves_are_in_the_order_of_studies_and_frames_from_zero():
    found = curve_table(OUTCOMES)
    assert found["study"].tolist() == ["10-2", "10-2", "a-b-2", "a-b-2"]
    assert found["frame"].tolist() == [0, 1, 0, 1]
    assert found["time_ms"].tolist() == [0, 31.5] * 2
    assert found["rv_ml"].tolist() == [160, 70] * 2
    assert found["myocardium_ml"].tolist() == [90, 91] * 2
    assert found["lv_ml"].isna().tolist() == [False, True] * 2
    assert (found["frame"].dtype, found["lv_ml"].iloc[2]) == (np.int64, 150.25)
    assert curve_table(OUTCOMES[:2]).dtypes.to_dict() == found.dtypes.to_dict()


def test_an_older_table_gets_its_states_beside_the_status():
    old = pd.DataFrame(
        {"study": list("abcd"), "status": ["ok", "ok", "absent", "ok"], "qc_ok": [True, False, None, None]},
        index=[3, 1, 2, 0],
    )
    found = with_state(old)
    assert list(found) == ["study", "status", "state", "qc_ok"]
    assert found["state"].tolist() == ["passed", "doubted", "absent", "doubted"]
    assert "state" not in old
    pd.testing.assert_frame_equal(with_state(found), found)
    assert with_state(old[["study", "status"]])["state"].tolist() == ["passed", "passed", "absent", "passed"]


def test_the_dictionary_says_what_each_column_is():
    rows = {line.split(",")[0]: line for line in dictionary_csv().splitlines()}
    assert list(rows)[:4] == ["name", "study", "participant", "visit"]
    assert rows["lvef_pct"].startswith("lvef_pct,%,number,LV ejection fraction")
    assert ",lvsv_ml lvedv_ml,5.0,90.0,24103," in rows["lvef_pct"]
    assert rows["ed_frame"].startswith("ed_frame,frame,integer,")
    assert rows["qc_ok"] == "qc_ok,,boolean,No quality rule is broken,,,,,"
    assert ",lv_ml ed_frame es_frame," in rows["qc_es_timing"]
    assert "(es_timing, flag)" in rows["qc_es_timing"]


def test_the_published_tables_leave_retired_studies_out_and_are_current_until_the_ledger_changes(tmp_path):
    cohort = Cohort(tmp_path)
    with open_ledger(cohort.ledger) as ledger:
        ledger.record([Outcome("1-2", "convert", "quarantined", "zip_corrupt", "cut short")])
        ledger.record([Outcome("1-2", "segment", "quarantined", "upstream"), Outcome("2-2", "convert", "ok")])
        ledger.record([Outcome("1-2", "derive", "quarantined", "upstream"), Outcome("0-2", "derive", "retired")])
        ledger.record(
            [Outcome("2-2", "segment", "absent", "no_sax", "found"), Outcome("2-2", "derive", "absent", "upstream")]
        )
        ledger.record([measured("3-2", curves=CURVES, lvef_pct=60.0), Outcome("4-2", "convert", "ok")])
        ledger.record([Outcome("4-2", "segment", "quarantined", "upstream", "stale")])
        ledger.record([Outcome("4-2", "derive", "quarantined", "upstream", "own")])  # its archive was mended since
        assert not are_current(ledger, cohort)
        assert write_tables(ledger, cohort) == 4
        assert are_current(ledger, cohort)
        table = pd.read_parquet(cohort.tables / "phenotypes.parquet")
        assert table[["study", "stage", "reason", "detail"]].to_numpy().tolist() == [
            ["1-2", "convert", "zip_corrupt", "cut short"], ["2-2", "segment", "no_sax", "found"],
            ["3-2", "derive", "", ""], ["4-2", "derive", "upstream", "own"],
        ]  # fmt: skip
        assert len(pd.read_parquet(cohort.tables / "curves.parquet")) == 2
        assert (cohort.tables / "phenotypes_dictionary.csv").read_text() == dictionary_csv()
        ledger.record([Outcome("1-2", "convert", "quarantined", "no_dicom")])  # an earlier stage counts as well
        assert not are_current(ledger, cohort)


@pytest.mark.parametrize(
    ("convert", "segment", "ended"),
    [
        (("quarantined", "zip_corrupt"), ("absent", "no_sax"), ("convert", "zip_corrupt")),
        (("absent", "no_dicom"), ("quarantined", "lv_empty"), ("convert", "no_dicom")),
        (("ok", ""), ("quarantined", "lv_empty"), ("segment", "lv_empty")),
        (("retired", "withdrawn"), ("absent", "no_sax"), ("segment", "no_sax")),
    ],
)
def test_a_study_ended_at_the_first_stage_that_did_not_bring_it_through(convert, segment, ended, tmp_path):
    """A later stage may still hold what it said of the study before."""
    cohort = Cohort(tmp_path)
    with open_ledger(cohort.ledger) as ledger:
        for stage, (status, reason) in {"segment": segment, "convert": convert}.items():
            ledger.record([Outcome("1-2", stage, status, reason)])
        ledger.record([Outcome("1-2", "derive", "quarantined", "upstream")])
        write_tables(ledger, cohort)
    (row,) = pd.read_parquet(cohort.tables / "phenotypes.parquet").to_dict("records")
    assert (row["stage"], row["reason"]) == ended
    assert json.loads(row["missing_reasons"]) == {"*": ended[1]}
