"""A perfusion view as a series for analysis: checked, on an even time grid, on the scanner's own scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.reasons import StudyRejected

GRID_S = 0.5
"""Interval to which beats are interpolated, as in the reference (Kellman et al. 2017)."""

FEWEST_FRAMES = 12
SHORTEST_S = 10.0
"""A first pass with the rise of the myocardium takes longer."""

_MOST_CLIPPED = 20
_CLIPPED_FRAMES = 3
_LARGEST_STORABLE = frozenset(2**bits - 1 for bits in (8, 10, 12, 14, 15, 16))

Signal = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]
Steady = Callable[[Sequence[Signal], Sequence[Times]], Sequence[Signal]]
"""Frames ``(row, col, beat)`` of each slice, at ``(beat,)`` seconds -> the same without motion."""


@dataclass(frozen=True)
class FirstPass:
    """A series on an even grid.

    Attributes:
        signal: ``(slice, row, col, frame)``, scanner's scale.
        time_s: ``(frame,)`` since the first image of the study's state, every :data:`GRID_S`.
    """

    signal: Signal
    time_s: npt.NDArray[np.float64]


def first_pass(
    view: xr.Dataset, time_s: Times | None = None, offset_s: float = 0.0, *, steady: Steady | None = None
) -> FirstPass:
    """``view`` on an even time grid.

    Args:
        view: a perfusion view of the contract.
        time_s: grid to use; from the first to the last common time of the view's own slices by default.
        offset_s: added to the view's times.
        steady: takes motion out of the slices' beats before they are interpolated: a mean of two beats shows the heart
            in two places.

    Raises:
        StudyRejected: ``perfusion_few_frames``, ``perfusion_time_unknown`` or ``perfusion_clipped``.
    """
    valid = view["frame_valid"].values.astype(bool)
    acquired = view["acquired_ms"].values / 1000 + offset_s
    counts = valid.sum(axis=0)
    if counts.min() < FEWEST_FRAMES:
        raise StudyRejected("perfusion_few_frames", f"{int(counts.min())} frames; at least {FEWEST_FRAMES} are needed.")
    if not np.isfinite(acquired[valid]).all():
        raise StudyRejected("perfusion_time_unknown", "Neither trigger nor clock times, nor a heart rate.")
    stored = view["intensity"].values
    _check_not_clipped(stored, int(view.attrs.get("clipped_pixels", 0)))
    grid = _every_half_second(*_bounds(acquired, valid)) if time_s is None else time_s
    if grid[-1] - grid[0] < SHORTEST_S - GRID_S:
        raise StudyRejected(
            "perfusion_few_frames", f"{grid[-1] - grid[0]:.0f} s; at least {SHORTEST_S:.0f} are needed."
        )
    beats = [np.moveaxis(stored[valid[:, k], k].astype(np.float32), 0, -1) for k in range(stored.shape[1])]
    times = [acquired[valid[:, k], k] for k in range(stored.shape[1])]
    if steady is not None:
        beats = list(steady(beats, times))
    slices = [_interpolate_in_time(np.moveaxis(b, -1, 0), t, grid) for b, t in zip(beats, times, strict=True)]
    return FirstPass(_to_scanner_scale(np.stack(slices), view), grid)


def common_grid(views: Sequence[tuple[xr.Dataset, float]]) -> npt.NDArray[np.float64]:
    """Times that all slices of some views have in common, every :data:`GRID_S`.

    Args:
        views: each with the seconds to add to its times.
    """
    bounds = [_bounds(v["acquired_ms"].values / 1000 + late, v["frame_valid"].values.astype(bool)) for v, late in views]
    return _every_half_second(max(start for start, _ in bounds), min(end for _, end in bounds))


def mean_image(view: xr.Dataset) -> Signal:
    """Mean of the frames of a view that does not change, such as proton density: ``(slice, row, col)``."""
    mean = view["intensity"].where(view["frame_valid"]).mean("frame").values
    return _to_scanner_scale(mean.astype(np.float32), view)


def _to_scanner_scale(values: npt.NDArray[np.float32], view: xr.Dataset) -> Signal:
    """Stored values as the scanner's."""
    attributes = view.attrs
    scanner = values * attributes.get("intensity_scale", 1) + attributes.get("intensity_offset", 0)
    return np.asarray(
        scanner * attributes.get("rescale_slope", 1.0) + attributes.get("rescale_intercept", 0.0), np.float32
    )


def _check_not_clipped(stored: npt.NDArray[np.uint16], clipped_before: int) -> None:
    """Whether ``stored`` values stay at the top, or did so before they were brought to one scale."""
    highest = int(stored.max())
    clipped = clipped_before
    if highest in _LARGEST_STORABLE:
        clipped = max(clipped, int(((stored == highest).sum(axis=0) >= _CLIPPED_FRAMES).sum()))
    if clipped >= _MOST_CLIPPED:
        raise StudyRejected("perfusion_clipped", f"{clipped} pixels stay at the largest value that can be stored.")


def _bounds(acquired: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """First and last time that all slices have; NaN where no time is known."""
    masked = np.where(valid, acquired, np.nan)
    if np.isnan(masked).all(axis=0).any():
        return float("nan"), float("nan")
    return float(np.nanmin(masked, axis=0).max()), float(np.nanmax(masked, axis=0).min())


def _every_half_second(start: float, end: float) -> npt.NDArray[np.float64]:
    steps = (end - start) / GRID_S
    n = max(1, int(steps) + 1) if np.isfinite(steps) else 1
    return np.asarray(start + GRID_S * np.arange(n), np.float64)


def _interpolate_in_time(
    images: Signal, time_s: npt.NDArray[np.float64], grid: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """``(row, col, frame)`` on ``grid`` from ``(beat, row, col)``, linear in time, held at the ends."""
    place = np.interp(grid, time_s, np.arange(len(time_s)))
    before = np.minimum(place.astype(int), len(time_s) - 2)
    share = (place - before).astype(np.float32)[:, None, None]
    values = (1 - share) * images[before] + share * images[before + 1]
    return np.ascontiguousarray(np.moveaxis(values.astype(np.float32), 0, -1))
