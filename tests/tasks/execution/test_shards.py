"""A shard through a stage: the same in this process and on a cluster, and one study never takes others with it."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cmr_models.reasons import StudyRejected
from tasks.execution import shards
from tasks.execution.cluster import open_client
from tasks.state.ledger import Outcome

UNITS = [{"study": f"{i}-2", "key": str(i)} for i in range(7)]


def _one(unit: shards.Unit, cohort: str, settings: dict[str, Any]) -> Outcome:
    if unit["study"] == settings.get("rejects"):
        raise StudyRejected("zip_corrupt", "3 bytes short")
    if unit["study"] == settings.get("breaks"):
        raise ZeroDivisionError("secret 1234567")
    if unit["study"] == settings.get("kills"):
        os._exit(1)
    return Outcome(unit["study"], "convert", "ok", key=unit["key"] * 2)


def work(units: Sequence[shards.Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    return [shards.attempt(_one, unit, cohort, settings, stage="convert") for unit in units]


def _run(settings: dict[str, Any], client: Any = None, per_chunk: int = 3) -> dict[str, tuple[str, str, str, str]]:
    chunks = shards.run(work, UNITS, Path("x"), settings, stage="convert", client=client, studies_per_chunk=per_chunk)
    return {o.study: (o.status, o.reason, o.key, o.wanted) for chunk in chunks for o in chunk}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with open_client("local", {"workers": 2}) as client:
        yield client


def test_a_rejected_study_has_its_reason_and_the_others_go_on() -> None:
    found = _run({"rejects": "3-2"})
    assert found["3-2"] == ("quarantined", "zip_corrupt", "3", "3")
    assert sum(status == "ok" for status, *_ in found.values()) == 6


def test_an_unforeseen_fault_says_where_and_not_what() -> None:
    (broken,) = [o for o in work(UNITS, "x", {"breaks": "2-2"}) if o.status != "ok"]
    assert broken.reason == "unexpected_error"
    assert broken.detail.startswith("ZeroDivisionError at test_shards.py:")
    assert "secret" not in broken.detail


def test_one_chunk_is_as_many() -> None:
    assert _run({}, per_chunk=1) == _run({}, per_chunk=100)


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_what_this_process_gives(client: Any) -> None:
    assert _run({"rejects": "3-2", "breaks": "5-2"}, client) == _run({"rejects": "3-2", "breaks": "5-2"})


@pytest.mark.filterwarnings("ignore")
def test_a_study_that_kills_its_worker_stands_alone(client: Any) -> None:
    found = _run({"kills": "4-2"}, client)
    assert found["4-2"][:2] == ("quarantined", "worker_lost")
    assert sum(status == "ok" for status, *_ in found.values()) == 6
