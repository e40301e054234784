"""Planes of one view -> one cine view: frames, matrix sizes, values and headers brought together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.contracts import cine_view
from cmr_models.views import geometry
from cmr_models.views.geometry import Vector
from cmr_models.views.plane import Plane
from tasks.convert.header_words import FIELDS, kept_words
from tasks.convert.phases import Cycle, resample
from tasks.convert.plane_images import PlaneImages
from tasks.convert.values import Storage, storage_of

_SPACING_TOLERANCE = 0.01
_NAMED = "series_description"
_TEXTS = tuple(name for name in FIELDS if name != _NAMED)
_NUMBERS = ("repetition_time_ms", "echo_time_ms", "flip_angle_deg", "field_strength_t")


def assemble(
    members: Sequence[PlaneImages], flags: Sequence[str], axis: Vector | None, *, as_received: bool = False
) -> xr.Dataset:
    """One cine view from planes in the order in which they are to be stacked.

    The majority decides on matrix, pixel size and number of frames; other planes are cropped or padded about
    their centre, resampled in plane, or sampled at the nearest phase, and the view is flagged. ``as_received`` brings
    values to the receiver's scale (see :mod:`tasks.convert.values`).
    """
    planes = [member.plane for member in members if member.plane is not None]
    shape, pixel_mm = _majority(planes)
    n_frames = Counter(member.cycle.n_frames for member in members).most_common(1)[0][0]
    cycles = [c if c.n_frames == n_frames else resample(c, n_frames) for c in (m.cycle for m in members)]
    grids = [_Grid(plane, shape, pixel_mm) for plane in planes]
    storage = storage_of([image for member in members for image in member.images], as_received=as_received)
    stored = _store(members, cycles, [grid.fit for grid in grids], shape, storage)
    valid = np.stack([cycle.image >= 0 for cycle in cycles], axis=1)
    time_ms, heart_rate = _time(cycles)
    found = {
        "frame_missing": not valid.all(),
        "frames_mixed": any(member.cycle.n_frames != n_frames for member in members),
        "trigger_irregular": any(cycle.irregular for cycle in cycles),
        "rescale_common": storage.is_rescaled,
        "matrix_mixed": any(plane.shape != shape or not _same_mm(plane.pixel_mm, pixel_mm) for plane in planes),
    }
    of_images = {flag for member in members for image in member.images for flag in image.flags}
    every_flag = sorted({*flags, *of_images, *(code for code, holds in found.items() if holds)})
    return cine_view(
        stored,
        time_ms=time_ms,
        pixel_mm=pixel_mm,
        position_mm=np.stack([grid.position_mm for grid in grids]),
        row_dir=np.stack([plane.row_dir for plane in planes]),
        col_dir=np.stack([plane.col_dir for plane in planes]),
        slice_mm=_slice_mm(planes, axis),
        thickness_mm=float(np.median([plane.thickness_mm for plane in planes])),
        heart_rate_bpm=heart_rate,
        frame_valid=valid,
        flags=every_flag,
        intensity_offset=storage.offset,
        intensity_scale=storage.scale,
        **_header_attributes(members, storage),
    )


# in plane


class _Grid:
    """How the images of one plane come onto the grid of the view."""

    def __init__(self, plane: Plane, shape: tuple[int, int], pixel_mm: tuple[float, float]) -> None:
        self._shape = shape
        self._zoom = [ours / theirs for ours, theirs in zip(pixel_mm, plane.pixel_mm, strict=True)]
        self._is_resampled = not _same_mm(plane.pixel_mm, pixel_mm)
        if self._is_resampled:
            start = [(n - 1) / 2 - z * (m - 1) / 2 for n, m, z in zip(plane.shape, shape, self._zoom, strict=True)]
        else:
            start = [float((n - m) // 2) for n, m in zip(plane.shape, shape, strict=True)]
        self._start = start
        shift = plane.col_dir * (start[0] * plane.pixel_mm[0]) + plane.row_dir * (start[1] * plane.pixel_mm[1])
        self.position_mm: Vector = plane.position_mm + shift

    def fit(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if image.shape == self._shape and not self._is_resampled:
            return image
        if self._is_resampled:
            from scipy import ndimage

            resampled = ndimage.affine_transform(
                image.astype(np.float64), self._zoom, self._start, self._shape, order=1, mode="constant"
            )
            return np.asarray(np.round(resampled)).astype(image.dtype)
        return _crop(image, self._shape, int(self._start[0]), int(self._start[1]))


def _crop(image: npt.NDArray[Any], shape: tuple[int, int], row: int, col: int) -> npt.NDArray[Any]:
    """``shape`` rows and columns of ``image`` from ``row``, ``col`` on; zeros where it has none."""
    out = np.zeros(shape, image.dtype)
    rows = slice(max(0, row), min(image.shape[0], row + shape[0]))
    cols = slice(max(0, col), min(image.shape[1], col + shape[1]))
    out[rows.start - row : rows.stop - row, cols.start - col : cols.stop - col] = image[rows, cols]
    return out


def _majority(planes: Sequence[Plane]) -> tuple[tuple[int, int], tuple[float, float]]:
    """Matrix and pixel size of most planes; of equals, the larger matrix."""
    shapes = Counter(plane.shape for plane in planes)
    shape = max(shapes, key=lambda s: (shapes[s], s[0] * s[1], s))
    sizes = Counter(plane.pixel_mm for plane in planes)
    return shape, max(sizes, key=lambda mm: (sizes[mm], mm))


def _same_mm(first: tuple[float, float], second: tuple[float, float]) -> bool:
    return bool(np.allclose(first, second, rtol=_SPACING_TOLERANCE, atol=0.0))


def _slice_mm(planes: Sequence[Plane], axis: Vector | None) -> float:
    if len(planes) < 2 or axis is None:
        return float("nan")
    return geometry.spacing([float(plane.centre_mm @ axis) for plane in planes]).slice_mm


# values


def _store(
    members: Sequence[PlaneImages],
    cycles: Sequence[Cycle],
    fits: Sequence[Any],
    shape: tuple[int, int],
    storage: Storage,
) -> npt.NDArray[np.uint16]:
    """``(frame, slice, row, col)`` as uint16."""
    stored = np.zeros((cycles[0].n_frames, len(members), *shape), np.uint16)
    for s, (member, cycle, fit) in enumerate(zip(members, cycles, fits, strict=True)):
        for frame, number in enumerate(cycle.image):
            if number >= 0:
                stored[frame, s] = fit(storage.store(member.images[int(number)]))
        _release(member)
    return stored


def _release(member: PlaneImages) -> None:
    """Drop pixels that have been copied: a worker's memory is bounded by one study held once."""
    for image in member.images:
        image.pixels = None


