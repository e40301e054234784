"""The centre of the heart in a view, without labels: what moves, where the planes cross, what the network sees.

The crossing of the long-axis planes is where the published pipeline centres its boxes (Fu et al., Communications
Medicine 2026); it needs the 2- and 4-chamber views. The embedded network does not. Where both fail, the
heart is what moves over the cycle.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from cmr_models.views import geometry
from cmr_models.views.geometry import Vector

Method = Literal["network", "crossing", "motion", "middle"]
Locate = Callable[[npt.NDArray[np.generic], tuple[float, float]], tuple[tuple[float, float], float]]

CONFIDENT = 0.3
"""A network with a lower score has not found a heart; real stacks score 0.6 and more."""
FAR_MM = 60.0
"""Further from the crossing of the planes, what a network found is not the heart: they cross in the left ventricle."""

_SMOOTHING_MM = 8.0
_CENTRAL_SD = 0.25
_MAX_SIDE = 256
_LONG_AXES = ("lax_4c", "lax_2c", "lax_3c")
_MIN_ANGLE_DEG = 20.0


class HeartCentre(NamedTuple):
    """(row, col) pixel at the centre of the heart, and what found it."""

    px: tuple[float, float]
    method: Method


def find_heart_centre(
    images: npt.NDArray[np.generic],
    pixel_mm: tuple[float, float],
    crossing: tuple[float, float] | None = None,
    locate: Locate | None = None,
) -> HeartCentre:
    """The centre of the heart, on which the box of a network is placed.

    Args:
        images: ``(frame, slice, row, col)``.
        pixel_mm: row and column spacing.
        crossing: (row, col) of :func:`crossing_px`, if known.
        locate: centre of the heart, as (row, col), and a score from 0 to 1, by a trained network, from images
            ``(frame, slice, row, col)`` and their pixel size.
    """
    shape = (images.shape[2], images.shape[3])
    if locate is not None:
        found, score = locate(images, pixel_mm)
        if score >= CONFIDENT and (crossing is None or _apart_mm(found, crossing, pixel_mm) <= FAR_MM):
            return HeartCentre(found, "network")
    if crossing is not None and all(0 <= place < n for place, n in zip(crossing, shape, strict=True)):
        return HeartCentre(crossing, "crossing")
    moving = moving_px(images, pixel_mm)
    if moving is None:
        return HeartCentre(((shape[0] - 1) / 2, (shape[1] - 1) / 2), "middle")
    return HeartCentre(moving, "motion")


def crossing_px(views: Mapping[str, xr.Dataset], view: str) -> tuple[float, float] | None:
    """(row, col) in ``view`` of the point where two long-axis planes meet the middle of the stack.

    For a long-axis view its own plane is one of the two. None where planes are missing or nearly parallel.
    """
    own = views[view]
    cutting = [name for name in _LONG_AXES if name in views and name != view]
    sax = views.get("sax")
    if view == "sax":
        pairs = list(itertools.combinations(cutting, 2))
        planes = [(own, a, b) for a, b in ((views[a], views[b]) for a, b in pairs)]
    else:
        planes = [(own, views[name], sax) for name in cutting] if sax is not None else []
    for first, second, third in planes:
        point = _meeting(first, second, third)
        if point is not None:
            return _pixel(own, point)
    return None


def moving_px(images: npt.NDArray[np.generic], pixel_mm: tuple[float, float]) -> tuple[float, float] | None:
    """(row, col) in the middle of what varies most over the cycle, near the middle of the image; None if nothing does.

    Args:
        images: ``(frame, slice, row, col)``.
        pixel_mm: row and column spacing.
    """
    if len(images) < 2:
        return None
    step = max(1, -(-max(images.shape[2:]) // _MAX_SIDE))
    slices = np.unique(np.linspace(0, images.shape[1] - 1, 5).round().astype(int))
    part = images[:: max(1, len(images) // 12), slices, ::step, ::step].astype(np.float32)
    varies = part.std(axis=0).mean(axis=0)
    smooth = ndimage.gaussian_filter(varies, [_SMOOTHING_MM / (mm * step) for mm in pixel_mm])
    weight = (smooth - np.median(smooth)).clip(0) * np.outer(_central(smooth.shape[0]), _central(smooth.shape[1]))
    if not weight.max() > 0:
        return None
    moving = weight * (weight > 0.4 * weight.max())
    row, col = ndimage.center_of_mass(moving)
    return float(row * step), float(col * step)


def _central(n: int) -> npt.NDArray[np.float64]:
    """How likely the heart is where along an axis: technicians put it near the middle."""
    return np.asarray(np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (_CENTRAL_SD * n)) ** 2))


def _meeting(first: xr.Dataset, second: xr.Dataset, third: xr.Dataset | None) -> Vector | None:
    """The point common to three planes, each the middle one of its view."""
    if third is None:
        return None
    planes = [_plane(view) for view in (first, second, third)]
    normals = np.array([normal for normal, _ in planes])
    angles = [geometry.angle_between_axes_deg(a, b) for a, b in itertools.combinations(normals, 2)]
    if min(angles) < _MIN_ANGLE_DEG:
        return None
    return np.asarray(np.linalg.solve(normals, [normal @ point for normal, point in planes]), np.float64)


def _plane(view: xr.Dataset) -> tuple[Vector, Vector]:
    """Normal of a view and a point midway through its stack."""
    middle = view["position_mm"].values.mean(axis=0)
    k = len(view["position_mm"]) // 2
    return geometry.normal(view["row_dir"].values[k], view["col_dir"].values[k]), middle


def _pixel(view: xr.Dataset, point: Vector) -> tuple[float, float]:
    k = len(view["position_mm"]) // 2
    row_mm, col_mm = view["pixel_mm"].values
    from_corner = point - view["position_mm"].values.mean(axis=0)
    return (
        float(from_corner @ view["col_dir"].values[k] / row_mm),
        float(from_corner @ view["row_dir"].values[k] / col_mm),
    )


def _apart_mm(a: tuple[float, float], b: tuple[float, float], pixel_mm: tuple[float, float]) -> float:
    return float(np.hypot((a[0] - b[0]) * pixel_mm[0], (a[1] - b[1]) * pixel_mm[1]))
