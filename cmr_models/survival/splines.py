"""Restricted cubic splines: a covariate whose effect bends, and the test of whether it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.estimates import NotEstimableError, minus_log10_p_chi2
from cmr_models.survival.cox import CoxFit, fit_cox

Floats = npt.NDArray[np.float64]

_QUANTILES = {
    3: (0.1, 0.5, 0.9),
    4: (0.05, 0.35, 0.65, 0.95),
    5: (0.05, 0.275, 0.5, 0.725, 0.95),
    6: (0.05, 0.23, 0.41, 0.59, 0.77, 0.95),
    7: (0.025, 0.1833, 0.3417, 0.5, 0.6583, 0.8167, 0.975),
}
_Z95 = float(stats.norm.ppf(0.975))


def default_knots(values: npt.ArrayLike, count: int = 4) -> Floats:
    """``(count,)`` knots at quantiles of ``values``.

    Raises:
        ValueError: a count without published quantiles, or values so tied that knots coincide.

    Reference:
        Harrell, Regression Modeling Strategies, 2nd ed. 2015, table 2.3.
    """
    if count not in _QUANTILES:
        raise ValueError(f"knots must be one of {sorted(_QUANTILES)}, got {count}")
    knots = np.quantile(np.asarray(values, np.float64), _QUANTILES[count])
    if (np.diff(knots) <= 0).any():
        raise ValueError("knots coincide; ask for fewer or give them")
    return np.asarray(knots, np.float64)


def restricted_cubic(values: npt.ArrayLike, knots: npt.ArrayLike) -> Floats:
    """``(n, k - 1)`` basis: the values, then ``k - 2`` bends; straight beyond the outer of ``k`` knots.

    Raises:
        ValueError: fewer than three knots, or not ascending.

    Reference:
        Stone & Koo 1985; scaled by the squared span of the knots as in Harrell's ``rcspline.eval``.
    """
    x, t = np.asarray(values, np.float64), np.asarray(knots, np.float64)
    if t.ndim != 1 or len(t) < 3 or not (np.diff(t) > 0).all():
        raise ValueError(f"knots must be three or more, ascending, got {t.tolist()}")

    def cube(knot: float) -> Floats:
        return np.asarray(np.maximum(x - knot, 0) ** 3, np.float64)

    last, before = t[-1], t[-2]
    bends = [
        cube(knot) - cube(before) * (last - knot) / (last - before) + cube(last) * (before - knot) / (last - before)
        for knot in t[:-2]
    ]
    return np.column_stack([x, *(bend / (last - t[0]) ** 2 for bend in bends)])


class Bend(NamedTuple):
    """A spline fit beside the straight line.

    Attributes:
        curve: ``value, log_hazard_ratio, se, ci_low, ci_high`` relative to ``reference``.
        chi2, df, p, minus_log10_p: likelihood ratio of the bends.
        knots, reference: on the scale of the exposure.
        fit: the spline model.
    """

    curve: pd.DataFrame
    chi2: float
    df: int
    p: float
    minus_log10_p: float
    knots: Floats
    reference: float
    fit: CoxFit


def fit_spline(
    table: pd.DataFrame,
    exposure: str,
    *,
    knots: int | Sequence[float] = 4,
    reference: float | None = None,
    at: npt.ArrayLike | None = None,
    covariates: Sequence[str] = (),
    **times: Any,
) -> Bend:
    """Cox model with a restricted cubic spline of ``exposure``, and the test of its straightness.

    Args:
        table: as for :func:`cmr_models.survival.fit_cox`.
        exposure: column of numbers.
        knots: their number (at Harrell's quantiles), or themselves.
        reference: where the hazard ratio is 1; the median if None.
        at: values of the curve; 100 between the 1st and the 99th percentile if None.
        covariates: other columns.
        times: ``exit, event, entry, strata, weights, ties`` of :func:`cmr_models.survival.fit_cox`.

    Raises:
        ValueError: as ``fit_cox``; knots that coincide.
        NotEstimableError: as ``fit_cox``; a bend that cannot be told from the line.
    """
    values = table[exposure].to_numpy(float)
    if not np.isfinite(values).all():
        raise ValueError(f"{exposure} must be finite; drop rows with missing values first")
    where = default_knots(values, knots) if isinstance(knots, int) else np.asarray(knots, np.float64)
    basis = restricted_cubic(values, where)
    names = [f"{exposure} spline {j + 1}" for j in range(basis.shape[1])]
    wide = pd.concat([table, pd.DataFrame(basis, columns=names, index=table.index)], axis=1)
    straight = fit_cox(wide, covariates=[*covariates, names[0]], **times)
    fit = fit_cox(wide, covariates=[*covariates, *names], **times)
    if (fit.estimates.set_index("term").loc[names, "status"] != "ok").any():
        raise NotEstimableError("collinear", f"the spline of {exposure}")
    chi2, df = max(2 * (fit.log_likelihood - straight.log_likelihood), 0.0), len(names) - 1
    centre = float(np.median(values)) if reference is None else reference
    low, high = (float(np.quantile(values, share)) for share in (0.01, 0.99))
    grid = np.linspace(low, high, 100) if at is None else np.asarray(at, np.float64)
    curve = _curve(fit, names, restricted_cubic(grid, where) - restricted_cubic([centre], where), grid)
    return Bend(
        curve, chi2, df, float(stats.chi2.sf(chi2, df)), float(minus_log10_p_chi2(chi2, df)), where, centre, fit
    )


def _curve(fit: CoxFit, names: list[str], apart: Floats, grid: Floats) -> pd.DataFrame:
    covariance = fit.robust_covariance if fit.robust else fit.covariance
    coef = fit.estimates.set_index("term").loc[names, "coef"].to_numpy(float)
    value = apart @ coef
    se = np.sqrt(np.maximum(np.einsum("gi,ij,gj->g", apart, covariance.loc[names, names], apart), 0))
    columns = {"value": grid, "log_hazard_ratio": value, "se": se, "ci_low": value - _Z95 * se}
    return pd.DataFrame({**columns, "ci_high": value + _Z95 * se})
