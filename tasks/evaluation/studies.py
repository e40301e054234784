"""Compare the stored prediction of one study with its reference."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from cmr_models.evaluation import cases
from cmr_models.evaluation.cases import Row
from cmr_models.phenotypes import PHENOTYPES
from cmr_models.phenotypes.study import derive
from cmr_models.reasons import Missing, StudyRejected
from tasks.evaluation.references import parse_number
from tasks.state.store import Cohort, published_key, reading_tree, rejection

_UNITS: Final = {row.name: row.unit for row in PHENOTYPES}
REPEATED: Final = ("lvedv_ml", "lvesv_ml", "lvef_pct", "lvm_g", "rvedv_ml", "rvesv_ml", "rvef_pct")
"""Quantities for which the variation between repeated acquisitions is given."""


class PredictionMissing(ValueError):
    """There is no prediction for the present version of the study; ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def segmentation_rows(cohort: Cohort, name: str, study: str, reference: Mapping[str, Any]) -> list[Row]:
    """Overlap and volumes of the labels of one study.

    Quantities that are in a table of references but do not follow from reference labels are compared with those of
    the whole cine, computed as in the derive stage.

    Args:
        cohort: with study and prediction.
        name: name of the predictions.
        study: id of the study.
        reference: row of the study from :func:`tasks.evaluation.references.read_references`.
    """
    views = read_views(cohort, study)
    labelled = {view: views[view] for view in reference["labelled"] if view in views}
    frames = _frames(reference)
    try:
        predicted = read_prediction(cohort, name, study, "label")
    except PredictionMissing as missing:
        reason = missing.reason
        rows = _missing_rows(labelled, frames, reason)
        return rows + _table_rows(reference, lambda: reason, _measured_quantities(rows))
    rows = []
    for view, drawn in labelled.items():
        if view not in predicted:
            rows += _missing_rows({view: drawn}, frames, "view_missing")
            continue
        rows += _against_labels(predicted[view], drawn, view, frames)
    return rows + _table_rows(reference, lambda: derive_prediction(predicted, views), _measured_quantities(rows))


def repeat_values(cohort: Cohort, name: str, study: str) -> dict[str, float] | str:
    """Volumes, EF and mass from the predicted labels of the whole cine; a reason where there are none."""
    try:
        found = derive_prediction(read_prediction(cohort, name, study, "label"), read_views(cohort, study))
    except PredictionMissing as missing:
        return missing.reason
    return found if isinstance(found, str) else {q: v for q in REPEATED if not isinstance(v := found[q], Missing)}


def landmark_study_rows(cohort: Cohort, name: str, study: str, reference: Mapping[str, Any]) -> list[Row]:
    """Distances of landmarks and long-axis function in one study; arguments as in :func:`segmentation_rows`."""
    views = read_views(cohort, study)
    try:
        predicted, reason = read_prediction(cohort, name, study, "landmark_px"), "view_missing"
    except PredictionMissing as missing:
        predicted, reason = {}, missing.reason
    rows: list[Row] = []
    for view in reference["marked"]:
        marked = views[view]["landmark_px"].values
        row_mm, col_mm = (float(mm) for mm in views[view]["pixel_mm"].values)
        if view in predicted:
            rows += cases.landmark_rows(predicted[view]["landmark_px"].values, marked, (row_mm, col_mm), view)
        else:
            nothing = cases.landmark_rows(np.full_like(marked, np.nan), marked, (row_mm, col_mm), view)
            rows += [{**row, "reason": reason} for row in nothing]
    return rows


def label_value(cohort: Cohort, study: str, reference: Mapping[str, Any], quantity: str) -> float:
    """A quantity from the reference labels in the store; NaN if it does not follow from them."""
    if "sax" not in reference["labelled"]:
        return math.nan
    found = cases.label_quantities(read_views(cohort, study)["sax"], _frames(reference)).get(quantity, math.nan)
    return math.nan if isinstance(found, Missing) else found


