"""Concordance of a risk score with survival, with its standard error: Harrell's and Uno's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates import NotEstimableError
from cmr_models.estimates.design_matrix import numbers
from cmr_models.survival.censoring import censoring_curve
from cmr_models.survival.checks import check_events, check_order
from cmr_models.survival.ordered_pairs import PairSums, sum_pairs

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Concordance:
    """A concordance index.

    Attributes:
        value: share of comparable pairs in which the higher risk fails first; ties of risk count one half.
        se: standard error by the infinitesimal jackknife; NaN where all pairs agree, or none, which says nothing of
            how far the next pair could be off.
        n_pairs: comparable pairs (unweighted).
        concordant, discordant, tied_risk: their split (unweighted).
        influence: ``(n,)`` of each person on the value; two risks of the same people are compared through it.
    """

    value: float
    se: float
    n_pairs: int
    concordant: int
    discordant: int
    tied_risk: int
    influence: Floats = field(repr=False)


def concordance(
    exit: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    *,
    entry: npt.ArrayLike | None = None,
    method: Literal["harrell", "uno"] = "harrell",
    tau: float | None = None,
    strata: npt.ArrayLike | None = None,
) -> Concordance:
    """Concordance of ``risk`` (higher: earlier event) with the times, in O(n log n).

    An event at time t is compared with everybody under observation at t who fails later or is censored at
    t or later;
    two events at the same time are not compared. Uno's index weighs each event by ``1 / G(t-)**2``, G
    being the
    Kaplan-Meier curve of censoring in which deaths precede censorings at ties; G is taken as known in the
    standard error.

    Args:
        exit: ``(n,)`` times.
        event: ``(n,)`` boolean.
        risk: ``(n,)`` score.
        entry: ``(n,)`` delayed entry (Harrell only); at risk on (entry, exit].
        method: ``"harrell"`` or ``"uno"``.
        tau: events at ``tau`` or later are left out.
        strata: ``(n,)`` labels within which people are compared; everybody with everybody if None.

    Raises:
        ValueError: lengths differ, values are not finite, exit not after entry, entry with Uno,
            an event that is not 0 or 1, negative times without entry.
        NotEstimableError: no comparable pair, or (Uno) no chance of being uncensored at an event.

    Reference:
        Harrell 1982; Uno 2011, 10.1002/sim.4154; standard error as in R's ``survival::concordance``.
    """
    times, events, scores, entries = _check(exit, event, risk, entry, method)
    if tau is not None and np.isnan(tau):
        raise ValueError("tau must be a time, got nan")
    codes = np.zeros(len(times), int) if strata is None else pd.factorize(np.asarray(strata))[0]
    if len(codes) != len(times) or (codes < 0).any():
        raise ValueError(f"strata must be {len(times)} labels, none missing")
    counted = np.flatnonzero(events & (times < (np.inf if tau is None else tau)))
    weights = np.ones(len(counted)) if method == "harrell" else _uno_weights(times, events, counted)
    pairs = _no_pairs(len(times))
    for code in np.unique(codes[counted]):
        members, chosen = np.flatnonzero(codes == code), codes[counted] == code
        _add_pairs(pairs, members, times, events, scores, entries, counted[chosen], weights[chosen])
    return _from_pairs(pairs)


def _check(
    exit: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    entry: npt.ArrayLike | None,
    method: str,
) -> tuple[Floats, Bools, Floats, Floats | None]:
    times, scores = numbers(exit, "exit"), numbers(risk, "risk")
    events = check_events(event)
    entries = None if entry is None else numbers(entry, "entry")
    shapes = {times.shape, events.shape, scores.shape, *(() if entries is None else (entries.shape,))}
    if len(shapes) > 1 or times.ndim != 1:
        raise ValueError(f"exit, event, risk, entry must be vectors of one length, got {times.shape}, {scores.shape}")
    if method not in ("harrell", "uno"):
        raise ValueError(f"method must be 'harrell' or 'uno', got {method!r}")
    if method == "uno" and entries is not None:
        raise ValueError("Uno's index has no delayed entry; give times since entry and no entry")
    if not (np.isfinite(times).all() and np.isfinite(scores).all()) or (
        entries is not None and np.isnan(entries).any()
    ):
        raise ValueError("exit, risk and entry must be finite; drop rows with missing values first")
    check_order(times, entries)
    return times, events, scores, entries


def _uno_weights(times: Floats, events: Bools, counted: npt.NDArray[np.intp]) -> Floats:
    """``1 / G(t-)**2`` at each counted event, scaled to a mean of 1."""
    uncensored = censoring_curve(times, events).before(times[counted])
    if (uncensored <= 0).any():
        raise NotEstimableError("no_pairs", "nobody can be uncensored at the last events; give a smaller tau")
    weights = uncensored**-2.0
    return np.asarray(weights / weights.mean(), np.float64) if len(weights) else weights


@dataclass
class _Pairs:
    """Comparable pairs: weighted by person, ``(n,)`` in all and won (by the earlier or by the later), and counts."""

    in_all: Floats
    won: Floats
    counts: Floats


def _no_pairs(n: int) -> _Pairs:
    return _Pairs(np.zeros(n), np.zeros(n), np.zeros(3))


def _add_pairs(
    pairs: _Pairs,
    members: npt.NDArray[np.intp],
    times: Floats,
    events: Bools,
    scores: Floats,
    entries: Floats | None,
    counted: npt.NDArray[np.intp],
    weights: Floats,
) -> None:
    """Add the pairs of one stratum."""
    rank = np.unique(scores[members], return_inverse=True)[1].astype(np.int64)
    scored = np.zeros(len(times), np.int64)
    scored[members] = rank
    # Deaths at a time come before its censorings, and are one another's equals.
    distinct = np.unique(times[members])
    leaves = 2 * np.searchsorted(distinct, times) + ~events
    own = (leaves[counted], scored[counted], weights)
    _accumulate(pairs, sum_pairs(*own, leaves[members], rank), members, counted, weights, 1.0)
    if entries is None:
        return
    # Not comparable: those who come at the event or after it.
    comes = 2 * np.searchsorted(distinct, entries[members], "left") + 1
    comes -= 2 * (~np.isin(entries[members], distinct))
    late = comes > 0
    found = sum_pairs(*own, comes[late].astype(np.int64), rank[late])
    _accumulate(pairs, found, members[late], counted, weights, -1.0)


def _accumulate(
    pairs: _Pairs,
    found: PairSums,
    members: npt.NDArray[np.intp],
    counted: npt.NDArray[np.intp],
    weights: Floats,
    sign: float,
) -> None:
    in_all = found.lower + found.tied + found.higher
    pairs.in_all[counted] += sign * weights * in_all
    pairs.won[counted] += sign * weights * (found.lower + found.tied / 2)
    pairs.in_all[members] += sign * found.weight
    pairs.won[members] += sign * (found.weight_above + found.weight_tied / 2)
    pairs.counts += sign * np.array([in_all.sum(), found.lower.sum(), found.tied.sum()])


def _from_pairs(pairs: _Pairs) -> Concordance:
    n_pairs, concordant, tied_risk = (round(float(count)) for count in pairs.counts)
    if n_pairs == 0:
        raise NotEstimableError("no_pairs")
    total = pairs.in_all.sum() / 2
    value = pairs.won.sum() / 2 / total
    influence = (pairs.won - value * pairs.in_all) / total
    return Concordance(
        value=float(value),
        se=float(np.sqrt((influence**2).sum())) if 0 < value < 1 else float("nan"),
        n_pairs=n_pairs,
        concordant=concordant,
        discordant=n_pairs - concordant - tied_risk,
        tied_risk=tied_risk,
        influence=influence,
    )
