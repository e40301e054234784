"""Where the ventricles end: the planes of the mitral and the tricuspid valve, from labels of long-axis views.

In a long-axis image the border between a ventricle and its atrium runs from one hinge of the valve to the other. The
hinges of all views that show both chambers lie in the plane of the valve, in patient coordinates; of a single view the
plane stands upright on the image. Planes follow the heart over the cycle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from cmr_models.contracts import LA, LV, RA, RV
from cmr_models.views.geometry import Vector, unit

Labels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

VALVES: Final[Mapping[str, tuple[int, int]]] = {"mitral": (LV, LA), "tricuspid": (RV, RA)}
"""Valve -> the ventricle and the atrium that it separates."""

MAX_TILT_DEG: Final = 45.0
"""Of a valve against the short axis; rings of healthy and dilated hearts lie within 30 degrees."""
RING_MM: Final = (12.0, 60.0)
"""Distance of two hinges. Mitral rings measure 25 to 45 mm, dilated tricuspid ones up to 55."""
FEWEST_OF_A_CYCLE: Final = 10
"""Frames from which two cines of unlike length show the same cycle; fewer are chosen phases."""
_END_SHARE = 0.15  # of the border, whose middle is its end: single pixels at a hinge are uncertain
_KNOWN_SHARE = 0.8
_GAP_PX = 2  # between two chambers that touch: the leaflets belong to neither
_AROUND = 2  # frames before and after of which a hinge is the median


class ValvePlane(NamedTuple):
    """A valve over the cycle, in patient coordinates (LPS, mm); NaN in frames that show none.

    Attributes:
        point_mm: ``(frame, xyz)`` middle of the hinges.
        towards_apex: ``(frame, xyz)`` unit normal, from the atrium to the ventricle.
        views: long-axis views in which it was found, in the order of their names.
    """

    point_mm: Points
    towards_apex: Points
    views: tuple[str, ...] = ()

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """``(frame,)``: whether the plane is known."""
        return np.asarray(np.isfinite(self.towards_apex).all(axis=1) & np.isfinite(self.point_mm).all(axis=1))


def hinge_points_px(label: Labels, ventricle: int, atrium: int) -> Points:
    """Both ends of the border between two chambers, in every frame.

    Args:
        label: ``(frame, row, col)`` of one plane.
        ventricle: its code.
        atrium: its code.

    Returns:
        ``(frame, 2, 2)`` (row, col); NaN where the chambers do not touch.
    """
    corner, part = _with_chambers(label, ventricle, atrium)
    return np.stack([_ends(_border(frame == ventricle, frame == atrium)) for frame in part]) + corner


def to_patient_mm(points_px: Points, view: xr.Dataset, plane: int = 0) -> Points:
    """Patient coordinates ``(..., xyz)`` of points ``(..., 2)`` (row, col) of one plane of a view."""
    row_mm, col_mm = (float(mm) for mm in view["pixel_mm"].values)
    down, along = (np.asarray(view[name].values[plane], np.float64) for name in ("col_dir", "row_dir"))
    corner = np.asarray(view["position_mm"].values[plane], np.float64)
    return np.asarray(corner + points_px[..., :1] * row_mm * down + points_px[..., 1:] * col_mm * along)


def valve_plane(valve: str, labels: Mapping[str, Labels], views: Mapping[str, xr.Dataset]) -> ValvePlane | None:
    """The plane of a valve in every frame of the short axis; None where no long-axis view shows it.

    Frames of a long-axis cine are those of the same part of the cycle. A view counts if at least eight of ten of its
    frames show the valve, a frame if its hinges are as far apart as those of a ring and its plane lies across the axis
    of the short axis.

    Args:
        valve: of :data:`VALVES`.
        labels: view -> ``(frame, slice, row, col)``; of long-axis views the first plane is taken.
        views: geometry of the same views and of ``sax``; pixels are not needed.
    """
    n_frames = views["sax"].sizes["frame"]
    seen = _all_seen(valve, labels, views)
    if not seen:
        return None
    planes = [_fitted([s.frame(t) for s in seen.values()]) for t in range(n_frames)]
    point_mm, towards_apex = (np.stack(parts) for parts in zip(*planes, strict=True))
    plane = ValvePlane(point_mm, towards_apex, tuple(seen))
    plausible = _across(plane.towards_apex, views["sax"])
    plane.point_mm[~plausible], plane.towards_apex[~plausible] = np.nan, np.nan
    return plane if plane.known.any() else None


def depth_mm(view: xr.Dataset, valve: ValvePlane, at_px: Points) -> Points:
    """How far each slice lies below the valve along the normal of the short axis.

    Args:
        view: geometry of the short axis.
        valve: over its frames.
        at_px: ``(frame, slice, 2)`` (row, col) where the ventricle lies in each image; NaN where it is not known: there
            the point of the slice nearest to the middle of the valve is taken.

    Returns:
        ``(frame, slice)`` mm, negative above the valve; NaN in frames without a plane.
    """
    normal = np.cross(view["row_dir"].values, view["col_dir"].values).astype(np.float64)
    depth = np.full(at_px.shape[:2], np.nan)
    for k, across in enumerate(normal):
        corner = np.asarray(view["position_mm"].values[k], np.float64)
        at_mm = to_patient_mm(at_px[:, k], view, k)
        foot = valve.point_mm + ((corner - valve.point_mm) @ across)[:, None] * across
        at_mm = np.where(np.isfinite(at_mm), at_mm, foot)
        steepness = np.abs(valve.towards_apex @ across)
        depth[:, k] = ((at_mm - valve.point_mm) * valve.towards_apex).sum(axis=1) / steepness
    return depth


def share_below(depth: Points, length_mm: float) -> Points:
    """The part of a slab of ``length_mm`` about each slice that lies below the valve, from 0 to 1."""
    return np.asarray(np.clip(depth / length_mm + 0.5, 0.0, 1.0))


class _Seen(NamedTuple):
    """A valve in one view: ``(frame, hinge, xyz)``, ``(frame, xyz)`` from the atrium to the ventricle, image normal."""

    hinges_mm: Points
    downwards: Points
    image_normal: Vector

    def frame(self, t: int) -> _Seen:
        return _Seen(self.hinges_mm[t], self.downwards[t], self.image_normal)


def _all_seen(valve: str, labels: Mapping[str, Labels], views: Mapping[str, xr.Dataset]) -> dict[str, _Seen]:
    """View -> the valve at the frames of the short axis."""
    n_frames = views["sax"].sizes["frame"]
    seen = {name: _seen(valve, label, views[name]) for name, label in sorted(labels.items()) if name != "sax"}
    at_frames = {name: _at_frames(found, n_frames) for name, found in seen.items() if found is not None}
    return {name: found for name, found in at_frames.items() if found is not None}


def _seen(valve: str, label: Labels, view: xr.Dataset) -> _Seen | None:
    ventricle, atrium = VALVES[valve]
    frames = label[:, 0]
    if not ((frames == ventricle).any() and (frames == atrium).any()):
        return None
    hinges = to_patient_mm(hinge_points_px(frames, ventricle, atrium), view)
    ring = np.linalg.norm(hinges[:, 0] - hinges[:, 1], axis=1)
    hinges[~((ring >= RING_MM[0]) & (ring <= RING_MM[1]))] = np.nan
    if np.isfinite(hinges).all(axis=(1, 2)).mean() < _KNOWN_SHARE:
        return None
    hinges = _steady(hinges)
    centres = [to_patient_mm(_centres(frames == code), view) for code in (ventricle, atrium)]
    image_normal = np.cross(view["row_dir"].values[0], view["col_dir"].values[0]).astype(np.float64)
    return _Seen(hinges, centres[0] - centres[1], unit(image_normal))


def _steady(points: Points) -> Points:
    """``(frame, ...)``: of a cycle, the median of two frames before to two after; the last leads over to the first."""
    if len(points) < FEWEST_OF_A_CYCLE:
        return points
    around = np.stack([np.roll(points, shift, axis=0) for shift in range(-_AROUND, _AROUND + 1)])
    unknown = np.isnan(around)
    filled = np.where(unknown.sum(axis=0) > _AROUND, 0.0, around)
    return np.where((unknown.sum(axis=0) > _AROUND), np.nan, np.nanmedian(filled, axis=0))


def _at_frames(seen: _Seen, n_frames: int) -> _Seen | None:
    """The valve at the frames of the short axis; None where the frames do not belong together."""
    n_own = len(seen.hinges_mm)
    if n_own == n_frames:
        return seen
    if min(n_own, n_frames) < FEWEST_OF_A_CYCLE:
        return None
    nearest = np.rint(np.arange(n_frames) * n_own / n_frames).astype(int) % n_own
    return _Seen(seen.hinges_mm[nearest], seen.downwards[nearest], seen.image_normal)


def _fitted(seen: Sequence[_Seen]) -> tuple[Vector, Vector]:
    """Middle of the hinges and normal of the plane through them, of one frame."""
    known = [s for s in seen if np.isfinite(s.hinges_mm).all() and np.isfinite(s.downwards).all()]
    if not known:
        return np.full(3, np.nan), np.full(3, np.nan)
    hinges = np.concatenate([s.hinges_mm for s in known])
    middle = np.asarray(np.mean([s.hinges_mm.mean(axis=0) for s in known], axis=0))
    spread = hinges - middle
    if len(known) == 1:
        spread = np.concatenate([spread, np.linalg.norm(spread, axis=1).max() * known[0].image_normal[None]])
    normal = np.linalg.svd(spread, full_matrices=True)[2][-1]
    downwards = np.mean([unit(s.downwards) for s in known], axis=0)
    return middle, normal * (1.0 if normal @ downwards >= 0 else -1.0)


def _across(towards_apex: Points, sax: xr.Dataset) -> npt.NDArray[np.bool_]:
    axis = unit(np.cross(sax["row_dir"].values[0], sax["col_dir"].values[0]))
    return np.asarray(np.abs(towards_apex @ axis) >= np.cos(np.radians(MAX_TILT_DEG)))


def _with_chambers(label: Labels, *codes: int) -> tuple[Points, Labels]:
    """The first (row, col) and the part of all frames that holds the chambers."""
    there = np.any(np.isin(label, codes), axis=0)
    if not there.any():
        return np.zeros(2), label[:, :1, :1]
    rows, cols = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    part = label[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return np.array([rows[0], cols[0]], np.float64), part


def _border(ventricle: npt.NDArray[np.bool_], atrium: npt.NDArray[np.bool_]) -> Points:
    """``(n, 2)`` (row, col) of the pixels of either chamber that lie beside the other one."""
    beside = np.ones((3, 3), bool)
    near_atrium, near_ventricle = (ndimage.binary_dilation(m, beside, _GAP_PX) for m in (atrium, ventricle))
    return np.argwhere((ventricle & near_atrium) | (atrium & near_ventricle)).astype(np.float64)


def _ends(border: Points) -> Points:
    """``(2, 2)``: the means of the pixels at either end of a border, along its longer direction."""
    if len(border) < 2:
        return np.full((2, 2), np.nan)
    middle = border.mean(axis=0)
    along = (border - middle) @ np.linalg.svd(border - middle, full_matrices=False)[2][0]
    reach = _END_SHARE * (along.max() - along.min())
    ends = [border[along <= along.min() + reach], border[along >= along.max() - reach]]
    order = sorted((end.mean(axis=0) for end in ends), key=tuple)
    return np.stack(order)


def _centres(mask: npt.NDArray[np.bool_]) -> Points:
    """``(frame, 2)`` centres of ``mask (frame, row, col)``; NaN where empty."""
    area = mask.sum(axis=(1, 2))
    rows, cols = np.arange(mask.shape[1]), np.arange(mask.shape[2])
    with np.errstate(invalid="ignore"):
        centre = np.stack([mask.sum(axis=2) @ rows / area, mask.sum(axis=1) @ cols / area], axis=1)
    return np.asarray(centre)
