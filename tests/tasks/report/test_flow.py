"""The cohort flow and the counts beside it, of a handful of studies."""

import json

import numpy as np
import pandas as pd
import pytest

from cmr_models.phenotypes.quality import RULES
from tasks.report.counts import Counts
from tasks.report.flow import (
    cohort_flow,
    flag_counts,
    flow_counts,
    left_before_analysis,
    measured_states,
    quality_table,
    sentence_of,
)
from tasks.report.hidden_cells import hidden_on_page


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
    flow = cohort_flow(ROWS, Counts(5))
    assert flow["n_in"] == 52
    first = flow["steps"][0]
    assert first["n"] == 30
    absent, aside = first["left"]
    assert (absent["title"], absent["n"]) == ("Not acquired", 6)
    assert (aside["title"], aside["n"]) == ("Set aside", 16)
    assert [(r["code"], r["text"]) for r in aside["reasons"]] == [("zip_corrupt", "9"), ("no_dicom", "7")]
    assert aside["reasons"][0]["sentence"] == "The archive is truncated or fails its checksum."
    assert [reason["code"] for reason in absent["reasons"]] == ["no_sax"]


def test_studies_that_ended_before_are_no_part_of_a_stage_and_stages_without_anybody_are_left_out():
    steps = cohort_flow(ROWS, Counts(5))["steps"]
    assert [(step["title"], step["n"]) for step in steps] == [
        (steps[0]["title"], 30),
        ("Segmented", 25),
        ("Measured", 24),
    ]
    assert [kind["title"] for kind in steps[1]["left"]] == ["Not acquired"]
    with_perfusion = pd.concat([ROWS, table(("perfusion", "ok", "", 2))])
    assert len(cohort_flow(with_perfusion, Counts(5))["steps"]) == 4
    only_upstream = table(("convert", "ok", "", 3), ("segment", "quarantined", "upstream", 3))
    assert len(cohort_flow(only_upstream, Counts(5))["steps"]) == 1


def test_small_reasons_and_totals_are_masked_unless_all_are_asked_for():
    (left,) = cohort_flow(ROWS, Counts(5))["steps"][2]["left"]
    assert (left["text"], left["reasons"][0]["text"], left["reasons"][0]["hidden"]) == ("< 5", "< 5", True)
    (left,) = cohort_flow(ROWS, Counts(1))["steps"][2]["left"]
    assert (left["text"], left["reasons"][0]["text"], left["reasons"][0]["hidden"]) == ("1", "1", False)


def test_four_reasons_of_one_study_each_cannot_be_told_apart_nor_counted():
    """Set aside 4, of four reasons under 5, was one study each; 64 less 60 studies would say 4 as well."""
    reasons = ("zip_corrupt", "no_dicom", "dicom_corrupt", "wrong_series")
    rows = table(("convert", "ok", "", 60), *(("convert", "quarantined", reason, 1) for reason in reasons))
    counts = Counts.of(flow_counts(rows, None), 5)
    assert counts == Counts(5, rounded=True)
    flow = cohort_flow(rows, counts)
    assert (flow["text"], flow["steps"][0]["text"]) == ("65", "60")  # 63 to 67 less 58 to 62: 1 to 9 have left
    (left,) = flow["steps"][0]["left"]
    assert (left["text"], [reason["text"] for reason in left["reasons"]]) == ("< 5", ["< 5"])
    assert not set(reasons) & {reason["code"] for reason in left["reasons"]}


def test_a_hidden_reason_hides_enough_that_their_sum_narrows_it_nowhere():
    """Of 1 and 5 the sum, 36 less 30, is 6, and the one of them that is not small at least 5: so all are hidden."""
    rows = table(*(("convert", "quarantined", reason, n) for reason, n in (("zip_corrupt", 30), ("no_dicom", 5))))
    rows = pd.concat([rows, table(("convert", "quarantined", "dicom_corrupt", 1))])
    (left,) = cohort_flow(rows, Counts(5))["steps"][0]["left"]
    assert [reason["text"] for reason in left["reasons"]] == ["not shown", "not shown", "< 5"]


def test_the_flow_begins_with_the_first_stage_that_anybody_reached():
    assert cohort_flow(ROWS[ROWS["stage"] == "derive"], Counts(5))["n_in"] == 25
    assert cohort_flow(ROWS[:0], Counts(5)) == {"n_in": 0, "text": "0", "steps": []}


PHENOTYPES = pd.DataFrame(
    {"status": ["ok"] * 18 + ["absent"] * 9, "qc_ok": [True] * 11 + [False] * 4 + [None] * 3 + [None] * 9}
)


