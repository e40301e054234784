"""What `status` says of a cohort."""

from tasks.maintenance.status import overview
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
