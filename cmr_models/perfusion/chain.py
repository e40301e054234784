"""One state of a perfusion study, from its series to maps and AHA segments.

Series -> even time grid -> motion correction -> arterial input -> contrast agent in mmol/L -> flow, pixel by pixel ->
segmentation -> AHA-16. Each limitation of the numbers (no input series, no proton density ...) is a reason code beside
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy import ndimage

from cmr_models import aha
from cmr_models.contracts import LV, MYOCARDIUM
from cmr_models.perfusion.contrast import Contrast, blood_contrast, tissue_contrast
from cmr_models.perfusion.kinetics.checks import LOWEST_AIF
from cmr_models.perfusion.kinetics.status import AT_BOUND, OK
from cmr_models.perfusion.motion import (
    Motion,
    align_input,
    correct_motion,
    density_on,
    input_motion,
    shared_grid,
    ventricle_motion,
)
from cmr_models.perfusion.phenotypes import QUANTITIES
from cmr_models.perfusion.series import GRID_S, FirstPass, mean_image
from cmr_models.perfusion.wall import inner_wall, mask_flow_at_bound, reliable_pixels
from cmr_models.reasons import StudyRejected
from cmr_models.views.base_apex import levels_in

_MARGIN_MM = 8.0
_COUNTED = (OK, AT_BOUND)
"""Status of pixels that count in segments: at a bound it is mostly the permeability that is not known, not the flow."""

_FEWEST_INPUT_PIXELS = 15
_TOWARDS_ANTERIOR = np.array([0.0, -1.0, 1.0]) / np.sqrt(2.0)
"""The anterior wall of the left ventricle faces the front and the head (LPS)."""

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


class Measured(NamedTuple):
    """One state of a study.

    Attributes:
        maps: on the series' own grid: ``label``, ``segment``, ``layer`` and the maps of :data:`QUANTITIES`
            ``(slice, row, col)``, ``status`` of each pixel's fit, ``aif_mask (aif_row, aif_col)``, and over ``time_s``
            ``aif_mmol_l`` and ``tissue_mmol_l (segment, time)``; attributes: ``limitations``, features of the input.
        segments: map -> rows of :func:`cmr_models.aha.statistics`.
        aif: features of the arterial input.
    """

    maps: xr.Dataset
    segments: Mapping[str, pd.DataFrame]
    aif: Mapping[str, float]


def models() -> dict[str, str]:
    """Digests of the networks that the chain uses; part of the key of what it makes."""
    from cmr_models import zoo

    tasks = ("aif_detect", _segmenter_task())
    return {task: zoo.card("default", task).digest for task in tasks}


def _segmenter_task() -> str:
    """The perfusion network where its weights are installed, else the short-axis cine network, with a reason code."""
    from cmr_models import zoo

    try:
        zoo.card("default", "perfusion_segment")
    except FileNotFoundError:
        return "segment_sax"
    return "perfusion_segment"


def measure(
    views: Mapping[str, xr.Dataset],
    *,
    labels: Labels | None = None,
    aif_mask: Mask | None = None,
    device: str = "auto",
) -> Measured:
    """Maps and segments of one state.

    Args:
        views: role -> view: ``""`` the myocardial series, ``_pd`` its proton-density frames, ``_aif``, ``_aif_echo2``
            and ``_aif_pd`` those of the arterial input; only the first must be there.
        labels: ``(slice, row, col)`` 1 RV, 2 myocardium, 3 LV, to use instead of the network's.
        aif_mask: ``(row, col)`` of the input series, to use instead of the network's.
        device: of torch, for the networks and the fit; "auto" is the GPU if there is one.

    Raises:
        StudyRejected: why the state cannot be measured.
    """
    if "" not in views:
        raise StudyRejected("perfusion_few_frames", "There is an input series, but none of the myocardium.")
    limits: set[str] = set()
    heart, paths = correct_motion(views[""], shared_grid(views))
    given = _label(heart, views[""], limits, device) if labels is None else np.asarray(labels, np.uint8)
    plane = _pool_slice(given)
    motion = ventricle_motion(paths[plane], given[plane], views[""]["pixel_mm"].values)
    blood, mask = _input(views, heart, given, aif_mask, motion, limits, device)
    features = _check_input(blood, limits)
    found = _segments(given, views[""], limits)
    density = density_on(heart, _density(views, "_pd"))
    tissue = tissue_contrast(heart.signal, density, views[""].attrs, _baseline_frames(features))
    limits |= tissue.limits
    maps = _maps(tissue, blood, given, views[""], features, device)
    usable = np.isin(maps["status"].values, _COUNTED) & reliable_pixels(given, found.segment)
    tables = {name: aha.statistics(maps[name].values.astype(float), found, usable=usable) for name in QUANTITIES}
    if mask_flow_at_bound(tables):
        limits.add("segment_flow_at_bound")
    curves = _segment_curves(tissue, found)
    dataset = _dataset(maps, given, found, mask, heart, blood, curves)
    dataset.attrs = {
        "limitations": sorted(limits),
        "aif": {name: float(value) for name, value in features.items()},
        "slices_without_segments": list(found.why_not),
        "grid_s": GRID_S,
        "state": str(views[""].attrs.get("state", "unstated")),
        "pixel_mm": [float(mm) for mm in views[""]["pixel_mm"].values],
    }
    return Measured(dataset, tables, features)


# series


def _label(series: FirstPass, view: xr.Dataset, limits: set[str], device: str) -> Labels:
    row_mm, _ = (float(mm) for mm in view["pixel_mm"].values)
    if _segmenter_task() == "segment_sax":
        limits.add("labels_by_cine_network")
        return _label_as_cine(series, row_mm, float(view.attrs["slice_mm"]))
    from cmr_models.perfusion.segmentation import segment

    return np.stack([np.asarray(segment(plane, GRID_S, row_mm, device=device), np.uint8) for plane in series.signal])


def _label_as_cine(series: FirstPass, row_mm: float, slice_mm: float) -> Labels:
    """Labels of the mean of the second half of the series, when both pools are brighter than the wall, as in a cine."""
    from cmr_models.segmentation import segment_sax

    late = series.signal[..., series.signal.shape[-1] // 2 :].mean(axis=-1)
    shown = np.clip(late / late.max() * 4095, 0, 4095).astype(np.uint16)
    spacing = slice_mm if np.isfinite(slice_mm) else 10.0
    return np.asarray(segment_sax(shown[None], pixel_mm=row_mm, slice_mm=spacing)[0], np.uint8)


def _density(views: Mapping[str, xr.Dataset], role: str) -> npt.NDArray[np.float32] | None:
    return mean_image(views[role]) if role in views else None


# arterial input


def _input(
    views: Mapping[str, xr.Dataset],
    heart: FirstPass,
    labels: Labels,
    given: Mask | None,
    motion: Motion,
    limits: set[str],
    device: str,
) -> tuple[npt.NDArray[np.float64], Mask]:
    """Arterial input in mmol/L on the heart's time grid, and where it was taken."""
    if "_aif" not in views:
        return _input_of_one_sequence(views, heart, labels, given, limits)
    view, second = views["_aif"], views.get("_aif_echo2")
    held = input_motion(views, motion, limits)
    series, echo2 = (None if v is None else align_input(v, views[""], heart, held) for v in (view, second))
    if series is None:
        raise StudyRejected("perfusion_few_frames", "There is a second echo of the input, but no first.")
    mask = _detect_blood(series, limits, device) if given is None else given
    density = _density(views, "_aif_pd")
    pd = None if density is None else density[0]
    second_attributes = {} if second is None else second.attrs
    contrast = blood_contrast(series, echo2, pd, view.attrs, second_attributes, mask, is_input_series=True)
    limits |= contrast.limits
    return contrast.values, mask