def test_states_of_measured_studies_belong_to_the_step_of_measuring():
    steps = cohort_flow(ROWS, Counts(5), PHENOTYPES)["steps"]
    assert ["states" in step for step in steps] == [False, False, True]
    assert [(s["code"], s["text"]) for s in steps[2]["states"]] == [("passed", "11"), ("doubted", "7")]
    assert [s["text"] for s in measured_states(PHENOTYPES, Counts(8))] == ["not shown", "< 8"]
    assert [s["text"] for s in measured_states(PHENOTYPES, Counts(1))] == ["11", "7"]
    assert measured_states(PHENOTYPES[18:], Counts(5)) == []
    assert measured_states(None, Counts(5)) == []
    assert "states" not in cohort_flow(ROWS, Counts(5), PHENOTYPES[18:])["steps"][2]


@pytest.mark.parametrize(
    ("count", "exact", "rounded"),
    [(1234, "1,234", "1,235"), (0, "0", "0"), (4, "< 5", "< 5"), (5, "5", "5"), (7, "7", "5"), (8, "8", "10")],
)
def test_a_count_is_exact_small_or_rounded(count, exact, rounded):
    assert Counts(5).text(count) == exact
    assert Counts(5, rounded=True).text(count) == rounded


def test_counts_are_rounded_if_one_or_the_difference_of_two_is_small():
    assert Counts.of([60.0, 55, 5, 0], 5) == Counts(5, rounded=False)
    assert Counts.of([60.0, 56], 5) == Counts.of([60.0, 4], 5) == Counts.of([60.0], 5, rounded=True) == Counts(5, True)
    assert Counts.of([60.0, 59, 1], 1) == Counts(1, False)
    assert Counts(5).texts({"a": 20, "b": 12, "c": 2}) == {"a": "20", "b": "not shown", "c": "< 5"}
    assert Counts(5, rounded=True).texts({"a": 21, "b": 12, "c": 2}) == {"a": "20", "b": "10", "c": "< 5"}
    assert Counts(5, True).texts({"a": 21, "b": 12, "c": 2}, alone=False)["b"] == "not shown"  # whose mean is shown too
    assert Counts(5, True).texts({"a": 21, "b": 12, "c": 1, "d": 1})["b"] == "not shown"
    assert Counts(5).texts({"b": 4, "c": 4}) == {"b": "not shown", "c": "not shown"}  # beside their sum, 8, both are 4


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
    assert [tuple(row.values()) for row in left_before_analysis(flow, Counts(5))] == [
        (", heart failure", "kept", "40"),
        ("people, death", "kept", "30"),
        ("people, death", "lost", "8"),
        ("people, stroke", "kept", "not shown"),  # 8 less 6 for the other: the twice counted would be at most 2
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
    rows = {row["code"]: row for row in quality_table(counts, Counts(5))}
    assert (rows["slice_gap"]["share"], rows["slice_gap"]["n_events"], rows["slice_gap"]["n"]) == (0.25, 6, 24)
    assert np.isnan(
        [rows["ef_implausible"]["share"], rows["es_timing"]["share"], rows["esv_implausible"]["share"]]
    ).all()
    assert rows["edv_implausible"]["share"] == 0
    assert rows["slice_gap"]["sentence"] == sentence_of("slice_gap") != "slice_gap"
    assert quality_table(counts[:0], Counts(5)) == []


# for an output checker


def test_what_the_page_hides_is_a_table_with_its_reason():
    reasons = ("zip_corrupt", "no_dicom", "dicom_corrupt")
    rows = table(("convert", "ok", "", 60), *(("convert", "quarantined", reason, 1) for reason in reasons))
    counts = Counts.of(flow_counts(rows, None), 5)
    values = {
        "minimum": 5, "rounded": counts.rounded, "flow": cohort_flow(rows, counts),
        "distributions": [
            {"phenotype": "LV mass", "group": "Women", "n": "< 5", "suppressed": True},
            {"phenotype": "LV mass", "group": "Men", "n": "not shown", "suppressed": True},
            {"phenotype": "LV mass", "group": "All", "n": "60", "suppressed": False},
        ],
        "quality": [{"code": "es_timing", "flagged": "< 5", "hidden": True}],
        "left_before_analysis": [{"counted": "visits", "step": "lost", "n": "< 5"},
                                 {"counted": "visits", "step": "kept", "n": "60"}],
        "perfusion": {"n": "10", "measured": "10", "limited": "< 5", "rows": [{"title": "Reserve", "n": "10"}]},
    }  # fmt: skip
    found = hidden_on_page(values).to_numpy().tolist()
    assert found[0][:3] == ["all", "counts of studies and people", "in multiples of 5"]
    step = cohort_flow(rows, counts)["steps"][0]["title"]
    assert [row[:3] for row in found[1:]] == [
        ["cohort flow", f"{step}: Set aside", "< 5"],
        ["cohort flow", f"{step}: Set aside, Other reasons, each of few studies", "< 5"],
        ["Table 1", "LV mass, Women", "< 5"],
        ["Table 1", "LV mass, Men", "not shown"],
        ["quality", "es_timing", "< 5"],
        ["left before analysis", "visits: lost", "< 5"],
        ["perfusion", "limited", "< 5"],
    ]
    assert found[4][3] == "would give a small cell back"
    assert {row[3] for row in (*found[1:4], *found[5:])} == {"small cell"}
