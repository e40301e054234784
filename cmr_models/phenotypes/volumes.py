"""Areas and volumes over the cardiac cycle: labels and plane geometry in, curves out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.contracts import LA, LV, MYOCARDIUM, RA, RV, VENTRICLES
from cmr_models.reasons import StudyRejected
from cmr_models.views.base_apex import judge_stack_order
from cmr_models.views.geometry import plane_offset_mm

_PART_OF = {"lv_ml": LV, "myocardium_ml": LV, "rv_ml": RV}  # the wall ends where its ventricle does
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


def volume_curves(
    label: npt.NDArray[np.uint8], view: xr.Dataset, share: npt.NDArray[np.float64] | None = None
) -> xr.Dataset:
    """Volume of the ventricles in every frame, as area times plane distance summed over the stack.

    A plane without any valid frame counts as not acquired: its neighbours stand in for it. A frame that
    lacks any other plane has no volume: NaN, not a sum over what is left.

    A slice counts whole or not at all, as readers do who draw the basal slice where it is half enclosed. With
    ``share`` the last slice at the base counts by its part instead (:func:`basal_parts`).

    Args:
        label: ``(frame, slice, row, col)``.
        view: geometry, times and ``frame_valid`` of the short-axis view; pixels are not needed.
        share: ``(frame, slice, ventricle)`` part of each slice under the valve, ventricles as in
            :data:`cmr_models.contracts.VENTRICLES`.

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
    along = np.argsort(offset_mm)  # rounding must not depend on the order in which planes are stored
    if share is not None:
        base_first = judge_stack_order(label).base_first == bool(along[0] < along[-1])  # stored from the base
        area_cm2 = _by_parts(area_cm2, share, weights, along, base_first)
    complete = valid[:, acquired].all(axis=1)
    curves = {
        name: np.where(complete, area[:, along] @ (weights[along] / 10.0), np.nan) for name, area in area_cm2.items()
    }
    return _over_frames(curves, view)


def _by_parts(
    area_cm2: dict[str, npt.NDArray[np.float64]],
    share: npt.NDArray[np.float64],
    weight_mm: npt.NDArray[np.float64],
    along: npt.NDArray[np.intp],
    base_first: bool,
) -> dict[str, npt.NDArray[np.float64]]:
    """The areas, each slice by the part of it that counts; ``along`` is the order of the slices along the axis."""
    sorted_cm2 = {name: area[:, along] for name, area in area_cm2.items()}
    back = np.argsort(along)
    parts = {
        code: basal_parts(sorted_cm2[name] > 0, share[:, along, VENTRICLES.index(code)], weight_mm[along], base_first)[
            :, back
        ]
        for name, code in (("lv_ml", LV), ("rv_ml", RV))
    }
    return {name: area * parts[_PART_OF[name]] for name, area in area_cm2.items()}


def basal_parts(
    present: npt.NDArray[np.bool_],
    share: npt.NDArray[np.float64],
    weight_mm: npt.NDArray[np.float64],
    base_first: bool,
) -> npt.NDArray[np.float64]:
    """What each slice counts, where the valve cuts the last one: 1 inside, the part under the valve at the base.

    The next slice beyond the last, if less than half of it lies under the valve and it was therefore left out, counts
    by its part too, with the area of the last one: cross-sections hardly change near the valve.

    Args:
        present: ``(frame, slice)``: whether the slice is labelled.
        share: ``(frame, slice)`` part under the valve, 0 where the slice was left out for another reason.
        weight_mm: ``(slice,)`` length that each slice stands for.
        base_first: whether the first slice is at the base.

    Returns:
        ``(frame, slice)`` factors of the areas.
    """
    outwards = -1 if base_first else 1
    parts = np.ones(present.shape)
    for frame, held in enumerate(present):
        run = np.flatnonzero(held)
        if not run.size:
            continue
        last = int(run[0] if base_first else run[-1])
        parts[frame, last] = share[frame, last]
        beyond = last + outwards
        if 0 <= beyond < len(weight_mm) and weight_mm[last] > 0:
            parts[frame, last] += share[frame, beyond] * weight_mm[beyond] / weight_mm[last]
    return parts


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
