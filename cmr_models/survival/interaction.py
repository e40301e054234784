"""Do two exposures act together? On the multiplicative scale by their product, on the additive one by the RERI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from cmr_models.estimates import NotEstimableError, minus_log10_p, minus_log10_p_chi2
from cmr_models.survival.cox import CoxFit, fit_cox

_Z95 = float(stats.norm.ppf(0.975))


class Interaction(NamedTuple):
    """Attributes:
    coef, se: of the product (log of the ratio of hazard ratios).
    chi2, p, minus_log10_p: likelihood ratio of the product, 1 df.
    reri, reri_se, reri_ci_low, reri_ci_high, reri_minus_log10_p: relative excess risk due to interaction of one
        unit of each, 0 where hazards add; by the delta method.
    fit: the model with the product.
    """

    coef: float
    se: float
    chi2: float
    p: float
    minus_log10_p: float
    reri: float
    reri_se: float
    reri_ci_low: float
    reri_ci_high: float
    reri_minus_log10_p: float
    fit: CoxFit


def fit_interaction(
    table: pd.DataFrame, first: str, second: str, *, covariates: Sequence[str] = (), **times: Any
) -> Interaction:
    """Cox model with the product of two numeric columns.

    Args:
        table: as for :func:`cmr_models.survival.fit_cox`.
        first, second: columns of numbers; 0 is the common reference of the RERI.
        covariates: other columns.
        times: ``exit, event, entry, strata, weights, ties`` of :func:`cmr_models.survival.fit_cox`.

    Raises:
        ValueError, NotEstimableError: as ``fit_cox``; a product that is a combination of the two.

    Reference:
        Rothman 1986; delta method of Hosmer & Lemeshow 1992, 10.1097/00001648-199209000-00012.
    """
    product = f"{first} x {second}"
    wide = table.assign(**{product: table[first].astype(float) * table[second].astype(float)})
    null = fit_cox(wide, covariates=[*covariates, first, second], **times)
    fit = fit_cox(wide, covariates=[*covariates, first, second, product], **times)
    names = [first, second, product]
    own = fit.estimates.set_index("term").loc[names]
    if (own["status"] != "ok").any():
        raise NotEstimableError("collinear" if (own["status"] == "aliased").any() else "separation", product)
    chi2 = max(2 * (fit.log_likelihood - null.log_likelihood), 0.0)
    reri, reri_se = _reri(own["coef"].to_numpy(float), fit, names)
    return Interaction(
        coef=float(own["coef"].iloc[2]),
        se=float(own["robust_se" if fit.robust else "se"].iloc[2]),
        chi2=chi2,
        p=float(stats.chi2.sf(chi2, 1)),
        minus_log10_p=float(minus_log10_p_chi2(chi2, 1)),
        reri=reri,
        reri_se=reri_se,
        reri_ci_low=reri - _Z95 * reri_se,
        reri_ci_high=reri + _Z95 * reri_se,
        reri_minus_log10_p=float(minus_log10_p(reri / reri_se)),
        fit=fit,
    )


def _reri(coef: Any, fit: CoxFit, names: list[str]) -> tuple[float, float]:
    covariance = (fit.robust_covariance if fit.robust else fit.covariance).loc[names, names].to_numpy(float)
    both, alone, other = np.exp(coef.sum()), np.exp(coef[0]), np.exp(coef[1])
    gradient = np.array([both - alone, both - other, both])
    return float(both - alone - other + 1), float(np.sqrt(gradient @ covariance @ gradient))
