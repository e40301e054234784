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
    for at, x in zip(fit._likelihood.strata, fit._likelihood.covariates, strict=True):
        terms = make_terms(fit._standard_coef, x, at)
        hazard = at.over_terms(terms.increment) * np.exp(-terms.shift)
        code = int(fit._observed["stratum"].iloc[at.rows[0]])
        columns = {"stratum": code, "time": at.times, "hazard": hazard, "cumulative_hazard": np.cumsum(hazard)}
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True)


def predict_survival(fit: CoxFit, times: npt.ArrayLike) -> Floats:
    """``(n, t)`` chance that each person fitted is without the event at each of ``times``, if present from the start.

    NaN for people of a stratum without events.
    """
    at = np.asarray(times, np.float64)
    baseline = baseline_hazard(fit)
    stratum = fit._observed["stratum"].to_numpy()
    survival = np.full((fit.n, len(at)), np.nan)
    for code, curve in baseline.groupby("stratum"):
        people = stratum == code
        steps = np.concatenate([[0.0], curve["cumulative_hazard"]])
        cumulative = steps[np.searchsorted(curve["time"], at, "right")]
        survival[people] = np.exp(-np.exp(fit.linear_predictor[people])[:, None] * cumulative)
    return survival
