"""The plan of a cohort in shards: what it is made of, and that it cannot change under its name."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.batch.merging import check_ended, merge
from tasks.batch.parts import parts_of
from tasks.batch.shard_plan import Part, ShardPlan, open_plan, publish_plan, ranges, unfinished_plans
from tasks.batch.shard_run import run_shard, software
from tasks.derive.derive_stage import BodySize, read_body_sizes
from tasks.state.ledger import Ledger, Outcome, open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort, publish_bytes

SETTINGS: dict[str, Any] = {"segment": {"model": "default"}}


def _unit(study: str) -> dict[str, Any]:
    files = [(f"/archive/{study}.zip", 3, 5), (f"/archive/{study}b.zip", 3, 5)]
    return {"study": study, "key": f"key of {study}", "kind": "ukb", "files": files, "roots": ["/archive"]}


def _plan(cohort: Cohort, *parts: Part, **content: Any) -> ShardPlan:
    told = {"settings": SETTINGS, "software": software(SETTINGS), "model": "", "settings_file": "", "removed": {}}
    return publish_plan(cohort, {**told, **content}, parts or [Part([_unit("1-2")], [], "")])


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return Cohort(tmp_path / "cohort")


@pytest.fixture
def ledger(cohort: Cohort) -> Any:
    with open_ledger(cohort.ledger) as opened:
        yield opened


def test_studies_are_cut_in_their_order_with_their_files_rows_and_sizes(ledger: Ledger, tmp_path: Path) -> None:
    row = Outcome("3-2", "convert", "ok", key="k", wanted="w", summary={"views": {}})
    ledger.record([row, Outcome("9-2", "convert", "ok")])
    sizes = {"1-2": BodySize(170.30000000000001, 70.0), "3-2": BodySize(weight_kg=61.5)}
    first, second = parts_of(["1-2", "2-2", "3-2"], {"1-2": _unit("1-2"), "2-2": _unit("2-2")}, ledger, sizes, 2)
    assert [unit["study"] for unit in first.units] == ["1-2", "2-2"]
    assert first.files == ["/archive/1-2.zip", "/archive/1-2b.zip", "/archive/2-2.zip", "/archive/2-2b.zip"]
    assert (second.units, second.rows, second.studies) == ([], [row], 1)
    (tmp_path / "sizes.csv").write_text(second.sizes)
    (tmp_path / "first.csv").write_text(first.sizes)
    assert read_body_sizes(tmp_path / "first.csv") == {"1-2": sizes["1-2"]}
    assert read_body_sizes(tmp_path / "sizes.csv")["3-2"].weight_kg == 61.5


def test_the_same_plan_has_the_same_name_and_another_size_another(cohort: Cohort) -> None:
    assert _plan(cohort, size=1).digest == _plan(cohort, size=1).digest
    assert _plan(cohort, size=2).digest != _plan(cohort, size=1).digest


def test_a_plan_is_read_as_it_was_published(cohort: Cohort) -> None:
    part = Part([_unit("1-2")], [Outcome("1-2", "segment", "ok", key="k", summary={"n": 1})], "a,b\n")
    digest = _plan(cohort, part).digest
    read = open_plan(cohort, digest[:8]).part(0)
    assert (read.rows, read.sizes) == (part.rows, part.sizes)
    assert read.files == part.files


@pytest.mark.parametrize("name", ["plan.json", "parts/00000.json", "parts/00000.csv"])
def test_a_plan_that_somebody_changed_is_refused(cohort: Cohort, name: str) -> None:
    plan = _plan(cohort)
    path = plan.folder / name
    path.write_bytes(path.read_bytes().replace(b'"1-2"', b'"1-3"') + b" ")
    if name == "plan.json":
        content = json.loads(path.read_bytes())
        path.write_text(json.dumps({**content, "model": "another"}))
    with pytest.raises(UserMistake, match="is not what was planned"):
        open_plan(cohort, plan.digest).part(0)


def test_another_plans_digest_is_refused(cohort: Cohort) -> None:
    plan = _plan(cohort)
    with pytest.raises(UserMistake, match=f"there is no plan 0123456789abcdef in .*; there: {plan.digest}"):
        open_plan(cohort, "0123456789abcdef")


def test_of_several_open_plans_one_must_be_named(cohort: Cohort) -> None:
    begun = _plan(cohort)
    begun.ledger(0).parent.mkdir()
    other = _plan(cohort, size=7)
    with pytest.raises(UserMistake, match="several plans; name one with --plan"):
        open_plan(cohort)
    assert open_plan(cohort, other.digest).digest == other.digest


def test_a_plan_of_which_nothing_has_begun_makes_way_for_the_next(cohort: Cohort) -> None:
    _plan(cohort)
    later = _plan(cohort, size=7)
    assert [plan.digest for plan in unfinished_plans(cohort)] == [later.digest]


def test_without_a_plan_the_way_to_one_is_told(cohort: Cohort) -> None:
    with pytest.raises(UserMistake, match="make one: `cmr-cohort shard plan`"):
        open_plan(cohort)


def test_a_shard_that_is_not_in_the_plan_is_refused(cohort: Cohort) -> None:
    with pytest.raises(UserMistake, match=r"there is no shard 1; plan .* has shards 0 to 0"):
        _plan(cohort).part(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"versions": {"segment": 0}}, "was made with version 0 of the stage segment"),
        ({"weights": {"sax": "another"}}, "was made with another network"),
    ],
)
def test_other_software_or_weights_than_planned_are_refused(
    cohort: Cohort, change: dict[str, Any], message: str
) -> None:
    planned = software(SETTINGS)
    told = {name: {**planned[name], **change.get(name, {})} for name in planned}
    with pytest.raises(UserMistake, match=message):
        run_shard(_plan(cohort, software=told), 0, cohort, None)  # type: ignore[arg-type]  # it shows nothing


def test_shards_that_lack_are_named(cohort: Cohort) -> None:
    plan = _plan(cohort, *[Part([], [], "") for _ in range(6)])
    for index in (0, 4):
        publish_bytes(b"{}", plan.ended(index))
    with pytest.raises(UserMistake, match="4 of 6 shards have not ended: 1-3,5"):
        check_ended(plan)


def test_numbers_are_told_as_ranges() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert ranges([]) == ""


def test_a_merge_takes_what_is_new_once(cohort: Cohort, ledger: Ledger) -> None:
    known, news = Outcome("1-2", "convert", "ok", key="k"), Outcome("1-2", "segment", "ok", key="s", seconds=2.5)
    ledger.record([known])
    plan = _plan(cohort, Part([], [known], ""))
    with open_ledger(plan.ledger(0)) as shard:
        shard.record([known, news])
        shard.remember_recipe("segment", {"version": 1})
    for _ in range(2):
        assert merge(plan, ledger) == 1
    rows = ledger.rows("1-2")
    assert {stage: (outcome, attempts) for stage, (outcome, attempts, _) in rows.items()} == {
        "convert": (known, 1),
        "segment": (news, 1),
    }
    assert ledger.recipes("segment") == [{"version": 1}]


def test_a_finished_plan_keeps_neither_people_nor_files(cohort: Cohort) -> None:
    plan = _plan(cohort)
    plan.finish()
    assert sorted(path.name for path in plan.folder.iterdir()) == ["finished.json", "plan.json"]
    assert unfinished_plans(cohort) == []
    with pytest.raises(UserMistake, match="is finished"):
        run_shard(plan, 0, cohort, None)  # type: ignore[arg-type]


@contextlib.contextmanager
def _unseen(_stage: str, _n: int) -> Iterator[Callable[[int], None]]:
    yield lambda _n: None


def _run_without_archive(cohort: Cohort, **compute: Any) -> dict[str, dict[str, int]]:
    """Run a shard of 20 studies whose files are gone, as of an archive that is no longer mounted."""
    settings = {**SETTINGS, "compute": compute}
    units = [{**_unit(f"{k}-2"), "study_uid": "", "participant": str(k), "visit": "2"} for k in range(20)]
    return run_shard(_plan(cohort, Part(units, [], ""), settings=settings), 0, cohort, _unseen)


def test_a_shard_of_an_archive_that_is_not_mounted_stops_unless_so_many_may_fail(cohort: Cohort) -> None:
    with pytest.raises(RuntimeError, match="convert: 20 of 20 studies failed, mostly file_unreadable"):
        _run_without_archive(cohort, failing_max=0.9)
    assert _run_without_archive(cohort, failing_max=1.0)["convert"] == {"quarantined": 20}
