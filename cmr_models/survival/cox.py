"""Cox regression with (entry, exit] risk sets and Efron ties: one table in, one row a term out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.covariates import design_columns, independent_columns, term_table
from cmr_models.estimates import NotEstimableError
from cmr_models.survival.partial_likelihood import maximise

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CoxFit:
    """A fitted model.

    Attributes:
        estimates: one row a term: ``term, coef, se, ci_low, ci_high`` (of the coefficient), ``z,
            minus_log10_p, status``
            (``ok``; ``aliased``: constant or a combination of earlier terms; ``infinite``: no finite
            maximum).
        log_likelihood: partial log likelihood.
        log_likelihood_null: with all coefficients 0.
        linear_predictor: ``(n,)`` of the rows fitted, centred.
        n: rows fitted.
        n_events: events among them.
    """

    estimates: pd.DataFrame
    log_likelihood: float
    log_likelihood_null: float
    linear_predictor: Floats
    n: int
    n_events: int


def fit_cox(
    table: pd.DataFrame,
    *,
    exit: str,
    event: str,
    entry: str | None = None,
    covariates: Sequence[str],
    strata: Sequence[str] | None = None,
) -> CoxFit:
    """Fit a Cox model.

    Args:
        table: one row a person, without missing values in the columns used.
        exit: column of the time at the event or at censoring.
        event: column, true (1) where the event occurred.
        entry: column of the time at which each row comes under observation; everybody at risk from the
            start if None.
        covariates: columns; text becomes indicators.
        strata: columns whose combinations have baseline hazards of their own.

    Returns:
        :class:`CoxFit`.

    Raises:
        ValueError: missing columns or values, ``exit`` not after ``entry``, an event that is not 0 or 1.
        NotEstimableError: no events, or no term that varies.

    Reference:
        Efron 1977 for ties; delayed entry as R's ``Surv(entry, exit, event)``, at risk on (entry, exit].
    """
    strata = list(strata or [])
    times = _check_times(table, exit, event, entry, strata)
    design = design_columns(table, covariates)
    if design.isna().to_numpy().any():
        empty = [str(name) for name in design if design[name].isna().any()]
        raise ValueError(f"covariates have missing values: {empty}; drop or impute those rows first")
    n_events = int(times["event"].sum())
    if n_events == 0:
        raise NotEstimableError("too_few_cases", "no event in the table")
    values = design.to_numpy(float)
    kept = independent_columns(values)
    if not kept.any():
        raise NotEstimableError("constant_exposure", "no covariate varies")
    centre, spread = values[:, kept].mean(axis=0), values[:, kept].std(axis=0)
    standard = (values[:, kept] - centre) / spread
    best = maximise(
        standard,
        times["entry"].to_numpy(float),
        times["exit"].to_numpy(float),
        times["event"].to_numpy(bool),
        _codes(table, strata),
    )
    se = np.where(best.diverging, np.inf, np.sqrt(np.maximum(np.diag(best.covariance), 0)))
    return CoxFit(
        estimates=term_table([str(name) for name in design], kept, best.coef, se, spread),
        log_likelihood=best.log_likelihood,
        log_likelihood_null=best.log_likelihood_null,
        linear_predictor=standard @ best.coef,
        n=len(table),
        n_events=n_events,
    )


def _check_times(
    table: pd.DataFrame, exit: str, event: str, entry: str | None, strata: list[str]
) -> pd.DataFrame:
    unknown = [name for name in (exit, event, entry, *strata) if name is not None and name not in table]
    if unknown:
        raise ValueError(f"columns {unknown} are not in the table; it has {list(table)}")
    times = pd.DataFrame({"exit": table[exit].astype(float), "event": table[event].astype(float)})
    times["entry"] = table[entry].astype(float) if entry else -np.inf
    if not np.isfinite(times.iloc[:, : 3 if entry else 2].to_numpy()).all():
        raise ValueError(f"{exit}, {event} and {entry} must be finite; drop rows with missing times first")
    if not times["event"].isin((0, 1)).all():
        raise ValueError(f"{event} must be 0 or 1; code competing causes as censored for this model")
    late = int((times["exit"] <= times["entry"]).sum())
    if late:
        raise ValueError(f"{late} rows leave at or before they enter; {exit} must be after {entry or 0}")
    return times.reset_index(drop=True)


def _codes(table: pd.DataFrame, strata: list[str]) -> npt.NDArray[np.intp]:
    if not strata:
        return np.zeros(len(table), np.intp)
    return np.asarray(table.groupby(strata, dropna=False, sort=True).ngroup(), np.intp)
