"""Derive: from each study's prediction and geometry to its phenotypes, as rows on their way to the tables."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from cmr_models.contracts import REFERENCE_VARIABLES
from cmr_models.phenotypes.study import LANDMARK_VIEWS, Derived, derive
from cmr_models.reasons import Missing, StudyRejected
from tasks.execution import shards
from tasks.execution.shards import Unit
from tasks.inference.prediction import STAGE_PREFIX
from tasks.state.ledger import Entry, Ledger, Outcome
from tasks.state.store import Cohort, digest, open_tree, published_key
from tasks.state.user_tables import read_user_table

STAGE = "derive"
VERSION = 2
"""Counted up whenever a phenotype or a rule changes what it says of the same labels."""

VIEWS = ("sax", "lax_4c")
_DECIMALS = 4


class BodySize(NamedTuple):
    """Height and weight at the visit; NaN where unknown."""

    height_cm: float = math.nan
    weight_kg: float = math.nan


def read_body_sizes(participants: Path, columns: Mapping[str, str] | None = None) -> dict[str, BodySize]:
    """Height and weight by study id, from the participants' table.

    Args:
        participants: CSV or Parquet with ``participant``, ``visit``, ``height_cm``, ``weight_kg``.
        columns: our name -> the table's, where they differ.

    Raises:
        ValueError: if the table has no participant or visit, or a study twice.
    """
    table = read_user_table(participants, columns)
    absent = [name for name in ("participant", "visit") if name not in table]
    if absent:
        raise ValueError(f"the participants' table lacks {absent}; map its columns in the settings")
    study = table["participant"].astype(str) + "-" + table["visit"].astype(str)
    if study.duplicated().any():
        raise ValueError(f"the participants' table has {int(study.duplicated().sum())} visits more than once")
    sizes = [_numbers(table, name) for name in BodySize._fields]
    return {name: BodySize(height, weight) for name, height, weight in zip(study, *sizes, strict=True)}


LandmarkSources = Mapping[str, Mapping[str, tuple[str, str]]]
"""Study -> view -> (name of the predictions that hold its landmarks, their key)."""


def landmark_sources(ledger: Ledger) -> LandmarkSources:
    """Where landmarks of each study's views were predicted; of several, those of heatmaps, then the first by name."""
    stages = [stage for stage in ledger.stages() if stage.startswith(f"{STAGE_PREFIX}landmark_")]
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for stage in sorted(stages, key=lambda name: ("heatmap" not in name, name)):
        for outcome in ledger.outcomes(stage):
            told = {**outcome.summary.get("values", {}), **outcome.summary.get("missing", {})}
            for view in LANDMARK_VIEWS:
                if outcome.status == "ok" and f"{view}_mapse_mm" in told:
                    source = stage.removeprefix(STAGE_PREFIX), outcome.key
                    found.setdefault(outcome.study, {}).setdefault(view, source)
    return found


def derive_units(
    predictions: Mapping[str, Entry],
    *,
    model: str,
    body_sizes: Mapping[str, BodySize] | None = None,
    landmarks: LandmarkSources | None = None,
) -> list[Unit]:
    """What there is to derive: every study with a prediction, with the key that its phenotypes must carry.

    Args:
        predictions: study -> how it stands at the segment stage; only "ok" is derived.
        model: whose predictions are measured.
        body_sizes: by study; a study that is not there falls back on the scanner's record.
        landmarks: of :func:`landmark_sources`.
    """
    sizes, sources = body_sizes or {}, landmarks or {}
    return [
        _unit(study, entry.key, model, sizes.get(study, BodySize()), sources.get(study, {}))
        for study, entry in sorted(predictions.items())
        if entry.status == "ok"
    ]


