"""What every stage shares: when a study is done, how a result or a rejection is published, how a stage is planned."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cmr_models.reasons import TRANSIENT, StudyRejected
from tasks.convert.settings import ConvertSettings
from tasks.execution.stage import (
    EntryPoint,
    Planned,
    Planning,
    Stage,
    StageTable,
    done_before,
    each_study,
    entries_ok,
    plan_stage,
    publish_or_reject,
    publish_receipt,
    receipt_status,
    run_in_process,
)
from tasks.stages import STAGES, stage_named
from tasks.state import store
from tasks.state.ledger import Ledger, Outcome, open_ledger
from tasks.state.store import Cohort
from tasks.state.zarr_encoding import encode_tree

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


def test_units_carry_the_key_of_the_study_before_and_theirs_changes_with_anything_it_was_made_from(
    ledger: Ledger, tmp_path: Path
) -> None:
    ledger.record([Outcome("0-2", "first", "ok", key="b"), Outcome("4-2", "first", "absent", "no_sax", key="c")])

    def units(stage: Stage = DOUBLE, settings: Any = None) -> dict[str, tuple[str, str]]:
        found = plan_stage(stage, Planning(Cohort(tmp_path), ledger, settings or stage.settings())).planned.units
        return {unit["study"]: (unit["upstream_key"], unit["key"]) for unit in found}

    before = units()
    assert list(before) == ["0-2", "1-2"]
    assert [upstream for upstream, _ in before.values()] == ["b", "a"]
    assert before["0-2"][1] == store.digest(["b", "double", 3, {}])
    assert before["1-2"][1] == store.digest(["a", "double", 3, {}])
    assert units(DOUBLE, ConvertSettings(removed_max=0.5))["0-2"][1] == store.digest(
        ["b", "double", 3, ConvertSettings(removed_max=0.5).model_dump(mode="json")]
    )
    assert entries_ok(DOUBLE, ledger)["0-2"].key == "b"


def test_a_stage_of_its_own_plan_settles_and_removes_and_retired_studies_leave_it_too(
    ledger: Ledger, tmp_path: Path
) -> None:
    def planned(stage: Stage, planning: Planning) -> Planned:
        assert (stage.name, planning.model) == ("double", "net")
        return Planned(
            [{"study": "1-2", "key": "k"}],
            [Outcome("5-2", "double", "absent", "no_sax", wanted="w")],
            {"6-2": "withdrawn"},
            ["note"],
        )

    ledger.record(
        [
            Outcome("6-2", "double", "ok"),
            Outcome("7-2", "first", "retired", "withdrawn"),
            Outcome("7-2", "double", "ok"),
        ]
    )
    planning = Planning(Cohort(tmp_path), ledger, DOUBLE.settings(), model="net")
    work = plan_stage(replace(DOUBLE, units=planned), planning)
    assert work.planned.removed == {"3-2": "source_removed", "7-2": "withdrawn", "6-2": "withdrawn"}
    assert set(work.upstream) == {"1-2", "2-2"}
    units, outcomes = work.waiting(ledger)
    assert units == [{"study": "1-2", "key": "k"}]
    assert [(o.study, o.stage, o.status, o.reason) for o in outcomes] == [
        ("2-2", "double", "quarantined", "upstream"),
        ("5-2", "double", "absent", "no_sax"),
        ("3-2", "double", "retired", "source_removed"),
        ("7-2", "double", "retired", "withdrawn"),
        ("6-2", "double", "retired", "withdrawn"),
    ]
    assert work.count(ledger, Cohort(tmp_path)) == 6
    ledger.record(outcomes)
    with pytest.raises(RuntimeError, match="double: 1 of 2 studies have no outcome"):
        work.check_balance(ledger)
    ledger.record([Outcome("1-2", "double", "ok", wanted="k")])
    assert work.check_balance(ledger)["1-2"].wanted == "k"
    assert work.waiting(ledger)[0] == []


def test_every_table_has_to_be_current(ledger: Ledger, tmp_path: Path) -> None:
    written: list[str] = []
    tables = tuple(
        StageTable(
            lambda _l, _c, name=name: written.append(name), lambda _l, _c, name=name: name == "b" or name in written
        )
        for name in ("a", "b", "c")
    )
    cohort = Cohort(tmp_path)
    work = plan_stage(replace(DOUBLE, tables=tables), Planning(cohort, ledger, DOUBLE.settings()))
    assert work.count(ledger, cohort) == 4
    assert not work.tables_are_current(ledger, cohort)
    written.append("a")
    assert not work.tables_are_current(ledger, cohort)
    work.write_tables(ledger, cohort)
    assert written == ["a", "a", "b", "c"]
    assert work.tables_are_current(ledger, cohort)
    assert work.count(ledger, cohort) == 3


def test_an_entry_point_is_imported_when_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_late_module.py").write_text(
        "def work(units, cohort, settings):\n    return [units, cohort, settings]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("a_late_module:work")
    assert "a_late_module" not in sys.modules
    assert entry([UNIT], "c", {"a": 1}) == [[UNIT], "c", {"a": 1}]


def test_a_stage_owns_its_name_and_on_demand_those_of_its_models() -> None:
    on_demand = replace(FIRST, on_demand=True)
    assert [on_demand.owns(name) for name in ("first", "first net", "firstnet", "second", "fir")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [FIRST.owns(name) for name in ("first", "first net")] == [True, False]
    assert DOUBLE.lineage == ("first", "double")


def test_what_was_done_before_is_known_by_any_of_its_keys_with_size_and_digest(tmp_path: Path) -> None:
    path = tmp_path / "1-2.zarr.zip"
    assert done_before(MADE, "1-2", path, ("k",)) is None
    published = store.publish(encode_tree(_tree()), path)
    found = done_before(MADE, "1-2", path, ["other", "k"], "made net")
    assert found == Outcome("1-2", "made net", "ok", key="k", summary={"n": 7, **published._asdict()})
    assert done_before(MADE, "1-2", path, []) is None
    store.publish_rejection(path, key="r", status="odd", reason="no_sax", detail="d")
    assert done_before(MADE, "1-2", path, {"r"}) == Outcome("1-2", "made", "quarantined", "no_sax", "d", "r")
    assert done_before(MADE, "1-2", path, {"k"}) is None


def test_a_receipt_is_written_for_what_will_not_end_otherwise_and_for_no_success(tmp_path: Path) -> None:
    for status, reason, is_written in (
        ("ok", "", False),
        ("quarantined", "out_of_memory", False),
        ("absent", "no_sax", True),
    ):
        path = tmp_path / f"{status}.zarr.zip"
        publish_receipt(Outcome("1-2", "made", status, reason, "d", "k"), path)  # type: ignore[arg-type]
        receipt = {"key": "k", "status": status, "reason": reason, "detail": "d"} if is_written else None
        assert store.rejection(path) == receipt
    assert [receipt_status({"status": status}) for status in ("absent", "quarantined", "ok")] == [
        "absent",
        "quarantined",
        "quarantined",
    ]
