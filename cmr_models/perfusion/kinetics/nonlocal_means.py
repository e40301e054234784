"""Non-local means: a pixel's curve averaged with similar ones nearby. Less noise, no mixing of blood with muscle.

Reference: the idea of Buades, Coll and Morel, A non-local algorithm for image denoising, CVPR 2005,
doi:10.1109/CVPR.2005.38: neighbours count by how far their curves differ beyond the noise.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Curves = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Window = tuple[slice, slice]

_RADIUS_PX = 4
_TOLERANCE = 0.4  # excess of the mean square difference over that of noise, at which a neighbour counts by 1/e
_SECOND_NEAREST = 0.8  # of the noise, which chance leaves between a curve and the second most similar of 8 neighbours


def nonlocal_mean(curves: npt.ArrayLike, chosen: Mask) -> Curves:
    """Weighted mean over similar neighbours within 4 pixels.

    Args:
        curves: (row, col, frame), finite where chosen.
        chosen: (row, col) pixels that have a curve.

    Returns:
        (row, col, frame) float32, 0 where not chosen.
    """
    values = np.where(chosen[..., None], np.asarray(curves), 0).astype(np.float32)
    differences = {offset: _difference(values, chosen, offset) for offset in _half_disc()}
    twice_noise = max(_twice_noise(differences, chosen), float(np.finfo(np.float32).tiny))
    total, weight = values.copy(), chosen.astype(np.float32)
    for offset, difference in differences.items():
        here, there = _windows(chosen.shape, offset)
        with np.errstate(over="ignore"):  # beside no noise any difference is endless
            closeness = np.exp(-np.maximum(difference / twice_noise - 1, 0) / _TOLERANCE)
        total[here] += closeness[..., None] * values[there]
        total[there] += closeness[..., None] * values[here]
        weight[here] += closeness
        weight[there] += closeness
    return np.asarray(total / np.maximum(weight, 1)[..., None], np.float32)


def _half_disc() -> Iterator[tuple[int, int]]:
    """One of each pair of opposite offsets within the radius."""
    reach = range(-_RADIUS_PX, _RADIUS_PX + 1)
    for row in range(_RADIUS_PX + 1):
        for col in reach:
            if (row, col) > (0, 0) and row**2 + col**2 <= _RADIUS_PX**2 + 1:
                yield row, col


def _windows(shape: tuple[int, ...], offset: tuple[int, int]) -> tuple[Window, Window]:
    """Slices of the pixels that have a neighbour at ``offset``, and of those neighbours."""
    (rows, cols), (down, along) = shape, offset
    left, right = max(0, -along), max(0, along)
    here = (slice(0, max(0, rows - down)), slice(left, max(left, cols - right)))
    there = (slice(down, max(down, rows)), slice(right, max(right, cols - left)))
    return here, there


def _difference(values: Curves, chosen: Mask, offset: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Mean square difference of the pixels that have a neighbour at ``offset`` from it; infinite if either is left
    out."""
    here, there = _windows(chosen.shape, offset)
    squares = ((values[here] - values[there]) ** 2).mean(axis=-1)
    return np.where(chosen[here] & chosen[there], squares, np.float32(np.inf))


def _twice_noise(differences: dict[tuple[int, int], npt.NDArray[np.float32]], chosen: Mask) -> float:
    """Mean square difference of two curves of the same tissue: that of the second most similar neighbours."""
    beside = []
    for offset, difference in differences.items():
        if max(map(abs, offset)) == 1:
            for window in _windows(chosen.shape, offset):
                one = np.full(chosen.shape, np.inf, np.float32)
                one[window] = difference
                beside.append(one)
    second = np.partition(np.stack(beside), 1, axis=0)[1][chosen]
    finite = second[np.isfinite(second)]
    return float(np.median(finite)) / _SECOND_NEAREST if finite.size else 0.0