def derive_prediction(predicted: Mapping[str, xr.Dataset], views: Mapping[str, xr.Dataset]) -> dict[str, Any] | str:
    """Phenotypes of a prediction at its own end-diastole and end-systole; a reason where there are none."""
    seen = {view: predicted[view] for view in ("sax", "lax_4c") if view in predicted and view in views}
    geometry = {
        view: views[view].assign(frame_valid=views[view]["frame_valid"] & node["judged"].values)
        for view, node in seen.items()
    }
    try:
        derived = derive({view: node["label"].values for view, node in seen.items()}, geometry)
    except StudyRejected as rejected:
        return rejected.reason
    return derived.phenotypes if derived.status == "ok" else derived.reason


def _against_labels(predicted: xr.Dataset, drawn: xr.Dataset, view: str, frames: Mapping[str, int]) -> list[Row]:
    label, judged = np.asarray(predicted["label"].values, np.uint8), predicted["judged"].values.astype(bool)
    phases = {frame: key[:2] for key, frame in frames.items()}
    if label.shape != drawn["labels"].shape:
        judged = np.zeros(drawn["labels"].shape[:2], bool)
    rows = cases.overlap_rows(label, judged, drawn, view, phases)
    return rows + (cases.volume_rows(label, judged, drawn, frames) if view == "sax" else [])


def _missing_rows(labelled: Mapping[str, xr.Dataset], frames: Mapping[str, int], reason: str) -> list[Row]:
    """The rows of a study without prediction: all values are missing."""
    rows: list[Row] = []
    for view, drawn in labelled.items():
        nothing = np.zeros(drawn["labels"].shape, np.uint8)
        judged = np.zeros(nothing.shape[:2], bool)
        node = xr.Dataset({"label": (drawn["labels"].dims, nothing), "judged": (("frame", "slice"), judged)})
        rows += [{**row, "reason": reason} for row in _against_labels(node, drawn, view, frames)]
    return rows


def _measured_quantities(rows: list[Row]) -> set[str]:
    """Quantities with a reference from labels."""
    return {row["of"] for row in rows if row["measure"] == "agreement" and math.isfinite(row["reference"])}


def _table_rows(reference: Mapping[str, Any], found: Callable[[], dict[str, Any] | str], done: set[str]) -> list[Row]:
    """Compare quantities of the table of references; the whole cine is measured only if there are any."""
    known = [
        name
        for name in _UNITS
        if name in reference and name not in done and math.isfinite(parse_number(reference[name]))
    ]
    known = [name for name in known if name not in ("height_cm", "weight_kg", "bsa_m2", "ed_frame", "es_frame")]
    if not known:
        return []
    ours = found()
    rows = []
    for name in known:
        value = Missing(ours) if isinstance(ours, str) else ours[name]
        predicted, reason = (math.nan, value.reason) if isinstance(value, Missing) else (float(value), "")
        rows.append(cases.value_row(name, _UNITS[name], predicted, parse_number(reference[name]), reason))
    return rows


def _frames(reference: Mapping[str, Any]) -> dict[str, int]:
    """``ed_frame`` and ``es_frame``, where they are known."""
    frames = {key: parse_number(reference.get(key)) for key in ("ed_frame", "es_frame")}
    return {key: int(value) for key, value in frames.items() if math.isfinite(value)}


def read_views(cohort: Cohort, study: str) -> dict[str, xr.Dataset]:
    """The views of a study without pixels, with reference labels and landmarks."""
    with reading_tree(cohort.study(study)) as tree:
        return {str(n): node.to_dataset().drop_vars("intensity").load() for n, node in tree.children.items()}


def read_prediction(cohort: Cohort, name: str, study: str, variable: str) -> dict[str, xr.Dataset]:
    """The views of the prediction for the present version of the study."""
    path = cohort.prediction(name, study)
    receipt = rejection(path)
    if not path.exists():
        raise PredictionMissing(receipt["reason"] if receipt else "no_prediction")
    try:
        with reading_tree(path) as tree:
            study_key = tree.attrs.get("study_key")
            nodes = {str(n): node.to_dataset() for n, node in tree.children.items()}
            found = {n: node.load() for n, node in nodes.items() if variable in node}
    except zipfile.BadZipFile:
        raise PredictionMissing("file_unreadable") from None
    if study_key != published_key(cohort.study(study)):
        raise PredictionMissing("no_prediction")
    return found
