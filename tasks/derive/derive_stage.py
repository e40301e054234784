"""The derive stage: phenotypes of every study with a prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cmr_models.contracts.identifiers import study_key, with_keys
from cmr_models.phenotypes.study import LANDMARK_VIEWS
from tasks.derive import phenotype_tables
from tasks.derive.settings import DeriveSettings
from tasks.execution.shards import Unit
from tasks.execution.stage import EntryPoint, KeysOf, Planned, Planning, Recipe, Stage, StageTable
from tasks.inference.predict_stage import PREDICT, measured_landmarks, model_of
from tasks.inference.segment_stage import SEGMENT, measured_model
from tasks.state.ledger import Entry, Ledger
from tasks.state.store import HOLE, DigestTemplate
from tasks.state.user_tables import read_user_table

VERSION = 8
"""Raise whenever a phenotype or a rule says something else of the same labels: every study is then derived again."""


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
    table = with_keys(table, "participants")
    study = table["participant"] + "-" + table["visit"]
    if study.duplicated().any():
        raise ValueError(f"the participants' table has {int(study.duplicated().sum())} visits more than once")
    sizes = [_numbers(table, name) for name in BodySize._fields]
    return {name: BodySize(height, weight) for name, height, weight in zip(study, *sizes, strict=True)}


LandmarkSources = Mapping[str, Mapping[str, tuple[str, str]]]
"""Study -> view -> (name of the predictions that hold its landmarks, their key)."""


def landmark_sources(ledger: Ledger) -> LandmarkSources:
    """Where landmarks of each study's views were predicted; of several, those of heatmaps, then the first by name."""
    stages = [stage for stage in ledger.stages() if PREDICT.owns(stage) and model_of(stage).startswith("landmark_")]
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for stage in sorted(stages, key=lambda name: ("heatmap" not in name, name)):
        for outcome in ledger.outcomes(stage):
            for view in measured_landmarks(outcome, LANDMARK_VIEWS):
                found.setdefault(outcome.study, {}).setdefault(view, (model_of(stage), outcome.key))
    return found


def plan_derivation(_stage: Stage, planning: Planning) -> Planned:
    """A unit for every study that the measured model has segmented."""
    sizes = read_body_sizes(planning.participants, planning.participant_columns) if planning.participants else {}
    entries = planning.ledger.entries(SEGMENT.name)
    units = derive_units(
        entries,
        model=measured_model(planning.ledger, planning.model),
        body_sizes=sizes,
        landmarks=landmark_sources(planning.ledger),
        basal_slices=planning.settings.basal_slices,
    )
    n_lost = sum(study_key(unit["study"]) not in sizes for unit in units)
    lost = (
        f"{n_lost} of {len(units)} studies have no row in participants, so the scanner's record gives their body size"
    )
    return Planned(units, notes=[lost] if planning.participants and n_lost else [])


def derive_units(
    predictions: Mapping[str, Entry],
    *,
    model: str,
    body_sizes: Mapping[str, BodySize] | None = None,
    landmarks: LandmarkSources | None = None,
    basal_slices: str = DeriveSettings().basal_slices,
) -> list[Unit]:
    """What there is to derive: every study with a prediction, with the key that its phenotypes must carry.

    Args:
        predictions: study -> how it stands at the segment stage; only "ok" is derived.
        model: whose predictions are measured.
        body_sizes: by the key of the study (:func:`cmr_models.contracts.identifiers.study_key`);
            a study that is not there falls back on the scanner's record.
        landmarks: of :func:`landmark_sources`.
        basal_slices: of :class:`DeriveSettings`.
    """
    sizes, sources = body_sizes or {}, landmarks or {}
    keys = planned_keys(_recipe(model, basal_slices))
    units = [
        _unit(study, entry.key, model, sizes.get(study_key(study), BodySize()), sources.get(study, {}))
        for study, entry in sorted(predictions.items())
        if entry.status == "ok"
    ]
    return [{**unit, "key": keys(unit)[0]} for unit in units]


def _unit(
    study: str, prediction_key: str, model: str, size: BodySize, landmarks: Mapping[str, tuple[str, str]]
) -> Unit:
    return {
        "study": study,
        "prediction_key": prediction_key,
        "model": model,
        "landmarks": {view: list(source) for view, source in sorted(landmarks.items())},
        **size._asdict(),
    }


def recipe_of(_stage: Stage, planning: Planning) -> dict[str, Any]:
    """What of the keys is the same for all studies."""
    return _recipe(measured_model(planning.ledger, planning.model), planning.settings.basal_slices)


def _recipe(model: str, basal_slices: str) -> dict[str, Any]:
    return {"version": VERSION, "model": model, "basal_slices": basal_slices}


def planned_keys(recipe: Mapping[str, Any]) -> KeysOf:
    """The key of a study's phenotypes by a recipe."""
    without_landmarks = _keys(recipe, {})

    def keys(unit: Mapping[str, Any]) -> tuple[str]:
        found = _keys(recipe, unit["landmarks"]) if unit["landmarks"] else without_landmarks
        return (found.digest(unit["prediction_key"], *(repr(float(unit[name])) for name in BodySize._fields)),)

    return keys


def _keys(recipe: Mapping[str, Any], landmarks: Mapping[str, Sequence[str]]) -> DigestTemplate:
    """Of phenotypes, given the key of the prediction, height and weight."""
    content: dict[str, Any] = {
        "prediction": HOLE,
        "model": recipe["model"],
        "version": recipe["version"],
        "size": [HOLE] * len(BodySize._fields),
    }
    if landmarks:
        content["landmarks"] = landmarks
    if recipe["basal_slices"] != "whole":
        content["basal_slices"] = recipe["basal_slices"]
    return DigestTemplate(content)


def _numbers(table: pd.DataFrame, column: str) -> list[float]:
    if column not in table:
        return [math.nan] * len(table)
    return [float(x) for x in pd.to_numeric(table[column], errors="coerce")]


DERIVE = Stage(
    name="derive",
    title="Measured",
    version=VERSION,
    upstream=SEGMENT,
    settings=DeriveSettings,
    work=EntryPoint("tasks.derive.derivation:derive_chunk"),
    units=plan_derivation,
    recipe=Recipe(recipe_of, planned_keys),
    tables=(StageTable(phenotype_tables.write_tables, phenotype_tables.are_current),),
)
