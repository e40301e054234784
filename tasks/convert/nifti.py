"""NIfTI files of one patient -> cine views: single frames (3-D) or cines (4-D), RAS turned to LPS."""

from __future__ import annotations

import io
import itertools
import math
import re
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
import xarray as xr
from nibabel.arrayproxy import ArrayProxy

from cmr_models.contracts import cine_view
from cmr_models.contracts.foreign import faults_as
from cmr_models.reasons import StudyRejected
from cmr_models.views import geometry
from cmr_models.views.base_apex import StackOrder, order_by_geometry
from cmr_models.views.geometry import Vector
from cmr_models.views.series_kind import LONGEST_CYCLE_MS, SHORTEST_CYCLE_MS
from tasks.convert.nifti_geometry import Placement, place
from tasks.convert.nifti_levels import as_uint16
from tasks.sources.limits import Budget
from tasks.sources.nifti_names import parse_name

_BLOCK_BYTES: Final = 8 * 2**20
_PACKED_BYTES: Final = 16 * 2**10
_FRAMES: Final = 3
"""The axis of frames."""
_INTENTS: Final = (0, 2001)  # none, and a series in time
_SECOND: Final = (540).to_bytes(4, "little")
_PHASE_ORDER: Final = {"ed": "0", "es": "1"}
_WHOLE: Final = ("t", "4d", "cine")
_STACKS: Final = ("sax", "lge", "t2")
_TIME_UNITS: Final = {8: 1000.0, 16: 1.0, 24: 1e-3}
"""Code of ``xyzt_units`` -> ms."""
_UNITS_OF_NO_TIME: Final = (32, 40, 48)  # Hz, ppm, rad/s
_MOST_LONG_AXIS_PLANES: Final = 5
_EXCHANGED: Final = 1.5
"""Neighbouring frames of a cine, and even end-diastole and end-systole, differ by less than half of what neighbouring
slices do (by 0.48 at most in 25 patients of ACDC's training set)."""


HEADER_FLAGS: Final = frozenset((
    "affine_without_scale", "pixdim_unset", "spacing_disagrees", "unit_corrected", "axes_permuted",
    "orientation_unstated", "orientation_disagrees", "time_unit_corrected", "pixel_outlier",
    "affine_unusable", "pixdim_negative", "orientation_exchanged",
))  # fmt: skip
"""What was decided on a file that states something else."""


class _Interval(NamedTuple):
    """Time from frame to frame in the file's own unit (NaN if there is none), and the code of that unit."""

    step: float
    unit_code: int


@dataclass(frozen=True)
class Volume:
    """One file: ``values (frame, slice, row, col)`` and where they lie (LPS, mm)."""

    values: npt.NDArray[Any]
    position_mm: npt.NDArray[np.float64]
    row_dir: Vector
    col_dir: Vector
    pixel_mm: tuple[float, float]
    interval: _Interval
    is_oriented: bool = True
    flags: tuple[str, ...] = ()


@faults_as(partial(StudyRejected, "nifti_corrupt"), StudyRejected)
def nifti_views(files: Mapping[str, bytes], budget: Budget) -> dict[str, xr.Dataset]:
    """Cine views of one patient.

    Args:
        files: content by file name, with folders where the layout needs them; labels are left out by name.
        budget: of the study.

    Returns:
        Views; frames of single volumes are in the order ED, ES, or of their frame numbers. ``time_ms`` is NaN
        where the files do not tell a plausible interval.

    Raises:
        StudyRejected: as :func:`read_volume`, or ``wrong_series``.
    """
    groups: dict[str, list[tuple[str, Volume]]] = defaultdict(list)
    for name in sorted(files):
        parsed = parse_name(name)
        if parsed.is_image:
            volume = read_volume(files[name], budget)
            view = parsed.view or ("sax" if volume.values.shape[1] >= 3 else "")
            groups[view].append((parsed.phase, volume))
    views = {view: _view(group, view) for view, group in sorted(groups.items()) if view}
    if not views:
        raise StudyRejected("wrong_series", "Neither a file name nor a stack identifies a view.")
    return views