def derive_chunk(units: Sequence[Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    """Outcomes of ``units``, with phenotypes, verdicts and curves as their summaries. Runs on any worker."""
    return [shards.attempt(_derive_one, unit, cohort, settings, stage=STAGE) for unit in units]


def _derive_one(unit: Unit, cohort: str, settings: dict[str, Any]) -> Outcome:
    labels, views, recorded = _read(Cohort(Path(cohort)), unit)
    height_cm = _first_known(unit["height_cm"], recorded.height_cm)
    weight_kg = _first_known(unit["weight_kg"], recorded.weight_kg)
    landmark_mm = _read_landmarks(Cohort(Path(cohort)), unit)
    derived = derive(labels, views, height_cm=height_cm, weight_kg=weight_kg, landmark_mm=landmark_mm)
    return Outcome(
        unit["study"],
        STAGE,
        derived.status,
        derived.reason,
        derived.detail,
        unit["key"],
        summary=_summary(derived),
    )


def _read(cohort: Cohort, unit: Unit) -> tuple[dict[str, Any], dict[str, xr.Dataset], BodySize]:
    """Labels, geometry without pixels, and the scanner's record of body size."""
    prediction_path = cohort.prediction(unit["model"], unit["study"])
    study_path = cohort.study(unit["study"])
    if _published_key(prediction_path) != unit["prediction_key"]:
        raise StudyRejected("no_prediction", "The published one is of another run; segment again by this model.")
    _published_key(study_path)
    try:
        with open_tree(prediction_path) as prediction:
            predicted = {view: prediction[view].to_dataset().load() for view in VIEWS if view in prediction.children}
        with open_tree(study_path) as study:
            views = {view: _geometry(study, view, seen["judged"].values) for view, seen in predicted.items()}
            recorded = BodySize(*(float(study.attrs.get(name, math.nan)) for name in BodySize._fields))
    except zipfile.BadZipFile as error:
        raise StudyRejected("file_unreadable", "A member of the study or its prediction is damaged.") from error
    return {view: seen["label"].values for view, seen in predicted.items()}, views, recorded


def _read_landmarks(cohort: Cohort, unit: Unit) -> dict[str, npt.NDArray[np.float64]]:
    """View -> ``(frame, 3, 2)`` mm in the plane."""
    found = {}
    for view, (name, key) in unit["landmarks"].items():
        path = cohort.prediction(name, unit["study"])
        if _published_key(path) != key:
            raise StudyRejected("no_prediction", "The landmarks are of another run; predict again.")
        try:
            with open_tree(path) as tree, open_tree(cohort.study(unit["study"])) as study:
                found[view] = np.asarray(tree[view]["landmark_px"].values) * study[view]["pixel_mm"].values
        except zipfile.BadZipFile as error:
            raise StudyRejected("file_unreadable", "A member of the landmarks is damaged.") from error
    return found


def _published_key(path: Path) -> str:
    if not path.exists():
        raise StudyRejected("no_prediction", "The study or its prediction is not published.")
    key = published_key(path)
    if key is None:
        raise StudyRejected("file_unreadable", "The study or its prediction is not a whole file.")
    return key


def _geometry(study: xr.DataTree, view: str, judged: npt.NDArray[np.bool_]) -> xr.Dataset:
    """The view without pixels; an image that could not be judged counts as missing."""
    geometry = study[view].to_dataset().drop_vars(("intensity", *REFERENCE_VARIABLES), errors="ignore").load()
    return geometry.assign(frame_valid=geometry["frame_valid"] & judged)


def _summary(derived: Derived) -> dict[str, Any]:
    values = derived.phenotypes
    summary: dict[str, Any] = {
        "phenotypes": {k: float(v) for k, v in values.items() if not isinstance(v, Missing)},
        "missing": {k: v.reason for k, v in values.items() if isinstance(v, Missing)},
        "quality": derived.quality,
        "quality_reasons": list(derived.quality_reasons),
    }
    if derived.curves is not None:
        summary["curves"] = {
            str(name): [round(float(x), _DECIMALS) if math.isfinite(x) else None for x in curve.values]
            for name, curve in derived.curves.items()
        }
    return summary


def _unit(
    study: str, prediction_key: str, model: str, size: BodySize, landmarks: Mapping[str, tuple[str, str]]
) -> Unit:
    sources = {view: list(source) for view, source in sorted(landmarks.items())}
    content = {"prediction": prediction_key, "model": model, "version": VERSION, "size": [repr(float(x)) for x in size]}
    if sources:
        content["landmarks"] = sources
    return {
        "study": study,
        "key": digest(content),
        "prediction_key": prediction_key,
        "model": model,
        "landmarks": sources,
        **size._asdict(),
    }


def _first_known(*values: float) -> float:
    return next((value for value in values if math.isfinite(value)), math.nan)


def _numbers(table: pd.DataFrame, column: str) -> list[float]:
    if column not in table:
        return [math.nan] * len(table)
    return [float(x) for x in pd.to_numeric(table[column], errors="coerce")]
