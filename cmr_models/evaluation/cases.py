"""Comparison of the outputs for one study with its reference, as rows; each row has a value or a reason.

A row has ``measure``, ``of`` (structure, quantity or landmark), ``view``, ``phase`` (``ed``, ``es`` or ``all``),
``unit``, and either ``value``, or ``predicted`` and ``reference``; ``reason`` says why they are missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.contracts import EDEMA, LA, LV, MYOCARDIUM, NO_REFLOW, RA, RV, SCAR
from cmr_models.evaluation.agreement import landmark_distance_mm
from cmr_models.evaluation.overlap import dice, hausdorff_95_mm, intersection_over_union
from cmr_models.phenotypes import MYOCARDIAL_DENSITY_G_ML
from cmr_models.phenotypes.long_axis_function import long_axis_function
from cmr_models.phenotypes.volumes import volume_curves
from cmr_models.reasons import Missing, StudyRejected

Row = dict[str, Any]
Labels = npt.NDArray[np.uint8]

STRUCTURES: Final[Mapping[str, tuple[int, ...]]] = {
    "rv": (RV,),
    "myocardium": (MYOCARDIUM, SCAR, NO_REFLOW, EDEMA),
    "lv": (LV,),
    "la": (LA,),
    "ra": (RA,),
    "scar": (SCAR,),
    "no_reflow": (NO_REFLOW,),
    "oedema": (EDEMA,),
}
"""Structure -> its codes; the myocardium is the whole wall, with scar, no-reflow and oedema."""

_HEART: Final = ("rv", "myocardium", "lv")
LANDMARKS: Final = ("hinge_1", "hinge_2", "apex")


def measure_row(measure: str, of: str, unit: str, *, view: str = "", phase: str = "all", **content: Any) -> Row:
    """Make one row; missing content is NaN."""
    empty = {"value": math.nan, "predicted": math.nan, "reference": math.nan, "reason": ""}
    return {"measure": measure, "of": of, "view": view, "phase": phase, "unit": unit, **empty, **content}


def overlap_rows(
    predicted: Labels,
    judged: npt.NDArray[np.bool_],
    view: xr.Dataset,
    name: str,
    phases: Mapping[int, str],
    structures: Mapping[str, tuple[int, ...]] | None = None,
) -> list[Row]:
    """Dice, intersection over union and Hausdorff distance of each structure: by phase, and the mean of all frames.

    Args:
        predicted: labels ``(frame, slice, row, col)``.
        judged: ``(frame, slice)``, images that were segmented; a labelled frame without such an image is missing.
        view: with ``labels`` and ``labelled``.
        name: name of the view.
        phases: frame -> ``ed`` or ``es``.
        structures: name -> codes; None for those of every heart, and those that the reference has.
    """
    reference = np.asarray(view["labels"].values, np.uint8)
    if predicted.shape != reference.shape:
        return [measure_row(m, s, u, view=name, reason="grid_differs") for m, u in _OVERLAPS.items() for s in _HEART]
    spacing_mm = _spacing_mm(view)
    rows: list[Row] = []
    for structure, codes in (structures or _select_structures(reference)).items():
        frames = np.flatnonzero(view["labelled"].values)
        by_frame = {
            int(frame): _overlap(*_masks(predicted[frame], reference[frame], codes, judged[frame]), spacing_mm)
            for frame in frames
        }
        for measure, unit in _OVERLAPS.items():
            found = {frame: values[measure] for frame, values in by_frame.items()}
            rows += _phase_rows(found, phases, measure, structure, unit, name)
    return rows


def volume_rows(
    predicted: Labels, judged: npt.NDArray[np.bool_], view: xr.Dataset, frames: Mapping[str, int]
) -> list[Row]:
    """Volumes, EF and mass of prediction and reference in the frames that were labelled.

    Args:
        predicted: labels ``(frame, slice, row, col)``.
        judged: ``(frame, slice)``, images that were segmented.
        view: the short axis, with ``labels`` and ``labelled``.
        frames: ``ed_frame`` and ``es_frame``, where known; a frame without labels gives no row.
    """
    theirs = label_quantities(view, frames)
    labelled = view["labelled"].values.astype(bool)
    ours: dict[str, float | Missing]
    if predicted.shape != view["labels"].shape:
        ours = dict.fromkeys(_QUANTITIES, Missing("grid_differs"))
    else:
        seen = view.assign(frame_valid=view["frame_valid"] & judged)
        ours = _volumes(predicted, seen, labelled, frames)
    return list(_pair_rows(_QUANTITIES, ours, theirs))


def label_quantities(view: xr.Dataset, frames: Mapping[str, int]) -> dict[str, float | Missing]:
    """Volumes, EF and mass of the reference labels alone; arguments as in :func:`volume_rows`."""
    reference = np.asarray(view["labels"].values, np.uint8)
    return _volumes(_merge_wall(reference), view, view["labelled"].values.astype(bool), frames)


def landmark_rows(
    predicted_px: npt.NDArray[np.float64],
    reference_px: npt.NDArray[np.float64],
    pixel_mm: tuple[float, float],
    view: str,
) -> list[Row]:
    """Distance of each landmark, and the long-axis function, in the frames with marked landmarks.

    Args:
        predicted_px: ``(frame, point, 2)`` (row, col); NaN where missing.
        reference_px: of the same shape; NaN in frames without marks.
        pixel_mm: row and column spacing.
        view: name of the view.
    """
    names = _landmark_names(reference_px.shape[1])
    if predicted_px.shape != reference_px.shape:
        return [measure_row("landmark_distance", n, "mm", view=view, reason="grid_differs") for n in (*names, "mean")]
    marked = np.isfinite(reference_px).all(axis=(1, 2))
    distance = landmark_distance_mm(predicted_px[marked], reference_px[marked], pixel_mm)
    rows = [
        _mean_row(distance[:, k], "landmark_distance", name, "mm", view, "landmarks_missing")
        for k, name in enumerate(names)
    ]
    rows.append(_mean_row(distance.mean(axis=1), "landmark_distance", "mean", "mm", view, "landmarks_missing"))
    if len(names) != len(LANDMARKS):
        return rows
    ours = long_axis_function(predicted_px[marked], pixel_mm)
    theirs = long_axis_function(reference_px[marked], pixel_mm)
    return rows + list(_pair_rows({"mapse_mm": "mm", "axis_shortening_pct": "%"}, ours, theirs, view))


def value_row(quantity: str, unit: str, predicted: float, reference: float, reason: str = "", view: str = "") -> Row:
    """Compare a predicted number with a reference."""
    why = reason or ("" if math.isfinite(reference) else "reference_missing")
    return measure_row("agreement", quantity, unit, view=view, predicted=predicted, reference=reference, reason=why)


# overlap of one frame

_OVERLAPS: Final = {"dice": "", "iou": "", "hd95": "mm"}


def _select_structures(reference: Labels) -> dict[str, tuple[int, ...]]:
    """The three structures of every heart, and the others that the reference has."""
    present = set(np.unique(reference).tolist())
    return {name: codes for name, codes in STRUCTURES.items() if name in _HEART or present & set(codes)}


def _spacing_mm(view: xr.Dataset) -> tuple[float, float, float]:
    row_mm, col_mm = (float(mm) for mm in view["pixel_mm"].values)
    slice_mm = float(view.attrs["slice_mm"])
    return (slice_mm if math.isfinite(slice_mm) else 1.0, row_mm, col_mm)  # for a single plane it does not matter


_Mask = npt.NDArray[np.bool_]


def _masks(predicted: Labels, reference: Labels, codes: tuple[int, ...], judged: _Mask) -> tuple[_Mask, _Mask, _Mask]:
    """Masks of a structure in both, 0 in slices that the model did not segment; and which slices it segmented."""
    seen = judged[:, None, None]
    return np.isin(predicted, codes) & seen, np.isin(reference, codes) & seen, judged


def _overlap(
    predicted: _Mask, reference: _Mask, judged: _Mask, spacing_mm: tuple[float, float, float]
) -> dict[str, float | Missing]:
    if not judged.any():
        return dict.fromkeys(_OVERLAPS, Missing("frame_unjudged"))
    if not predicted.any() and not reference.any():
        return dict.fromkeys(_OVERLAPS, Missing("structure_absent"))
    both = predicted.any() and reference.any()
    return {
        "dice": dice(predicted, reference),
        "iou": intersection_over_union(predicted, reference),
        "hd95": hausdorff_95_mm(predicted, reference, spacing_mm) if both else Missing("structure_in_one"),
    }


def _phase_rows(
    found: Mapping[int, float | Missing], phases: Mapping[int, str], measure: str, structure: str, unit: str, view: str
) -> Iterator[Row]:
    yield _mean_known(list(found.values()), measure, structure, unit, view, "all")
    for frame, phase in phases.items():
        if frame in found:
            yield _mean_known([found[frame]], measure, structure, unit, view, phase)


def _mean_known(values: Sequence[float | Missing], measure: str, of: str, unit: str, view: str, phase: str) -> Row:
    """The mean of the known values; the first reason where no value is known."""
    known = [value for value in values if not isinstance(value, Missing)]
    if known:
        return measure_row(measure, of, unit, view=view, phase=phase, value=float(np.mean(known)))
    reasons = [value.reason for value in values if isinstance(value, Missing)] or ["reference_missing"]
    return measure_row(measure, of, unit, view=view, phase=phase, reason=reasons[0])


def _mean_row(values: npt.NDArray[np.float64], measure: str, of: str, unit: str, view: str, reason: str) -> Row:
    return _mean_known(
        [float(v) if math.isfinite(v) else Missing(reason) for v in values], measure, of, unit, view, "all"
    )


# volumes

_QUANTITIES: Final = {
    "lvedv_ml": "mL", "lvesv_ml": "mL", "lvef_pct": "%", "rvedv_ml": "mL", "rvesv_ml": "mL", "rvef_pct": "%",
    "lvm_g": "g",
}  # fmt: skip


def _merge_wall(reference: Labels) -> Labels:
    return np.where(np.isin(reference, STRUCTURES["myocardium"]), np.uint8(MYOCARDIUM), reference)


def _volumes(
    label: Labels, view: xr.Dataset, labelled: npt.NDArray[np.bool_], frames: Mapping[str, int]
) -> dict[str, float | Missing]:
    try:
        curves = volume_curves(label, view)
    except StudyRejected as rejected:
        return dict.fromkeys(_QUANTITIES, Missing(rejected.reason))
    at = {phase: _frame_if_labelled(frames.get(f"{phase}_frame"), labelled) for phase in ("ed", "es")}
    found: dict[str, float | Missing] = {}
    for chamber in ("lv", "rv"):
        edv, esv = (_value_at(curves[f"{chamber}_ml"].values, at[phase]) for phase in ("ed", "es"))
        found |= {f"{chamber}edv_ml": edv, f"{chamber}esv_ml": esv, f"{chamber}ef_pct": _fraction(edv, esv)}
    wall_ml = _value_at(curves["myocardium_ml"].values, at["ed"])
    found["lvm_g"] = wall_ml if isinstance(wall_ml, Missing) else wall_ml * MYOCARDIAL_DENSITY_G_ML
    return found


def _frame_if_labelled(frame: int | None, labelled: npt.NDArray[np.bool_]) -> int | None:
    return frame if frame is not None and frame < len(labelled) and labelled[frame] else None


def _value_at(curve: npt.NDArray[np.float64], frame: int | None) -> float | Missing:
    if frame is None:
        return Missing("reference_missing")
    return float(curve[frame]) if math.isfinite(curve[frame]) else Missing("frame_unjudged")


def _fraction(edv: float | Missing, esv: float | Missing) -> float | Missing:
    if isinstance(edv, Missing) or isinstance(esv, Missing):
        return edv if isinstance(edv, Missing) else esv
    return 100.0 * (edv - esv) / edv if edv > 0 else Missing("undefined")


def _pair_rows(
    units: Mapping[str, str], ours: Mapping[str, float | Missing], theirs: Mapping[str, float | Missing], view: str = ""
) -> Iterator[Row]:
    """Compare each quantity that the reference has."""
    for quantity, unit in units.items():
        known, found = theirs[quantity], ours[quantity]
        if not isinstance(known, Missing):
            predicted, reason = (math.nan, found.reason) if isinstance(found, Missing) else (found, "")
            yield value_row(quantity, unit, predicted, known, reason, view)


def _landmark_names(n: int) -> tuple[str, ...]:
    return LANDMARKS if n == len(LANDMARKS) else tuple(f"point_{k + 1}" for k in range(n))
