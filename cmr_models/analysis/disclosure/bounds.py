"""What published numbers say of numbers that are not: the least and the most that a count may be.

A release is a set of statements about unknown counts of people: a published count is known within its rounding, a
hidden one has its limits, groups add up to everybody, those at risk are among those asked. The least and the most that
a hidden count may be under all statements are integer programmes, solved by HiGHS (Huangfu and Hall 2018,
10.1007/s12532-017-0130-5).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp

Floats = npt.NDArray[np.float64]
Weights = Mapping[str, float]


@dataclass
class Statements:
    """What is known of counts.

    Attributes:
        limits: count -> the least and the most that it may be.
        sums: weights of counts, and the least and the most of their sum.
    """

    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    sums: list[tuple[Weights, float, float]] = field(default_factory=list)

    def within(self, count: str, low: float, high: float) -> None:
        """``count`` lies between two numbers, and between those stated before."""
        before = self.limits.get(count, (0.0, np.inf))
        self.limits[count] = (max(before[0], low), min(before[1], high))

    def total(self, whole: str, parts: Sequence[str]) -> None:
        """``parts`` add up to ``whole``."""
        self.sums.append(({whole: -1.0} | dict.fromkeys(parts, 1.0), 0.0, 0.0))

    def at_least(self, weights: Weights, low: float) -> None:
        """A weighted sum is at least ``low``."""
        self.sums.append((weights, low, np.inf))


class Programme:
    """Statements as an integer programme."""

    def __init__(self, statements: Statements) -> None:
        self._place = {name: k for k, name in enumerate(statements.limits)}
        self._bounds = Bounds(*np.array(list(statements.limits.values()), np.float64).T)
        rows = [self._vector(weights) for weights, _, _ in statements.sums]
        lows, highs = ([found[k] for found in statements.sums] for k in (1, 2))
        self._constraints = [LinearConstraint(np.array(rows), lows, highs)] if rows else []

    @property
    def key(self) -> bytes:
        """A digest that is the same for two programmes that are the same but for names."""
        parts = [self._bounds.lb, self._bounds.ub]
        parts += [part for found in self._constraints for part in (found.A, found.lb, found.ub)]
        content = b"|".join(np.asarray(part, np.float64).tobytes() for part in parts)
        return hashlib.blake2b(content, digest_size=16).digest()

    def ranges(self, targets: Sequence[Weights], enough: float) -> list[tuple[float, float]]:
        """The least and the most of each target; not looked for further where they are ``enough`` apart already.

        A solution for one target tells a possible value of every other, and so do the solutions beside it, in which two
        people more or less are in one count or two: most targets need no programme of their own.

        Raises:
            ValueError: no counts fulfil all statements.
        """
        vectors = np.array([self._vector(weights) for weights in targets])
        low, high = np.full(len(vectors), np.inf), np.full(len(vectors), -np.inf)
        for goal in (vectors.sum(axis=0), -vectors.sum(axis=0)):
            self._meet(goal, vectors, low, high)
        for k, vector in enumerate(vectors):
            for goal in (vector, -vector):
                if high[k] - low[k] < enough:
                    self._meet(goal, vectors, low, high)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def _meet(self, goal: Floats, vectors: Floats, low: Floats, high: Floats) -> None:
        """Widen ``low`` and ``high`` by the values of the solution with the least ``goal``."""
        solutions = self._beside(self._solution(goal))
        values = np.round(solutions @ vectors.T)
        np.minimum(low, values.min(axis=0), out=low)
        np.maximum(high, values.max(axis=0), out=high)

    def _beside(self, solution: Floats) -> Floats:
        """``(solutions, counts)``: a solution and those with one or two people more in a count, less in another."""
        one = np.eye(len(solution))
        pairs = (one[:, None, :] - one[None, :, :]).reshape(-1, len(solution))
        steps = np.vstack([pairs, one, -one])
        near = solution + np.vstack([steps, 2 * steps])
        fits = ((near >= self._bounds.lb) & (near <= self._bounds.ub)).all(axis=1)
        for found in self._constraints:
            near, sums = near[fits], near[fits] @ found.A.T
            fits = ((sums >= found.lb) & (sums <= found.ub)).all(axis=1)
        return np.vstack([solution, near[fits]])

    def _solution(self, goal: Floats) -> Floats:
        """Counts with the least ``goal``; the linear programme, six times as fast, mostly gives whole numbers."""
        limited = Bounds(self._bounds.lb, np.minimum(self._bounds.ub, _MANY))
        for whole in (0, 1):
            found = milp(
                goal,
                integrality=np.full(len(goal), whole),
                bounds=limited,
                constraints=self._constraints,
                options=_AS_IT_IS,
            )
            if found.x is None:
                raise ValueError("no counts fulfil all statements")
            if np.allclose(found.x, np.round(found.x), rtol=0, atol=1e-6):
                break
        return np.asarray(np.round(found.x), np.float64)

    def _vector(self, weights: Weights) -> Floats:
        vector = np.zeros(len(self._place))
        for name, weight in weights.items():
            vector[self._place[name]] += weight
        return vector


_MANY = 1e7
"""More people than any cohort has: a limit that keeps the programme bounded."""
_AS_IT_IS: Mapping[str, bool] = {"presolve": False}  # programmes are small; HiGHS prints lines when it maps some back
