"""Values of NIfTI files as whole numbers of 16 bits, in blocks: no second copy of a volume is made in floats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_BLOCK_VALUES: Final = 2**20
_LEVELS: Final = 4095
_RARE: Final = 1e-3
_FAR: Final = 16.0
"""Values this many times as far out as all but the rarest are no signal: 4096 levels would not show the rest."""


def as_uint16(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint16], dict[str, Any], bool]:
    """Whole numbers less an offset if negative, else 4096 levels; ``value = stored * scale + offset``.

    The last is whether single values were too far out and were clipped.
    """
    shape = values.shape
    values = values.reshape((1,) * (4 - len(shape)) + shape)
    low, high, whole = _range(values)
    is_ranged = not whole or high - min(low, 0.0) > np.iinfo(np.uint16).max
    is_clipped = False
    if is_ranged:
        bounds = _usual_range(values, low, high)
        is_clipped = bounds != (low, high)
        low, high = bounds
    is_exact = whole and high - min(low, 0.0) <= np.iinfo(np.uint16).max
    offset = min(math.floor(low), 0) if is_exact else low
    scale = 1 if is_exact else (high - low) / _LEVELS or 1.0
    stored = np.empty(values.shape, np.uint16)
    for block in _blocks(values.shape):
        given = _finite(values[block])
        if is_ranged:
            given = np.clip(given.astype(np.float64), low, high)
        levels = given.astype(np.int64) - offset if is_exact else np.round((given.astype(np.float64) - low) / scale)
        stored[block] = levels.astype(np.uint16)
    return stored.reshape(shape), {"intensity_offset": offset, "intensity_scale": scale}, is_clipped


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, int, slice]]:
    """Parts of ``(frame, slice, row, col)`` that are small, so that copies of one are."""
    n_rows = max(1, _BLOCK_VALUES // max(shape[3], 1))
    return (
        (frame, plane, slice(start, start + n_rows))
        for frame, plane, start in itertools.product(range(shape[0]), range(shape[1]), range(0, shape[2], n_rows))
    )


def _finite(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0) if values.dtype.kind == "f" else values


def _range(values: npt.NDArray[Any]) -> tuple[float, float, bool]:
    """Lowest and highest value, and whether all are whole numbers."""
    low, high, whole = math.inf, -math.inf, True
    for block in _blocks(values.shape):
        finite = _finite(values[block])
        low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        whole = whole and (values.dtype.kind in "iub" or bool(np.all(finite == np.round(finite))))
    return low, high, whole


def _usual_range(values: npt.NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """Lowest and highest value; where one voxel in a thousand lies too far out for a signal, those of the rest."""
    copied = values.copy(order="K")
    if copied.dtype.kind == "f":
        np.nan_to_num(copied, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    found = np.quantile(copied.ravel(order="K"), (_RARE, 0.5, 1.0 - _RARE), overwrite_input=True)
    few, middle, most = (float(value) for value in found)
    spread = most - few
    if spread <= 0.0:
        return low, high
    return (few if middle - low > _FAR * spread else low), (most if high - middle > _FAR * spread else high)
