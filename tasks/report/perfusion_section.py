"""The perfusion section of a study's page: flow maps, bull's-eyes, curves, numbers and their limitations."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import xarray as xr
from contourpy import LineType, contour_generator
from PIL import Image

from cmr_models.aha import TERRITORIES, reserve
from cmr_models.contracts import LV, MYOCARDIUM
from cmr_models.reasons import TABLE
from cmr_models.views.base_apex import levels_in
from tasks.derive.perfusion_stage import MODEL, summary_of
from tasks.report.axis_ticks import nice_ticks
from tasks.report.bulls_eye import paint_map, scale, sectors
from tasks.report.pages import clean_text, number
from tasks.state.store import Cohort, reading_tree

WINDOWS: Mapping[str, tuple[str, str, tuple[float, float], float]] = {
    "mbf_ml_min_g": ("Myocardial blood flow", "mL/min/g", (0.0, 8.0), 1.0),
    "ps_ml_min_g": ("Permeability-surface product", "mL/min/g", (0.0, 4.0), 1.0),
    "vb_ml_g": ("Blood volume", "mL/100 g", (0.0, 20.0), 100.0),
    "visf_ml_g": ("Interstitial volume", "mL/100 g", (0.0, 80.0), 100.0),
    "delay_s": ("Delay", "s", (0.0, 8.0), 1.0),
}
"""Map -> title, unit, window and factor of its display. The windows are those of the scanner's report."""

BULLS_EYE_WINDOWS = {"rest": (0.0, 4.0), "stress": (0.0, 4.0), "unstated": (0.0, 4.0), "mpr": (0.0, 5.0)}
TITLES = {"rest": "Rest", "stress": "Stress", "unstated": "State unknown", "mpr": "Reserve (stress / rest)"}
_ORDER = ("stress", "rest", "unstated")
_ARTERIES = {"lad": "LAD", "rca": "RCA", "lcx": "LCx"}
_LEVELS = {"base": "Base", "mid": "Mid", "apex": "Apex"}
_MARGIN_PX = 6
_SHOWN_PX = 320
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 520, 250, 46, 420, 16, 208


def perfusion_section(cohort: Cohort, study: str) -> dict[str, Any] | None:
    """Values of the template; None if the study has no perfusion file, or a damaged one."""
    path = cohort.prediction(MODEL, study)
    if not path.exists():
        return None
    try:
        with reading_tree(path) as tree:
            states = {state: tree[f"perfusion_{state}"].to_dataset().load() for state in _states(tree)}
            summary = summary_of(tree)
    except BadZipFile:
        return None
    return {
        "maps": [_map_rows(states, quantity) for quantity in WINDOWS],
        "bulls_eyes": _bulls_eyes(states, summary["segments"]),
        "curves": [_curves(state, dataset) for state, dataset in states.items()],
        "numbers": _numbers(summary["phenotypes"], list(states)),
        "columns": [TITLES[state] for state in states],
        "limitations": _limitations(summary["limitations"]),
        "note": _note(states),
    }


def _states(tree: xr.DataTree) -> list[str]:
    there = {name.removeprefix("perfusion_") for name in tree.children}
    return [state for state in _ORDER if state in there]


# maps


def _map_rows(states: Mapping[str, xr.Dataset], quantity: str) -> dict[str, Any]:
    title, unit, window, factor = WINDOWS[quantity]
    return {
        "name": quantity,
        "title": title,
        "unit": unit,
        "low": f"{window[0]:g}",
        "high": f"{window[1]:g}",
        "scale": scale(window),
        "rows": [
            {"title": TITLES[state], "images": _map_images(dataset, quantity, window, factor)}
            for state, dataset in states.items()
        ],
    }


