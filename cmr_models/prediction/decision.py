"""Would acting on the prediction do more good than harm? Net benefit along thresholds of risk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates import NotEstimableError
from cmr_models.prediction.horizon import check_risk, check_times
from cmr_models.survival.product_limit import kaplan_meier


def decision_curve(
    exit: npt.ArrayLike, event: npt.ArrayLike, risk: npt.ArrayLike, horizon: float, thresholds: Sequence[float]
) -> pd.DataFrame:
    """Net benefit of treating those whose risk reaches a threshold.

    Args:
        exit: ``(n,)`` times.
        event: ``(n,)`` boolean.
        risk: ``(n,)`` predicted chance of the event by ``horizon``.
        horizon: in the unit of the times.
        thresholds: over 0 and under 1.

    Returns:
        One row a threshold: ``threshold, treated`` (share), ``net_benefit, treat_all`` (treating none is 0), and
        ``avoided``, the treatments spared a hundred people against treating all, at no loss.

    Raises:
        ValueError: lengths differ, a risk outside [0, 1], a threshold outside (0, 1).
        NotEstimableError: nobody is observed up to ``horizon``.

    Reference:
        Vickers & Elkin 2006, 10.1177/0272989X06295361; with censoring by Kaplan-Meier among the treated, Vickers
        2008, 10.1186/1472-6947-8-53.
    """
    times, events, (predicted,) = check_times(exit, event, risk)
    check_risk(predicted)
    at = np.asarray(thresholds, np.float64)
    if not ((at > 0) & (at < 1)).all():
        raise ValueError(f"thresholds must be over 0 and under 1, got {list(thresholds)}")
    if times.max() < horizon:
        raise NotEstimableError("no_data", f"nobody is observed up to {horizon}")
    everybody = _had(times, events, horizon)
    rows = []
    for threshold in at:
        treated = predicted >= threshold
        share, odds = float(treated.mean()), float(threshold / (1 - threshold))
        had = _had(times[treated], events[treated], horizon) if treated.any() else 0.0
        benefit, all_in = share * (had - (1 - had) * odds), everybody - (1 - everybody) * odds
        row = {"threshold": float(threshold), "treated": share, "net_benefit": benefit, "treat_all": all_in}
        rows.append({**row, "avoided": 100 * (benefit - all_in) / odds})
    return pd.DataFrame(rows, columns=["threshold", "treated", "net_benefit", "treat_all", "avoided"])


def _had(times: npt.NDArray[np.float64], events: npt.NDArray[np.bool_], horizon: float) -> float:
    return 1 - float(kaplan_meier(times, events).at([horizon])[0][0])
