"""Two models on one study of a cohort: their labels against each other, and the phenotypes that each gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import xarray as xr

from cmr_models.evaluation.cases import Row, measure_row
from cmr_models.evaluation.two_models import (
    Segmented,
    cycle_frames,
    frames_of_view,
    label_rows,
    phenotypes_from_labels,
)
from cmr_models.reasons import StudyRejected
from tasks.derive.derivation import derive_chunk
from tasks.derive.derive_stage import BodySize, LandmarkSources, derive_units
from tasks.evaluation.studies import PredictionMissing, read_prediction, read_views
from tasks.state.ledger import Entry
from tasks.state.store import Cohort, published_key

UNITS: Final = phenotypes_from_labels()
_NO_PREDICTION: Final = "no_prediction"
_HEART: Final = ("lv", "myocardium", "rv")


class Compared(NamedTuple):
    """One study in both models.

    Attributes:
        rows: of :mod:`cmr_models.evaluation.cases`; ``predicted`` is of the second model, ``reference`` of the first.
        frames: end-diastolic and end-systolic frame of the short axis by the first model, where it shows them.
        unpredicted: names of the models that have no prediction, and no reason why, for the study as it is.
    """

    rows: list[Row]
    frames: dict[str, int]
    unpredicted: tuple[str, ...]


def compare_study(
    cohort: Cohort, names: tuple[str, str], study: str, sizes: Mapping[str, BodySize], landmarks: LandmarkSources
) -> Compared:
    """Compare two models on one study; what one of them cannot say is missing with its reason.

    Args:
        cohort: with study and predictions.
        names: of the predictions of the first and the second model.
        study: id of the study.
        sizes: of :func:`tasks.derive.derive_stage.read_body_sizes`.
        landmarks: of :func:`tasks.derive.derive_stage.landmark_sources`.
    """
    sides = [_labels(cohort, name, study) for name in names]
    values = [
        dict.fromkeys(UNITS, (math.nan, side))
        if isinstance(side, str)
        else _phenotypes(cohort, name, study, sizes, landmarks)
        for name, side in zip(names, sides, strict=True)
    ]
    rows = [_pair(name, unit, *(found[name] for found in values)) for name, unit in UNITS.items()]
    unpredicted = tuple(name for name, side in zip(names, sides, strict=True) if side == _NO_PREDICTION)
    overlaps, frames = _overlaps(sides[0], sides[1], lambda: read_views(cohort, study))
    return Compared(rows + overlaps, frames, unpredicted)


def _labels(cohort: Cohort, name: str, study: str) -> dict[str, Segmented] | str:
    """View -> labels of one model; a reason where there are none."""
    try:
        predicted = read_prediction(cohort, name, study, "label")
    except PredictionMissing as missing:
        return missing.reason
    return {
        view: Segmented(np.asarray(node["label"].values, np.uint8), np.asarray(node["judged"].values, bool))
        for view, node in predicted.items()
    }


def _overlaps(
    first: dict[str, Segmented] | str,
    second: dict[str, Segmented] | str,
    read: Callable[[], Mapping[str, xr.Dataset]],
) -> tuple[list[Row], dict[str, int]]:
    """Rows of the views that both models labelled, and the frames that were compared."""
    if isinstance(first, str) or isinstance(second, str):
        return _no_labels(first if isinstance(first, str) else str(second)), {}
    if "sax" not in first or "sax" not in second:
        return _no_labels("view_missing"), {}
    views = read()
    try:
        frames = cycle_frames(first["sax"], views["sax"])
    except StudyRejected as rejected:
        return _no_labels(rejected.reason), {}
    if not frames:
        return _no_labels("lv_empty"), {}
    shared = [view for view in first if view in second and view in views]
    rows = [
        row
        for view in shared
        for row in label_rows(first[view], second[view], views[view], view, _frames(frames, view, views))
    ]
    return rows, frames


def _frames(frames: Mapping[str, int], view: str, views: Mapping[str, xr.Dataset]) -> dict[str, int]:
    if view == "sax":
        return dict(frames)
    return frames_of_view(frames, views["sax"].sizes["frame"], views[view].sizes["frame"])


def _phenotypes(
    cohort: Cohort, name: str, study: str, sizes: Mapping[str, BodySize], landmarks: LandmarkSources
) -> dict[str, tuple[float, str]]:
    """Phenotype -> value and reason, by the rules of the derive stage; nothing is recorded or published."""
    key = published_key(cohort.prediction(name, study)) or ""
    units = derive_units({study: Entry("ok", "", key, key)}, model=name, body_sizes=sizes, landmarks=landmarks)
    (outcome,) = derive_chunk(units, str(cohort.root), {})
    values: Mapping[str, Any] = outcome.summary.get("phenotypes", {})
    reasons: Mapping[str, str] = outcome.summary.get("missing", {})
    return {
        name: (values[name], "") if name in values else (math.nan, reasons.get(name, outcome.reason)) for name in UNITS
    }


def _pair(name: str, unit: str, first: tuple[float, str], second: tuple[float, str]) -> Row:
    return measure_row("agreement", name, unit, predicted=second[0], reference=first[0], reason=first[1] or second[1])


def _no_labels(reason: str) -> list[Row]:
    """The rows of a study whose labels cannot be compared."""
    measures = {"dice": "", "hd95": "mm"}
    return [
        measure_row(measure, structure, unit, view="sax", phase=phase, reason=reason)
        for structure in _HEART
        for measure, unit in measures.items()
        for phase in ("all", "ed", "es")
    ]
