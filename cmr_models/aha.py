"""The AHA-16 model of a short-axis stack: segment and layer of every myocardial pixel, and statistics of maps in them.

Angles follow Cerqueira et al. 2002 with the rule of the perfusion papers: sectors of equal width (6 basal, 6 mid,
4 apical) start at the anterior insertion of the right ventricle and run away from the septum, whichever way the image
is turned or mirrored. The apical sectors start there too, which is about 15 degrees off the AHA's drawing, in which
each of them is centred on its wall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from cmr_models.contracts import LV, MYOCARDIUM, RV

Level = Literal["base", "mid", "apex"]
Labels = npt.NDArray[np.integer]
Point = tuple[float, float]

SECTORS: Mapping[Level, int] = {"base": 6, "mid": 6, "apex": 4}
_BEFORE_FIRST: Mapping[Level, int] = {"base": 0, "mid": 6, "apex": 12}

NAMES: Mapping[int, str] = {
    1: "basal anterior", 2: "basal anteroseptal", 3: "basal inferoseptal",
    4: "basal inferior", 5: "basal inferolateral", 6: "basal anterolateral",
    7: "mid anterior", 8: "mid anteroseptal", 9: "mid inferoseptal",
    10: "mid inferior", 11: "mid inferolateral", 12: "mid anterolateral",
    13: "apical anterior", 14: "apical septal", 15: "apical inferior", 16: "apical lateral",
    17: "apex",
}  # fmt: skip
"""Segment number -> name (Cerqueira et al., Circulation 2002;105:539-542). 17 is seen on long axes only."""

TERRITORIES: Mapping[str, tuple[int, ...]] = {
    "lad": (1, 2, 7, 8, 13, 14, 17),
    "rca": (3, 4, 9, 10, 15),
    "lcx": (5, 6, 11, 12, 16),
}
"""Coronary artery -> segments that it usually supplies (Cerqueira et al. 2002); individual anatomy varies."""

ENDO, EPI = 1, 2
LAYERS: Mapping[int, str] = {0: "all", ENDO: "endo", EPI: "epi"}

MIN_PIXELS = 4
"""A segment with fewer pixels has no statistics."""

_TOUCHING_PX = 2.5
_CLOSED_DEG = 345.0
"""A wall that covers fewer degrees around the pool is not closed: outflow tract or a slice beyond the apex."""


class Insertions(NamedTuple):
    """Where the right ventricle meets the left: ``(row, col)`` each."""

    anterior: Point
    inferior: Point


class Segments(NamedTuple):
    """Segment 1 to 16 and layer (1 endo, 2 epi) of every pixel, 0 outside; and why a slice has none ("" if it has)."""

    segment: npt.NDArray[np.uint8]
    layer: npt.NDArray[np.uint8]
    why_not: tuple[str, ...]


def levels_of(n_slices: int) -> tuple[Level, ...]:
    """Base, mid or apex of each of ``n_slices``, base first: thirds of the stack; one slice is taken as mid.

    Raises:
        ValueError: if there is no slice.
    """
    if n_slices < 1:
        raise ValueError(f"a stack has at least one slice, got {n_slices}")
    if n_slices == 1:
        return ("mid",)
    if n_slices == 2:
        return ("base", "mid")
    names: tuple[Level, ...] = ("base", "mid", "apex")
    return tuple(names[3 * k // n_slices] for k in range(n_slices))


def insertions(labels: Labels, anterior_px: Point = (-1.0, 0.0)) -> Insertions:
    """The insertion points of the right ventricle: where it reaches furthest around the left, on either side.

    Args:
        labels: ``(row, col)``: 1 RV, 2 myocardium, 3 LV.
        anterior_px: direction of the anterior wall in the image, as (rows, columns); up by default.

    Raises:
        ValueError: if a class is missing.

    Reference: the fall-back rule of the perfusion report, from masks alone.
    """
    centre = _centroid(labels == LV, "LV")
    rv = labels == RV
    touching = rv & (ndimage.distance_transform_edt(labels != MYOCARDIUM) <= _TOUCHING_PX)
    towards = np.subtract(_centroid(rv, "RV"), centre)
    rows, cols = np.nonzero(touching if touching.any() else rv)
    angle = _angle_between(towards, np.stack((rows - centre[0], cols - centre[1])))
    first, last = int(np.argmin(angle)), int(np.argmax(angle))
    ends = [(float(rows[i]), float(cols[i])) for i in (first, last)]
    ends.sort(key=lambda end: -float(np.dot(_unit(np.subtract(end, centre)), _unit(np.asarray(anterior_px)))))
    return Insertions(ends[0], ends[1])


def segments(
    labels: Labels,
    *,
    levels: Sequence[Level] | None = None,
    anterior_px: Sequence[Point] | Point = (-1.0, 0.0),
    anterior_insertion: Sequence[Point | None] | None = None,
) -> Segments:
    """AHA segment and layer of every myocardial pixel of a stack.

    Args:
        labels: ``(slice, row, col)`` base first: 0 background, 1 RV, 2 myocardium, 3 LV.
        levels: of each slice; thirds of the stack by default.
        anterior_px: direction of the anterior wall, one or one a slice.
        anterior_insertion: ``(row, col)`` of the anterior insertion of each slice where it is known, e.g. from a
            landmark network; found from the masks where it is None.

    Raises:
        ValueError: if ``labels`` has not three dimensions, or a list has another length.
    """
    if labels.ndim != 3:
        raise ValueError(f"labels must be (slice, row, col), got {labels.ndim} dimensions")
    of_slice = tuple(levels) if levels is not None else levels_of(len(labels))
    directions = np.broadcast_to(np.asarray(anterior_px, np.float64), (len(labels), 2))
    known = list(anterior_insertion) if anterior_insertion is not None else [None] * len(labels)
    if not len(of_slice) == len(known) == len(labels):
        raise ValueError(f"{len(labels)} slices need as many levels and insertions, got {len(of_slice)}, {len(known)}")
    segment, layer = np.zeros(labels.shape, np.uint8), np.zeros(labels.shape, np.uint8)
    why_not = []
    for k, plane in enumerate(labels):
        reason = _why_not(plane)
        why_not.append(reason)
        if reason:
            continue
        start = known[k] or insertions(plane, (float(directions[k, 0]), float(directions[k, 1]))).anterior
        segment[k] = _sectors(plane, start, of_slice[k])
        layer[k] = _layers(plane)
    return Segments(segment, layer, tuple(why_not))


def statistics(
    values: npt.NDArray[np.floating], found: Segments, *, usable: npt.NDArray[np.bool_] | None = None
) -> pd.DataFrame:
    """Statistics of a map in every segment, whole wall and layers.

    Args:
        values: ``(slice, row, col)``; NaN is left out.
        found: segments on the same grid.
        usable: pixels that may count; all by default.

    Returns:
        Rows ``segment`` (1 to 16), ``layer`` (all, endo, epi), ``mean, median, sd, min, max`` (NaN below
        :data:`MIN_PIXELS` pixels), ``pixels``.

    Raises:
        ValueError: if the shapes differ.
    """
    if values.shape != found.segment.shape:
        raise ValueError(f"the map is {values.shape}, the segments are {found.segment.shape}; use one grid")
    counted = np.isfinite(values) if usable is None else np.isfinite(values) & usable
    rows = [
        {"segment": number, "layer": name, **_summary(values[_member(found, number, layer) & counted])}
        for number in range(1, 17)
        for layer, name in LAYERS.items()
    ]
    return pd.DataFrame(rows)


def reserve(stress: npt.ArrayLike, rest: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Myocardial perfusion reserve, flow at stress over flow at rest; NaN where there is none."""
    numerator, denominator = np.asarray(stress, np.float64), np.asarray(rest, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _member(found: Segments, number: int, layer: int) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = found.segment == number
    return inside if layer == 0 else inside & (found.layer == layer)


def _summary(values: npt.NDArray[np.floating]) -> dict[str, float]:
    n = int(values.size)
    if n < MIN_PIXELS:
        return {**dict.fromkeys(("mean", "median", "sd", "min", "max"), float("nan")), "pixels": n}
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "sd": float(values.std(ddof=1)),
        "min": float(values.min()),
        "max": float(values.max()),
        "pixels": n,
    }


