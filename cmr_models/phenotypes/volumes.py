"""Areas and volumes over the cardiac cycle: labels and plane geometry in, curves out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.contracts import LA, LV, MYOCARDIUM, RA, RV
from cmr_models.reasons import StudyRejected
from cmr_models.views.geometry import plane_offset_mm

VOLUME_LABELS = {"lv_ml": LV, "myocardium_ml": MYOCARDIUM, "rv_ml": RV}
AREA_LABELS = {"la_cm2": LA, "ra_cm2": RA}


def plane_weight_mm(offset_mm: npt.ArrayLike, slice_mm: float) -> npt.NDArray[np.float64]:
    """The length of heart that each plane stands for: half of the way to each neighbour.

    Outwards, the two end planes stand for half of ``slice_mm``. On an even stack every weight is the plane distance
    and the volume is the slice summation; across a gap the neighbours share what is missing (trapezoids).

    Args:
        offset_mm: ``(slice,)`` plane centres along the normal, in any order.
        slice_mm: usual distance between planes.

    Returns:
        ``(slice,)`` mm, in the order given.
    """
    offsets = np.asarray(offset_mm, np.float64)
    order = np.argsort(offsets, kind="stable")
    distance = np.diff(offsets[order], prepend=np.nan, append=np.nan)
    distance[[0, -1]] = slice_mm
    weights = np.empty_like(offsets)
    weights[order] = (distance[:-1] + distance[1:]) / 2
    return weights


def volume_curves(label: npt.NDArray[np.uint8], view: xr.Dataset) -> xr.Dataset:
    """Volume of the ventricles in every frame, as area times plane distance summed over the stack.

    A plane without any valid frame counts as not acquired: its neighbours stand in for it. A frame that
    lacks any other plane has no volume: NaN, not a sum over what is left.

    Args:
        label: ``(frame, slice, row, col)``.
        view: geometry, times and ``frame_valid`` of the short-axis view; pixels are not needed.

    Returns:
        Dataset over ``frame`` with ``time_ms``, ``lv_ml``, ``myocardium_ml``, ``rv_ml``.

    Raises:
        ValueError: if the labels do not lie on the view's grid.
        StudyRejected: ``single_plane`` if the planes do not span a volume.

    Reference: Schulz-Menger et al. 2020, doi:10.1186/s12968-020-00610-6 (summation of slices).
    """
    valid = view["frame_valid"].values
    _check_grid(label, valid)
    acquired = valid.any(axis=0)
    if acquired.sum() < 2 or not np.isfinite(view.attrs["slice_mm"]):
        raise StudyRejected("single_plane", f"{int(acquired.sum())} plane(s) hold images")
    weights = np.zeros(label.shape[1])
    offset_mm = plane_offset_mm(view, (label.shape[2], label.shape[3]))
    weights[acquired] = plane_weight_mm(offset_mm[acquired], view.attrs["slice_mm"])
    area_cm2 = {name: label_area_cm2(label, code, view) for name, code in VOLUME_LABELS.items()}
    complete = valid[:, acquired].all(axis=1)
    along = np.argsort(offset_mm)  # rounding must not depend on the order in which planes are stored
    curves = {
        name: np.where(complete, area[:, along] @ (weights[along] / 10.0), np.nan) for name, area in area_cm2.items()
    }
    return _over_frames(curves, view)


def area_curves(label: npt.NDArray[np.uint8], view: xr.Dataset) -> xr.Dataset:
    """Area of the atria in every frame of a long-axis view.

    Args:
        label: ``(frame, slice, row, col)``; the first plane is measured.
        view: geometry, times and ``frame_valid`` of the view.

    Returns:
        Dataset over ``frame`` with ``time_ms``, ``la_cm2``, ``ra_cm2``; NaN where the scanner sent no image.

    Raises:
        ValueError: if the labels do not lie on the view's grid.
    """
    valid = view["frame_valid"].values
    _check_grid(label, valid)
    curves = {
        name: np.where(valid[:, 0], label_area_cm2(label[:, :1], code, view)[:, 0], np.nan)
        for name, code in AREA_LABELS.items()
    }
    return _over_frames(curves, view)


def label_area_cm2(label: npt.NDArray[np.uint8], code: int, view: xr.Dataset) -> npt.NDArray[np.float64]:
    """Area of one label in every image: ``(frame, slice)``."""
    pixel_cm2 = float(np.prod(view["pixel_mm"].values)) / 100.0
    area_cm2: npt.NDArray[np.float64] = np.count_nonzero(label == code, axis=(2, 3)) * pixel_cm2
    return area_cm2


def _check_grid(label: npt.NDArray[np.uint8], valid: npt.NDArray[np.bool_]) -> None:
    if label.ndim != 4 or label.shape[:2] != valid.shape:
        raise ValueError(
            f"labels {label.shape} do not lie on the view's (frame, slice) grid {valid.shape}; segment again"
        )


def _over_frames(curves: dict[str, npt.NDArray[np.float64]], view: xr.Dataset) -> xr.Dataset:
    columns = {"time_ms": view["time_ms"].values, **curves}
    return xr.Dataset({name: ("frame", values) for name, values in columns.items()})
