"""What `status` says of a cohort."""

import pytest

from cmr_models.reasons import TABLE
from tasks.maintenance.status import overview, set_aside
from tasks.state.ledger import Outcome, open_ledger


def _derived(study, *broken):
    return Outcome(study, "derive", "ok", key="k", summary={"quality": {}, "quality_reasons": list(broken)})


def test_the_last_line_tells_passed_doubted_set_aside_and_absent_studies_apart(tmp_path):
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record([_derived("a-2"), _derived("b-2"), _derived("c-2", "es_timing", "lv_slices_gap")])
        ledger.record(
            [Outcome("d-2", "derive", "quarantined", "upstream"), Outcome("e-2", "derive", "absent", "no_sax")]
        )
        ledger.record([Outcome("f-2", "derive", "retired", "source_removed")])
        ledger.record([Outcome("g-2", "derive", "ok", key="k", summary={})])  # no verdict
        lines = list(overview(ledger))
    assert lines[-1] == "6 studies: 2 passed, 2 doubted, 1 set aside, 1 absent"


def test_a_study_that_an_earlier_stage_found_absent_is_not_said_to_be_quarantined(tmp_path):
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(
            [Outcome("a-2", "derive", "absent", "upstream"), Outcome("b-2", "derive", "quarantined", "upstream")]
        )
        lines = [line for line in overview(ledger) if "upstream" in line]
    absent, quarantined = lines
    assert "quarantined" not in absent
    assert absent.endswith("upstream: An earlier stage found that something was not acquired.")
    assert quarantined.endswith("upstream: An earlier stage quarantined the study.")


def test_before_anything_is_measured_status_says_no_state(tmp_path):
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record([Outcome("a-2", "convert", "ok", key="k")])
        assert len(list(overview(ledger))) == 2


def test_stages_stand_in_the_order_of_a_run_with_counts_in_columns_and_the_files_left(tmp_path):
    outcomes = [
        Outcome("a-2", "predict sex-net", "ok"),
        Outcome("a-2", "convert", "ok"),
        Outcome("b-2", "convert", "ok"),
        Outcome("c-2", "convert", "quarantined", "zip_corrupt"),
        Outcome("d-2", "convert", "absent", "no_sax"),
        Outcome("a-2", "unheard", "ok"),
        Outcome("a-2", "segment", "ok"),
        Outcome("b-2", "segment", "quarantined", "unheard_of"),
    ]
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(outcomes)
        ledger.remember_sources([], forget_others=False, not_taken={"1.txt": ".txt", "2.txt": ".txt", "3.csv": ".csv"})
        lines = list(overview(ledger))
    width = len("predict sex-net") + 2
    assert lines[0] == "stage".ljust(width) + "status".ljust(13) + " studies  reason"
    assert [
        (line[:width].strip(), line[width : width + 13].strip(), line[width + 13 :].split(":")[0].strip())
        for line in lines[1:-1]
    ] == [
        ("convert", "absent", "1  no_sax"),
        ("convert", "ok", "2"),
        ("convert", "quarantined", "1  zip_corrupt"),
        ("segment", "ok", "1"),
        ("segment", "quarantined", "1  unheard_of"),
        ("predict sex-net", "ok", "1"),
        ("unheard", "ok", "1"),
    ]
    assert all(line == line.rstrip() for line in lines)
    assert lines[1].endswith(f"no_sax: {TABLE['no_sax'].sentence}")
    assert lines[2] == "convert".ljust(width) + "ok".ljust(13) + "       2"
    assert lines[-1] == "3 files of the sources are part of no study: 2 .txt, 1 .csv"


def test_a_short_table_is_as_wide_as_the_longest_stage_of_a_run(tmp_path):
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record([Outcome("a-2", "derive", "ok")])
        header, first, last = overview(ledger)
        assert header.startswith("stage     status")
        assert first.startswith("derive    ok")
        assert last == "1 studies: 0 passed, 1 doubted, 0 set aside, 0 absent"


def _ledger_of(folder, **stages):
    ledger = open_ledger(folder / "ledger.sqlite")
    with ledger as opened:
        for stage, letters in stages.items():
            statuses = {"o": "ok", "q": "quarantined", "a": "absent", "r": "retired"}
            opened.record([Outcome(f"{k}-2", stage.replace("_", " "), statuses[c]) for k, c in enumerate(letters)])
        return set_aside(opened)


@pytest.mark.parametrize(
    ("stages", "right"),
    [
        ({}, (0.0, "")),
        ({"convert": "ooo"}, (0.0, "")),
        ({"convert": "ooqa"}, (0.25, "convert")),
        ({"convert": "ooqarrr"}, (0.25, "convert")),  # of those that are not retired
        ({"convert": "ooqa", "derive": "oq"}, (0.5, "derive")),
        ({"convert": "oqqq", "derive": "oq"}, (0.75, "convert")),
        ({"convert": "oq", "segment": "oq"}, (0.5, "convert")),  # the first of equals
        ({"convert": "oooq", "predict_net": "qqq", "predict": "qq"}, (0.25, "convert")),  # not part of a run
        ({"perfusion": "q"}, (1.0, "perfusion")),
        ({"convert": "rr"}, (0.0, "")),
    ],
)
def test_the_largest_share_that_was_set_aside_is_told_with_its_stage(tmp_path, stages, right):
    assert _ledger_of(tmp_path, **stages) == right