@faults_as(partial(StudyRejected, "nifti_corrupt"), StudyRejected)
def read_volume(content: bytes, budget: Budget) -> Volume:
    """One NIfTI file from its bytes.

    Raises:
        StudyRejected: ``nifti_corrupt``, ``nifti_too_large``, ``nifti_size_differs``, ``nifti_unsupported``,
            ``study_too_large``, ``rescale_invalid``, or as :func:`tasks.convert.nifti_geometry.place`.
    """
    inflated = _inflate(content, budget)
    header, proxy = _parse(inflated)
    _check_size(proxy, len(inflated))
    budget.decode(_decoded_size(proxy))
    stored = np.asanyarray(proxy)
    axis = _axis_of_frames(header, stored)
    four = stored.reshape(*stored.shape[:3], stored.shape[axis] if axis < stored.ndim else 1)
    interval = _interval(header, axis) if four.shape[3] > 1 else _Interval(float("nan"), 0)
    placement = place(header, four.shape)
    if axis > _FRAMES:
        placement = placement._replace(flags=tuple(sorted({*placement.flags, "axes_permuted"})))
    return _place(four, placement, interval)


def _interval(header: Any, axis: int) -> _Interval:
    """Of frames along ``axis``; that of the fourth where the field of a later one is not set (zero or one)."""
    pixdim = header["pixdim"]
    own = axis if float(pixdim[axis + 1]) not in (0.0, 1.0) else _FRAMES
    return _Interval(float(pixdim[own + 1]), int(header["xyzt_units"]) & 56)


def _parse(content: bytes) -> tuple[Any, ArrayProxy]:
    """The header as it stands in the file, and its numbers: version 2 if the header has that version's length.

    Pixels of a single file begin after the header, also where ``vox_offset`` says that they lie within it.
    """
    version = nib.Nifti2Header if content[:4] in (_SECOND, _SECOND[::-1]) else nib.Nifti1Header
    head = content[: version.template_dtype.itemsize]
    header, checked = version(head, check=False), version(head)
    _check_scaling(header)
    checked["vox_offset"] = max(int(header["vox_offset"]), version.single_vox_offset)
    return header, ArrayProxy(io.BytesIO(content), checked)


def _check_size(proxy: ArrayProxy, n_bytes: int) -> None:
    """Refuse a file that is shorter than its header states, before room is made for it, or a plane or more longer.

    Where it is longer, ``dim`` leaves out frames or slices.
    """
    plane = math.prod(proxy.shape[:2]) * proxy.dtype.itemsize
    left = n_bytes - proxy.offset - math.prod(proxy.shape) * proxy.dtype.itemsize
    if left < 0:
        raise StudyRejected("nifti_corrupt", "It is shorter than its header says.")
    if left >= max(plane, 1):
        raise StudyRejected("nifti_size_differs", f"{left} bytes are left over.")


def _decoded_size(proxy: ArrayProxy) -> int:
    """Bytes of the values in memory: numbers that are scaled become 64-bit ones."""
    is_scaled = (proxy.slope, proxy.inter) != (1.0, 0.0)
    return math.prod(proxy.shape) * (np.dtype(np.float64) if is_scaled else proxy.dtype).itemsize


def _check_scaling(header: Any) -> None:
    """A slope of zero or that is not a number means none (nifti1.h); other ones must be finite, and so their intercept.

    Raises:
        StudyRejected: ``rescale_invalid``.
    """
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope and not math.isnan(slope) and not (math.isfinite(slope) and math.isfinite(intercept)):
        raise StudyRejected("rescale_invalid", f"Values are scaled by {slope:g} and {intercept:g}.")