def _input_of_one_sequence(
    views: Mapping[str, xr.Dataset], heart: FirstPass, labels: Labels, given: Mask | None, limits: set[str]
) -> tuple[npt.NDArray[np.float64], Mask]:
    """The input from the pool of the myocardial series itself, where there is no other."""
    limits.add("aif_single_sequence")
    mask = _pool(labels) if given is None else given
    plane = _pool_slice(labels)
    density = _density(views, "_pd")
    pd = None if density is None else density[plane]
    contrast = blood_contrast(heart.signal[plane], None, pd, views[""].attrs, {}, mask, is_input_series=False)
    limits |= contrast.limits
    return contrast.values, mask


def _detect_blood(series: npt.NDArray[np.float32], limits: set[str], device: str) -> Mask:
    """The left ventricle's blood by the network; where it finds none, by the rule, with a reason code."""
    from cmr_models.aif import detect

    mask = np.asarray(detect(series, device=device)) == 1
    if not mask.any():
        limits.add("aif_fallback")
        mask = np.asarray(detect(series, method="rule")) == 1
    if not mask.any():
        raise StudyRejected("perfusion_no_bolus", "No left ventricle was found in the input series.")
    return np.asarray(mask)


def _pool_slice(labels: Labels) -> int:
    """The slice with the largest pool: least mixed with wall."""
    return int(np.argmax((labels == LV).sum(axis=(1, 2))))


def _pool(labels: Labels) -> Mask:
    """The inside of the largest pool, away from the wall where enough is left."""
    pool = labels[_pool_slice(labels)] == LV
    if not pool.any():
        raise StudyRejected("perfusion_no_heart", "No left ventricle was found to take the input from.")
    inside = ndimage.binary_erosion(pool, iterations=2)
    return np.asarray(inside if inside.sum() >= _FEWEST_INPUT_PIXELS else pool)


