"""The perfusion stage: flow maps, AHA segments and numbers of every study with a first-pass series."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.convert.convert_stage import CONVERT
from tasks.derive import perfusion_tables
from tasks.execution.stage import EntryPoint, KeysOf, Planned, Planning, Recipe, Stage, StageTable, entries_ok
from tasks.state import store
from tasks.state.ledger import Outcome
from tasks.state.store import Cohort

if TYPE_CHECKING:
    import xarray as xr

VERSION = 4
"""Raise when the same series would give other numbers: every perfusion study is then measured again."""

MODEL = "perfusion"
"""Folder of the published files beside those of the segmentation models."""

VIEW_PREFIX = "perfusion_"
"""Begins the name of every view of a first-pass series."""


def plan_perfusion(stage: Stage, planning: Planning) -> Planned:
    """A unit for every study with a first-pass series; the others end as absent, which costs nothing."""
    converted = entries_ok(stage, planning.ledger)
    with_series = frozenset(planning.ledger.with_view(CONVERT.name, VIEW_PREFIX))
    units = [{"study": study, "study_key": entry.key} for study, entry in converted.items() if study in with_series]
    keys = planned_keys(_recipe()) if units else None
    return Planned(
        [{**unit, "key": keys(unit)[0]} for unit in units] if keys else [],
        settled=[
            Outcome(study, stage.name, "absent", "no_perfusion", wanted=entry.key)
            for study, entry in converted.items()
            if study not in with_series
        ],
    )


def planned_keys(recipe: Mapping[str, Any]) -> KeysOf:
    """Key of a perfusion file by a recipe: of which study, by which code and weights."""
    keys = store.DigestTemplate({"study": store.HOLE, "version": recipe["version"], "models": recipe["weights"]})
    return lambda unit: (keys.digest(unit["study_key"]),)


def recipe_of(_stage: Stage, _planning: Planning) -> dict[str, Any]:
    """What of the keys is the same for all studies."""
    return _recipe()


def _recipe() -> dict[str, Any]:
    from cmr_models.perfusion.chain import models  # brings torch

    return {"version": VERSION, "weights": models()}


def summary_of(tree: xr.DataTree) -> dict[str, Any]:
    """What the tables need of a published file."""
    found: dict[str, Any] = json.loads(tree.attrs["summary"])
    return found


def _folder(cohort: Cohort, _model: str) -> Mapping[str, Path]:
    return {PERFUSION.name: cohort.predictions / MODEL}


PERFUSION = Stage(
    name="perfusion",
    title="Perfusion measured",
    version=VERSION,
    upstream=CONVERT,
    work=EntryPoint("tasks.derive.perfusion:perfusion_chunk"),
    units=plan_perfusion,
    recipe=Recipe(recipe_of, planned_keys),
    summary=summary_of,
    folders=_folder,
    tables=(StageTable(perfusion_tables.write_tables, perfusion_tables.are_current),),
    optional=True,
)
