"""Concordance of a risk score with survival, with its standard error: Harrell's and Uno's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cmr_models.estimates import NotEstimableError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_CELLS_PER_BLOCK = 4_000_000


@dataclass(frozen=True)
class Concordance:
    """A concordance index.

    Attributes:
        value: share of comparable pairs in which the higher risk fails first; ties of risk count one half.
        se: standard error by the infinitesimal jackknife.
        n_pairs: comparable pairs (unweighted).
        concordant, discordant, tied_risk: their split (unweighted).
    """

    value: float
    se: float
    n_pairs: int
    concordant: int
    discordant: int
    tied_risk: int


def concordance(
    exit: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    *,
    entry: npt.ArrayLike | None = None,
    method: Literal["harrell", "uno"] = "harrell",
    tau: float | None = None,
) -> Concordance:
    """Concordance of ``risk`` (higher: earlier event) with the times.

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

    Raises:
        ValueError: lengths differ, values are not finite, exit not after entry, entry with Uno.
        NotEstimableError: no comparable pair, or (Uno) no chance of being uncensored at an event.

    Reference:
        Harrell 1982; Uno 2011, 10.1002/sim.4154; standard error as in R's ``survival::concordance``.
    """
    times, events, scores, entries = _check(exit, event, risk, entry, method)
    counted = np.flatnonzero(events & (times < (np.inf if tau is None else tau)))
    weights = np.ones(len(counted)) if method == "harrell" else _uno_weights(times, events, counted)
    return _from_pairs(times, events, scores, entries, counted, weights)


def _check(
    exit: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    entry: npt.ArrayLike | None,
    method: str,
) -> tuple[Floats, Bools, Floats, Floats]:
    times, scores = np.asarray(exit, np.float64), np.asarray(risk, np.float64)
    events = np.asarray(event).astype(bool)
    entries = np.full(times.shape, -np.inf) if entry is None else np.asarray(entry, np.float64)
    if not times.shape == events.shape == scores.shape == entries.shape or times.ndim != 1:
        raise ValueError(
            f"exit, event, risk, entry must be vectors of one length, got {times.shape}, {scores.shape}"
        )
    if method not in ("harrell", "uno"):
        raise ValueError(f"method must be 'harrell' or 'uno', got {method!r}")
    if method == "uno" and entry is not None:
        raise ValueError("Uno's index has no delayed entry; give times since entry and no entry")
    if not (np.isfinite(times).all() and np.isfinite(scores).all()) or np.isnan(entries).any():
        raise ValueError("exit, risk and entry must be finite; drop rows with missing values first")
    if (times <= entries).any():
        raise ValueError(f"{int((times <= entries).sum())} rows leave at or before they enter")
    return times, events, scores, entries


def _uno_weights(times: Floats, events: Bools, counted: npt.NDArray[np.intp]) -> Floats:
    """``1 / G(t-)**2`` at each counted event, scaled to a mean of 1."""
    uncensored = _censoring_survival_before(times, events, times[counted])
    if (uncensored <= 0).any():
        raise NotEstimableError("no_pairs", "nobody can be uncensored at the last events; give a smaller tau")
    weights = uncensored**-2.0
    return np.asarray(weights / weights.mean(), np.float64) if len(weights) else weights


def _censoring_survival_before(times: Floats, events: Bools, at: Floats) -> Floats:
    distinct = np.unique(times[~events])
    ordered = np.sort(times)
    # Deaths at a time precede its censorings: they are not at risk of being censored then.
    dead = np.sort(times[events])
    at_risk = len(times) - np.searchsorted(ordered, distinct, "left")
    at_risk = at_risk - (np.searchsorted(dead, distinct, "right") - np.searchsorted(dead, distinct, "left"))
    censored = np.sort(times[~events])
    left = np.searchsorted(censored, distinct, "right") - np.searchsorted(censored, distinct, "left")
    survival = np.concatenate([[1.0], np.cumprod(1 - left / at_risk)])
    return np.asarray(survival[np.searchsorted(distinct, at, "left")], np.float64)


def _from_pairs(
    times: Floats,
    events: Bools,
    scores: Floats,
    entries: Floats,
    counted: npt.NDArray[np.intp],
    weights: Floats,
) -> Concordance:
    n = len(times)
    pairs_of, score_of = np.zeros(n), np.zeros(n)
    counts = np.zeros(3, np.int64)
    block = max(1, _CELLS_PER_BLOCK // max(n, 1))
    for start in range(0, len(counted), block):
        i, w = counted[start : start + block], weights[start : start + block]
        time, comparable = times[i, None], entries[None, :] < times[i, None]
        comparable &= (times[None, :] > time) | ((times[None, :] == time) & ~events[None, :])
        higher = comparable & (scores[i, None] > scores[None, :])
        tied = comparable & (scores[i, None] == scores[None, :])
        counts += (comparable.sum(), higher.sum(), tied.sum())
        points = higher + 0.5 * tied
        pairs_of += w @ comparable
        score_of += w @ points
        np.add.at(pairs_of, i, w * comparable.sum(axis=1))
        np.add.at(score_of, i, w * points.sum(axis=1))
    total = pairs_of.sum() / 2
    if total == 0:
        raise NotEstimableError("no_pairs")
    value = score_of.sum() / 2 / total
    influence = (score_of - value * pairs_of) / total
    comparable_pairs, concordant, tied_risk = (int(count) for count in counts)
    return Concordance(
        value=float(value),
        se=float(np.sqrt((influence**2).sum())),
        n_pairs=comparable_pairs,
        concordant=concordant,
        discordant=comparable_pairs - concordant - tied_risk,
        tied_risk=tied_risk,
    )
