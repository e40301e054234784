"""The segment stage: labels of every frame of every short-axis stack and of the long-axis views that a model knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmr_models import zoo
from tasks.convert.convert_stage import CONVERT
from tasks.execution.shards import Unit
from tasks.execution.stage import EntryPoint, KeysOf, Planned, Planning, Recipe, Stage, entries_ok
from tasks.inference.settings import SegmentSettings
from tasks.state import store
from tasks.state.ledger import Entry, Ledger
from tasks.state.store import Cohort, model_name

if TYPE_CHECKING:
    import xarray as xr

VERSION = 7
"""Raise when the same study and weights would give other labels: every study is then segmented again."""

TASKS = {view: f"segment_{view}" for view in ("sax", "lax_4c", "lax_2c", "lax_3c")}
"""View -> the task of the network that segments it."""


def plan_segmentation(stage: Stage, planning: Planning) -> Planned:
    """A unit for every converted study."""
    return Planned(segment_units(entries_ok(stage, planning.ledger), planning.settings.model_dump()))


def segment_units(studies: Mapping[str, Entry], settings: Mapping[str, Any]) -> list[Unit]:
    """A unit for every converted study, with the key that its prediction must carry.

    Args:
        studies: study -> how it stands at the convert stage; only "ok" is segmented.
        settings: plain values of :class:`SegmentSettings`.
    """
    keys = planned_keys(_recipe(SegmentSettings(**settings)))
    units = [
        {"study": study, "study_key": entry.key} for study, entry in sorted(studies.items()) if entry.status == "ok"
    ]
    return [{**unit, "key": keys(unit)[0]} for unit in units]


def network_digests(model: str) -> dict[str, str]:
    """View -> digest of the network that segments it, from the cards alone; only views that the model is for.

    Raises:
        FileNotFoundError, ValueError: as :func:`cmr_models.zoo.card`, if the model is for no view.
    """
    digests: dict[str, str] = {}
    errors: list[FileNotFoundError | ValueError] = []
    for view, task in TASKS.items():
        try:
            digests[view] = zoo.card(model, task).network_digest
        except (FileNotFoundError, ValueError) as error:
            errors.append(error)
    if not digests:
        raise errors[0]
    return digests


def recipe_of(_stage: Stage, planning: Planning) -> dict[str, Any]:
    """What of the keys is the same for all studies."""
    return _recipe(planning.settings)


def _recipe(settings: SegmentSettings) -> dict[str, Any]:
    return {
        "version": VERSION,
        "model": model_name(settings.model),
        "weights": network_digests(settings.model),
        "precision": settings.precision,
        "padding": settings.padding,
    }


def planned_keys(recipe: Mapping[str, Any]) -> KeysOf:
    """Key of a prediction by a recipe: of which study, by which weights, how; the published padding is left out."""
    content = {
        "study": store.HOLE,
        "weights": recipe["weights"],
        "precision": recipe["precision"],
        "segmenter": recipe["version"],
    }
    if recipe["padding"] != "black":
        content["padding"] = recipe["padding"]
    keys = store.DigestTemplate(content)
    return lambda unit: (keys.digest(unit["study_key"]),)


def measured_model(ledger: Ledger, named: str = "") -> str:
    """Whose labels are measured and shown: the model that the user named, else the one that segmented last."""
    return model_name(named or ledger.last_model(SEGMENT.name) or SegmentSettings().model)


def summary_of(tree: xr.DataTree) -> dict[str, Any]:
    """What the ledger keeps of a prediction: whose labels they are, and how many images of each view were judged."""
    judged = {view: node.to_dataset()["judged"].values for view, node in tree.children.items()}
    views = {view: {"images": seen.size, "unjudged": int((~seen).sum())} for view, seen in judged.items()}
    return {"model": str(tree.attrs["model"]), "views": views}


def _label_folder(cohort: Cohort, model: str) -> Mapping[str, Path]:
    return {SEGMENT.name: cohort.predictions / model}


SEGMENT = Stage(
    name="segment",
    title="Segmented",
    version=VERSION,
    upstream=CONVERT,
    work=EntryPoint("tasks.inference.segmentation:segment_chunk"),
    settings=SegmentSettings,
    units=plan_segmentation,
    recipe=Recipe(recipe_of, planned_keys),
    summary=summary_of,
    folders=_label_folder,
)