def _axis_of_frames(header: Any, stored: npt.NDArray[Any]) -> int:
    """The axis of frames: the fourth, or a later one if it alone is longer than one and no vector is meant."""
    if stored.size == 0 or stored.dtype.kind not in "iufb" or stored.ndim < _FRAMES:
        raise StudyRejected("nifti_unsupported", f"{stored.ndim} dimensions, {stored.size} of {stored.dtype.name}.")
    long = [axis for axis in range(_FRAMES, stored.ndim) if stored.shape[axis] > 1] or [_FRAMES]
    if len(long) > 1 or (long[0] > _FRAMES and int(header["intent_code"]) not in _INTENTS):
        raise StudyRejected("nifti_unsupported", f"It has {stored.ndim} dimensions.")
    return long[0]


def _inflate(content: bytes, budget: Budget) -> bytes:
    if content[:2] != b"\x1f\x8b":
        return content
    inflated, reader, is_between = bytearray(), zlib.decompressobj(31), True
    max_bytes = min(budget.left_to_inflate, budget.limits.max_image_bytes)
    for start in range(0, len(content), _PACKED_BYTES):  # each call copies what it leaves
        left = content[start : start + _PACKED_BYTES]
        while left:
            if is_between and left[:1] != b"\x1f":
                budget.inflate(len(inflated))
                return bytes(inflated)
            inflated += reader.decompress(left, _BLOCK_BYTES)
            left, is_between = reader.unconsumed_tail, reader.eof
            if len(inflated) > max_bytes:
                raise StudyRejected("nifti_too_large", f"More than {max_bytes // 2**20} MB.")
            if is_between:  # bgzip and pigz write several members one after the other
                left, reader = reader.unused_data, zlib.decompressobj(31)
    if not is_between:
        raise EOFError("cut off")
    budget.inflate(len(inflated))
    return bytes(inflated)


def _place(stored: npt.NDArray[Any], placement: Placement, interval: _Interval) -> Volume:
    """``stored`` (three axes of space, frame) as a volume."""
    row_dir, col_dir, _ = (placement.columns_mm / placement.voxel_mm).T
    if not geometry.orthonormal(row_dir, col_dir):
        raise StudyRejected("affine_sheared", "")
    col_mm, row_mm, _ = (float(mm) for mm in placement.voxel_mm)
    values = np.transpose(stored, (3, *reversed(placement.axes)))
    positions = placement.origin_mm + np.arange(values.shape[1])[:, None] * placement.columns_mm[:, 2]
    return Volume(
        values, positions, row_dir, col_dir, (row_mm, col_mm), interval, placement.is_oriented, placement.flags
    )


def _view(group: Sequence[tuple[str, Volume]], view: str) -> xr.Dataset:
    """The cine if there is one, else the single frames in the order of the cycle."""
    chosen = _choose(group)
    volumes = [volume for _, volume in chosen]
    first = volumes[0]
    if any(not _same_grid(volume, first) for volume in volumes):
        raise StudyRejected("frame_grids_differ", f"{len(volumes)} files of the view {view}.")
    given = first.values if len(volumes) == 1 else np.concatenate([volume.values for volume in volumes])
    _check_axes(given, view)
    stored, attributes, is_clipped = as_uint16(given)
    times = _times(len(stored), first.interval)
    order = _order(first) if view in _STACKS else StackOrder(True, False)
    ordering = slice(None) if order.base_first else slice(None, None, -1)
    flags = {
        "slices_few": view == "sax" and stored.shape[1] < 6,
        "pixel_not_finite": given.dtype.kind == "f" and not np.isfinite(given).all(),
        "pixel_outlier": is_clipped,
        "time_unit_corrected": times.is_corrected,
        "orientation_exchanged": order.is_doubtful,
        **{code: True for volume in volumes for code in volume.flags},
    }
    return cine_view(
        np.ascontiguousarray(stored[:, ordering]),
        time_ms=times.time_ms,
        pixel_mm=first.pixel_mm,
        position_mm=first.position_mm[ordering],
        row_dir=first.row_dir,
        col_dir=first.col_dir,
        slice_mm=_slice_mm(first),
        thickness_mm=float("nan"),
        heart_rate_bpm=60_000.0 / times.cycle_ms,
        flags=[code for code, holds in flags.items() if holds],
        frame_names=[phase for phase, _ in chosen] if len(chosen) > 1 else [],
        **attributes,
    )


