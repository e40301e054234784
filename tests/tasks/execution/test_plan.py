"""Planning: what is not current is done, what is current is left alone, and nobody is lost."""

import pytest

from cmr_models.reasons import TRANSIENT
from tasks.execution import plan
from tasks.state.ledger import Entry, Outcome


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


def test_each_kind_of_transient_failure_is_tried_again_and_no_other() -> None:
    reasons = ("zip_corrupt", *sorted(TRANSIENT), "no_sax")
    entries = {reason: Entry("quarantined", reason, "", "w") for reason in reasons}
    units = [_unit(reason, "w") for reason in reversed(reasons)]
    assert [unit["study"] for unit in plan.units_to_do(units, entries)] == sorted(TRANSIENT, reverse=True)


@pytest.mark.parametrize("changed", ["status", "reason", "wanted"])
def test_an_outcome_is_written_again_if_anything_that_planning_looks_at_changed(changed: str) -> None:
    entry = Entry("absent", "no_sax", "made", "w")
    outcomes = [Outcome("2-2", "s", "absent", "no_sax", "detail", "another key", "w"), Outcome("1-2", "s", "ok")]
    assert plan.unrecorded(outcomes, {"2-2": entry}) == outcomes[1:]
    assert plan.unrecorded(outcomes, {"2-2": entry._replace(**{changed: "ok"})}) == outcomes
    assert plan.unrecorded(outcomes, {}) == outcomes


def test_who_left_is_told_by_who_is_planned_and_who_was_retired_before() -> None:
    entries = {
        "1-2": Entry("ok", "", "", ""), "2-2": Entry("retired", "source_removed", "", ""),
        "3-2": Entry("quarantined", "zip_corrupt", "", ""), "4-2": Entry("absent", "no_sax", "", ""),
    }  # fmt: skip
    assert plan.removed_studies([_unit("4-2", "w"), _unit("9-2", "w")], entries) == ["1-2", "3-2"]
    assert list(plan.present_studies(entries)) == ["1-2", "3-2", "4-2"]
    upstream = {
        "1-2": Entry("retired", "withdrawn", "", ""), "2-2": Entry("retired", "withdrawn", "", ""),
        "3-2": Entry("ok", "", "", ""), "7-2": Entry("retired", "withdrawn", "", ""),
    }  # fmt: skip
    assert plan.retired_upstream(upstream, entries) == {"1-2": "withdrawn"}


@pytest.mark.parametrize(
    ("removed", "known", "allowed", "stops"),
    [
        (2, 10, 0.2, False), (3, 10, 0.2, True), (1, 100, 0.0, False), (2, 100, 0.0, True), (0, 5, 0.0, False),
        (1, 1, 0.5, True), (1, 2, 0.0, False), (5, 5, 1.0, False),
    ],
)  # fmt: skip
def test_as_many_may_go_as_are_allowed_and_one_always(removed: int, known: int, allowed: float, stops: bool) -> None:
    names = [str(k) for k in range(known)]
    if not stops:
        plan.check_removal(names[:removed], names, allowed=allowed)
        return
    with pytest.raises(
        RuntimeError, match=f"^{removed} of {known} studies have no source any more, more than the fraction {allowed} "
    ):
        plan.check_removal(names[:removed], names, allowed=allowed)


def test_only_studies_that_came_in_have_to_have_ended() -> None:
    plan.check_balance("segment", ["1-2"], {"1-2": Entry("retired", "x", "", ""), "2-2": Entry("ok", "", "", "")})
    with pytest.raises(RuntimeError, match="segment: 2 of 3 studies have no outcome"):
        plan.check_balance("segment", ["3-2", "1-2", "4-2"], {"1-2": Entry("ok", "", "", "")})


def test_what_failed_upstream_keeps_the_status_and_what_was_wanted_there() -> None:
    upstream = {"2-2": Entry("quarantined", "zip_corrupt", "k", "w2"), "1-2": Entry("retired", "withdrawn", "", "")}
    assert plan.upstream_failures("segment", upstream, {}) == [
        Outcome("2-2", "segment", "quarantined", "upstream", "zip_corrupt", wanted="w2")
    ]


@pytest.mark.parametrize(
    ("reason", "attempts", "n"),
    [("worker_lost", 2, 1), ("worker_lost", 3, 0), ("unexpected_error", 3, 0), ("file_unreadable", 9, 1)],
)
def test_a_study_that_fails_by_itself_is_given_up_after_three_attempts(reason: str, attempts: int, n: int) -> None:
    entries = {"1-2": Entry("quarantined", reason, "", "k", attempts)}
    assert len(plan.units_to_do([{"study": "1-2", "key": "k"}], entries)) == n
    assert len(plan.units_to_do([{"study": "1-2", "key": "another"}], entries)) == 1


def test_a_study_whose_file_is_gone_is_made_again() -> None:
    entries = {"1-2": Entry("ok", "", "k", "k"), "3-2": Entry("ok", "", "k", "k")}
    units = [{"study": "1-2", "key": "k"}, {"study": "3-2", "key": "k"}]
    assert plan.units_to_do(units, entries, {"3-2"}) == units[1:]


def test_only_what_ended_a_process_is_suspected() -> None:
    entries = {"1-2": Entry("quarantined", "worker_lost", "", "k"), "3-2": Entry("ok", "", "k", "k")}
    assert plan.suspects(entries) == {"1-2"}
