"""Planning: what is not current is done, what is current is left alone, and nobody is lost."""

import pytest

from tasks.execution import plan
from tasks.state.ledger import Entry


def _unit(study: str, key: str) -> dict[str, str]:
    return {"study": study, "key": key}


def test_a_study_is_done_while_the_same_is_wanted() -> None:
    entries = {"1-2": Entry("ok", "", "made", "w"), "2-2": Entry("quarantined", "zip_corrupt", "", "w")}
    assert plan.units_to_do([_unit("1-2", "w"), _unit("2-2", "w")], entries) == []
    assert plan.units_to_do([_unit("1-2", "other"), _unit("3-2", "w")], entries) == [
        _unit("1-2", "other"),
        _unit("3-2", "w"),
    ]


def test_a_passing_failure_is_tried_again() -> None:
    entries = {"1-2": Entry("quarantined", "worker_lost", "", "w")}
    assert plan.units_to_do([_unit("1-2", "w")], entries) == [_unit("1-2", "w")]


def test_what_ended_upstream_is_written_down_once() -> None:
    upstream = {
        "1-2": Entry("ok", "", "k", "w"),
        "2-2": Entry("quarantined", "zip_corrupt", "", "w"),
        "3-2": Entry("absent", "no_sax", "", "w"),
    }
    passed = plan.upstream_failures("segment", upstream, {})
    assert [(o.study, o.status, o.reason, o.detail) for o in passed] == [
        ("2-2", "quarantined", "upstream", "zip_corrupt"),
        ("3-2", "absent", "upstream", "no_sax"),
    ]
    recorded = {o.study: Entry(o.status, o.reason, o.key, o.wanted) for o in passed}
    assert plan.upstream_failures("segment", upstream, recorded) == []


def test_a_vanished_archive_stops_the_run() -> None:
    known = [str(i) for i in range(100)]
    plan.check_removal(known[:20], known, allowed=0.2)
    with pytest.raises(RuntimeError, match=r"21 of 100 studies have no source.*mounted"):
        plan.check_removal(known[:21], known, allowed=0.2)


def test_a_small_cohort_may_lose_one_study_but_never_all() -> None:
    plan.check_removal([], [], allowed=0.2)
    plan.check_removal(["1"], ["1", "2"], allowed=0.2)
    for n in (1, 2, 8, 10):
        known = [str(i) for i in range(n)]
        with pytest.raises(RuntimeError, match=f"{n} of {n} studies"):
            plan.check_removal(known, known, allowed=0.2)
        plan.check_removal(known, known, allowed=1)
    with pytest.raises(RuntimeError, match="2 of 8"):
        plan.check_removal(["1", "2"], [str(i) for i in range(8)], allowed=0.2)


def test_a_study_without_outcome_fails_the_stage() -> None:
    with pytest.raises(RuntimeError, match="1 of 2 studies have no outcome"):
        plan.check_balance("segment", ["1-2", "2-2"], {"1-2": Entry("ok", "", "", "")})
