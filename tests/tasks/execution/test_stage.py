"""What every stage shares: when a study is done, how a result or a rejection is published, how a stage is planned."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cmr_models.reasons import TRANSIENT, StudyRejected
from tasks.execution.stage import (
    Planning,
    Stage,
    StageTable,
    done_before,
    each_study,
    plan_stage,
    publish_or_reject,
    run_in_process,
)
from tasks.stages import STAGES, stage_named
from tasks.state import store
from tasks.state.ledger import Ledger, Outcome, open_ledger
from tasks.state.store import Cohort

UNIT = {"study": "1-2", "key": "k"}


def _double(unit: dict[str, Any], _cohort: str, _settings: dict[str, Any]) -> Outcome:
    return Outcome(unit["study"], "double", "ok", key=unit["key"], summary={"n": 2 * int(unit["study"][0])})


FIRST = Stage("first", "Seen", version=1, work=partial(each_study, _double, "first"))
DOUBLE = Stage("double", "Doubled", version=3, upstream=FIRST, work=partial(each_study, _double, "double"))
MADE = Stage(
    "made", "Made", version=1, work=partial(each_study, _double, "made"), summary=lambda t: {"n": t.attrs["n"]}
)


def _tree() -> xr.DataTree:
    tree = xr.DataTree.from_dict({"/sax": xr.Dataset({"label": (("row", "col"), np.zeros((2, 3), np.uint8))})})
    tree.attrs.update(key="k", n=7)
    return tree


def _rejected(reason: str) -> xr.DataTree:
    raise StudyRejected(reason, "why")


def test_a_result_is_published_and_found_again_with_the_same_outcome(tmp_path: Path) -> None:
    path = tmp_path / "1-2.zarr.zip"
    made = publish_or_reject(MADE, UNIT, path, _tree)
    assert (made.status, made.key, made.summary["n"], made.summary["n_bytes"]) == ("ok", "k", 7, path.stat().st_size)
    assert done_before(MADE, "1-2", path, ("k",)) == made
    assert done_before(MADE, "1-2", path, ("another",)) is None


def test_a_rejection_is_published_and_not_tried_again_with_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "1-2.zarr.zip"
    rejected = publish_or_reject(MADE, UNIT, path, partial(_rejected, "no_sax"), name="made by-a-model")
    assert (rejected.status, rejected.reason, rejected.detail) == ("absent", "no_sax", "why")
    assert rejected.stage == "made by-a-model"
    assert done_before(MADE, "1-2", path, ("k",), "made by-a-model") == rejected
    assert done_before(MADE, "1-2", path, ("another",)) is None


@pytest.mark.parametrize("reason", sorted(TRANSIENT - {"unexpected_error"}))
def test_a_transient_rejection_leaves_no_receipt(tmp_path: Path, reason: str) -> None:
    path = tmp_path / "1-2.zarr.zip"
    assert publish_or_reject(MADE, UNIT, path, partial(_rejected, reason)).reason == reason
    assert store.rejection(path) is None
    store.publish_rejection(path, key="k", status="quarantined", reason=reason, detail="")  # as version 0.1 did
    assert done_before(MADE, "1-2", path, ("k",)) is None


def test_a_published_result_replaces_the_receipt(tmp_path: Path) -> None:
    path = tmp_path / "1-2.zarr.zip"
    publish_or_reject(MADE, UNIT, path, partial(_rejected, "no_sax"))
    publish_or_reject(MADE, UNIT, path, _tree)
    assert store.rejection(path) is None


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(
            [
                Outcome("1-2", "first", "ok", key="a"),
                Outcome("2-2", "first", "quarantined", "zip_corrupt"),
                Outcome("3-2", "first", "retired", "source_removed"),
                Outcome("3-2", "double", "ok", key="old"),
            ]
        )
        yield ledger


def test_a_stage_without_units_of_its_own_takes_what_came_through_upstream(ledger: Ledger, tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    planning = Planning(cohort, ledger, DOUBLE.settings())
    work = plan_stage(DOUBLE, planning)
    assert [unit["study"] for unit in work.planned.units] == ["1-2"]
    assert work.planned.units[0]["upstream_key"] == "a"
    assert work.count(ledger, cohort) == 3  # one to do, one that failed upstream, one that left
    run_in_process(work, ledger, cohort)
    ended = {o.study: (o.status, o.reason, o.summary) for o in ledger.outcomes("double")}
    assert ended == {
        "1-2": ("ok", "", {"n": 2}),
        "2-2": ("quarantined", "upstream", {}),
        "3-2": ("retired", "source_removed", {}),
    }
    assert plan_stage(DOUBLE, planning).count(ledger, cohort) == 0


def test_another_version_of_a_stage_is_another_key(ledger: Ledger, tmp_path: Path) -> None:
    planning = Planning(Cohort(tmp_path), ledger, DOUBLE.settings())
    (before,) = plan_stage(DOUBLE, planning).planned.units
    (after,) = plan_stage(replace(DOUBLE, version=4), planning).planned.units
    assert before["key"] != after["key"]


def test_tables_that_are_not_current_count_as_work(ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "table"
    table = StageTable(lambda _ledger, _cohort: file.touch(), lambda _ledger, _cohort: file.exists())
    cohort = Cohort(tmp_path)
    work = plan_stage(replace(DOUBLE, tables=(table,)), Planning(cohort, ledger, DOUBLE.settings()))
    assert not work.tables_are_current(ledger, cohort)
    run_in_process(work, ledger, cohort)
    assert work.tables_are_current(ledger, cohort)


def test_a_first_stage_needs_units_of_its_own(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no stage before it"):
        plan_stage(FIRST, Planning(Cohort(tmp_path), ledger, FIRST.settings()))


def test_every_stage_has_its_own_name_and_comes_after_the_one_before_it() -> None:
    names = [stage.name for stage in STAGES]
    assert len(set(names)) == len(names)
    for position, stage in enumerate(STAGES):
        assert stage.upstream is None or names.index(stage.upstream.name) < position
        assert stage.lineage[-1] == stage.name
        assert stage.lineage[0] == names[0]


def test_a_name_in_the_ledger_leads_to_its_stage() -> None:
    found = stage_named("predict regression_ef-net")
    assert found is not None
    assert found.name == "predict"
    assert stage_named("segment") is not found
    assert stage_named("segmented") is None


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_can_be_sent_to_a_worker(stage: Stage) -> None:
    import pickle

    assert pickle.loads(pickle.dumps(stage.work)) is not None
