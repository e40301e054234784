"""Baseline hazard of a Cox model, and the survival it predicts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.survival.cox import CoxFit
from cmr_models.survival.partial_likelihood import make_terms

Floats = npt.NDArray[np.float64]


def baseline_hazard(fit: CoxFit) -> pd.DataFrame:
    """Cumulative baseline hazard at mean covariates: ``stratum, time, hazard, cumulative_hazard``.

    Strata are numbered in the order of their sorted labels; one without events has no rows.

    Reference:
        Breslow 1972; with Efron's ties the increments are those of Efron 1977, as R's ``survfit``.
    """
    rows: list[pd.DataFrame] = []
    for at, x in zip(fit.likelihood.strata, fit.likelihood.covariates, strict=True):
        terms = make_terms(fit.standard_coef, x, at)
        hazard = at.over_terms(terms.increment) * np.exp(-terms.shift)
        code = int(fit.observed["stratum"].iloc[at.rows[0]])
        columns = {"stratum": code, "time": at.times, "hazard": hazard, "cumulative_hazard": np.cumsum(hazard)}
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def predict_survival(fit: CoxFit, times: npt.ArrayLike) -> Floats:
    """``(n, t)`` chance that each person fitted is without the event at each of ``times``, if present from the start.

    NaN for people of a stratum without events.
    """
    at = np.asarray(times, np.float64)
    baseline = baseline_hazard(fit)
    stratum = fit.observed["stratum"].to_numpy()
    survival = np.full((fit.n, len(at)), np.nan)
    for code, curve in baseline.groupby("stratum"):
        people = stratum == code
        steps = np.concatenate([[0.0], curve["cumulative_hazard"]])
        cumulative = steps[np.searchsorted(curve["time"], at, "right")]
        survival[people] = np.exp(-np.exp(fit.linear_predictor[people])[:, None] * cumulative)
    return survival


def linear_predictor(fit: CoxFit, table: pd.DataFrame) -> Floats:
    """``(m,)`` of other people, centred at the people fitted; NaN where a coefficient is infinite.

    Args:
        fit: a Cox model.
        table: with the covariates of the fit; a text that no one fitted had counts as the reference.

    Raises:
        ValueError: a covariate is missing from ``table``, or has missing values.
    """
    coef = fit.estimates.set_index("term").loc[fit.centre.index, "coef"].to_numpy(float)
    columns = [_column(table, str(term), str(owner)) for term, owner in fit.covariate_of.items()]
    values = np.column_stack(columns) if columns else np.zeros((len(table), 0))
    if not np.isfinite(values).all():
        raise ValueError("covariates must be finite; drop or impute those rows first")
    return np.asarray((values - fit.centre.to_numpy(float)) @ coef, np.float64)


def predict_risk(fit: CoxFit, table: pd.DataFrame, times: npt.ArrayLike) -> Floats:
    """``(m, t)`` chance of the event by each of ``times`` for other people, of a model without strata.

    Raises:
        ValueError: as :func:`linear_predictor`; a model with strata.
    """
    baseline = baseline_hazard(fit)
    if fit.observed["stratum"].nunique() > 1:
        raise ValueError("risk of other people needs a model without strata: a stratum has a baseline of its own")
    steps = np.concatenate([[0.0], baseline["cumulative_hazard"]])
    cumulative = steps[np.searchsorted(baseline["time"], np.asarray(times, np.float64), "right")]
    relative = np.exp(np.clip(linear_predictor(fit, table), -700, 700))
    return np.asarray(-np.expm1(-relative[:, None] * cumulative), np.float64)


def _column(table: pd.DataFrame, term: str, owner: str) -> Floats:
    if owner not in table:
        raise ValueError(f"covariate {owner!r} is not a column of the table; it has {list(table)}")
    if term == owner:
        return table[owner].to_numpy(float)
    level = term.removeprefix(f"{owner}=")
    return np.where(table[owner].isna(), np.nan, table[owner].astype(str) == level)
