"""Planes in space: normals, distances along a normal, even spacing, where planes cut (DICOM LPS, mm)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

Vector = npt.NDArray[np.float64]

UNIFORM_SPACING_TOLERANCE = 0.05


class Spacing(NamedTuple):
    """Distance between neighbouring planes: the median, and whether all lie within 5 % of it."""

    slice_mm: float
    uniform: bool


def unit(vector: npt.ArrayLike) -> Vector:
    """``vector`` at length one.

    Raises:
        ValueError: if it has no finite, non-zero length.
    """
    array = np.asarray(vector, np.float64)
    length = float(np.linalg.norm(array))
    if not np.isfinite(length) or length < 1e-9:
        raise ValueError(f"a direction needs a finite, non-zero length, got {array.tolist()}")
    return array / length


def normal(row_dir: npt.ArrayLike, col_dir: npt.ArrayLike) -> Vector:
    """Unit normal ``row_dir x col_dir`` of an image plane."""
    return unit(np.cross(np.asarray(row_dir, np.float64), np.asarray(col_dir, np.float64)))


def orthonormal(row_dir: npt.ArrayLike, col_dir: npt.ArrayLike, tolerance: float = 0.02) -> bool:
    """Whether two directions are finite, of length one, and perpendicular, within ``tolerance``."""
    pair = np.asarray([row_dir, col_dir], np.float64)
    if not np.isfinite(pair).all():
        return False
    return bool(np.abs(pair @ pair.T - np.eye(2)).max() <= tolerance)


def centre(
    position_mm: npt.ArrayLike,
    row_dir: npt.ArrayLike,
    col_dir: npt.ArrayLike,
    pixel_mm: Sequence[float],
    shape: tuple[int, int],
) -> Vector:
    """Centre of an image from the centre of its first pixel.

    Args:
        position_mm: ``(3,)`` centre of the first pixel.
        row_dir: ``(3,)`` unit vector along a row.
        col_dir: ``(3,)`` unit vector down a column.
        pixel_mm: row and column spacing.
        shape: rows and columns.
    """
    along_row = np.asarray(row_dir, np.float64) * (pixel_mm[1] * (shape[1] - 1) / 2)
    down_column = np.asarray(col_dir, np.float64) * (pixel_mm[0] * (shape[0] - 1) / 2)
    return np.asarray(position_mm, np.float64) + along_row + down_column


def angle_between_axes_deg(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Angle between two lines, 0 to 90 degrees (the sign of a direction does not count)."""
    cosine = abs(float(np.dot(unit(first), unit(second))))
    return float(np.degrees(np.arccos(min(1.0, cosine))))


def spacing(along_mm: npt.ArrayLike) -> Spacing:
    """Distance between neighbouring planes from their places along the normal.

    Args:
        along_mm: ``(slice,)`` sorted or not; fewer than two planes have no spacing (NaN, uniform).
    """
    gaps = np.diff(np.sort(np.asarray(along_mm, np.float64)))
    if gaps.size == 0:
        return Spacing(float("nan"), True)
    middle = float(np.median(gaps))
    return Spacing(middle, bool(np.all(np.abs(gaps - middle) <= UNIFORM_SPACING_TOLERANCE * middle)))


def perpendicular_basis(axis: npt.ArrayLike, reference: npt.ArrayLike) -> tuple[Vector, Vector]:
    """Two unit vectors across ``axis``: ``reference`` projected onto that plane, and ``axis`` x the first."""
    along = unit(axis)
    towards = np.asarray(reference, np.float64)
    first = unit(towards - along * float(towards @ along))
    return first, np.cross(along, first)


def common_point(normals: npt.ArrayLike, offsets_mm: npt.ArrayLike) -> tuple[Vector, float]:
    """The point nearest to several lines of a plane, and its largest distance from any of them.

    Args:
        normals: ``(line, 2)`` unit normals.
        offsets_mm: ``(line,)`` so that ``normals @ point = offsets_mm`` on each line.

    Returns:
        ``(2,)`` point in mm (least squares) and the largest distance in mm; 0 for two lines that cross.
    """
    matrix, right = np.asarray(normals, np.float64), np.asarray(offsets_mm, np.float64)
    point: Vector = np.asarray(np.linalg.lstsq(matrix, right, rcond=None)[0], np.float64)
    return point, float(np.abs(matrix @ point - right).max())


def plane_offset_mm(view: xr.Dataset, image_shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Where each plane's centre lies along the stack's mean normal.

    Args:
        view: geometry of a cine view; ``position_mm``, ``row_dir``, ``col_dir`` (slice, xyz) and ``pixel_mm``.
        image_shape: rows and columns.

    Returns:
        ``(slice,)`` mm.
    """
    row_dir, col_dir = view["row_dir"].values, view["col_dir"].values
    row_mm, col_mm = (float(spacing) for spacing in view["pixel_mm"].values)
    places = zip(view["position_mm"].values, row_dir, col_dir, strict=True)
    centre_mm = np.stack([centre(*place, (row_mm, col_mm), image_shape) for place in places])
    normals = np.cross(row_dir, col_dir)
    normals *= np.where(normals @ normals[0] < 0, -1.0, 1.0)[:, None]  # a plane may be stored flipped
    offsets: npt.NDArray[np.float64] = centre_mm @ unit(normals.mean(axis=0))
    return offsets
