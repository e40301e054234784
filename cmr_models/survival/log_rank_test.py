"""The log-rank test: do survival curves differ between groups?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.estimates import NotEstimableError, minus_log10_p_chi2
from cmr_models.survival.checks import check_events
from cmr_models.survival.gray import CurveTest
from cmr_models.survival.product_limit import kaplan_meier


def log_rank(
    exit: npt.ArrayLike, event: npt.ArrayLike, group: npt.ArrayLike, *, entry: npt.ArrayLike | None = None
) -> CurveTest:
    """Test survival for equality between groups.

    Args:
        exit: ``(n,)`` times of event or censoring.
        event: ``(n,)`` boolean.
        group: ``(n,)`` labels.
        entry: ``(n,)`` delayed entry; at risk on (entry, exit].

    Raises:
        ValueError: as :func:`cmr_models.survival.kaplan_meier`; missing labels.
        NotEstimableError: fewer than two groups, no events.

    Reference:
        Mantel 1966, Peto & Peto 1972; hypergeometric variance, as R's ``survdiff``.
    """
    codes, labels = pd.factorize(np.asarray(group))
    whole = kaplan_meier(exit, event, entry)
    if len(codes) != len(whole.exit) or (codes < 0).any():
        raise ValueError(f"group must be {len(whole.exit)} labels, none missing")
    if len(labels) < 2:
        raise NotEstimableError("too_few_groups", "the log-rank test compares at least two")
    if not len(whole.time):
        raise NotEstimableError("too_few_cases", "no event")
    events = check_events(event)
    at_risk, observed = np.empty((2, len(labels), len(whole.time)))
    for g in range(len(labels)):
        rows = codes == g
        part = kaplan_meier(whole.exit[rows], events[rows], whole.entry[rows])
        at_risk[g], observed[g] = part.at_risk(whole.time), np.diff(part.events_until(whole.time), prepend=0)
    share, deaths, total = at_risk / whole.n_at_risk, whole.n_events, whole.n_at_risk
    score = (observed - share * deaths).sum(axis=1)[:-1]
    tied = np.divide(total - deaths, total - 1, out=np.zeros(len(total)), where=total > 1) * deaths
    variance = np.diag((share * tied).sum(axis=1)) - (share * tied) @ share.T
    chi2, df = float(score @ np.linalg.pinv(variance[:-1, :-1]) @ score), len(labels) - 1
    return CurveTest(chi2, df, float(stats.chi2.sf(chi2, df)), float(minus_log10_p_chi2(chi2, df)))
