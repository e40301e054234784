"""Whether the frames of a cine are in the order of time, told by the images alone.

A heart moves smoothly and returns to its start, so frames in the order of time make the shortest closed tour through
all images of a plane, or nearly. Measured on 36 real cine planes of two vendors and 12 simulated ones, as share of the
way from a random order (0) to the shortest tour (1): order of time 0.87 to 1.0, numbers sorted as text 0.63 to 0.80,
odd before even frames 0.38 to 0.65, random orders under 0.51. An order and its reverse cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Verdict = Literal["supported", "doubtful", "contradicted", "silent"]

SUPPORTED = 0.85
"""Share from which on the images support an order."""

CONTRADICTED = 0.60
"""Share below which they contradict it."""

LEAST_MOTION = 0.15
"""Images whose shortest tour is not shorter than a random one by this share say nothing: they differ by noise."""

MOVING_SHARE = 0.1
"""Share of the pixels, those that change most, that is looked at: the heart fills about so much of an image."""

RETURN = 0.5
"""Images one beat apart differ by less than this share of what those half a beat apart do."""

_FEWEST_FRAMES = 6
_PIXELS = 2500
_MAX_ROUNDS = 50


def judge_order(frames: Sequence[npt.NDArray[Any]]) -> Verdict:
    """Whether ``frames``, each ``(row, col)``, are in an order that motion allows; "silent" if they show no motion."""
    if len(frames) < _FEWEST_FRAMES:
        return "silent"
    distance = _distances(frames)
    n = len(frames)
    random = float(distance.sum()) / (n - 1)
    if not random > 0:
        return "silent"
    given = _length(distance, np.arange(n))
    least = float(np.sort(distance, axis=1)[:, 1:3].sum()) / 2  # no tour is shorter
    if random - least < LEAST_MOTION * random:
        return "silent"
    if random - given >= SUPPORTED * (random - least):
        return "supported"
    shortest = min(given, _length(distance, _shorten(distance, _insert_cheaply(distance))))
    if random - shortest < LEAST_MOTION * random:
        return "silent"
    share = (random - given) / (random - shortest)
    if share >= SUPPORTED:
        return "supported"
    return "contradicted" if share < CONTRADICTED else "doubtful"


def frames_per_beat(frames: Sequence[npt.NDArray[Any]]) -> int:
    """After how many frames, in the order of time, the images return: shorter than all of them; 0 if they do not."""
    n = len(frames)
    if n < 2 * _FEWEST_FRAMES:
        return 0
    distance = _distances(frames)
    apart = np.array([np.diagonal(distance, lag).mean() for lag in range(n // 2 + 1)])
    lags = np.arange(_FEWEST_FRAMES, n // 2 + 1)
    best = int(lags[np.argmin(apart[lags])])
    returns = apart[best] < RETURN * float(apart[1 : best + 1].max())
    return best if returns else 0


def _distances(frames: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
    """``(frame, frame)`` root of the summed squared differences, on a coarse grid, of the pixels that change most.

    Frames are compared at the same mean brightness: the signal flickers and settles, and that is no motion.
    """
    rows, cols = frames[0].shape
    step = max(1, int(np.sqrt(rows * cols / _PIXELS)))
    coarse = np.stack([frame[::step, ::step] for frame in frames]).reshape(len(frames), -1).astype(np.float64)
    coarse /= np.maximum(np.abs(coarse.mean(axis=1, keepdims=True)), 1e-9)
    coarse -= coarse.mean(axis=0)
    spread = np.einsum("ij,ij->j", coarse, coarse)
    most = max(1, int(MOVING_SHARE * spread.size))
    coarse = coarse[:, np.argpartition(spread, -most)[-most:]]
    products = coarse @ coarse.T
    squares = np.diag(products)
    found = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * products, 0.0))
    np.fill_diagonal(found, 0.0)
    return np.asarray(found, np.float64)


def _length(distance: npt.NDArray[np.float64], tour: npt.NDArray[np.intp]) -> float:
    return float(distance[tour, np.roll(tour, -1)].sum())


def _insert_cheaply(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """A tour, from the frames furthest from the first on, each put where it lengthens the tour least."""
    tour = np.zeros(1, np.intp)
    for i in np.argsort(-distance[0, 1:], kind="stable") + 1:
        after = np.roll(tour, -1)
        place = int(np.argmin(distance[tour, i] + distance[i, after] - distance[tour, after]))
        tour = np.insert(tour, place + 1, i)
    return tour


def _shorten(distance: npt.NDArray[np.float64], tour: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The tour after all reversals of a part that shorten it (2-opt), the best first."""
    n = len(tour)
    first, last = np.triu_indices(n, 2)
    for _ in range(_MAX_ROUNDS):
        after = np.roll(tour, -1)
        a, b, c, d = tour[first], after[first], tour[last], after[last]
        change = distance[a, c] + distance[b, d] - distance[a, b] - distance[c, d]
        best = int(np.argmin(change))
        if change[best] > -1e-9:
            return tour
        start, end = int(first[best]) + 1, int(last[best]) + 1
        tour = np.concatenate([tour[:start], tour[start:end][::-1], tour[end:]])
    return tour
