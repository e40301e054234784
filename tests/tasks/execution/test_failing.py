"""Many failures that are nobody's own stop a stage; those with a reason of their own never do."""

import pytest

from tasks.execution.failing import Failing
from tasks.state.ledger import Outcome


def _outcomes(n: int, reason: str) -> list[Outcome]:
    return [Outcome(f"{k}-2", "convert", "quarantined" if reason else "ok", reason) for k in range(n)]


def test_more_than_the_share_stops_the_stage_when_there_are_enough() -> None:
    failing = Failing("convert", 0.5)
    failing.count([*_outcomes(9, ""), *_outcomes(10, "file_unreadable")])  # 10 of 19: too few to tell
    with pytest.raises(RuntimeError, match="convert: 11 of 20 studies failed, mostly file_unreadable"):
        failing.count(_outcomes(1, "unexpected_error"))


def test_the_share_itself_is_allowed() -> None:
    Failing("convert", 0.5).count([*_outcomes(10, ""), *_outcomes(10, "worker_lost")])


def test_studies_with_a_reason_of_their_own_are_no_fault_of_the_machine() -> None:
    Failing("convert", 0.01).count([*_outcomes(300, "zip_corrupt"), *_outcomes(300, "upstream")])
