"""Where a long-axis plane crosses the short axis, and what the labels of one say about the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cmr_models.contracts import BACKGROUND, VIEW_LABELS
from cmr_models.views.geometry import Vector, unit
from cmr_models.views.plane import Plane

Labels = npt.NDArray[np.uint8]

_PARALLEL = 1e-3  # sine of the angle under which two planes have no line in common
_NEAR_MM = 1.5  # of a short-axis plane: half a pixel or so
_VENTRICLES = VIEW_LABELS["sax"]
_ANYTHING = np.uint8(0xFF)


class Crossing(NamedTuple):
    """Points on the line that two planes have in common: ``(point, 2)`` row and column in each."""

    first_px: npt.NDArray[np.float64]
    second_px: npt.NDArray[np.float64]


def crossing_line(first: Plane, second: Plane, step_mm: float = 1.0) -> Crossing:
    """Points every ``step_mm`` along the line in which two planes cross, inside both images; none if parallel."""
    along = np.cross(first.normal, second.normal)
    if np.linalg.norm(along) < _PARALLEL:
        return Crossing(np.empty((0, 2)), np.empty((0, 2)))
    along = unit(along)
    middle = (first.centre_mm + second.centre_mm) / 2
    offsets = [plane.normal @ plane.centre_mm for plane in (first, second)]
    equations = np.array([first.normal, second.normal, along])
    start = np.linalg.solve(equations, np.array([*offsets, along @ middle]))
    reach = max(np.hypot(*(np.array(plane.shape) * plane.pixel_mm)) for plane in (first, second))
    points = start + np.arange(-reach, reach + step_mm, step_mm)[:, None] * along
    first_px, second_px = in_pixels(first, points), in_pixels(second, points)
    inside = _inside(first_px, first.shape) & _inside(second_px, second.shape)
    return Crossing(first_px[inside], second_px[inside])


def in_pixels(plane: Plane, points_mm: Vector) -> npt.NDArray[np.float64]:
    """Row and column ``(..., 2)`` of points ``(..., 3)`` in patient coordinates, projected on the plane."""
    offset = points_mm - plane.position_mm
    return np.stack([offset @ plane.col_dir / plane.pixel_mm[0], offset @ plane.row_dir / plane.pixel_mm[1]], axis=-1)


def labels_along(crossing: Crossing, first: Labels, second: Labels) -> tuple[Labels, Labels]:
    """The labels ``(row, col)`` of both planes at the points of their crossing, ``(point,)`` each."""
    return _at(first, crossing.first_px), _at(second, crossing.second_px)


def possible_from_short_axis(
    plane: Plane, view: str, stack: Sequence[Plane], labels: Labels, near_mm: float = _NEAR_MM
) -> npt.NDArray[np.uint8]:
    """The classes that each pixel of a long-axis image may have, by the labels of the short-axis planes it crosses.

    Pixels within ``near_mm`` of a short-axis plane have the label there, or one of those next to it: both drawings are
    uncertain by a pixel. What is no ventricle there may be anything else. Pixels between the planes may be anything.

    Args:
        plane: the long-axis plane.
        view: which view it is; a structure that is not drawn in it becomes background.
        stack: the short-axis planes.
        labels: ``(slice, row, col)`` of the stack: 0 background, 1 RV, 2 myocardium, 3 LV.
        near_mm: half the width of the strip that a short-axis plane decides.

    Returns:
        ``(row, col)`` bit sets as :mod:`cmr_models.training.partial_label_losses` takes them.
    """
    rows, cols = np.indices(plane.shape)
    points = (
        plane.position_mm
        + rows[..., None] * plane.pixel_mm[0] * plane.col_dir
        + cols[..., None] * plane.pixel_mm[1] * plane.row_dir
    )
    possible = np.zeros(plane.shape, np.uint8)
    for cut, label in zip(stack, labels, strict=True):
        px = in_pixels(cut, points)
        near = np.abs((points - cut.position_mm) @ cut.normal) <= near_mm
        near &= _inside(px, cut.shape)
        possible[near] |= _at(_possible_around(label, view), px[near])
    return np.where(possible == 0, _ANYTHING, possible)


def _possible_around(label: Labels, view: str) -> npt.NDArray[np.uint8]:
    """Bit sets of the labels within a pixel, as ``view`` shows them."""
    no_ventricle = ~np.uint8(sum(1 << code for code in _VENTRICLES))
    sets = np.zeros(label.shape, np.uint8)
    for code in (BACKGROUND, *_VENTRICLES):
        around = ndimage.binary_dilation(label == code, np.ones((3, 3), bool))
        drawn = code in VIEW_LABELS[view]
        sets[around] |= np.uint8(1 << code) if drawn else np.uint8(1) if code else no_ventricle
    return sets


def _inside(px: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    return np.asarray(((px > -0.5) & (px < np.array(shape) - 0.5)).all(axis=-1))


def _at(values: Labels, px: npt.NDArray[np.float64]) -> Labels:
    row, col = np.rint(px).astype(int).T
    return np.asarray(values[row, col])
