"""The lines of a study page that say why ventricles do not count in some slices."""

import json

from cmr_models.reasons import TABLE
from tasks.report.study_page import slices_left_out


def test_slices_with_one_reason_share_a_line_and_are_counted_from_one() -> None:
    rows = [
        {"ventricle": "lv", "phase": "es", "slice": 0, "reason": "slice_beyond_valve"},
        {"ventricle": "lv", "phase": "es", "slice": 1, "reason": "slice_beyond_valve"},
        {"ventricle": "rv", "phase": "es", "slice": 1, "reason": "slice_resting"},
    ]
    found = slices_left_out({"slices_left_out": json.dumps(rows)})
    assert [(line["ventricle"], line["phase"], line["slices"], line["code"]) for line in found] == [
        ("LV", "ES", "1, 2", "slice_beyond_valve"),
        ("RV", "ES", "2", "slice_resting"),
    ]
    assert found[0]["sentence"] == TABLE["slice_beyond_valve"].sentence


def test_without_any_there_is_no_line() -> None:
    assert slices_left_out({"slices_left_out": "[]"}) == []
    assert slices_left_out({"slices_left_out": ""}) == []
    assert slices_left_out({"slices_left_out": None}) == []
    assert slices_left_out({"slices_left_out": float("nan")}) == []  # as a table has it
    assert slices_left_out({}) == []
