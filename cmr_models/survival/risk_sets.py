"""Who is at risk at which event time, and sums over them in one pass over the people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]
Ties = Literal["efron", "breslow"]


@dataclass(frozen=True)
class RiskSets:
    """One stratum: ``m`` people at risk at some event time, ``K`` distinct event times, ``E`` likelihood terms.

    A term is an event (Efron) or all events of one time (Breslow).

    Attributes:
        rows: ``(m,)`` of the table, by time of exit.
        weight: ``(m,)`` case weights.
        first, last: ``(m,)`` at risk at the event times ``first <= k < last``.
        dead: positions in ``rows`` of the events; ``dead_at`` the event time of each.
        times: ``(K,)``.
        term_at: ``(E,)`` event time of each term.
        term_share: ``(E,)`` Efron's share of the deaths taken off.
        term_weight: ``(E,)`` case weight of each term.
        enters_late: whether anybody comes under observation after the first event.
    """

    rows: Ints
    weight: Floats
    first: Ints
    last: Ints
    dead: Ints
    dead_at: Ints
    times: Floats
    term_at: Ints
    term_share: Floats
    term_weight: Floats
    enters_late: bool

    @property
    def n_times(self) -> int:
        """K."""
        return len(self.times)

    def at_risk(self, relative: Floats, values: Floats) -> Floats:
        """``(K, 1 + c)`` sums of ``relative (m,)`` and ``relative * values (m, c)`` over those at risk at each time."""
        sums = _sum_beyond(self.last, np.arange(len(self.last)), relative, values, self.n_times)
        if self.enters_late:
            sums -= _sum_beyond(self.first, np.argsort(self.first, kind="stable"), relative, values, self.n_times)
        return sums

    def over_terms(self, values: Floats) -> Floats:
        """``(K,)`` or ``(K, c)`` sums of ``values (E, ...)`` over the terms of each event time."""
        starts = np.flatnonzero(np.diff(self.term_at, prepend=-1))
        return np.asarray(np.add.reduceat(values, starts, axis=0), np.float64)

    def during(self, by_time: Floats) -> Floats:
        """``(m, ...)`` sum of ``by_time (K, ...)`` over the event times at which each person is at risk."""
        until = np.concatenate([np.zeros_like(by_time[:1]), np.cumsum(by_time, axis=0)])
        return np.asarray(until[self.last] - until[self.first] if self.enters_late else until[self.last], np.float64)


def make_risk_sets(
    entry: Floats, exit: Floats, event: Bools, stratum: Ints, weight: Floats, ties: Ties
) -> list[RiskSets]:
    """Risk sets of each stratum that has an event; at risk on (entry, exit].

    Args:
        entry: ``(n,)``; ``-inf`` for those observed from the start.
        exit: ``(n,)``.
        event: ``(n,)``.
        stratum: ``(n,)`` codes; each has a baseline hazard of its own.
        weight: ``(n,)`` case weights, over 0.
        ties: how events at one time share their risk set.
    """
    order = np.argsort(stratum, kind="stable")
    bounds = np.flatnonzero(np.diff(stratum[order])) + 1
    groups = [rows for rows in np.split(order, bounds) if event[rows].any()]
    return [_risk_sets(rows, entry, exit, event, weight, ties) for rows in groups]


def _risk_sets(rows: Ints, entry: Floats, exit: Floats, event: Bools, weight: Floats, ties: Ties) -> RiskSets:
    times, deaths = np.unique(exit[rows][event[rows]], return_counts=True)
    first, last = np.searchsorted(times, entry[rows], "right"), np.searchsorted(times, exit[rows], "right")
    at_risk = np.flatnonzero(first < last)
    at_risk = at_risk[np.argsort(last[at_risk], kind="stable")]
    rows, first, last = rows[at_risk], first[at_risk], last[at_risk]
    dead = np.flatnonzero(event[rows])
    dead_at = last[dead] - 1
    weight_at = np.bincount(dead_at, weight[rows][dead], len(times))
    term_at = np.arange(len(times)) if ties == "breslow" else np.repeat(np.arange(len(times)), deaths)
    terms = np.ones_like(deaths) if ties == "breslow" else deaths
    within = np.arange(len(term_at)) - np.repeat(np.cumsum(terms) - terms, terms)
    return RiskSets(
        rows=rows,
        weight=weight[rows],
        first=first,
        last=last,
        dead=dead,
        dead_at=dead_at,
        times=times,
        term_at=term_at,
        term_share=within / terms[term_at],
        term_weight=(weight_at / terms)[term_at],
        enters_late=bool((first > 0).any()),
    )


def _sum_beyond(bound: Ints, order: Ints, relative: Floats, values: Floats, n_times: int) -> Floats:
    """``(K, 1 + c)`` for each k the sum over people whose ``bound`` is over k; ``order`` sorts ``bound``."""
    starts = np.searchsorted(bound[order], np.arange(n_times + 2))
    shape = (n_times + 1, len(bound))
    by_bound = sparse.csr_array((relative[order], order, starts), shape=shape)
    sums = np.column_stack([by_bound @ np.ones(len(bound)), by_bound @ values])
    return np.asarray(np.cumsum(sums[:0:-1], axis=0)[::-1], np.float64)
