"""The AHA bull's-eye of 16 segments as shapes for a template: base outside, anterior at the top, septum at the left."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap

from cmr_models.aha import NAMES

SIZE = 300
_CENTRE = SIZE / 2
_RINGS = {"base": (104.0, 144.0), "mid": (62.0, 104.0), "apex": (14.0, 62.0)}
_FIRST_DEG = {
    "base": (60.0, 60.0),
    "mid": (60.0, 60.0),
    "apex": (45.0, 90.0),
}  # start of the anterior sector, width of a sector
_EMPTY = "#eceff1"


def flow_colours() -> LinearSegmentedColormap:
    """Colour map of flow as on the scanner: black at no flow, then blue, green, yellow and red."""
    turbo = mpl.colormaps["turbo"]
    stops = [(0.0, (0.0, 0.0, 0.0, 1.0)), *((0.06 + 0.94 * x, turbo(0.04 + 0.92 * x)) for x in np.linspace(0, 1, 24))]
    return LinearSegmentedColormap.from_list("flow", stops)


def colour(value: float, window: tuple[float, float]) -> tuple[str, str]:
    """Fill colour of a value in a window, and a text colour that is legible on it."""
    if not math.isfinite(value):
        return _EMPTY, "#5b6570"
    share = min(1.0, max(0.0, (value - window[0]) / (window[1] - window[0])))
    red, green, blue, _ = flow_colours()(share)
    light = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.22
    return mpl.colors.to_hex((red, green, blue)), "#111111" if light else "#ffffff"


def sectors(values: Mapping[int, float], window: tuple[float, float], digits: int = 1) -> list[dict[str, Any]]:
    """One shape for each segment: outline, fill, text and position of the text.

    Args:
        values: segment number (1 to 16) -> value; a segment without a value is grey.
        window: values of the first and last colour.
        digits: decimals of the text.
    """
    shapes = []
    for number in range(1, 17):
        value = values.get(number, math.nan)
        fill, ink = colour(value, window)
        level = "base" if number <= 6 else "mid" if number <= 12 else "apex"
        start, width = _FIRST_DEG[level]
        start += width * ((number - 1) % 6 if level != "apex" else number - 13)
        inner, outer = _RINGS[level]
        x, y = _point((inner + outer) / 2, start + width / 2)
        shapes.append(
            {
                "path": _sector_path(inner, outer, start, start + width),
                "fill": fill,
                "ink": ink,
                "x": x,
                "y": y,
                "text": f"{value:.{digits}f}" if math.isfinite(value) else "–",
                "title": f"{number} {NAMES[number]}",
            }
        )
    return shapes


def scale(window: tuple[float, float], steps: int = 48) -> list[dict[str, Any]]:
    """Bands of a colour bar of height 1, from bottom to top."""
    edges = np.linspace(0, 1, steps + 1)
    values = window[0] + (edges[:-1] + edges[1:]) / 2 * (window[1] - window[0])
    return [
        {"at": round(1 - float(top), 4), "height": round(1 / steps + 0.002, 4), "fill": colour(float(value), window)[0]}
        for value, top in zip(values, edges[1:], strict=True)
    ]


def paint_map(values: npt.NDArray[np.floating], window: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Colours ``(row, col, 3)`` of a map; black where it has no value."""
    share = np.clip((np.nan_to_num(values, nan=window[0]) - window[0]) / (window[1] - window[0]), 0, 1)
    return np.asarray(flow_colours()(share)[..., :3] * 255, np.uint8)


def _point(radius: float, angle_deg: float) -> tuple[float, float]:
    """Point at a radius and an angle; angles start at the right and run counter-clockwise."""
    angle = math.radians(angle_deg)
    return round(_CENTRE + radius * math.cos(angle), 2), round(_CENTRE - radius * math.sin(angle), 2)


def _sector_path(inner: float, outer: float, start: float, end: float) -> str:
    (x1, y1), (x2, y2) = _point(outer, start), _point(outer, end)
    (x3, y3), (x4, y4) = _point(inner, end), _point(inner, start)
    return f"M{x1},{y1}A{outer},{outer} 0 0 0 {x2},{y2}L{x3},{y3}A{inner},{inner} 0 0 1 {x4},{y4}Z"