# time and headers


def _time(cycles: Sequence[Cycle]) -> tuple[npt.NDArray[np.float64], float]:
    times = np.stack([cycle.time_ms for cycle in cycles])
    finite = np.isfinite(times).all(axis=1)
    time_ms = np.median(times[finite], axis=0) if finite.any() else np.full(times.shape[1], np.nan)
    cycle_ms = np.array([cycle.cycle_ms for cycle in cycles])
    plausible = cycle_ms[np.isfinite(cycle_ms)]
    return time_ms, 60_000.0 / float(np.median(plausible)) if plausible.size else float("nan")


def _header_attributes(members: Sequence[PlaneImages], storage: Storage) -> dict[str, Any]:
    """Plain values of the first image, of its texts the listed words; series numbers and descriptions of all planes."""
    firsts = [member.images[0] for member in members]
    first = firsts[0]
    numbers = [first.number("series_number") for first in firsts]
    slope, intercept = first.number("rescale_slope"), first.number("rescale_intercept")
    return {
        **{name: kept_words(name, first.text(name)) for name in _TEXTS},
        **{name: first.number(name) for name in _NUMBERS},
        "series_numbers": [int(number) if np.isfinite(number) else -1 for number in numbers],
        "series_descriptions": sorted(
            {kept_words("series_description", image.text("series_description")) for image in firsts}
        ),
        "rescale_slope": 1.0 if storage.is_rescaled or not np.isfinite(slope) else slope,
        "rescale_intercept": 0.0 if storage.is_rescaled or not np.isfinite(intercept) else intercept,
        "rescale_varies": storage.is_rescaled,
    }
