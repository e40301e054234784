"""Mean time without the event up to a horizon, and its difference between two groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from cmr_models.estimates import NotEstimableError, minus_log10_p
from cmr_models.survival.product_limit import kaplan_meier

_Z95 = float(stats.norm.ppf(0.975))


class RestrictedMean(NamedTuple):
    """A mean (or a difference of two) in the unit of the times, its standard error and 95 % interval."""

    value: float
    se: float
    ci_low: float
    ci_high: float


class RestrictedMeanDifference(NamedTuple):
    """The mean of the group less that of the others; two-sided test of no difference."""

    group: RestrictedMean
    others: RestrictedMean
    difference: RestrictedMean
    z: float
    minus_log10_p: float


def restricted_mean(
    exit: npt.ArrayLike, event: npt.ArrayLike, tau: float, entry: npt.ArrayLike | None = None
) -> RestrictedMean:
    """Area under the Kaplan-Meier curve up to ``tau``.

    Raises:
        ValueError: as :func:`cmr_models.survival.kaplan_meier`; ``tau`` not over 0.
        NotEstimableError: nobody is observed as long as ``tau`` while some survive.

    Reference:
        Royston & Parmar 2013, 10.1186/1471-2288-13-152; Greenwood's variance as R's ``survRM2`` and ``survfit``.
    """
    if not (np.isfinite(tau) and tau > 0):
        raise ValueError(f"tau must be over 0 and finite, got {tau}")
    curve = kaplan_meier(exit, event, entry)
    alive = float(curve.at([tau])[0][0])
    if float(np.max(np.asarray(exit, np.float64))) < tau and alive > 0:
        raise NotEstimableError("no_data", f"nobody is observed up to {tau}; give a smaller tau")
    before = curve.time < tau
    edges = np.concatenate([[0.0], curve.time[before], [tau]])
    areas = np.concatenate([[1.0], curve.survival[before]]) * np.diff(edges)
    left = np.cumsum(areas[::-1])[::-1][1:]
    deaths, at_risk = curve.n_events[before].astype(float), curve.n_at_risk[before].astype(float)
    last = at_risk > deaths
    variance = float((left[last] ** 2 * deaths[last] / (at_risk[last] * (at_risk[last] - deaths[last]))).sum())
    return _with_interval(float(areas.sum()), float(np.sqrt(variance)))


def restricted_mean_difference(
    exit: npt.ArrayLike,
    event: npt.ArrayLike,
    group: npt.ArrayLike,
    tau: float,
    entry: npt.ArrayLike | None = None,
) -> RestrictedMeanDifference:
    """Restricted mean of ``group (n,)`` true, less that of the others.

    Raises:
        ValueError, NotEstimableError: as :func:`restricted_mean`; only one group.
    """
    times, events, inside = np.asarray(exit, np.float64), np.asarray(event), np.asarray(group)
    if not np.isin(inside, (0, 1)).all() or inside.shape != times.shape:
        raise ValueError("group must be true or false (1 or 0) for everybody")
    chosen = inside.astype(bool)
    if chosen.all() or not chosen.any():
        raise NotEstimableError("too_few_groups", "everybody is in one group")
    entries = None if entry is None else np.asarray(entry, np.float64)
    first, second = (
        restricted_mean(times[rows], events[rows], tau, None if entries is None else entries[rows])
        for rows in (chosen, ~chosen)
    )
    apart = _with_interval(first.value - second.value, float(np.hypot(first.se, second.se)))
    z = apart.value / apart.se if apart.se > 0 else float("nan")
    return RestrictedMeanDifference(first, second, apart, z, float(minus_log10_p(z)))


def _with_interval(value: float, se: float) -> RestrictedMean:
    return RestrictedMean(value, se, value - _Z95 * se, value + _Z95 * se)
