"""Cox regression with shrunken coefficients: a ridge path of our own, lasso and elastic net by scikit-survival."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates import NotEstimableError
from cmr_models.estimates.design_matrix import complete_design, standardise
from cmr_models.survival.checks import check_events, refuse_negative
from cmr_models.survival.newton import Slope, maximise
from cmr_models.survival.partial_likelihood import PartialLikelihood
from cmr_models.survival.risk_sets import make_risk_sets

Floats = npt.NDArray[np.float64]

_FOLDS = 5


class Path(NamedTuple):
    """Coefficients along penalties.

    Attributes:
        coef: a row a penalty, a column a term, per unit of the term.
        penalty: of each row, on terms of unit SD, per person.
        log_likelihood: partial, of each row, without the penalty.
        deviance: cross-validated partial-likelihood deviance of each row; NaN where not asked for.
        best: index of the row of least deviance; the least penalised one where not asked for.
    """

    coef: pd.DataFrame
    penalty: Floats
    log_likelihood: Floats
    deviance: Floats
    best: int


def ridge_path(
    table: pd.DataFrame,
    *,
    exit: str,
    event: str,
    entry: str | None = None,
    covariates: Sequence[str],
    penalties: Sequence[float],
    rng: np.random.Generator | None = None,
) -> Path:
    """Maximise ``log likelihood / n - penalty / 2 * |coef per SD|²`` for each penalty; Efron's ties.

    Args:
        table: one row a person, without missing values in the columns used.
        exit, event, entry, covariates: as for :func:`cmr_models.survival.fit_cox`; more terms than events will do.
        penalties: over 0.
        rng: deals the folds of the cross-validation; none if None.

    Raises:
        ValueError: missing columns or values, impossible times, a penalty that is not over 0.
        NotEstimableError: no event, no term that varies.

    Reference:
        Verweij & van Houwelingen 1994, 10.1002/sim.4780132307, and 1993, 10.1002/sim.4780122407, for the
        cross-validated partial likelihood: that of all people less that of the people kept, at their coefficients.
    """
    weights = np.asarray(penalties, np.float64)
    if weights.ndim != 1 or not len(weights) or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"penalties must be over 0, got {list(penalties)}")
    names, x, spread, times = _columns(table, exit, event, entry, covariates)
    whole = _likelihood(x, times, np.arange(len(x)))
    coefs = np.array([_ridge(whole, penalty) for penalty in weights])
    values = np.array([whole.derivatives(coef).value for coef in coefs])
    deviance = np.full(len(weights), np.nan) if rng is None else _cross_validate(x, times, weights, rng)
    best = int(np.argmin(weights)) if rng is None else int(np.argmin(deviance))
    return Path(pd.DataFrame(coefs / spread, columns=names), weights, values, deviance, best)


def lasso_path(
    table: pd.DataFrame,
    *,
    exit: str,
    event: str,
    covariates: Sequence[str],
    l1_ratio: float = 1.0,
    n_penalties: int = 50,
) -> Path:
    """Lasso or elastic-net path of scikit-survival's Coxnet, on terms of unit SD; Breslow's ties, no delayed entry.

    Raises:
        ValueError: missing columns or values, impossible times, a ratio outside (0, 1].
        NotEstimableError: no event, no term that varies.

    Reference:
        Simon 2011, 10.18637/jss.v039.i05.
    """
    from sksurv.linear_model import CoxnetSurvivalAnalysis
    from sksurv.util import Surv

    if not 0 < l1_ratio <= 1:
        raise ValueError(f"l1_ratio must be over 0 and at most 1, got {l1_ratio}; for ridge use ridge_path")
    names, x, spread, times = _columns(table, exit, event, None, covariates)
    exits, events = times["exit"].to_numpy(), times["event"].to_numpy(bool)
    model = CoxnetSurvivalAnalysis(l1_ratio=l1_ratio, n_alphas=n_penalties, alpha_min_ratio=0.01)
    model.fit(x, Surv.from_arrays(events, exits))
    whole = _likelihood(x, times, np.arange(len(x)))
    coefs = np.asarray(model.coef_.T, np.float64)
    values = np.array([whole.derivatives(coef).value for coef in coefs])
    nothing = np.full(len(coefs), np.nan)
    return Path(
        pd.DataFrame(coefs / spread, columns=names),
        np.asarray(model.alphas_, np.float64),
        values,
        nothing,
        len(coefs) - 1,
    )


def _columns(
    table: pd.DataFrame, exit: str, event: str, entry: str | None, covariates: Sequence[str]
) -> tuple[list[str], Floats, Floats, pd.DataFrame]:
    """Terms that vary, their standard values ``(n, p)`` and SDs, and ``exit, event, entry``."""
    unknown = [name for name in (exit, event, entry) if name is not None and name not in table]
    if unknown:
        raise ValueError(f"columns {unknown} are not in the table; it has {list(table)}")
    design = complete_design(table, covariates)
    values = design.to_numpy(float)
    if not np.isfinite(values).all():
        raise ValueError("covariates must be finite")
    varies = values.std(axis=0) > 1e-8 * np.maximum(np.abs(values).max(axis=0, initial=0), np.finfo(float).tiny)
    if not varies.any():
        raise NotEstimableError("constant_exposure", "no covariate varies")
    events = check_events(table[event].to_numpy())
    if not events.any():
        raise NotEstimableError("too_few_cases", "no event in the table")
    exits = table[exit].to_numpy(float)
    entries = table[entry].to_numpy(float) if entry else np.full(len(table), -np.inf)
    if not np.isfinite(exits).all() or np.isnan(entries).any() or (exits <= entries).any():
        raise ValueError(f"{exit} must be finite and after {entry or 0}")
    if entry is None:
        refuse_negative(exits)
    x, spread = standardise(values[:, varies])
    names = [str(name) for name, ok in zip(design, varies, strict=True) if ok]
    return names, x, spread, pd.DataFrame({"exit": exits, "event": events, "entry": entries})


def _likelihood(x: Floats, times: pd.DataFrame, rows: npt.NDArray[np.intp]) -> PartialLikelihood:
    entry, exits, event = (times[name].to_numpy()[rows] for name in ("entry", "exit", "event"))
    n = len(rows)
    return PartialLikelihood.of(x[rows], make_risk_sets(entry, exits, event, np.zeros(n, int), np.ones(n), "efron"))


def _ridge(likelihood: PartialLikelihood, penalty: float) -> Floats:
    weight = penalty * likelihood.n

    def derivatives(coef: Floats) -> Slope:
        at = likelihood.derivatives(coef)
        value, gradient = at.value - weight / 2 * float(coef @ coef), at.gradient - weight * coef
        return Slope(value, gradient, lambda: at.information() + weight * np.eye(len(coef)))

    return maximise(derivatives, likelihood.covariates[0].shape[1]).coef


def _cross_validate(x: Floats, times: pd.DataFrame, penalties: Floats, rng: np.random.Generator) -> Floats:
    """Deviance of each penalty; the folds have equal shares of the events."""
    n = len(x)
    order = np.lexsort((rng.random(n), times["event"].to_numpy()))
    fold = np.empty(n, int)
    fold[order] = np.arange(n) % min(_FOLDS, max(2, int(times["event"].sum()) // 2))
    whole, total = _likelihood(x, times, np.arange(n)), np.zeros(len(penalties))
    for code in np.unique(fold):
        kept = _likelihood(x, times, np.flatnonzero(fold != code))
        for k, penalty in enumerate(penalties):
            coef = _ridge(kept, float(penalty))
            total[k] -= 2 * (whole.derivatives(coef).value - kept.derivatives(coef).value)
    return total
