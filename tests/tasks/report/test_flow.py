"""The cohort flow and the counts beside it, of a handful of studies."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from cmr_models.phenotypes.quality import RULES
from tasks.report.flow import (
    cohort_flow,
    count_text,
    flag_counts,
    left_before_analysis,
    measured_states,
    quality_table,
    sentence_of,
)


def table(*rows):
    """One row for each of ``n`` studies: (stage, status, reason, n)."""
    found = [(f"s{k}", stage, status, reason) for stage, status, reason, n in rows for k in range(n)]
    return pd.DataFrame(found, columns=["study", "stage", "status", "reason"])


ROWS = table(
    ("convert", "ok", "", 30),
    ("convert", "quarantined", "zip_corrupt", 9),
    ("convert", "quarantined", "no_dicom", 7),
    ("convert", "absent", "no_sax", 6),
    ("segment", "ok", "", 25),
    ("segment", "absent", "no_sax", 5),
    ("segment", "quarantined", "upstream", 22),
    ("derive", "ok", "", 24),
    ("derive", "quarantined", "ef_implausible", 1),
    ("perfusion", "absent", "no_perfusion", 30),
)


def test_what_was_not_acquired_and_what_was_set_aside_stand_apart_with_their_reasons():
    flow = cohort_flow(ROWS, 5)
    assert flow["n_in"] == 52
    first = flow["steps"][0]
    assert first["n"] == 30
    absent, aside = first["left"]
    assert (absent["title"], absent["n"]) == ("Not acquired", 6)
    assert (aside["title"], aside["n"]) == ("Set aside", 16)
    assert [(r["code"], r["n"]) for r in aside["reasons"]] == [("zip_corrupt", 9), ("no_dicom", 7)]
    assert aside["reasons"][0]["sentence"] == "The archive is truncated or fails its checksum."
    assert [reason["code"] for reason in absent["reasons"]] == ["no_sax"]


def test_studies_that_ended_before_are_no_part_of_a_stage_and_stages_without_anybody_are_left_out():
    steps = cohort_flow(ROWS, 5)["steps"]
    assert [(step["title"], step["n"]) for step in steps] == [
        (steps[0]["title"], 30),
        ("Segmented", 25),
        ("Measured", 24),
    ]
    assert [kind["title"] for kind in steps[1]["left"]] == ["Not acquired"]
    with_perfusion = pd.concat([ROWS, table(("perfusion", "ok", "", 2))])
    assert len(cohort_flow(with_perfusion, 5)["steps"]) == 4
    only_upstream = table(("convert", "ok", "", 3), ("segment", "quarantined", "upstream", 3))
    assert len(cohort_flow(only_upstream, 5)["steps"]) == 1


def test_small_reasons_are_masked_unless_all_are_asked_for_and_totals_stay():
    left = cohort_flow(ROWS, 5)["steps"][2]["left"]
    assert left[0]["n"] == 1
    assert math.isnan(left[0]["reasons"][0]["n"])
    assert cohort_flow(ROWS, None)["steps"][2]["left"][0]["reasons"][0]["n"] == 1


def test_the_flow_begins_with_the_first_stage_that_anybody_reached():
    assert cohort_flow(ROWS[ROWS["stage"] == "derive"], 5)["n_in"] == 25
    assert cohort_flow(ROWS[:0], 5) == {"n_in": 0, "steps": []}


PHENOTYPES = pd.DataFrame(
    {"status": ["ok"] * 18 + ["absent"] * 9, "qc_ok": [True] * 11 + [False] * 4 + [None] * 3 + [None] * 9}
)


def test_states_of_measured_studies_belong_to_the_step_of_measuring():
    steps = cohort_flow(ROWS, 5, PHENOTYPES)["steps"]
    assert ["states" in step for step in steps] == [False, False, True]
    assert [(s["code"], s["text"]) for s in steps[2]["states"]] == [("passed", "11"), ("doubted", "7")]
    assert [s["text"] for s in measured_states(PHENOTYPES, 8)] == ["not shown", "< 8"]
    assert [s["text"] for s in measured_states(PHENOTYPES, None)] == ["11", "7"]
    assert measured_states(PHENOTYPES[18:], 5) == []
    assert measured_states(None, 5) == []
    assert "states" not in cohort_flow(ROWS, 5, PHENOTYPES[18:])["steps"][2]


@pytest.mark.parametrize(
    ("count", "shown", "text"),
    [
        (1234, 1234.0, "1,234"),
        (0, 0.0, "0"),
        (4, math.nan, "< 5"),
        (5, math.nan, "not shown"),
        (6, math.nan, "not shown"),
    ],
)
def test_a_hidden_count_is_small_or_hidden_beside_a_small_one(count, shown, text):
    assert count_text(count, shown, 5) == text


def test_joins_that_lost_nobody_are_not_told_and_overall_ones_always_are():
    flow = pd.DataFrame(
        [
            ("", "visits", "kept", 50.0), ("", "visits", "lost", 0.0),
            ("heart_failure", "overall", "kept", 40.0), ("heart_failure", "overall", "lost", 0.0),
            ("death", "people", "kept", 30.0), ("death", "people", "lost", 8.0),
            ("death", "overall", "kept", 0.0),
            ("stroke", "people", "kept", 7.0), ("stroke", "people", "lost", 6.0), ("stroke", "people", "twice", 2.0),
        ],
        columns=["outcome", "group_by", "step", "n"],
    )  # fmt: skip
    assert [tuple(row.values()) for row in left_before_analysis(flow, 5)] == [
        (", heart failure", "kept", "40"),
        ("people, death", "kept", "30"),
        ("people, death", "lost", "8"),
        ("people, stroke", "kept", "7"),
        ("people, stroke", "lost", "not shown"),
        ("people, stroke", "twice", "< 5"),
    ]


def test_an_unknown_code_stands_for_itself():
    assert sentence_of("no_such_code") == "no_such_code"
    assert sentence_of("zip_corrupt") == "The archive is truncated or fails its checksum."


# quality


def outcomes(*flags, status="ok", stage="convert"):
    return pd.DataFrame({"stage": stage, "status": status, "flags": [json.dumps(list(each)) for each in flags]})


def test_flags_count_studies_converted_and_rules_those_that_could_be_judged():
    every = pd.concat(
        [
            outcomes(["slice_gap"], [], ["slices_few", "slice_gap"]),
            outcomes(["slice_gap"], status="quarantined"),
            outcomes(["slice_gap"], stage="segment"),
        ]
    )
    verdicts = pd.DataFrame(
        {"qc_ef": pd.array([True, False, None, False], "boolean"), "qc_mass": pd.array([None] * 4, "boolean")}
    )
    found = flag_counts(every, verdicts, RULES)
    assert found.to_numpy().tolist() == [
        ["convert", "slice_gap", 2, 3], ["convert", "slices_few", 1, 3], ["derive", "ef_implausible", 2, 3]
    ]  # fmt: skip
    assert flag_counts(every, None, RULES)["code"].tolist() == ["slice_gap", "slices_few"]
    assert list(flag_counts(every[:0], None, RULES)) == ["stage", "code", "n_flagged", "n_judged"]


def test_shares_of_broken_rules_are_masked_where_few_break_or_keep_them():
    counts = pd.DataFrame(
        [("convert", "slice_gap", 6.0, 24.0), ("derive", "ef_implausible", 3.0, 24.0),
         ("derive", "es_timing", 21.0, 24.0),
         ("derive", "edv_implausible", 0.0, 24.0), ("derive", "esv_implausible", 0.0, 0.0)],
        columns=["stage", "code", "n_flagged", "n_judged"],
    )  # fmt: skip
    rows = {row["code"]: row for row in quality_table(counts, 5)}
    assert (rows["slice_gap"]["share"], rows["slice_gap"]["n_events"], rows["slice_gap"]["n"]) == (0.25, 6, 24)
    assert np.isnan(
        [rows["ef_implausible"]["share"], rows["es_timing"]["share"], rows["esv_implausible"]["share"]]
    ).all()
    assert rows["edv_implausible"]["share"] == 0
    assert rows["slice_gap"]["sentence"] == sentence_of("slice_gap") != "slice_gap"
    assert quality_table(counts[:0], 5) == []