def _check_input(blood: npt.NDArray[np.float64], limits: set[str]) -> dict[str, float]:
    """Features of the input; gates that it fails become limitations.

    Raises:
        StudyRejected: ``perfusion_no_bolus`` if there is no bolus.
    """
    from cmr_models.aif import failed_gates, features

    failed = failed_gates(blood, GRID_S)
    found = dict(features(blood, GRID_S))
    if "aif_no_bolus" in failed or found["peak_value"] < LOWEST_AIF:
        raise StudyRejected("perfusion_no_bolus", f"The input peaks at {float(np.max(blood)):.2f} mmol/L.")
    limits.update(failed)
    return found


def _baseline_frames(features: Mapping[str, float]) -> int:
    return max(1, int(features["foot_s"] / GRID_S))


# wall


def _segments(labels: Labels, view: xr.Dataset, limits: set[str]) -> aha.Segments:
    levels = levels_in(labels)
    found = aha.segments(labels, levels=levels, anterior_px=[_anterior_px(view, k) for k in range(len(labels))])
    if not found.segment.any():
        raise StudyRejected("perfusion_no_heart", f"Slices: {', '.join(sorted(set(found.why_not)))}.")
    if len(labels) == 1:
        limits.add("level_assumed")
    if levels != aha.levels_of(len(labels)):
        limits.add("stack_order_doubtful")
    return found


def _anterior_px(view: xr.Dataset, plane: int) -> tuple[float, float]:
    """Direction of the anterior wall in the image as (rows, columns)."""
    row_mm, col_mm = (float(mm) for mm in view["pixel_mm"].values)
    rows = float(view["col_dir"].values[plane] @ _TOWARDS_ANTERIOR) / row_mm
    return rows, float(view["row_dir"].values[plane] @ _TOWARDS_ANTERIOR) / col_mm


def _maps(
    tissue: Contrast,
    blood: npt.NDArray[np.float64],
    labels: Labels,
    view: xr.Dataset,
    features: Mapping[str, float],
    device: str,
) -> dict[str, xr.DataArray]:
    """Maps of the region around the heart, NaN outside."""
    from cmr_models.perfusion import quantify

    margin = int(np.ceil(_MARGIN_MM / float(view["pixel_mm"].values[0])))
    rows, cols = _region(labels, margin)
    shape = labels.shape
    out: dict[str, npt.NDArray[Any]] = {name: np.full(shape, np.nan, np.float32) for name in QUANTITIES}
    out["status"] = np.full(shape, 255, np.uint8)
    for k in range(shape[0]):
        curves = tissue.values[k, rows, cols]
        wall = np.isin(labels[k, rows, cols], (MYOCARDIUM, LV))
        near = ndimage.binary_dilation(wall, iterations=margin)
        inner = inner_wall(labels[k] == MYOCARDIUM)[rows, cols]
        foot = _baseline_frames(features)
        fitted = quantify(curves, blood, GRID_S, foot=foot, mask=near, wall=inner, device=device)
        for name in out:
            out[name][k, rows, cols] = fitted[name].values
    return {name: xr.DataArray(values, dims=("slice", "row", "col")) for name, values in out.items()}


def _region(labels: Labels, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the left ventricle and its wall with a margin in pixels."""
    inside = np.isin(labels, (MYOCARDIUM, LV)).max(axis=0)
    rows, cols = (np.flatnonzero(np.max(inside, axis=axis)) for axis in (1, 0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(cols[0]) - margin), int(cols[-1]) + margin + 1),
    )


def _segment_curves(tissue: Contrast, found: aha.Segments) -> npt.NDArray[np.float32]:
    """Mean curve of each segment, ``(16, time)``; NaN where it has no pixel."""
    curves = np.full((16, tissue.values.shape[-1]), np.nan, np.float32)
    for number in range(1, 17):
        inside = found.segment == number
        if inside.any():
            curves[number - 1] = tissue.values[inside].mean(axis=0)
    return curves


def _dataset(
    maps: Mapping[str, xr.DataArray],
    labels: Labels,
    found: aha.Segments,
    mask: Mask,
    heart: FirstPass,
    blood: npt.NDArray[np.float64],
    curves: npt.NDArray[np.float32],
) -> xr.Dataset:
    grid = ("slice", "row", "col")
    return xr.Dataset(
        {
            **maps,
            "label": (grid, labels),
            "segment": (grid, found.segment),
            "layer": (grid, found.layer),
            "aif_mask": (("aif_row", "aif_col"), mask.astype(np.uint8)),
            "time_s": ("time", heart.time_s - heart.time_s[0]),
            "aif_mmol_l": ("time", np.asarray(blood, np.float64)),
            "tissue_mmol_l": (("segment_16", "time"), curves),
        }
    )
