"""The area under the ROC curve at a horizon: those with the event by then against those without it then."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from cmr_models.prediction.horizon import check_times, standing

Floats = npt.NDArray[np.float64]

_Z95 = float(stats.norm.ppf(0.975))


class TimeAuc(NamedTuple):
    """Area, standard error, 95 % interval, and the cases and controls it stands on."""

    auc: float
    se: float
    ci_low: float
    ci_high: float
    n_cases: int
    n_controls: int
    influence: Floats


def time_auc(exit: npt.ArrayLike, event: npt.ArrayLike, risk: npt.ArrayLike, horizon: float) -> TimeAuc:
    """Cumulative-dynamic area with inverse-censoring weights, ties of risk one half, in O(n log n).

    Args:
        exit: ``(n,)`` times.
        event: ``(n,)`` boolean.
        risk: ``(n,)`` higher for earlier events.
        horizon: in the unit of the times.

    Raises:
        ValueError: lengths differ, values are not finite.
        NotEstimableError: no case or no control at the horizon.

    Reference:
        Uno 2007, 10.1198/016214507000000149; Hung & Chiang 2010. Error by the infinitesimal jackknife, the censoring
        curve taken as known (conservative: estimating it makes the area more precise).
    """
    times, events, (scores,) = check_times(exit, event, risk)
    at = standing(times, events, horizon)
    case, control = at.weight * at.case, at.weight * at.control
    below, above = _won(scores, control), case.sum() - _won(scores, case)
    pairs = case.sum() * control.sum()
    value = float(case @ below / pairs)
    influence = (case * (below - value * control.sum()) + control * (above - value * case.sum())) / pairs
    se = float(np.sqrt((influence**2).sum()))
    limits = max(0.0, value - _Z95 * se), min(1.0, value + _Z95 * se)
    return TimeAuc(value, se, *limits, int(at.case.sum()), int(at.control.sum()), influence)


def _won(scores: Floats, weight: Floats) -> Floats:
    """``(n,)`` weight of those with a lower score, and half of those with the same."""
    distinct, at = np.unique(scores, return_inverse=True)
    mass = np.bincount(at, weight, len(distinct))
    return np.asarray((np.cumsum(mass) - mass / 2)[at], np.float64)
