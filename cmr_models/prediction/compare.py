"""Is one prediction better than another on the same people? Paired differences with their intervals."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from cmr_models.estimates import minus_log10_p
from cmr_models.prediction.dynamic_auc import time_auc
from cmr_models.prediction.horizon import Floats, check_risk, check_times
from cmr_models.survival.brier_score import brier_weights
from cmr_models.survival.censoring import censoring_curve
from cmr_models.survival.discrimination import concordance

_Z95 = float(stats.norm.ppf(0.975))


class Comparison(NamedTuple):
    """First value, second value, first less second with standard error, 95 % interval, z and -log10 p."""

    first: float
    second: float
    difference: float
    se: float
    ci_low: float
    ci_high: float
    z: float
    minus_log10_p: float


def compare_concordance(
    exit: npt.ArrayLike,
    event: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    entry: npt.ArrayLike | None = None,
    method: Literal["harrell", "uno"] = "harrell",
    tau: float | None = None,
) -> Comparison:
    """Difference of the concordance of two risks, by the infinitesimal jackknife of both.

    Raises:
        ValueError, NotEstimableError: as :func:`cmr_models.survival.concordance`.

    Reference:
        Therneau & Watson 2017, the paired comparison of R's ``survival::concordance``.
    """
    a, b = (concordance(exit, event, risk, entry=entry, method=method, tau=tau) for risk in (first, second))
    return _compare_paired(a.value, b.value, a.influence - b.influence)


def compare_auc(
    exit: npt.ArrayLike, event: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike, horizon: float
) -> Comparison:
    """Difference of :func:`cmr_models.prediction.time_auc` of two risks."""
    a, b = (time_auc(exit, event, risk, horizon) for risk in (first, second))
    return _compare_paired(a.auc, b.auc, a.influence - b.influence)


def compare_brier(
    exit: npt.ArrayLike, event: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike, horizon: float
) -> Comparison:
    """Difference of the Brier score of two predicted risks of the event by ``horizon``; under 0: the first is better.

    Raises:
        ValueError: lengths differ, a risk outside [0, 1].
        NotEstimableError: nobody can be uncensored at the horizon.
    """
    times, events, (a, b) = check_times(exit, event, first, second)
    check_risk(a)
    check_risk(b)
    dead = events & (times <= horizon)
    weight = brier_weights(times, events, np.array([horizon]), censoring_curve(times, events))[:, 0]
    losses = [weight * (dead - risk) ** 2 for risk in (a, b)]
    apart = losses[0] - losses[1]
    return _compare_paired(float(losses[0].mean()), float(losses[1].mean()), (apart - apart.mean()) / len(apart))


def _compare_paired(first: float, second: float, influence: Floats) -> Comparison:
    se = float(np.sqrt((influence**2).sum()))
    # Two predictions that rank everybody alike differ by rounding alone.
    se = se if se > 1e-12 else 0.0
    apart = first - second
    z = apart / se if se else (0.0 if abs(apart) < 1e-12 else float("nan"))
    return Comparison(first, second, apart, se, apart - _Z95 * se, apart + _Z95 * se, z, float(minus_log10_p(z)))
