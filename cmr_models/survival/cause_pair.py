"""The two questions about competing causes, always answered together: what drives the cause, what drives its share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from cmr_models.estimates.design_matrix import numbers
from cmr_models.survival.competing import check_causes
from cmr_models.survival.cox import CoxFit, fit_cox
from cmr_models.survival.fine_gray import FineGrayFit, fit_fine_gray


class CausePair(NamedTuple):
    """Attributes:
    cause_specific: Cox model of the cause, other causes censored: aetiology.
    other_causes: Cox model of the other causes, the cause censored; None if there is none.
    subdistribution: Fine-Gray model of the cause: prognosis.
    estimates: one row a term and model: ``model`` (``cause_specific``, ``other_causes``, ``fine_gray``), then the
        columns they share.
    """

    cause_specific: CoxFit
    other_causes: CoxFit | None
    subdistribution: FineGrayFit
    estimates: pd.DataFrame


def fit_cause_pair(
    table: pd.DataFrame, *, exit: str, event: str, cause: int, covariates: Sequence[str], entry: str | None = None
) -> CausePair:
    """Fit the cause-specific and the subdistribution hazard of ``cause``.

    Args:
        table, exit, event, cause, covariates, entry: as for :func:`cmr_models.survival.fit_fine_gray`.

    Raises:
        ValueError, NotEstimableError: as ``fit_fine_gray`` and ``fit_cox``.

    Reference:
        Latouche 2013, 10.1016/j.jclinepi.2012.09.017: both models, for all causes, side by side.
    """
    subdistribution = fit_fine_gray(table, exit=exit, event=event, cause=cause, covariates=covariates, entry=entry)
    _, codes = check_causes(table[exit], table[event], cause, None if entry is None else numbers(table[entry], entry))
    own, others = (
        fit_cox(table.assign(**{event: codes == code}), exit=exit, event=event, entry=entry, covariates=covariates)
        if (codes == code).any()
        else None
        for code in (1, 2)
    )
    assert own is not None  # checked: somebody has the cause
    fits = {"cause_specific": own, "other_causes": others, "fine_gray": subdistribution}
    parts = [fit.estimates.assign(model=name) for name, fit in fits.items() if fit is not None]
    columns = ["model", "term", "coef", "se", "ci_low", "ci_high", "z", "p", "minus_log10_p", "status"]
    return CausePair(own, others, subdistribution, pd.concat(parts, ignore_index=True)[columns])
