"""NIfTI files of one patient -> cine views: single frames (3-D) or cines (4-D), RAS turned to LPS."""

from __future__ import annotations

import struct
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import nibabel as nib
import numpy as np
import numpy.typing as npt
import xarray as xr
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from cmr_models.contracts import cine_view
from cmr_models.reasons import StudyRejected
from cmr_models.views import geometry
from cmr_models.views.geometry import Vector
from cmr_models.views.recognition import TYPICAL_AXIS
from cmr_models.views.series_kind import LONGEST_CYCLE_MS, SHORTEST_CYCLE_MS
from tasks.sources.nifti_names import parse_name

_RAS_TO_LPS: Final = np.diag([-1.0, -1.0, 1.0])
_FAULTS: Final = (
    ImageFileError, HeaderDataError, WrapStructError, ValueError, TypeError, KeyError, IndexError, OSError,
    EOFError, OverflowError, struct.error, zlib.error, np.linalg.LinAlgError,
)  # fmt: skip
_PHASE_ORDER: Final = {"ed": "0", "es": "1"}
_WHOLE: Final = ("t", "4d", "cine")
_STACKS: Final = ("sax", "lge", "t2")
_SECONDS: Final = {"sec": 1000.0, "msec": 1.0, "usec": 1e-3}
_LEVELS: Final = 4095


@dataclass(frozen=True)
class Volume:
    """One file: ``values (frame, slice, row, col)`` and where they lie (LPS, mm)."""

    values: npt.NDArray[Any]
    position_mm: npt.NDArray[np.float64]
    row_dir: Vector
    col_dir: Vector
    pixel_mm: tuple[float, float]
    interval_ms: float


def nifti_views(files: Mapping[str, bytes], *, max_bytes: int) -> dict[str, xr.Dataset]:
    """Cine views of one patient.

    Args:
        files: content by file name, with folders where the layout needs them; labels are left out by name.
        max_bytes: largest inflated file.

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
            volume = read_volume(files[name], max_bytes=max_bytes)
            view = parsed.view or ("sax" if volume.values.shape[1] >= 3 else "")
            groups[view].append((parsed.phase, volume))
    views = {view: _view(group, view) for view, group in sorted(groups.items()) if view}
    if not views:
        raise StudyRejected("wrong_series", "Neither a file name nor a stack identifies a view.")
    return views


def read_volume(content: bytes, *, max_bytes: int) -> Volume:
    """One NIfTI file from its bytes.

    Raises:
        StudyRejected: ``nifti_corrupt``, ``nifti_too_large``, ``nifti_unsupported`` or ``geometry_missing``.
    """
    try:
        image = nib.Nifti1Image.from_bytes(_inflate(content, max_bytes))
        stored = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, np.float64)
        zooms = [float(zoom) for zoom in image.header.get_zooms()]
        unit = str(image.header.get_xyzt_units()[1])
    except StudyRejected:
        raise
    except _FAULTS as error:
        raise StudyRejected("nifti_corrupt", type(error).__name__) from None
    four = _four_dimensional(stored)
    interval_ms = zooms[3] * _SECONDS.get(unit, 1000.0) if len(zooms) > 3 else float("nan")
    return _place(four, affine, interval_ms)


def _four_dimensional(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``(col, row, slice, frame)``; more dimensions than that must be of length 1."""
    if stored.size == 0 or stored.dtype.kind not in "iufb":
        raise StudyRejected("nifti_unsupported", f"{stored.size} numbers of type {stored.dtype.name}.")
    while stored.ndim > 4 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if stored.ndim not in (3, 4):
        raise StudyRejected("nifti_unsupported", f"It has {stored.ndim} dimensions.")
    return stored if stored.ndim == 4 else stored[..., None]


def _inflate(content: bytes, max_bytes: int) -> bytes:
    if content[:2] != b"\x1f\x8b":
        return content
    reader = zlib.decompressobj(31)
    inflated = reader.decompress(content, max_bytes + 1)
    if len(inflated) > max_bytes:
        raise StudyRejected("nifti_too_large", f"More than {max_bytes // 2**20} MB.")
    if not reader.eof:
        raise EOFError("cut off")
    return inflated


