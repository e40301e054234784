"""Checks of the input of :func:`cmr_models.perfusion.quantify`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_FEWEST_FRAMES = 12
LOWEST_AIF = 0.1
"""mmol/L above baseline; peaks of 1 to 10 are usual, so what is lower is noise or has another unit."""

_HIGHEST_AIF = 30.0
_TISSUE_OVER_AIF = 10.0
_DT_RANGE_S = (0.1, 6.0)


class Series(NamedTuple):
    """Checked input: (row, col, frame), (frame,), (row, col) twice."""

    tissue: npt.NDArray[np.float64]
    aif: npt.NDArray[np.float64]
    mask: npt.NDArray[np.bool_]
    wall: npt.NDArray[np.bool_]


def check(
    tissue: npt.ArrayLike,
    aif: npt.ArrayLike,
    dt_s: float,
    foot: int | None,
    hematocrit: float,
    mask: npt.ArrayLike | None,
    wall: npt.ArrayLike | None = None,
) -> Series:
    """The input as float64, or a ValueError with the offending value, the limit and the remedy."""
    values, blood = np.asarray(tissue, np.float64), np.asarray(aif, np.float64)
    if blood.ndim == 2 and 1 in blood.shape:  # a column or a row, as MATLAB stores it
        blood = blood.ravel()
    _check_shapes(values, blood)
    region, muscle = _region("mask", mask, values.shape[:2]), _region("wall", wall, values.shape[:2])
    if not (_DT_RANGE_S[0] <= dt_s <= _DT_RANGE_S[1]):
        raise ValueError(
            f"dt_s is {dt_s}; frames lie {_DT_RANGE_S[0]} to {_DT_RANGE_S[1]} s apart: give seconds, not ms"
        )
    if not 0 <= hematocrit < 0.8:
        raise ValueError(f"hematocrit is {hematocrit}; it must be a fraction from 0 to 0.8, for example 0.42")
    if foot is not None and not 1 <= foot < blood.size - 4:
        raise ValueError(f"foot is {foot}; it must be a 0-based frame from 1 to {blood.size - 5}")
    _check_units(values[region], blood)
    return Series(values, blood, region, muscle)


def number(name: str, value: npt.ArrayLike) -> float:
    """A scalar, or an array of one element as MATLAB stores scalars; ValueError otherwise."""
    given = np.asarray(value)
    if given.size != 1 or given.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be one number, not {given.dtype} of shape {given.shape}")
    return float(given.item())


def frame(foot: npt.ArrayLike | None) -> int | None:
    """The foot as a whole number; ValueError if it is none."""
    if foot is None:
        return None
    given = number("foot", foot)
    if not given.is_integer():
        raise ValueError(f"foot is {given}; it must be a whole 0-based frame")
    return int(given)


def _region(name: str, given: npt.ArrayLike | None, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """All pixels where none are given."""
    region = np.ones(shape, bool) if given is None else np.asarray(given).astype(bool)
    if region.shape != shape:
        raise ValueError(f"{name} has shape {region.shape}, the images {shape}; they must agree")
    return region


def _check_shapes(tissue: npt.NDArray[np.float64], aif: npt.NDArray[np.float64]) -> None:
    if tissue.ndim != 3:
        raise ValueError(f"tissue has shape {tissue.shape}; it must be (row, col, frame)")
    if aif.ndim != 1 or aif.size != tissue.shape[2]:
        raise ValueError(
            f"the AIF has shape {aif.shape}, the series {tissue.shape[2]} frames; they must share one time axis"
        )
    if aif.size < _FEWEST_FRAMES:
        raise ValueError(f"the series has {aif.size} frames; a first pass needs at least {_FEWEST_FRAMES}")
    if not np.isfinite(aif).all():
        raise ValueError(f"{int((~np.isfinite(aif)).sum())} frames of the AIF are not finite; interpolate or drop them")


def _check_units(tissue: npt.NDArray[np.float64], aif: npt.NDArray[np.float64]) -> None:
    peak = float(aif.max() - np.median(aif[: max(2, aif.size // 10)]))
    if peak > _HIGHEST_AIF or 0 < peak < LOWEST_AIF:
        raise ValueError(
            f"the AIF peaks at {peak:.4g}, outside {LOWEST_AIF} to {_HIGHEST_AIF} mmol/L; convert it to mmol/L first"
        )
    finite = tissue[np.isfinite(tissue)]
    if finite.size and peak > 0 and np.percentile(finite, 99.9) > _TISSUE_OVER_AIF * peak:
        raise ValueError(
            f"tissue reaches {np.percentile(finite, 99.9):.4g} against an AIF peak of {peak:.4g} mmol/L; "
            "both must be in mmol/L on one scale"
        )
