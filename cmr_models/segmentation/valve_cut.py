"""Short-axis labels that end at the valves: what long-axis views say of each slice and frame, put into its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.contracts import LV, MYOCARDIUM, RV, VENTRICLES
from cmr_models.contracts.labels import BACKGROUND, BEYOND_VALVE, TRANSITION, UNCERTAIN, UNDER_HALF, WHOLE
from cmr_models.segmentation.slice_answers import COUNTED
from cmr_models.views.valve_plane import ValvePlane, depth_mm, share_below, valve_plane

Labels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_CUT: Final[Mapping[str, tuple[int, tuple[int, ...], float]]] = {
    "mitral": (LV, (LV, MYOCARDIUM), 0.0),
    "tricuspid": (RV, (RV,), 7.0),
}
"""Valve -> its ventricle, the labels that end there, and how far beyond the plane readers still draw (mm): the outflow
tract lies above the tricuspid valve. With 7 mm the most basal slices have a right ventricle as often as in ACDC's
drawings (:data:`cmr_models.simulate.scene`)."""
_DOUBT_MM: Final = 3.0
"""A slice is left out if it would be were the plane this much nearer the atrium: hinges that a network finds lie 1 to 7
mm off, and a basal slice that is wrongly left out at end-systole costs 6 points of an ejection fraction."""
_MOST_LEFT_OUT: Final = 1 / 3
"""Share of a frame's slices beyond which the plane, not the stack, is in error."""


class ValveCut(NamedTuple):
    """Short-axis labels and what is said of their slices, after the valves.

    Attributes:
        labels: ``(frame, slice, row, col)``.
        answer: ``(frame, slice, ventricle)`` of :data:`cmr_models.contracts.SLICE_ANSWERS`.
        share: ``(frame, slice, ventricle)`` part of the slice under the valve.
        valves: valve -> long-axis views in which its plane was found.
    """

    labels: Labels
    answer: npt.NDArray[np.uint8]
    share: Floats
    valves: dict[str, list[str]]


def cut_at_valves(
    labels: Mapping[str, Labels],
    views: Mapping[str, xr.Dataset],
    answer: npt.NDArray[np.uint8],
    share: Floats,
) -> ValveCut:
    """Leave ventricles out of the slices and frames of which surely less than half lies under their valve.

    The plane decides where it is known, also against a learned answer that left a slice in; what was left out before
    stays out. A plane that would leave out more than a third of a frame's slices is not believed in that frame. A slice
    stands for the length to its neighbours; it is in transition where the plane cuts its thickness.

    Args:
        labels: view -> ``(frame, slice, row, col)``, of ``sax`` and the long-axis views.
        views: geometry of the same views.
        answer: ``(frame, slice, ventricle)`` of ``sax``.
        share: ``(frame, slice, ventricle)`` of ``sax``.
    """
    cut = ValveCut(labels["sax"].copy(), answer.copy(), share.copy(), {})
    for valve, (ventricle, codes, margin_mm) in _CUT.items():
        plane = valve_plane(valve, labels, views)
        if plane is None:
            continue
        _cut_at(cut, plane, views["sax"], VENTRICLES.index(ventricle), codes, margin_mm)
        cut.valves[valve] = list(plane.views)
    return cut


def _cut_at(
    cut: ValveCut, plane: ValvePlane, sax: xr.Dataset, ventricle: int, codes: tuple[int, ...], margin_mm: float
) -> None:
    slice_mm = float(sax.attrs["slice_mm"])
    thickness_mm = float(sax.attrs["thickness_mm"])
    if not np.isfinite(slice_mm):
        return
    depth = depth_mm(sax, plane, _centres_px(cut.labels == VENTRICLES[ventricle])) + margin_mm
    part = share_below(depth, slice_mm)
    most = share_below(depth + _DOUBT_MM, slice_mm)
    is_cut = np.abs(depth) < (thickness_mm if np.isfinite(thickness_mm) else slice_mm) / 2
    answer = cut.answer[..., ventricle]
    known = np.isfinite(depth) & np.isin(answer, (WHOLE, TRANSITION, UNCERTAIN))
    counted = np.isin(answer, (WHOLE, TRANSITION))
    out = known & (most < COUNTED)
    believed = (out & counted).sum(axis=1) <= _MOST_LEFT_OUT * counted.sum(axis=1)
    known, out = known & believed[:, None], out & believed[:, None]
    answer[known & counted & ~out] = np.where(is_cut, TRANSITION, WHOLE)[known & counted & ~out]
    answer[out] = np.where(is_cut, UNDER_HALF, BEYOND_VALVE)[out]
    changed = known & (counted | out)
    cut.share[..., ventricle][changed] = np.round(part, 2)[changed]
    cut.labels[out[..., None, None] & np.isin(cut.labels, codes)] = BACKGROUND


def _centres_px(mask: npt.NDArray[np.bool_]) -> Floats:
    """``(frame, slice, 2)`` (row, col) centre of each image of ``mask``; NaN where empty."""
    area = mask.sum(axis=(2, 3))
    with np.errstate(invalid="ignore"):
        row = mask.sum(axis=3) @ np.arange(mask.shape[2]) / area
        col = mask.sum(axis=2) @ np.arange(mask.shape[3]) / area
    return np.stack([row, col], axis=-1)
