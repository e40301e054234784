"""From one study's labels and geometry to its phenotypes, volume curves and quality verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.phenotypes import quality
from cmr_models.phenotypes.cardiac_cycle import find_cycle
from cmr_models.phenotypes.measurements import MEASUREMENTS
from cmr_models.phenotypes.phenotype import Value
from cmr_models.phenotypes.table import evaluate
from cmr_models.phenotypes.volumes import area_curves, volume_curves
from cmr_models.reasons import Missing, StudyRejected
from cmr_models.segmentation.certainty import ERROR_LINES, Lines
from cmr_models.views.base_apex import judge_stack_order
from cmr_models.views.geometry import plane_offset_mm

Labels = npt.NDArray[np.uint8]


class Certainty(NamedTuple):
    """What the short-axis network says of its own errors (:mod:`cmr_models.segmentation.certainty`).

    Attributes:
        dice: ``(frame, structure)`` overlap with an expert to be expected: of RV, myocardium, LV.
        lines: name -> offset and slope.
    """

    dice: npt.NDArray[np.float64]
    lines: Lines


LANDMARK_VIEWS = ("lax_2c", "lax_4c")
_FRAME_ORDER_DOUBTFUL = "order_doubtful"  # the flag of a view whose images contradict its times


class Derived(NamedTuple):
    """What one study gives.

    Attributes:
        status: ok, absent (no short axis) or quarantined.
        reason: code; empty when ok.
        detail: what was found.
        phenotypes: every row of the table, in its order; :class:`Missing` with a reason where there is no number.
        quality: verdict of every rule; None where it could not be judged.
        quality_reasons: codes of the broken rules.
        curves: Dataset over ``frame``, or None without a short axis.
    """

    status: Literal["ok", "absent", "quarantined"]
    reason: str
    detail: str
    phenotypes: dict[str, Value]
    quality: dict[str, bool | None]
    quality_reasons: tuple[str, ...]
    curves: xr.Dataset | None


def derive(
    labels: Mapping[str, Labels],
    views: Mapping[str, xr.Dataset],
    *,
    height_cm: float = math.nan,
    weight_kg: float = math.nan,
    landmark_mm: Mapping[str, npt.NDArray[np.float64]] | None = None,
    certainty: Certainty | None = None,
    slice_share: npt.NDArray[np.float64] | None = None,
) -> Derived:
    """Phenotypes of one study.

    A study that a plausibility rule quarantines keeps its curves and its verdicts, but no phenotype: each is
    missing for that reason, so that an implausible number cannot slip into an analysis.

    Args:
        labels: view -> ``(frame, slice, row, col)``; ``sax`` and ``lax_4c`` are used where present.
        views: geometry, times and ``frame_valid`` of the same views (pixels not needed).
        height_cm: NaN if unknown.
        weight_kg: NaN if unknown.
        landmark_mm: view -> ``(frame, 3, 2)`` mitral hinges and apex in the plane, where they were predicted.
        certainty: of the short-axis network, where it says it.
        slice_share: ``(frame, slice, ventricle)`` of the short axis, if the last slice at the base is to count by its
            part (:func:`cmr_models.phenotypes.volumes.volume_curves`).

    Returns:
        The :class:`Derived` study.

    Raises:
        StudyRejected: ``lv_empty``, ``frames_masked`` or ``single_plane``.
    """
    measured = measure(
        labels, views, height_cm=height_cm, weight_kg=weight_kg, landmark_mm=landmark_mm, certainty=certainty,
        slice_share=slice_share,
    )  # fmt: skip
    phenotypes = evaluate(measured)
    verdicts = quality.check(measured | phenotypes)
    broken = quality.failures(verdicts)
    reasons = tuple(rule.code for rule in broken)
    curves = _curves(measured)
    if curves is None:
        return Derived("absent", "no_sax", "", phenotypes, verdicts, reasons, None)
    if broken and broken[0].quarantines:
        code = broken[0].code
        withheld: dict[str, Value] = {name: Missing(code) for name in phenotypes}
        return Derived("quarantined", code, _describe(broken[0], phenotypes), withheld, verdicts, reasons, curves)
    return Derived("ok", "", "", phenotypes, verdicts, reasons, curves)


def measure(
    labels: Mapping[str, Labels],
    views: Mapping[str, xr.Dataset],
    *,
    height_cm: float,
    weight_kg: float,
    landmark_mm: Mapping[str, npt.NDArray[np.float64]] | None = None,
    certainty: Certainty | None = None,
    slice_share: npt.NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """The measurements of one study: every name of :data:`MEASUREMENTS`; :class:`Missing` where there is no value."""
    measured: dict[str, Any] = {row.name: Missing(row.missing) for row in MEASUREMENTS}
    measured["body_height_cm"] = _value_or_missing(height_cm, "body_size_unknown")
    measured["body_weight_kg"] = _value_or_missing(weight_kg, "body_size_unknown")
    known_landmarks = landmark_mm or {}
    measured |= {f"{view}_landmark_mm": known_landmarks[view] for view in LANDMARK_VIEWS if view in known_landmarks}
    if certainty is not None:
        measured["dice_predicted"] = certainty.dice
        measured["ef_error_lines"] = np.array([certainty.lines[name] for name in ERROR_LINES], float)
    if "sax" in labels:
        measured |= _measure_sax(labels["sax"], views["sax"], slice_share)
    if "lax_4c" in labels:
        measured |= _measure_lax_4c(labels["lax_4c"], views["lax_4c"], _phase(measured))
    return measured


def _measure_sax(label: Labels, view: xr.Dataset, slice_share: npt.NDArray[np.float64] | None) -> dict[str, Any]:
    curves = volume_curves(label, view, slice_share)
    lv_ml = curves["lv_ml"].values
    if not np.isfinite(lv_ml).any():
        raise StudyRejected("frames_masked", f"{lv_ml.size} frames")
    if not np.nansum(lv_ml) > 0:
        raise StudyRejected("lv_empty", f"{lv_ml.size} frames")
    cycle = find_cycle(lv_ml)
    stacked = label[:, np.argsort(plane_offset_mm(view, (label.shape[2], label.shape[3])), kind="stable")]
    es_frame = Missing("single_frame") if cycle.es_frame is None else cycle.es_frame
    return {
        "cycle_ed": cycle.ed_frame,
        "cycle_es": es_frame,
        "cycle_ed_at_start": cycle.ed_at_cycle_start,
        "stack_order_agrees": not judge_stack_order(label).is_doubtful,
        "frame_order_agrees": _FRAME_ORDER_DOUBTFUL not in view.attrs.get("flags", ()),
        "scan_heart_rate_bpm": _value_or_missing(float(view.attrs["heart_rate_bpm"]), "heart_rate_unknown"),
        "time_ms": curves["time_ms"].values,
        "lv_ml": lv_ml,
        "myocardium_ml": _curve_or_missing(curves["myocardium_ml"].values, "myocardium_empty"),
        "rv_ml": _curve_or_missing(curves["rv_ml"].values, "rv_empty"),
        "sax_ed": stacked[cycle.ed_frame],
        "sax_es": es_frame if isinstance(es_frame, Missing) else stacked[es_frame],
    }


def _measure_lax_4c(label: Labels, view: xr.Dataset, ed_phase: float | Missing) -> dict[str, Any]:
    curves = area_curves(label, view)
    frame_ed: Labels | Missing
    if isinstance(ed_phase, Missing):
        frame_ed = ed_phase
    else:
        frame_ed = label[round(ed_phase * label.shape[0]) % label.shape[0], 0]
    return {
        "la_cm2": _curve_or_missing(curves["la_cm2"].values, "la_empty"),
        "ra_cm2": _curve_or_missing(curves["ra_cm2"].values, "ra_empty"),
        "lax_4c": label[view["frame_valid"].values[:, 0], 0],
        "lax_4c_ed": frame_ed,
    }


def _phase(measured: Mapping[str, Any]) -> float | Missing:
    """Where in the cycle, from 0 to 1, the short axis finds end-diastole."""
    ed_frame = measured["cycle_ed"]
    return ed_frame if isinstance(ed_frame, Missing) else ed_frame / measured["lv_ml"].size


def _value_or_missing(value: float, reason: str) -> float | Missing:
    return float(value) if math.isfinite(value) else Missing(reason)


def _curve_or_missing(curve: npt.NDArray[np.float64], reason: str) -> npt.NDArray[np.float64] | Missing:
    return curve if np.nansum(curve) > 0 else Missing(reason)


def _curves(measured: Mapping[str, Any]) -> xr.Dataset | None:
    if isinstance(measured["lv_ml"], Missing):
        return None
    empty = np.full(measured["lv_ml"].size, np.nan)
    names = ("time_ms", "lv_ml", "myocardium_ml", "rv_ml")
    columns = {name: empty if isinstance(measured[name], Missing) else measured[name] for name in names}
    return xr.Dataset({name: ("frame", values) for name, values in columns.items()})


def _describe(rule: quality.Rule, phenotypes: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {phenotypes[name]:.4g}" for name in rule.inputs)