def _place(stored: npt.NDArray[Any], affine: npt.NDArray[np.float64], interval_ms: float) -> Volume:
    """``stored (col, row, slice, frame)`` in RAS as a volume in LPS."""
    columns = _RAS_TO_LPS @ affine[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    if not np.isfinite(affine).all() or (lengths < 0.05).any() or (lengths > 100.0).any():
        raise StudyRejected("geometry_missing", "The affine is not finite or out of bounds.")
    row_dir, col_dir, _ = (columns / lengths).T
    if not geometry.orthonormal(row_dir, col_dir):
        raise StudyRejected("geometry_missing", "The affine is sheared in plane.")
    origin = _RAS_TO_LPS @ affine[:3, 3]
    positions = origin + np.arange(stored.shape[2])[:, None] * columns[:, 2]
    values = np.transpose(stored, (3, 2, 1, 0))
    return Volume(values, positions, row_dir, col_dir, (float(lengths[1]), float(lengths[0])), interval_ms)


def _view(group: Sequence[tuple[str, Volume]], view: str) -> xr.Dataset:
    """The cine if there is one, else the single frames in the order of the cycle."""
    whole = [item for item in group if item[0] in _WHOLE or item[1].values.shape[0] > 1]
    chosen = whole[:1] or sorted(group, key=lambda item: _PHASE_ORDER.get(item[0], item[0]))
    volumes = [volume for _, volume in chosen]
    first = volumes[0]
    if any(not _same_grid(volume, first) for volume in volumes):
        raise StudyRejected("geometry_missing", "The frames of one view lie on different grids.")
    given = np.concatenate([volume.values for volume in volumes])
    values, attributes = _as_uint16(given)
    flags = {
        "slices_few": view == "sax" and values.shape[1] < 6,
        "pixel_not_finite": given.dtype.kind == "f" and not np.isfinite(given).all(),
    }
    ordering = _base_first(first) if view in _STACKS else slice(None)
    return cine_view(
        np.ascontiguousarray(values[:, ordering]),
        time_ms=_times(values.shape[0], first.interval_ms),
        pixel_mm=first.pixel_mm,
        position_mm=first.position_mm[ordering],
        row_dir=first.row_dir,
        col_dir=first.col_dir,
        slice_mm=_slice_mm(first),
        thickness_mm=float("nan"),
        heart_rate_bpm=_heart_rate(values.shape[0], first.interval_ms),
        flags=[code for code, holds in flags.items() if holds],
        frame_names=[phase for phase, _ in chosen] if len(chosen) > 1 else [],
        **attributes,
    )


def _same_grid(volume: Volume, other: Volume) -> bool:
    if volume.values.shape[1:] != other.values.shape[1:]:
        return False
    return bool(np.allclose(volume.position_mm, other.position_mm, atol=0.5))


def _as_uint16(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint16], dict[str, Any]]:
    """Whole numbers less an offset if negative, else 4096 levels; ``value = stored * scale + offset``."""
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0) if values.dtype.kind == "f" else values
    low, high = float(finite.min()), float(finite.max())
    whole = values.dtype.kind in "iub" or bool(np.all(finite == np.round(finite)))
    if whole and high - min(low, 0.0) <= np.iinfo(np.uint16).max:
        offset = min(int(low), 0)
        return (finite.astype(np.int64) - offset).astype(np.uint16), {
            "intensity_offset": offset,
            "intensity_scale": 1,
        }
    scale = (high - low) / _LEVELS or 1.0
    levels = np.round((finite.astype(np.float64) - low) / scale).astype(np.uint16)
    return levels, {"intensity_offset": low, "intensity_scale": scale}


def _base_first(volume: Volume) -> slice:
    step = volume.position_mm[-1] - volume.position_mm[0]
    return slice(None) if float(step @ TYPICAL_AXIS) >= 0 else slice(None, None, -1)


def _slice_mm(volume: Volume) -> float:
    axis = geometry.normal(volume.row_dir, volume.col_dir)
    return geometry.spacing(volume.position_mm @ axis).slice_mm


def _cycle_ms(n_frames: int, interval_ms: float) -> float:
    cycle_ms = n_frames * interval_ms
    return cycle_ms if n_frames > 2 and SHORTEST_CYCLE_MS <= cycle_ms <= LONGEST_CYCLE_MS else float("nan")


def _times(n_frames: int, interval_ms: float) -> npt.NDArray[np.float64]:
    known = np.isfinite(_cycle_ms(n_frames, interval_ms))
    return np.arange(n_frames, dtype=np.float64) * np.float64(interval_ms if known else np.nan)


def _heart_rate(n_frames: int, interval_ms: float) -> float:
    return 60_000.0 / _cycle_ms(n_frames, interval_ms)
