"""The same hazard ratios under other assumptions: missing covariates imputed, people weighted to a population."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cmr_models.analysis.imputation import impute, nelson_aalen, pool
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.participation_weights import raked_weights
from cmr_models.analysis.people import OUTCOME_COLUMNS, analysis_outcome, at_risk_rows, complete_rows
from cmr_models.estimates import NotEstimableError, failed, minus_log10_p_t, tidy, unit_of, wald
from cmr_models.survival import CoxFit, fit_cox

_AGE = "age_years"


def imputed_hazards(
    people: pd.DataFrame,
    outcomes: pd.DataFrame,
    spec: AnalysisSpec,
    rng: np.random.Generator,
    *,
    n_imputations: int,
    n_cycles: int = 5,
) -> pd.DataFrame:
    """Hazard ratios per SD with missing covariates imputed, each beside the one of complete cases.

    Covariates are imputed from one another, all phenotypes, age, the event and its Nelson-Aalen hazard over the time at
    risk. Phenotypes are not imputed: people without them are not in the imaging cohort.

    Returns:
        Estimates before the disclosure gate: models ``cox_age_complete`` and ``cox_age_imputed``; of the latter, ``n``
        counts everybody and ``fraction_missing`` is the largest share of variance that comes from imputing.
    """
    rows: list[dict[str, Any]] = []
    for condition in spec.conditions:
        table = _at_risk(people, outcomes, condition, spec)
        table = table.assign(hazard=_hazard(table))
        own = list(dict.fromkeys((_AGE, *spec.strata, *spec.covariates, *spec.phenotypes)))
        products = [(name, "hazard") for name in own]
        columns, counts = [*own, "event", "hazard"], {"n_imputations": n_imputations, "n_cycles": n_cycles}
        try:
            filled = impute(table, columns, rng, products=products, **counts)
        except NotEstimableError as error:
            rows += [_failed_row(name, condition, "cox_age_imputed", table, error) for name in spec.phenotypes]
            continue
        for exposure in spec.phenotypes:
            complete = complete_rows(table, (*spec.strata, *spec.covariates))
            rows.append(_fit_row(complete, exposure, condition, "cox_age_complete", spec))
            rows.append(_pool_fits(filled, table, exposure, condition, spec))
    return tidy(rows, extra=("n_excluded", "fraction_missing"))


def weighted_hazards(
    people: pd.DataFrame,
    outcomes: pd.DataFrame,
    spec: AnalysisSpec,
    margins: Mapping[str, Mapping[str, float]],
) -> pd.DataFrame:
    """Hazard ratios per SD of complete cases, weighted to the shares of a population (robust errors)."""
    labelled = people.dropna(subset=list(margins))
    weight = raked_weights(labelled, margins)
    weighted = labelled.assign(weight=weight)
    rows: list[dict[str, Any]] = []
    for condition in spec.conditions:
        table = _at_risk(weighted, outcomes, condition, spec, "weight")
        table = complete_rows(table, (*spec.strata, *spec.covariates))
        rows += [
            _fit_row(table, name, condition, "cox_age_weighted", spec, weights="weight") for name in spec.phenotypes
        ]
    return tidy(rows, extra=("n_excluded",))


def _at_risk(
    people: pd.DataFrame, outcomes: pd.DataFrame, condition: str, spec: AnalysisSpec, *further: str
) -> pd.DataFrame:
    table = analysis_outcome(people, outcomes, condition)
    columns = dict.fromkeys([_AGE, *spec.strata, *spec.covariates, *spec.phenotypes, *further, *OUTCOME_COLUMNS])
    return complete_rows(at_risk_rows(table[[*columns]]), (_AGE, *spec.phenotypes)).reset_index(drop=True)


def _hazard(table: pd.DataFrame) -> np.ndarray:
    return nelson_aalen(table["exit_years"], table["event"], table["entry_years"])


def _fit(table: pd.DataFrame, exposure: str, spec: AnalysisSpec, weights: str | None = None) -> CoxFit:
    n_events = int(table["event"].sum())
    if n_events < spec.minimum_events:
        raise NotEstimableError("too_few_cases", f"{n_events} of at least {spec.minimum_events}")
    fit = fit_cox(
        table,
        exit="exit_years",
        event="event",
        entry="entry_years",
        covariates=(*spec.covariates, exposure),
        strata=spec.strata,
        weights=weights,
    )
    if n_events < spec.minimum_events_per_term * len(fit.estimates):
        raise NotEstimableError("too_few_per_term", f"{n_events} for {len(fit.estimates)} terms")
    status = fit.estimates["status"].iloc[-1]
    if status != "ok":
        raise NotEstimableError("collinear" if status == "aliased" else "separation")
    return fit


def _about(exposure: str, condition: str, model: str, table: pd.DataFrame) -> dict[str, Any]:
    return {
        "exposure": exposure,
        "unit": unit_of(exposure),
        "scale": "per_sd",
        "outcome": condition,
        "model": model,
        "measure": "hazard_ratio",
        "group_by": "overall",
        "group": "all",
        "n": float(len(table)),
        "n_events": float(table["event"].sum()),
    }


def _fit_row(
    table: pd.DataFrame, exposure: str, condition: str, model: str, spec: AnalysisSpec, weights: str | None = None
) -> dict[str, Any]:
    about = _about(exposure, condition, model, table)
    try:
        term = _fit(table, exposure, spec, weights).estimates.iloc[-1]
    except NotEstimableError as error:
        return {**about, **failed(error.reason)}
    se = float(term["robust_se"] if weights else term["se"])
    return {**about, **wald(float(term["coef"]), se, ratio=True, scale=float(table[exposure].std(ddof=1)))}


def _pool_fits(
    filled: list[pd.DataFrame], table: pd.DataFrame, exposure: str, condition: str, spec: AnalysisSpec
) -> dict[str, Any]:
    about = _about(exposure, condition, "cox_age_imputed", table)
    sd = float(table[exposure].std(ddof=1))
    try:
        terms = [_fit(one, exposure, spec).estimates.iloc[-1] for one in filled]
    except NotEstimableError as error:
        return {**about, **failed(error.reason)}
    pooled = pool([float(term["coef"]) * sd for term in terms], [float(term["se"]) * sd for term in terms])
    estimate, low, high = np.exp([pooled.estimate, pooled.ci_low, pooled.ci_high])
    z = pooled.estimate / pooled.se
    significance = float(minus_log10_p_t(z, pooled.df)) if np.isfinite(pooled.df) else wald(z, 1.0, ratio=False)[
        "minus_log10_p"
    ]  # fmt: skip
    values = {"estimate": estimate, "se": pooled.se, "ci_low": low, "ci_high": high, "z": z}
    return {**about, **values, "minus_log10_p": significance, "fraction_missing": pooled.fraction_missing}


def _failed_row(
    exposure: str, condition: str, model: str, table: pd.DataFrame, error: NotEstimableError
) -> dict[str, Any]:
    return {**_about(exposure, condition, model, table), **failed(error.reason)}
