"""What published numbers say of numbers that are not: the least and the most that a count may be.

A release is a set of statements about unknown counts of people: a published count is known within its rounding, a
hidden one has its limits, groups add up to everybody, those at risk are among those asked. Whether they determine a
count is an integer programme, solved by HiGHS (Huangfu and Hall 2018, 10.1007/s12532-017-0130-5).

Most counts need no programme of their own. Limits that follow from single statements, passed on until nothing changes
(constraint propagation; Apt 2003, Principles of Constraint Programming, chapter 6), show that a count cannot be small
or that it is told already; a few solutions of a whole system show that many counts may be this and that. Systems are
solved side by side, as blocks of one programme.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Weights = Mapping[Any, float]
FEWEST_NUMBERS = 3
"""A small count must keep as many possible numbers (all of them, where there are no more)."""
_MANY = 1e7
"""More people than any cohort has: a limit that keeps the programme bounded."""
_AS_IT_IS: Mapping[str, bool] = {"presolve": False}  # HiGHS prints lines when it maps some programmes back
_CLOSE, _WHOLE = 3.0, 1e-6
_SIGNS = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]], np.float64)
"""Which way two neighbouring targets are moved, from solution to solution."""
_PASSES = 25


@dataclass
class Statements:
    """What is known of counts.

    Attributes:
        limits: count -> the least and the most that it may be.
        sums: weights of counts, and the least and the most of their sum.
    """

    limits: dict[Any, tuple[float, float]] = field(default_factory=dict)
    sums: list[tuple[Weights, float, float]] = field(default_factory=list)

    def within(self, count: Hashable, low: float, high: float) -> None:
        """``count`` lies between two numbers, and between those stated before."""
        before = self.limits.get(count, (0.0, np.inf))
        self.limits[count] = (max(before[0], low), min(before[1], high))

    def total(self, whole: Hashable, parts: Sequence[Hashable]) -> None:
        """``parts`` add up to ``whole``; of those of which nothing was stated, anything is possible."""
        for part in parts:
            self.limits.setdefault(part, (0.0, np.inf))
        self.sums.append(({whole: -1.0} | dict.fromkeys(parts, 1.0), 0.0, 0.0))

    def at_least(self, weights: Weights, low: float) -> None:
        """A weighted sum is at least ``low``."""
        self.sums.append((weights, low, np.inf))

    def system(self, targets: Sequence[Weights]) -> System:
        """The statements as arrays, with the sums of counts that are asked for."""
        place = {name: k for k, name in enumerate(self.limits)}
        low, high = np.array(list(self.limits.values()), np.float64).reshape(-1, 2).T
        least, most = (np.array([found[k] for found in self.sums], np.float64) for k in (1, 2))
        rows = _matrix([weights for weights, _, _ in self.sums], place)
        return System(low, np.minimum(high, _MANY), rows, least, most, _matrix(targets, place))


@dataclass(frozen=True)
class System:
    """Counts with their limits, sums of them with theirs, and the sums that are asked for.

    Attributes:
        low: ``(c,)`` the least that a count may be.
        high: ``(c,)`` the most.
        rows: ``(m, c)`` weights of sums.
        least: ``(m,)`` the least that a sum may be.
        most: ``(m,)`` the most.
        targets: ``(t, c)`` weights of the sums that are asked for.
    """

    low: Floats
    high: Floats
    rows: Floats
    least: Floats
    most: Floats
    targets: Floats

    @property
    def key(self) -> bytes:
        """The same for two systems that are the same but for names."""
        parts = (self.low, self.high, self.rows, self.least, self.most, self.targets)
        return b"|".join(part.tobytes() for part in parts)

    @property
    def outer(self) -> tuple[Floats, Floats]:
        """``(t,)`` twice: what no target is less, nor more, by the limits of its counts."""
        up, down = np.maximum(self.targets, 0), np.minimum(self.targets, 0)
        return up @ self.low + down @ self.high, up @ self.high + down @ self.low

    def tightened(self) -> System | None:
        """The system with the limits that follow from single sums; None if these contradict each other."""
        low, high = self.low.copy(), self.high.copy()
        up, down = np.maximum(self.rows, 0), np.minimum(self.rows, 0)
        for _ in range(_PASSES if len(self.rows) else 0):
            spare_up = (self.most - (up @ low + down @ high))[:, None]  # how far a sum may rise from its least
            spare_down = ((up @ high + down @ low) - self.least)[:, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                rise = np.where(up > 0, spare_up / up, np.where(down < 0, spare_down / -down, np.inf)).min(axis=0)
                fall = np.where(up > 0, spare_down / up, np.where(down < 0, spare_up / -down, np.inf)).min(axis=0)
            new_high = np.minimum(high, np.floor(low + rise + _WHOLE))
            new_low = np.maximum(low, np.ceil(high - fall - _WHOLE))
            if (new_low > new_high).any():
                return None
            if (new_low == low).all() and (new_high == high).all():
                break
            low, high = new_low, new_high
        return replace(self, low=low, high=high)

    def holds(self, counts: Floats) -> bool:
        """Whether whole counts fulfil all statements."""
        sums = self.rows @ counts
        near = ((counts >= self.low) & (counts <= self.high)).all()
        return bool(near and (sums >= self.least - _WHOLE).all() and (sums <= self.most + _WHOLE).all())

    def solution(self, goal: Floats) -> Floats | None:
        """Counts with the least ``goal``; the linear programme, six times as fast, mostly gives whole numbers."""
        constraints = [LinearConstraint(self.rows, self.least, self.most)] if len(self.rows) else []
        for whole in (0, 1):
            found = milp(goal, integrality=np.full(len(goal), whole), bounds=Bounds(self.low, self.high),
                         constraints=constraints, options=_AS_IT_IS)  # fmt: skip
            if found.x is None:
                return None
            if np.allclose(found.x, np.round(found.x), rtol=0, atol=_WHOLE):
                break
        return np.asarray(np.round(found.x), np.float64)

    def ranges(self) -> list[tuple[float, float]]:
        """The least and the most of each target.

        Raises:
            ValueError: no counts fulfil all statements.
        """
        ends = []
        for target in self.targets:
            solutions = [self.solution(sign * target) for sign in (1, -1)]
            if solutions[0] is None or solutions[1] is None:
                raise ValueError("no counts fulfil all statements")
            ends.append((float(target @ solutions[0]), float(target @ solutions[1])))
        return ends


def is_determined(low: float, high: float, threshold: int) -> bool:
    """Whether a count is known to be small, and to be one of too few numbers."""
    return low >= 1 and high < threshold and high - low + 1 < min(FEWEST_NUMBERS, threshold - 1)


@dataclass(frozen=True)
class Told:
    """What a system tells of its targets.

    Attributes:
        low: ``(t,)`` a target is not less; of those that are determined, the least that it may be.
        high: ``(t,)`` nor more.
        determined: ``(t,)`` whether it is small and one of too few numbers.
    """

    low: Floats
    high: Floats
    determined: Bools

    def of(self, k: int) -> tuple[float, float, bool]:
        """The same of one target."""
        return float(self.low[k]), float(self.high[k]), bool(self.determined[k])


def told_by(systems: Sequence[System], threshold: int) -> list[Told | None]:
    """What each of some dozens of systems tells of its targets; None where its statements contradict each other.

    Args:
        systems: of counts of people.
        threshold: the smallest number that may be published.
    """
    tightened = [system.tightened() for system in systems]
    searches = [None if system is None else _Search(system, threshold) for system in tightened]
    _solve_beside([search for search in searches if search is not None and (search.open | search.narrow).any()])
    return [None if search is None else search.told() for search in searches]


class _Search:
    """One system, the solutions of it that are known, and the targets of which they do not tell enough."""

    def __init__(self, system: System, threshold: int) -> None:
        self.system, self.threshold = system, threshold
        self.outer = system.outer
        self.low, self.high = (np.full(len(system.targets), sign * np.inf) for sign in (1, -1))
        self.at: Floats | None = None
        self.contradicts = False

    @property
    def open(self) -> Bools:
        """``(t,)`` targets that may be small by the limits of their counts, and may have too few numbers so far."""
        possible = (self.outer[0] < self.threshold) & (self.outer[1] >= 1)
        apart = np.where(np.isfinite(self.low), self.high - self.low, 0) + 1 >= min(FEWEST_NUMBERS, self.threshold - 1)
        free = apart | (self.low < 1) | (self.high >= self.threshold)
        return np.asarray(possible & ~free & ~self.narrow, bool)

    @property
    def narrow(self) -> Bools:
        """``(t,)`` targets that the limits of their counts alone determine."""
        return np.array([is_determined(*ends, self.threshold) for ends in zip(*self.outer, strict=True)], bool)

    def meet(self, counts: Floats) -> bool:
        """Take note of a solution; returns whether it is one."""
        counts = np.round(counts)
        if not self.system.holds(counts):
            return False
        values = self.system.targets @ counts
        self.low, self.high, self.at = np.minimum(self.low, values), np.maximum(self.high, values), counts
        return True

    def begin(self, counts: Floats) -> None:
        """The first solution, of which a linear programme gave a guess."""
        if not self.meet(counts):
            found = self.system.solution(np.zeros(len(self.system.low)))
            self.contradicts = found is None or not self.meet(found)

    def finish(self) -> None:
        """A programme for each end of every target that is left."""
        while self.open.any():
            target = self.system.targets[int(np.argmax(self.open))]
            ends = [self.system.solution(sign * target) for sign in (1, -1)]
            if not all(end is not None and self.meet(end) for end in ends):
                raise RuntimeError("a programme with a solution was said to have none")
            self._settle(int(np.argmax((self.system.targets == target).all(axis=1))))

    def _settle(self, k: int) -> None:
        """Both ends of a target are known: they are its limits."""
        self.outer[0][k], self.outer[1][k] = self.low[k], self.high[k]

    def told(self) -> Told | None:
        """What is known in the end."""
        return None if self.contradicts else Told(*self.outer, self.narrow)


def _solve_beside(searches: list[_Search]) -> None:
    """Find solutions of all systems at once until they tell enough of each target."""
    if not searches:
        return
    for search, counts in zip(searches, _first_solutions([s.system for s in searches]), strict=True):
        search.begin(counts)
    searches = [search for search in searches if not search.contradicts]
    for signs in _SIGNS:
        left = [search for search in searches if search.open.any()]
        for search, counts in zip(left, _moved(left, signs), strict=True):
            search.meet(counts)
    for search in searches:
        search.finish()


def _first_solutions(systems: list[System]) -> Iterator[Floats]:
    """Of each system the counts that offend least against its sums."""
    rows = sparse.block_diag([system.rows for system in systems], format="csr")
    low, high, least, most = (np.concatenate([getattr(s, name) for s in systems]) for name in _LIMITS)
    n, m = rows.shape[1], rows.shape[0]
    if not m:
        return _split(low, systems)
    eye = sparse.identity(m, format="csr")
    found = milp(
        np.r_[np.zeros(n), np.ones(2 * m)],
        bounds=Bounds(np.r_[low, np.zeros(2 * m)], np.r_[high, np.full(2 * m, _MANY)]),
        constraints=LinearConstraint(sparse.hstack([rows, eye, -eye], format="csr"), least, most),
        options=_AS_IT_IS,
    )
    return _split(found.x[:n], systems)


def _moved(searches: list[_Search], signs: Floats) -> Iterator[Floats]:
    """Of each system a solution near the last one, with its open targets moved up or down by turns."""
    if not searches:
        return iter(())
    systems, goals = [], []
    for search in searches:
        assert search.at is not None  # begun
        near = np.maximum(search.system.low, search.at - _CLOSE), np.minimum(search.system.high, search.at + _CLOSE)
        systems.append(replace(search.system, low=near[0], high=near[1]))
        targets = search.system.targets[search.open]
        goals.append(np.resize(signs, len(targets)) @ targets)
    low, high, least, most = (np.concatenate([getattr(s, name) for s in systems]) for name in _LIMITS)
    rows = sparse.block_diag([system.rows for system in systems], format="csr")
    found = milp(np.concatenate(goals), bounds=Bounds(low, high), constraints=LinearConstraint(rows, least, most),
                 options=_AS_IT_IS)  # fmt: skip
    return _split(found.x, systems)


_LIMITS = ("low", "high", "least", "most")


def _split(counts: Floats, systems: list[System]) -> Iterator[Floats]:
    yield from np.split(counts, np.cumsum([len(system.low) for system in systems])[:-1])


def _matrix(weights: Sequence[Weights], place: Mapping[Any, int]) -> Floats:
    """``(w, c)`` weights as rows."""
    found = np.zeros((len(weights), len(place)))
    for row, names in enumerate(weights):
        for name, weight in names.items():
            found[row, place[name]] += weight
    return found
