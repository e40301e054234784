"""Motion of the heart in a perfusion study, and its correction.

The myocardial series is registered, beat by beat and all slices together; the series of the arterial input, whose
images are too coarse for that, is moved as the ventricle in it was found to move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.contracts import LV, MYOCARDIUM
from cmr_models.perfusion.series import FirstPass, common_grid, first_pass

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_PARALLEL = 0.98  # cosine between directions of images that count as parallel


class Path(NamedTuple):
    """Motion of one slice of the heart: ``displacement (2, row, col, beat)`` in pixels at ``time_s (beat,)``."""

    displacement: Floats
    time_s: npt.NDArray[np.float64]

    def mean_mm(self, inside: Mask, pixel_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """``(2, beat)`` of the pixels ``inside (row, col)``."""
        return np.asarray(self.displacement[:, inside].mean(axis=1, dtype=np.float64) * pixel_mm[:, None], np.float64)


class Motion(NamedTuple):
    """Motion of the left ventricle: ``mm (2, beat)`` by row and column at ``time_s (beat,)``."""

    mm: npt.NDArray[np.float64]
    time_s: npt.NDArray[np.float64]


def shared_grid(views: Mapping[str, xr.Dataset]) -> npt.NDArray[np.float64] | None:
    """Times that the myocardial and the input series have in common: either may begin later or end earlier.

    None if no series has times; :func:`first_pass` then rejects the study.
    """
    series = [views[role] for role in ("", "_aif", "_aif_echo2") if role in views]
    timed = [(view, _offset_s(view, views[""])) for view in series if np.isfinite(view["acquired_ms"].values).any()]
    return common_grid(timed) if timed else None


def correct_motion(view: xr.Dataset, grid_s: npt.NDArray[np.float64] | None) -> tuple[FirstPass, list[Path]]:
    """The series without breathing on an even time grid, and the motion of each slice."""
    from cmr_models.perfusion.registration import correct, correct_together

    paths: list[Path] = []

    def steady(beats: Sequence[Floats], times: Sequence[npt.NDArray[np.float64]]) -> list[Floats]:
        same_beats = len({time_s.size for time_s in times}) == 1
        found = correct_together(beats) if same_beats else [correct(plane) for plane in beats]
        paths.extend(Path(displacement, time_s) for (_, displacement), time_s in zip(found, times, strict=True))
        return [moved for moved, _ in found]

    return first_pass(view, grid_s, steady=steady), paths


def ventricle_motion(path: Path, labels: Labels, pixel_mm: npt.NDArray[np.float64]) -> Motion:
    """Motion of the left ventricle, which ``labels (row, col)`` of a slice show, by the motion of that slice."""
    inside = np.isin(labels, (MYOCARDIUM, LV))
    return Motion(path.mean_mm(inside if inside.any() else np.ones_like(inside), pixel_mm), path.time_s)


def density_on(heart: FirstPass, density: Floats | None) -> Floats | None:
    """Proton density ``(slice, row, col)`` moved to where the corrected series has the heart."""
    from cmr_models.perfusion.registration import offset_of, shift_frames

    if density is None:
        return None
    planes = zip(density, heart.signal, strict=True)
    return np.stack(
        [shift_frames(image[..., None], offset_of(image, plane)[:, None])[..., 0] for image, plane in planes]
    )


def align_input(view: xr.Dataset, reference: xr.Dataset, heart: FirstPass, motion: Motion) -> npt.NDArray[np.float32]:
    """An input series ``(row, col, frame)`` on the heart's time grid, without the heart's motion."""
    from cmr_models.perfusion.registration import shift_frames

    pixel_mm = view["pixel_mm"].values

    def steady(beats: Sequence[Floats], times: Sequence[npt.NDArray[np.float64]]) -> list[Floats]:
        paths_px = [[np.interp(t, motion.time_s, motion.mm[k]) / pixel_mm[k] for k in (0, 1)] for t in times]
        return [shift_frames(plane, path) for plane, path in zip(beats, paths_px, strict=True)]

    still_view = first_pass(view, heart.time_s, _offset_s(view, reference), steady=steady)
    return np.asarray(still_view.signal[0], np.float32)


def input_motion(views: Mapping[str, xr.Dataset], motion: Motion, limits: set[str]) -> Motion:
    """The heart's motion in the input series.

    The input's own images are too coarse, and change too much, to be registered. It is acquired in the same beats as
    the wall, so the heart is where the myocardial series has it. Where clocks or planes disagree the input is not
    corrected; a reason code says so if the heart moves by more than half a pixel.
    """
    view, reference = views["_aif"], views[""]
    same_clock = view.attrs.get("timed_by") == reference.attrs.get("timed_by")
    parallel = all(float(view[d].values[0] @ reference[d].values[0]) > _PARALLEL for d in ("row_dir", "col_dir"))
    if same_clock and parallel:
        return motion
    off_px = (motion.mm - motion.mm.mean(axis=1, keepdims=True)) / view["pixel_mm"].values[:, None]
    if np.hypot(*off_px).max() > 0.5:
        limits.add("aif_moved")
    return Motion(np.zeros_like(motion.mm), motion.time_s)


def _offset_s(view: xr.Dataset, reference: xr.Dataset) -> float:
    """Seconds by which a series began later than the reference; 0 where their clocks cannot be compared."""
    if view.attrs.get("timed_by") != reference.attrs.get("timed_by"):
        return 0.0
    late = (view.attrs.get("start_ms", np.nan) - reference.attrs.get("start_ms", np.nan)) / 1000
    return float(late) if abs(late) < 5.0 else 0.0
