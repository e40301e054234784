"""Why a stage has something to do for a study: the study is new, its source changed, or how it is worked on.

A key is a digest, so it does not tell what has changed. The ledger keeps every recipe by which a stage was asked to
work (:class:`tasks.execution.stage.Recipe`). If a unit of today would have had the key in the ledger by one of them,
the study is as it was and the recipe has changed; if by none, the study has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from cmr_models.reasons import TRANSIENT
from tasks.execution import plan
from tasks.execution.shards import Unit
from tasks.execution.stage import MODEL_PARTS, KeysOf, StageWork, recipe_of
from tasks.state.ledger import Entry, Ledger

Kind = Literal["new", "source", "settings", "model", "version", "missing file", "retry", "forced", "not recorded"]
KINDS: Mapping[Kind, str] = {
    "new": "it was never brought through this stage",
    "source": "what it is made from has changed",
    "settings": "settings have changed",
    "model": "the network has changed",
    "version": "this version of the software makes it anew",
    "missing file": "its published file is not there",
    "retry": "the last attempt failed for a reason that may pass",
    "forced": "the command was given --force",
    "not recorded": "it was asked for before causes were recorded, or its row was rebuilt from a file",
}
"""Kind of a cause -> what it says of a study."""

SAME_AGAIN: frozenset[Kind] = frozenset({"missing file", "forced"})
"""Kinds of causes after which a study that ended well comes out as it was."""


class Cause(NamedTuple):
    """Why a study is worked on.

    Attributes:
        kind: one of :data:`KINDS`.
        changes: part of the recipe -> (before, now), as far as it has changed.
    """

    kind: Kind
    changes: Mapping[str, tuple[Any, Any]] = {}


def causes(work: StageWork, ledger: Ledger) -> dict[str, Cause]:
    """Study -> why there is something to do for it, for every unit that waits at a stage."""
    entries, keys = ledger.entries(work.stage.name), recipe_of(work.stage).keys
    waiting = plan.units_to_do(work.planned.units, entries, work.missing)
    today = work.recipe() if waiting else {}
    earlier = [(past, keys(past)) for past in ledger.recipes(work.stage.name)] if waiting else []
    return {unit["study"]: _cause(unit, entries.get(unit["study"]), work.missing, today, earlier) for unit in waiting}


def _cause(
    unit: Unit,
    entry: Entry | None,
    missing: Collection[str],
    today: Mapping[str, Any],
    earlier: Sequence[tuple[Mapping[str, Any], KeysOf]],
) -> Cause:
    if entry is None or entry.status == "retired" or entry.reason == "upstream":
        return Cause("new")
    if entry.wanted == unit["key"]:
        return Cause("retry" if entry.reason in TRANSIENT else "missing file")
    if not entry.wanted or not earlier:
        return Cause("missing file" if unit["study"] in missing else "not recorded")
    before = next((past for past, keys in earlier if entry.wanted in keys(unit)), None)
    if before is None or not (changes := changed_parts(before, today)):
        return Cause("source")
    return Cause(_kind(changes), changes)


def changed_parts(before: Mapping[str, Any], today: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Part of a recipe -> (before, now) of what differs; settings and weights one by one."""
    one, other = _flat(before), _flat(today)
    names = sorted(one.keys() | other.keys())
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def _flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in recipe.items():
        inner = {f"{name}.{part}": one for part, one in value.items()} if isinstance(value, Mapping) else {name: value}
        flat |= inner
    return flat


def _kind(changes: Collection[str]) -> Kind:
    parts = {name.partition(".")[0] for name in changes}
    if any(part.startswith("version") for part in parts):
        return "version"
    return "model" if parts & set(MODEL_PARTS) else "settings"
