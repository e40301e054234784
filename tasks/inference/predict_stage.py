"""The predict stage: what a network other than a segmenter says of every study; one stage a task and model.

Classes, quantities and features need end-diastole and end-systole, which the derive stage knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmr_models import zoo
from tasks.convert.convert_stage import CONVERT
from tasks.execution.shards import Unit
from tasks.execution.stage import EntryPoint, Planned, Planning, Stage, StageTable, entries_ok
from tasks.inference import prediction_table
from tasks.inference.settings import PredictSettings
from tasks.state import store
from tasks.state.ledger import Entry, Outcome
from tasks.state.store import Cohort, published_attributes

if TYPE_CHECKING:
    import xarray as xr

    from cmr_models.cinema.outputs import Phases
    from cmr_models.zoo import ModelCard

VERSION = 1
"""Raise when the same study and weights would give another output."""

EVERY_FRAME = ("landmark_heatmap", "landmark_coordinate")
"""Families of networks that look at every frame, and need neither end-diastole nor end-systole."""

_DERIVE = "derive"  # the stage that finds both phases; it comes after this room
_TASKS = ("classification_", "regression_", "landmark_", "pretrain-")


def plan_prediction(stage: Stage, planning: Planning) -> Planned:
    """A unit for every converted study."""
    phases = phases_of(planning.ledger.outcomes(_DERIVE))
    return Planned(predict_units(entries_ok(stage, planning.ledger), phases, planning.settings.model_dump()))


def predict_units(
    studies: Mapping[str, Entry], phases: Mapping[str, Phases], settings: Mapping[str, Any]
) -> list[Unit]:
    """A unit for every converted study, with the key that its prediction must carry.

    Args:
        studies: study -> how it stands at the convert stage; only "ok" is predicted.
        phases: study -> end-diastole and end-systole, where known.
        settings: plain values of :class:`PredictSettings`.

    Raises:
        FileNotFoundError, ValueError: as :func:`cmr_models.zoo.card`; if the model segments.
    """
    resolved = PredictSettings(**settings)
    card = zoo.card(resolved.model, resolved.task)
    if card.family == "segmentation":
        raise ValueError(f"{card.name} segments; give it to `cmr-cohort segment --model`")
    if card.preprocessing != "cinema":
        raise ValueError(f"{card.name} has the preprocessing {card.preprocessing!r}; predict runs 'cinema' networks")
    timed = card.family not in EVERY_FRAME
    return [
        _unit(study, entry.key, phases.get(study) if timed else None, card, resolved)
        for study, entry in sorted(studies.items())
        if entry.status == "ok"
    ]


def _unit(study: str, study_key: str, phases: Phases | None, card: ModelCard, settings: PredictSettings) -> Unit:
    moments = None if phases is None else [phases.ed, phases.es]
    content = {
        "study": study_key, "weights": card.network_digest, "task": card.task, "phases": moments,
        "precision": settings.precision, "tokens": settings.tokens, "predictor": VERSION,
    }  # fmt: skip
    return {"study": study, "key": store.digest(content), "study_key": study_key, "phases": moments}


def phases_of(outcomes: Iterable[Outcome]) -> dict[str, Phases]:
    """End-diastole and end-systole of the studies that the derive stage has measured."""
    from cmr_models.cinema.outputs import Phases  # brings torch

    found = {}
    for outcome in outcomes:
        values, curves = outcome.summary.get("phenotypes", {}), outcome.summary.get("curves")
        if curves and {"ed_frame", "es_frame"} <= set(values):
            n_frames = len(curves["lv_ml"])
            found[outcome.study] = Phases(values["ed_frame"] / n_frames, values["es_frame"] / n_frames)
    return found


def summary_of(tree: xr.DataTree) -> dict[str, Any]:
    """The values that go into the table, and why others are missing."""
    return dict(tree.attrs["summary"])


def measured_landmarks(outcome: Outcome, views: Sequence[str]) -> list[str]:
    """Those of ``views`` of which an outcome holds landmarks, found in some frame or not."""
    if outcome.status != "ok":
        return []
    named = {**outcome.summary.get("values", {}), **outcome.summary.get("missing", {})}
    return [view for view in views if f"{view}_mapse_mm" in named]


def model_of(stage: str) -> str:
    """The task and model of a predict stage, from its name in the ledger: the folder of its predictions."""
    return stage.removeprefix(f"{PREDICT.name} ")


def predict_stage(settings: PredictSettings) -> Stage:
    """The predict stage of one task and model."""
    table = StageTable(
        partial(prediction_table.write_table, settings=settings),
        partial(prediction_table.is_current, settings=settings),
    )
    return replace(PREDICT, name=settings.stage, tables=(table,))


def _folders(cohort: Cohort, model: str) -> Mapping[str, Path]:
    folders = sorted(cohort.predictions.iterdir()) if cohort.predictions.is_dir() else []
    return {f"{PREDICT.name} {folder.name}": folder for folder in folders if folder.name != model and _is_one(folder)}


def _is_one(folder: Path) -> bool:
    """Whether a folder is of this stage: its files name a task, as labels do not.

    Where there are only receipts, the folder's own name shows it: it begins with the task.
    """
    for path in folder.glob("*/*/*.zarr.zip"):
        if (attributes := published_attributes(path)) is not None:
            return "task" in attributes
    return folder.name.startswith(_TASKS)


PREDICT = Stage(
    name="predict",
    title="Read by another network",
    version=VERSION,
    upstream=CONVERT,
    work=EntryPoint("tasks.inference.prediction:predict_chunk"),
    settings=PredictSettings,
    units=plan_prediction,
    summary=summary_of,
    folders=_folders,
    optional=True,
    on_demand=True,
)