# frames


def _choose(group: Sequence[tuple[str, Volume]]) -> list[tuple[str, Volume]]:
    """The cine if there is one, else the single frames: ED, ES, and others by their numbers.

    Raises:
        StudyRejected: ``frame_twice``.
    """
    whole = [item for item in group if item[0] in _WHOLE or item[1].values.shape[0] > 1]
    chosen = [] if whole else sorted(group, key=lambda item: _in_cycle(item[0]))
    for items in (whole, chosen):
        for (phase, volume), (other_phase, other) in itertools.pairwise(items):
            if (items is whole or phase == other_phase) and not np.array_equal(volume.values, other.values):
                raise StudyRejected("frame_twice", f"{len(items)} files of one view.")
    return whole[:1] or [item for k, item in enumerate(chosen) if k == 0 or item[0] != chosen[k - 1][0]]


def _in_cycle(phase: str) -> tuple[str, int]:
    number = re.search(r"\d+$", phase)
    return _PHASE_ORDER.get(phase, phase.rstrip("0123456789")), int(number[0]) if number else 0


def _same_grid(volume: Volume, other: Volume) -> bool:
    if volume.values.shape[1:] != other.values.shape[1:]:
        return False
    places = np.allclose(volume.position_mm, other.position_mm, atol=0.5)
    sizes = np.allclose(volume.pixel_mm, other.pixel_mm, rtol=0.01)
    directions = np.allclose([volume.row_dir, volume.col_dir], [other.row_dir, other.col_dir], atol=0.02)
    return bool(places and sizes and directions)


def _check_axes(values: npt.NDArray[Any], view: str) -> None:
    """Refuse frames in place of slices, and the reverse.

    Raises:
        StudyRejected: ``axes_exchanged``.
    """
    n_frames, n_slices = values.shape[:2]
    if view.startswith("lax") and n_slices > _MOST_LONG_AXIS_PLANES:
        raise StudyRejected("axes_exchanged", f"{n_slices} planes of a long-axis view.")
    if n_frames < 2 or n_slices < 2:
        return
    few = np.nan_to_num(values[:, :, ::4, ::4].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    by_frame, by_slice = (float(np.abs(np.diff(few, axis=axis)).mean()) for axis in (0, 1))
    if by_frame > _EXCHANGED * by_slice:
        raise StudyRejected("axes_exchanged", f"Frames differ {by_frame / max(by_slice, 1e-9):.1f} times as much.")


def _order(volume: Volume) -> StackOrder:
    """Whether the base is first as the affine has it; the order of the file where it does not tell."""
    if not volume.is_oriented:
        return StackOrder(True, False)
    return order_by_geometry(volume.position_mm[-1] - volume.position_mm[0])


def _slice_mm(volume: Volume) -> float:
    axis = geometry.normal(volume.row_dir, volume.col_dir)
    return geometry.spacing(volume.position_mm @ axis).slice_mm


# time


class _Times(NamedTuple):
    time_ms: npt.NDArray[np.float64]
    cycle_ms: float
    is_corrected: bool


def _times(n_frames: int, interval: _Interval) -> _Times:
    """Times of the frames in the stated unit (seconds if none is), else in the one in which they make a cycle."""
    stated = _TIME_UNITS.get(interval.unit_code, 1000.0)
    others = [unit for unit in _TIME_UNITS.values() if unit != stated]
    for unit in [] if interval.unit_code in _UNITS_OF_NO_TIME else [stated, *others]:
        cycle_ms = n_frames * interval.step * unit
        if n_frames > 2 and SHORTEST_CYCLE_MS <= cycle_ms <= LONGEST_CYCLE_MS:
            times = np.arange(n_frames, dtype=np.float64) * np.float64(interval.step * unit)
            return _Times(times, cycle_ms, unit != stated)
    return _Times(np.full(n_frames, np.nan), float("nan"), False)
