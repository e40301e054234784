"""Fine-Gray regression: the subdistribution hazard of one cause among several, with its proper sandwich.

Those who had another cause stay at risk, with the weight that their censoring would have left them; that
weight is a product of something of the person and something of the time, so every sum stays a running sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.estimates import NotEstimableError
from cmr_models.estimates.design_matrix import (
    Standard,
    check_columns,
    complete_design,
    is_infinite,
    numbers,
    standard_columns,
    term_table,
)
from cmr_models.survival.competing import check_causes
from cmr_models.survival.newton import Maximum, Slope, maximise

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class FineGrayFit:
    """A fitted model.

    Attributes:
        estimates: one row a term: ``term, coef, se, naive_se, ci_low, ci_high`` (of the log subdistribution
            hazard ratio), ``z, p, minus_log10_p, status`` (as in :class:`cmr_models.survival.CoxFit`).
            ``se`` is of the sandwich; ``naive_se``, of the information alone, is too narrow or too wide
            and only shown.
        log_likelihood: pseudo log likelihood.
        log_likelihood_null: with all coefficients 0.
        covariance: of the coefficients that are not aliased, by the sandwich.
        n: rows fitted.
        n_events: of the cause; ``n_competing`` of other causes.
    """

    estimates: pd.DataFrame
    log_likelihood: float
    log_likelihood_null: float
    covariance: pd.DataFrame
    n: int
    n_events: int
    n_competing: int


def fit_fine_gray(
    table: pd.DataFrame, *, exit: str, event: str, cause: int, covariates: Sequence[str], entry: str | None = None
) -> FineGrayFit:
    """Fit the proportional subdistribution hazards model.

    Args:
        table: one row a person, without missing values in the columns used.
        exit: column of the time at the event or at censoring.
        event: column, 0 censored, else the code of the cause.
        cause: code of the cause of interest.
        covariates: columns; text becomes indicators.
        entry: column of delayed entry, at risk on (entry, exit]. Those who had another cause then weigh by the chance
            to have entered as well, and the sandwich takes both chances as known, as R's ``finegray`` with ``coxph``.

    Raises:
        ValueError: missing columns or values, codes that are not whole numbers, ``exit`` not after ``entry``.
        NotEstimableError: nobody has the cause, no term varies, or with delayed entry nobody is under observation for
            a while.

    Reference:
        Fine & Gray 1999, 10.1080/01621459.1999.10474144, with the censoring term in the variance. Ties and
        the censoring curve (everybody present counts as at risk of censoring) as in Gray's ``crr``. Delayed entry:
        Geskus 2011, 10.1111/j.1541-0420.2010.01420.x.
    """
    check_columns(table, [name for name in (exit, event, entry) if name is not None])
    entries = None if entry is None else numbers(table[entry], entry)
    times, codes = check_causes(table[exit], table[event], cause, entries)
    design = complete_design(table, covariates)
    standard = standard_columns(design.to_numpy(float))
    if not standard.kept.any():
        raise NotEstimableError("constant_exposure", "no covariate varies")
    people = _people(standard.columns, times, codes, entries)
    best = maximise(lambda coef: _derivatives(coef, people), len(standard.spread), standard.basis)
    influence = _influence(best.coef, people) @ best.covariance
    covariance = influence.T @ influence
    se = np.sqrt(np.diag(covariance))
    best = best._replace(diverging=best.diverging | is_infinite(best.coef, se, standard.apart))
    labels = design.columns[standard.kept]
    return FineGrayFit(
        estimates=_estimates([str(name) for name in design], standard, best, se),
        log_likelihood=best.log_likelihood,
        log_likelihood_null=best.log_likelihood_null,
        covariance=pd.DataFrame(covariance / np.outer(standard.spread, standard.spread), labels, labels),
        n=len(table),
        n_events=int((codes == 1).sum()),
        n_competing=int((codes == 2).sum()),
    )


@dataclass(frozen=True)
class _People:
    """``n`` people by time of exit; ``K`` distinct times of the cause.

    Attributes:
        x: ``(n, p)``.
        times: ``(n,)``; codes ``(n,)`` 0 censored, 1 the cause, 2 another.
        until: ``(n,)`` number of event times at or before each exit.
        deaths: ``(K,)``.
        kept: ``(n,)`` 1 / (G H) just before the exit for those who had another cause, else 0.
        uncensored: ``(K,)`` G H just before each event time; H is the chance to have entered, 1 without entry.
        since: ``(n,)`` number of event times at or before each entry; None without entry.
    """

    x: Floats
    times: Floats
    codes: Ints
    until: Ints
    deaths: Floats
    kept: Floats
    event_times: Floats
    uncensored: Floats
    since: Ints | None


def _people(x: Floats, times: Floats, codes: Ints, entries: Floats | None) -> _People:
    order = np.argsort(times, kind="stable")
    x, times, codes = x[order], times[order], codes[order]
    entries = None if entries is None else entries[order]
    event_times, deaths = np.unique(times[codes == 1], return_counts=True)
    distinct, first = np.unique(times, return_index=True)
    censored = np.add.reduceat(codes == 0, first)
    at_risk = len(times) - first
    if entries is not None:
        at_risk = at_risk - (len(times) - np.searchsorted(np.sort(entries), distinct, "left"))
    curve = np.concatenate([[1.0], np.cumprod(1 - censored / at_risk)])
    own, at_events = (curve[np.searchsorted(distinct, at, "left")] for at in (times, event_times))
    since = None
    if entries is not None:
        own, at_events = (g * _entry_chance(times, entries, at) for g, at in ((own, times), (at_events, event_times)))
        since = np.searchsorted(event_times, entries, "right")
    until = np.searchsorted(event_times, times, "right")
    lost = (codes == 2) & (own <= 0) & (until < len(event_times))
    if lost.any():
        raise NotEstimableError("no_data", "nobody is under observation for a while; begin later")
    kept = np.divide(1.0, own, out=np.zeros(len(times)), where=(codes == 2) & (own > 0))
    return _People(x, times, codes, until, deaths.astype(float), kept, event_times, at_events, since)


def _entry_chance(times: Floats, entries: Floats, at: Floats) -> Floats:
    """Chance to have entered before each of ``at``: the Kaplan-Meier curve of entry with time running backwards."""
    distinct, coming = np.unique(entries, return_counts=True)
    present = np.searchsorted(np.sort(entries), distinct, "right") - np.searchsorted(np.sort(times), distinct, "right")
    later = np.concatenate([np.cumprod((1 - coming / present)[::-1])[::-1], [1.0]])
    return np.asarray(later[np.searchsorted(distinct, at, "left")], np.float64)


def _sums(relative: Floats, people: _People) -> tuple[Floats, Floats, Floats]:
    """``(K, 1 + p)`` weighted sums of one and the covariates over the risk sets, and those who had another cause.

    Also ``(n,)`` weights of the latter at a time when nobody can be censored.
    """
    columns = np.column_stack([np.ones(len(relative)), people.x]) * relative[:, None]
    backwards = np.cumsum(columns[::-1], axis=0)[::-1]
    present = backwards[np.searchsorted(people.times, people.event_times, "left")]
    if people.since is not None:
        coming = np.zeros((len(people.event_times) + 1, columns.shape[1]))
        np.add.at(coming, people.since, columns)
        present = present - np.cumsum(coming[:0:-1], axis=0)[::-1]
    held = np.concatenate([np.zeros((1, columns.shape[1])), np.cumsum(columns * people.kept[:, None], axis=0)])
    others = people.uncensored[:, None] * held[np.searchsorted(people.times, people.event_times, "left")]
    return present + others, held, columns


def _derivatives(coef: Floats, people: _People) -> Slope:
    eta = people.x @ coef
    shift = float(eta.max())
    relative = np.exp(eta - shift)
    sums, _, _ = _sums(relative, people)
    total = sums[:, 0]
    if not (total > 0).all():
        raise NotEstimableError("not_converged", "a risk set has no weight")
    mean, dead = sums[:, 1:] / total[:, None], people.codes == 1
    value = float(eta[dead].sum() - people.deaths @ (np.log(total) + shift))
    gradient = people.x[dead].sum(axis=0) - people.deaths @ mean

    def information() -> Floats:
        weight = relative * _exposure(people.deaths / total, people)
        return np.asarray((people.x * weight[:, None]).T @ people.x - (mean * people.deaths[:, None]).T @ mean)

    return Slope(value, gradient, information)


def _exposure(increment: Floats, people: _People) -> Floats:
    """``(n, ...)`` sum of ``increment (K, ...)`` over the event times, with each person's weight at them."""
    shape = (-1,) + (1,) * (increment.ndim - 1)
    none = np.zeros_like(increment[:1])
    until = np.concatenate([none, np.cumsum(increment, axis=0)])
    reduced = increment * people.uncensored.reshape(shape)
    beyond = np.concatenate([np.cumsum(reduced[::-1], axis=0)[::-1], none])
    before = until[people.until] if people.since is None else until[people.until] - until[people.since]
    return np.asarray(before + people.kept.reshape(shape) * beyond[people.until], np.float64)


