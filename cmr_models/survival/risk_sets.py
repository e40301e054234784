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


class Members:
    """Who has each value from 0 to K of a bound ``(m,)``, and sums over them."""

    def __init__(self, bound: Ints, n_times: int) -> None:
        """Sort by ``bound``; small numbers sort by their digits."""
        self._order = np.argsort(bound.astype(np.uint16) if n_times < 2**16 else bound, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(bound, minlength=n_times + 1))])
        ones, shape = np.ones(len(bound)), (n_times + 1, len(bound))
        self._members = sparse.csr_array((ones, self._order, starts), shape=shape)

    def sums(self, relative: Floats, values: Floats) -> Floats:
        """``(K + 1, 1 + c)`` of ``relative (m,)`` and ``relative * values (m, c)``."""
        self._members.data = relative[self._order]
        sums = np.empty((self._members.shape[0], 1 + values.shape[1]))
        sums[:, 0] = self._members @ np.ones(len(relative))
        sums[:, 1:] = self._members @ values
        return sums


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
        leaving: whom each value of ``last``, 0 to K, has.
        coming: whom each value of ``first`` has; of nobody if none is late.
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
    leaving: Members
    coming: Members

    @property
    def n_times(self) -> int:
        """K."""
        return len(self.times)

    def at_risk(self, relative: Floats, values: Floats) -> Floats:
        """``(K, 1 + c)`` sums of ``relative (m,)`` and ``relative * values (m, c)`` over those at risk at each time."""
        sums = _beyond(self.leaving.sums(relative, values))
        if self.enters_late:
            sums -= _beyond(self.coming.sums(relative, values))
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
    if not stratum.any():
        return [_risk_sets(None, entry, exit, event, weight, ties)] if event.any() else []
    order = np.argsort(stratum, kind="stable")
    bounds = np.flatnonzero(np.diff(stratum[order])) + 1
    groups = [rows for rows in np.split(order, bounds) if event[rows].any()]
    return [_risk_sets(rows, entry[rows], exit[rows], event[rows], weight[rows], ties) for rows in groups]


def _risk_sets(
    table_rows: Ints | None, entry: Floats, exit: Floats, event: Bools, weight: Floats, ties: Ties
) -> RiskSets:
    """Of the people of one stratum, who are ``table_rows`` of the table; all of it if None."""
    times, deaths = np.unique(exit[event], return_counts=True)
    first, last = _until(times, entry), _until(times, exit)
    small = last.astype(np.uint16) if len(times) < 2**16 else last
    here = np.argsort(small, kind="stable")
    here = here[np.take(first < last, here)]
    first, last, weight = np.take(first, here), np.take(last, here), np.take(weight, here)
    dead = np.flatnonzero(np.take(event, here))
    dead_at = last[dead] - 1
    weight_at = np.bincount(dead_at, weight[dead], len(times))
    term_at = np.arange(len(times)) if ties == "breslow" else np.repeat(np.arange(len(times)), deaths)
    terms = np.ones_like(deaths) if ties == "breslow" else deaths
    within = np.arange(len(term_at)) - np.repeat(np.cumsum(terms) - terms, terms)
    enters_late = bool(first.any())
    return RiskSets(
        rows=here if table_rows is None else np.take(table_rows, here),
        weight=weight,
        first=first,
        last=last,
        dead=dead,
        dead_at=dead_at,
        times=times,
        term_at=term_at,
        term_share=within / terms[term_at],
        term_weight=(weight_at / terms)[term_at],
        enters_late=enters_late,
        leaving=Members(last, len(times)),
        coming=Members(first if enters_late else first[:0], len(times)),
    )


def _until(times: Floats, at: Floats) -> Ints:
    """``(m,)`` number of ``times`` at or before ``at (m,)``."""
    if not np.isfinite(at).any():
        return np.zeros(len(at), np.intp)
    # Sorting first is cheaper than to look up each in turn.
    order = np.argsort(at)
    found = np.empty(len(at), np.intp)
    found[order] = np.searchsorted(times, at[order], "right")
    return found


def _beyond(sums: Floats) -> Floats:
    """``(K, ...)`` for each k the sum over the bounds over k."""
    return np.asarray(np.cumsum(sums[:0:-1], axis=0)[::-1], np.float64)