def _why_not(plane: Labels) -> str:
    """A reason code if a slice cannot be divided."""
    if not (plane == LV).any() or not (plane == MYOCARDIUM).any():
        return "myocardium_empty"
    if not (plane == RV).any():
        return "rv_empty"
    return "" if _covered_deg(plane) >= _CLOSED_DEG else "wall_open"


def _covered_deg(plane: Labels) -> float:
    """Degrees around the pool in which there is wall, in steps of 5."""
    angle = np.degrees(_angles(plane)[plane == MYOCARDIUM]) % 360.0
    return 5.0 * len(np.unique((angle // 5).astype(int)))


def _sectors(plane: Labels, start: Point, level: Level) -> npt.NDArray[np.uint8]:
    n = SECTORS[level]
    centre = _centroid(plane == LV, "LV")
    ray = np.subtract(start, centre)
    to_septum = _cross(ray, np.subtract(_centroid(plane == RV, "RV"), centre))
    angle = _angles(plane) - np.arctan2(ray[0], ray[1])
    away = angle if to_septum < 0 else -angle
    k = np.floor(np.mod(away, 2 * np.pi) / (2 * np.pi / n)).astype(int) % n
    number = np.where(k == 0, 1, n + 1 - k) + _BEFORE_FIRST[level]
    return np.where(plane == MYOCARDIUM, number, 0).astype(np.uint8)


def _layers(plane: Labels) -> npt.NDArray[np.uint8]:
    """Endocardial or epicardial half: less or more than half of the way through the wall."""
    wall = plane == MYOCARDIUM
    from_pool = ndimage.distance_transform_edt(plane != LV)
    from_outside = ndimage.distance_transform_edt(wall | (plane == LV))
    return np.where(wall, np.where(from_pool <= from_outside, ENDO, EPI), 0).astype(np.uint8)


def _angles(plane: Labels) -> npt.NDArray[np.float64]:
    """Angle of every pixel about the centre of the pool, from the column axis towards larger rows."""
    centre = _centroid(plane == LV, "LV")
    rows, cols = np.indices(plane.shape)
    return np.asarray(np.arctan2(rows - centre[0], cols - centre[1]))


def _centroid(mask: npt.NDArray[np.bool_], name: str) -> Point:
    rows, cols = np.nonzero(mask)
    if not rows.size:
        raise ValueError(f"no pixel is {name}; segments need LV, myocardium and RV")
    return float(rows.mean()), float(cols.mean())


def _angle_between(ray: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.arctan2(_cross(ray, points), ray[0] * points[0] + ray[1] * points[1]))


def _cross(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Positive if ``second`` lies on from ``first`` in the direction of :func:`_angles`; vectors are (row, col)."""
    return np.asarray(first[1] * second[0] - first[0] * second[1])


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(vector / np.hypot(*vector))
