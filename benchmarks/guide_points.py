"""Contours of the study whose cine has guide points in space (biv-me): what they draw in each plane."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from matplotlib.path import Path as Polygon
from scipy.spatial import ConvexHull

from cmr_models.contracts import LV, MYOCARDIUM

Array = npt.NDArray[Any]

_FEWEST_POINTS = 12


def guide_contours(file: Path) -> dict[str, Array]:
    """Name of a structure -> its points ``(n, 3)`` in patient coordinates, in mm, of one frame."""
    rows = [line.split() for line in file.read_text().splitlines()[1:]]
    points: dict[str, list[list[float]]] = defaultdict(list)
    for row in rows:
        points[row[3]].append([float(value) for value in row[:3]])
    return {name: np.array(values) for name, values in points.items()}


def sax_planes(folder: Path) -> list[list[Any]]:
    """Headers of the short-axis planes of the study with guide points, planes and frames in order."""
    planes = defaultdict(list)
    for header in (pydicom.dcmread(file) for file in sorted(folder.glob("Se*/*"))):
        planes[tuple(np.round(header.ImagePositionPatient, 1))].append(header)
    sax = [sorted(plane, key=lambda h: float(h.get("TriggerTime", 0))) for plane in planes.values()]
    sax = [plane for plane in sax if not re.search("RVOT|CH", plane[0].SeriesDescription)]
    row, col = np.reshape(sax[0][0].ImageOrientationPatient, (2, 3)).astype(float)
    return sorted(sax, key=lambda plane: float(np.cross(row, col) @ np.asarray(plane[0].ImagePositionPatient, float)))


def long_axis_planes(folder: Path, points: Mapping[str, Array]) -> dict[str, list[Any]]:
    """View -> headers of its frames in order: the planes that carry points of a valve tell which view each is.

    A series may be called otherwise: a plane with points of the aortic valve is a 3-chamber plane.
    """
    planes = defaultdict(list)
    for header in (pydicom.dcmread(file) for file in sorted(folder.glob("Se*/*"))):
        planes[header.SeriesInstanceUID].append(header)
    views = {}
    for plane in planes.values():
        ordered = sorted(plane, key=lambda h: float(h.get("TriggerTime", 0)))
        there = {name for name in points if len(points_in_plane(points[name], ordered[0]))}
        if {"MITRAL_VALVE", "LAX_LV_ENDOCARDIAL"} <= there:
            view = "lax_4c" if "TRICUSPID_VALVE" in there else "lax_3c" if "AORTA_VALVE" in there else "lax_2c"
            views[view] = ordered
    return views


def long_axis_masks(points: Mapping[str, Array], header: Any) -> npt.NDArray[np.uint8]:
    """``(row, col)``: the left ventricle and its muscle as the guide points of a frame draw them in one plane.

    The contours are open at the base; a straight line from hinge to hinge closes them.
    """
    shape = int(header.Rows), int(header.Columns)
    endo, epi = (points_in_plane(points[f"LAX_LV_{name}"], header) for name in ("ENDOCARDIAL", "EPICARDIAL"))
    hinges = points_in_plane(points["MITRAL_VALVE"], header)
    middle = np.concatenate([endo, hinges]).mean(0)
    pool = filled(_around(np.concatenate([endo, hinges]), middle), shape)
    heart = filled(_around(np.concatenate([epi, hinges]), middle), shape)
    labels = np.zeros(shape, np.uint8)
    labels[heart] = MYOCARDIUM
    labels[pool] = LV
    return labels


def guide_masks(points: Mapping[str, Array], header: Any) -> dict[str, npt.NDArray[np.bool_]]:
    """What the guide points of a frame draw in one plane: "lv", "myocardium", "rv"; nothing where they do not."""
    shape = int(header.Rows), int(header.Columns)
    endo, epi = (points_in_plane(points[f"SAX_LV_{name}"], header) for name in ("ENDOCARDIAL", "EPICARDIAL"))
    if len(endo) < _FEWEST_POINTS or len(epi) < _FEWEST_POINTS:
        return {}
    lv, heart = (filled(_around(xy), shape) for xy in (endo, epi))
    masks = {"lv": lv, "myocardium": heart & ~lv}
    rv = points_in_plane(np.concatenate([points["SAX_RV_FREEWALL"], points["SAX_RV_SEPTUM"]]), header)
    if len(rv) >= _FEWEST_POINTS:
        masks["rv"] = filled(rv[ConvexHull(rv).vertices], shape) & ~heart
    return masks


def points_in_plane(points: Array, header: Any) -> Array:
    """``(n, 2)`` column and row in pixels of the points that lie within 1 mm of the plane."""
    along_row, down_col = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    offset = points - np.array(header.ImagePositionPatient, float)
    near = np.abs(offset @ np.cross(along_row, down_col)) < 1.0
    return np.stack([offset[near] @ along_row, offset[near] @ down_col], 1) / float(header.PixelSpacing[0])


def _around(xy: Array, middle: Array | None = None) -> Array:
    """The points in their order around the middle."""
    return xy[np.argsort(np.arctan2(*(xy - (xy.mean(0) if middle is None else middle)).T))]


def filled(xy: Array, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """``(row, col)``: the pixels whose centres lie within the polygon ``xy (n, 2)`` of columns and rows."""
    rows, cols = np.indices(shape[:2])
    inside = Polygon(xy).contains_points(np.stack([cols.ravel(), rows.ravel()], 1))
    return inside.reshape(shape[:2])
