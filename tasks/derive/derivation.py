"""From the labels and the geometry of one study to its phenotypes, as a row on its way to the tables."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.contracts import REFERENCE_VARIABLES, SLICE_ANSWERS
from cmr_models.contracts.labels import NOT_JUDGED, NOTHING_FOUND, TRANSITION, WHOLE
from cmr_models.phenotypes.phenotype import Value
from cmr_models.phenotypes.study import Certainty, Derived, derive
from cmr_models.reasons import Missing, StudyRejected
from tasks.derive.derive_stage import DERIVE, BodySize
from tasks.derive.settings import DeriveSettings
from tasks.execution.shards import Unit
from tasks.execution.stage import each_study
from tasks.state.ledger import Outcome
from tasks.state.store import Cohort, published_key, reading_tree

VIEWS = ("sax", "lax_4c")
_NOT_LEFT_OUT = (WHOLE, TRANSITION, NOTHING_FOUND, NOT_JUDGED)
_DECIMALS = 4


def derive_chunk(units: Sequence[Unit], cohort: str, settings: dict[str, Any]) -> list[Outcome]:
    """Outcomes of ``units``, with phenotypes, verdicts and curves as their summaries. Runs on any worker."""
    return each_study(derive_study, DERIVE.name, units, cohort, settings)


def derive_study(unit: Unit, cohort: str, settings: dict[str, Any]) -> Outcome:
    """One study: its phenotypes, verdicts and curves in the summary of its outcome."""
    labels, views, recorded, said = _read(Cohort(Path(cohort)), unit)
    height_cm = _first_known(unit["height_cm"], recorded.height_cm)
    weight_kg = _first_known(unit["weight_kg"], recorded.weight_kg)
    landmark_mm = _read_landmarks(Cohort(Path(cohort)), unit)
    derived = derive(
        labels,
        views,
        height_cm=height_cm,
        weight_kg=weight_kg,
        landmark_mm=landmark_mm,
        certainty=said.certainty,
        slice_share=said.share if settings.get("basal_slices", DeriveSettings().basal_slices) == "parts" else None,
    )
    return Outcome(
        unit["study"],
        DERIVE.name,
        derived.status,
        derived.reason,
        derived.detail,
        unit["key"],
        summary=_summary(derived) | {"slices_left_out": left_out(said.answer, derived.phenotypes)},
    )


class _Said(NamedTuple):
    """What the short-axis network says beside its labels; None where it does not."""

    certainty: Certainty | None = None
    answer: npt.NDArray[np.uint8] | None = None
    share: npt.NDArray[np.float64] | None = None


def left_out(answer: npt.NDArray[np.uint8] | None, phenotypes: Mapping[str, Value]) -> list[dict[str, Any]] | None:
    """Slices that do not count at end-diastole or end-systole though the network found a ventricle there.

    Args:
        answer: ``(frame, slice, ventricle)`` of :data:`cmr_models.contracts.SLICE_ANSWERS`; None if it was not said.
        phenotypes: of the study, with the frames ``ed_frame`` and ``es_frame``.

    Returns:
        A row a ventricle, phase and slice (from 0), with the reason; None if it was not said.
    """
    if answer is None:
        return None
    frames = {phase: phenotypes[f"{phase}_frame"] for phase in ("ed", "es")}
    return [
        {"ventricle": name, "phase": phase, "slice": k, "reason": SLICE_ANSWERS[int(code)]}
        for v, name in enumerate(("rv", "lv"))
        for phase, frame in frames.items()
        if not isinstance(frame, Missing)
        for k, code in enumerate(answer[int(frame), :, v])
        if code not in _NOT_LEFT_OUT
    ]


def _read(cohort: Cohort, unit: Unit) -> tuple[dict[str, Any], dict[str, xr.Dataset], BodySize, _Said]:
    """Labels, geometry without pixels, the scanner's record of body size, and what the network says beside labels."""
    prediction_path = cohort.prediction(unit["model"], unit["study"])
    study_path = cohort.study(unit["study"])
    if _published_key(prediction_path) != unit["prediction_key"]:
        raise StudyRejected("no_prediction", "It is of another version of the study; segment again with this model.")
    _published_key(study_path)
    try:
        with reading_tree(prediction_path) as prediction:
            predicted = {view: prediction[view].to_dataset().load() for view in VIEWS if view in prediction.children}
            lines = dict(prediction.attrs.get("certainty", {}))
        with reading_tree(study_path) as study:
            views = {view: _geometry(study, view, seen["judged"].values) for view, seen in predicted.items()}
            recorded = BodySize(*(float(study.attrs.get(name, math.nan)) for name in BodySize._fields))
    except zipfile.BadZipFile as error:
        raise StudyRejected("file_unreadable", "A member of the study or its prediction is damaged.") from error
    labels = {view: seen["label"].values for view, seen in predicted.items()}
    known = "sax" in lines and "predicted_dice" in predicted["sax"]
    certainty = Certainty(predicted["sax"]["predicted_dice"].values, lines["sax"]) if known else None
    sax = predicted.get("sax", xr.Dataset())
    answer, share = (sax[name].values if name in sax else None for name in ("slice_answer", "slice_share"))
    return labels, views, recorded, _Said(certainty, answer, share)


def _read_landmarks(cohort: Cohort, unit: Unit) -> dict[str, npt.NDArray[np.float64]]:
    """View -> ``(frame, 3, 2)`` mm in the plane."""
    found = {}
    for view, (name, key) in unit["landmarks"].items():
        path = cohort.prediction(name, unit["study"])
        if _published_key(path) != key:
            raise StudyRejected("no_prediction", "The landmarks belong to another version of the study; predict again.")
        try:
            with reading_tree(path) as tree, reading_tree(cohort.study(unit["study"])) as study:
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


def _first_known(*values: float) -> float:
    return next((value for value in values if math.isfinite(value)), math.nan)
