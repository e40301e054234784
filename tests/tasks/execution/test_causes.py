"""Why there is something to do for a study: each cause made once, at a stage of two plain parts."""

from pathlib import Path
from typing import Any

import pytest

from tasks.execution.causes import Cause, causes, changed_parts
from tasks.execution.stage import KeysOf, Planned, Recipe, Stage, StageWork
from tasks.state.ledger import Outcome, open_ledger

TODAY = {"version": 2, "weights": {"sax": "w2"}, "settings": {"padding": "black"}}


def _keys(recipe: Any) -> KeysOf:
    how = f"{recipe['version']}/{recipe['weights']['sax']}/{recipe['settings']['padding']}"
    return lambda unit: (f"{unit['input']}/{how}",)


def _nothing(*_: Any) -> list[Outcome]:
    return []


STAGE = Stage("made", "Made", 2, _nothing, recipe=Recipe(lambda *_: TODAY, _keys))


def _cause(tmp_path: Path, *earlier: dict[str, Any], missing: bool = False, **row: Any) -> Cause | None:
    """The cause for study 1-2, whose input is "a", where the ledger has ``row`` of it."""
    unit = {"study": "1-2", "input": "a"}
    work = StageWork(
        STAGE,
        {},
        Planned([{**unit, "key": _keys(TODAY)(unit)[0]}]),
        {},
        {"1-2"} if missing else set(),
        lambda: TODAY,
    )
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        for recipe in earlier:
            ledger.remember_recipe("made", recipe)
        if row:
            ledger.record(
                [Outcome(**{"study": "1-2", "stage": "made", "status": "ok", "wanted": "a/2/w2/black", **row})]
            )
        return causes(work, ledger).get("1-2")


def test_what_the_ledger_has_as_it_should_be_has_no_cause(tmp_path: Path) -> None:
    assert _cause(tmp_path, TODAY, wanted="a/2/w2/black") is None


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({}, "new"),
        ({"status": "retired", "reason": "source_removed", "wanted": ""}, "new"),
        ({"status": "quarantined", "reason": "upstream", "wanted": "of before"}, "new"),
        ({"status": "quarantined", "reason": "worker_lost"}, "retry"),
        ({"wanted": "b/2/w2/black"}, "source"),
        ({"wanted": "b/1/w1/black"}, "source"),
        ({"wanted": ""}, "not recorded"),
    ],
)
def test_a_study_has_its_cause(tmp_path: Path, row: dict[str, Any], kind: str) -> None:
    assert _cause(tmp_path, TODAY, **row) == Cause(kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "kind", "changes"),
    [
        ({"version": 1}, "version", {"version": (1, 2)}),
        ({"weights": {"sax": "w1"}}, "model", {"weights.sax": ("w1", "w2")}),
        ({"settings": {"padding": "masked"}}, "settings", {"settings.padding": ("masked", "black")}),
        ({"version": 1, "weights": {"sax": "w1"}}, "version", {"version": (1, 2), "weights.sax": ("w1", "w2")}),
    ],
)
def test_an_earlier_recipe_that_gives_the_key_shows_what_has_changed(
    tmp_path: Path, before: dict[str, Any], kind: str, changes: dict[str, Any]
) -> None:
    past = {**TODAY, **before}
    wanted = _keys(past)({"input": "a"})[0]
    assert _cause(tmp_path, past, TODAY, wanted=wanted) == Cause(kind, changes)  # type: ignore[arg-type]


def test_a_study_whose_file_is_gone_misses_it(tmp_path: Path) -> None:
    assert _cause(tmp_path, TODAY, missing=True, wanted="a/2/w2/black") == Cause("missing file")


def test_without_recipes_nobody_guesses(tmp_path: Path) -> None:
    assert _cause(tmp_path, wanted="a/1/w2/black") == Cause("not recorded")


def test_changes_name_each_setting() -> None:
    before, now = {"settings": {"a": 1, "b": 2}, "version": 3}, {"settings": {"a": 1, "b": 5, "c": 6}, "version": 3}
    assert changed_parts(before, now) == {"settings.b": (2, 5), "settings.c": (None, 6)}