def _influence(coef: Floats, people: _People) -> Floats:
    """``(n, p)`` each person's part of the score, with what their censoring tells of the weights."""
    eta = people.x @ coef
    relative = np.exp(eta - eta.max())
    sums, held, _ = _sums(relative, people)
    total, dead = sums[:, 0], people.codes == 1
    mean, increment = sums[:, 1:] / total[:, None], people.deaths / total
    exposed = _exposure(np.column_stack([increment, increment[:, None] * mean]), people)
    own = relative[:, None] * (exposed[:, 1:] - people.x * exposed[:, :1])
    own[dead] += people.x[dead] - mean[people.until[dead] - 1]
    if people.since is not None:
        return np.asarray(own, np.float64)
    return np.asarray(own + _censoring_influence(held, mean, increment * people.uncensored, people), np.float64)


def _censoring_influence(held: Floats, mean: Floats, increment: Floats, people: _People) -> Floats:
    """``(n, p)`` the influence through the censoring curve: ``q(u) / π(u)`` against its martingale."""
    distinct, first = np.unique(people.times, return_index=True)
    censored = np.add.reduceat((people.codes == 0).astype(float), first)
    at_risk = len(people.times) - first
    before = held[first]  # those who had another cause strictly before
    ahead = np.cumsum(np.column_stack([increment, increment[:, None] * mean])[::-1], axis=0)[::-1]
    ahead = np.concatenate([ahead, np.zeros_like(ahead[:1])])[np.searchsorted(people.event_times, distinct, "left")]
    q = (before[:, 1:] * ahead[:, :1] - before[:, :1] * ahead[:, 1:]) / at_risk[:, None]
    compensator = np.cumsum(q * (censored / at_risk)[:, None], axis=0)
    at = np.searchsorted(distinct, people.times)
    return np.asarray((people.codes == 0)[:, None] * q[at] - compensator[at], np.float64)


def _estimates(names: list[str], standard: Standard, best: Maximum, se: Floats) -> pd.DataFrame:
    terms = term_table(names, standard.kept, best.coef, se, standard.spread, best.diverging)
    naive_se = np.full(len(terms), np.nan)
    naive_se[standard.kept] = np.sqrt(np.maximum(np.diag(best.covariance), 0)) / standard.spread
    terms["naive_se"] = np.where(terms["status"] == "ok", naive_se, np.nan)
    terms["p"] = 2 * stats.norm.sf(terms["z"].astype(float).abs())
    columns = ["term", "coef", "se", "naive_se", "ci_low", "ci_high", "z", "p", "minus_log10_p", "status"]
    return terms[columns]