def _map_images(dataset: xr.Dataset, quantity: str, window: tuple[float, float], factor: float) -> list[dict[str, Any]]:
    labels, values = dataset["label"].values, dataset[quantity].values * factor
    names = [_LEVELS[level] for level in levels_in(labels)]
    rows, cols = _heart_window(np.asarray(np.isin(labels, (LV, MYOCARDIUM)).max(axis=0), bool))
    return [
        {
            "image": _png(paint_map(values[k, rows, cols], window)),
            "outlines": _outlines(labels[k, rows, cols]) if quantity == "mbf_ml_min_g" else [],
            "size": rows.stop - rows.start,
            "title": names[k],
        }
        for k in range(len(labels))
    ]


def _heart_window(inside: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """A square about the heart."""
    rows, cols = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    half = max(int(np.ptp(rows)), int(np.ptp(cols))) // 2 + _MARGIN_PX
    half = min(half, min(inside.shape) // 2)
    centre = [
        int(np.clip((axis[0] + axis[-1]) // 2, half, n - half))
        for axis, n in zip((rows, cols), inside.shape, strict=True)
    ]
    return slice(centre[0] - half, centre[0] + half), slice(centre[1] - half, centre[1] + half)


def _png(colours: npt.NDArray[np.uint8]) -> str:
    factor = max(1, math.ceil(_SHOWN_PX / max(colours.shape[:2])))
    image = Image.fromarray(colours).resize(
        (colours.shape[1] * factor, colours.shape[0] * factor), Image.Resampling.NEAREST
    )
    content = io.BytesIO()
    image.quantize(256).save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def _outlines(labels: npt.NDArray[np.integer]) -> list[str]:
    """Endocardium and epicardium as paths in pixels from the corner of the image."""
    found = []
    for inside in (labels == LV, np.isin(labels, (LV, MYOCARDIUM))):
        lines = contour_generator(z=inside.astype(float), line_type=LineType.Separate).lines(0.5)
        outlines = [np.asarray(line) for line in lines if line is not None]
        found += ["M" + "L".join(f"{x + 0.5:.2f},{y + 0.5:.2f}" for x, y in line) for line in outlines if len(line) > 8]
    return found


# bull's-eyes


def _bulls_eyes(states: Mapping[str, xr.Dataset], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    medians = {state: _medians(rows, state) for state in states}
    drawn = [_bulls_eye(state, "Flow, " + TITLES[state].lower(), "mL/min/g", medians[state]) for state in states]
    if {"rest", "stress"} <= medians.keys():
        shared = sorted(medians["rest"].keys() & medians["stress"].keys())
        ratio = reserve([medians["stress"][k] for k in shared], [medians["rest"][k] for k in shared])
        drawn.append(_bulls_eye("mpr", TITLES["mpr"], "", dict(zip(shared, ratio.tolist(), strict=True))))
    return drawn


def _bulls_eye(name: str, title: str, unit: str, values: Mapping[int, float]) -> dict[str, Any]:
    window = BULLS_EYE_WINDOWS[name]
    low, high = (f"{edge:g}" for edge in window)
    return {
        "title": title,
        "unit": unit,
        "sectors": sectors(values, window),
        "scale": scale(window),
        "low": low,
        "high": high,
    }


def _medians(rows: Sequence[Mapping[str, Any]], state: str) -> dict[int, float]:
    return {
        int(row["segment"]): float("nan") if row["median"] is None else float(row["median"])
        for row in rows
        if (row["state"], row["quantity"], row["layer"]) == (state, "mbf_ml_min_g", "all")
    }


# curves


def _curves(state: str, dataset: xr.Dataset) -> dict[str, Any]:
    """Curves of the arterial input (left axis) and of the mean of each artery's segments (right axis, magnified)."""
    time_s, blood = dataset["time_s"].values, dataset["aif_mmol_l"].values
    tissue = {name: _mean(dataset, members) for name, members in TERRITORIES.items()}
    tissue = {name: curve for name, curve in tissue.items() if np.isfinite(curve).all()}
    ticks = nice_ticks(0.0, float(blood.max()), 4)
    highest = max((float(curve.max()) for curve in tissue.values()), default=1.0)
    right = nice_ticks(0.0, max(highest, 0.1), 4)
    x_ticks = [tick for tick in nice_ticks(0.0, float(time_s[-1])) if tick <= time_s[-1]]
    x = _x(time_s, time_s)
    features = dataset.attrs["aif"]
    marks = [("foot", features["foot_s"]), ("peak", features["peak_s"])]
    lines = [{"name": "aif", "title": "Arterial input", "path": _path(x, blood / ticks[-1])}]
    lines += [
        {"name": name, "title": _ARTERIES[name], "path": _path(x, curve / right[-1])} for name, curve in tissue.items()
    ]
    for k, line in enumerate(lines):
        line["key_at"] = str(_LEFT + 4 + (0 if k == 0 else 56 + 84 * k))
    return {
        "title": TITLES[state],
        "lines": lines,
        "left": [{"label": f"{tick:g}", "at": _y(tick / ticks[-1])} for tick in ticks],
        "right": [{"label": f"{tick:g}", "at": _y(tick / right[-1])} for tick in right],
        "x_ticks": [{"label": f"{t:g}", "at": float(_x(t, time_s))} for t in x_ticks],
        "marks": [
            {"label": label, "at": float(_x(at, time_s))}
            for label, at in marks
            if math.isfinite(at)
        ],
        "frame": {
            "width": _WIDTH, "height": _HEIGHT, "left": _LEFT, "right": _RIGHT, "top": _TOP, "bottom": _BOTTOM,
        },
    }  # fmt: skip


def _mean(dataset: xr.Dataset, members: Sequence[int]) -> npt.NDArray[np.float64]:
    curves = dataset["tissue_mmol_l"].values[[number - 1 for number in members if number <= 16]]
    there = np.isfinite(curves).all(axis=1)
    return np.asarray(curves[there].mean(axis=0)) if there.any() else np.full(curves.shape[1], np.nan)


def _x(at: npt.ArrayLike, time_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.round(_LEFT + np.asarray(at) / time_s[-1] * (_RIGHT - _LEFT), 1))


def _y(share: float) -> float:
    return round(_BOTTOM - share * (_BOTTOM - _TOP), 1)


def _path(x: npt.NDArray[np.float64], share: npt.NDArray[np.float64]) -> str:
    y = _BOTTOM - np.clip(share, -0.08, 1.02) * (_BOTTOM - _TOP)
    return "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


# numbers


def _numbers(values: Mapping[str, float], states: Sequence[str]) -> list[dict[str, Any]]:
    regions = [("Whole wall", ""), *((f"{title} territory", f"_{name}") for name, title in _ARTERIES.items())]
    regions.append(("Lowest segment", "_lowest"))
    rows = [
        {
            "title": title,
            "cells": [number(values.get(f"mbf_{state}{region}_ml_min_g"), 2) for state in states],
            "reserve": number(values.get(f"mpr{region}"), 2),
        }
        for title, region in regions
    ]
    ratio = [number(values.get(f"mbf_{state}_endo_epi_ratio"), 2) for state in states]
    peak = [number(values.get(f"aif_{state}_peak_mmol_l"), 1) for state in states]
    return [
        *rows,
        {"title": "Inner to outer half, ratio", "cells": ratio, "reserve": ""},
        {"title": "Peak of the arterial input (mmol/L)", "cells": peak, "reserve": ""},
    ]


def _limitations(limits: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    return [
        {
            "state": TITLES.get(state, state),
            "code": clean_text(code),
            "sentence": TABLE[code].sentence if code in TABLE else "",
        }
        for state, codes in sorted(limits.items())
        for code in codes
    ]


def _note(states: Mapping[str, xr.Dataset]) -> str:
    dropped = sum(bool(why) for dataset in states.values() for why in dataset.attrs["slices_without_segments"])
    text = "The value of a segment is the median of its pixels. Segments are counted from the anterior RV insertion."
    return text + (f" Slices without a closed wall, which have no segments: {dropped}." if dropped else "")
