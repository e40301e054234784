"""Cox regression with (entry, exit] risk sets, weights and clusters: one table in, one row a term out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.covariates import complete_design, independent_columns, standardise, term_table
from cmr_models.estimates import NotEstimableError, minus_log10_p
from cmr_models.survival.newton import maximise
from cmr_models.survival.observed import refuse_negative
from cmr_models.survival.partial_likelihood import PartialLikelihood
from cmr_models.survival.risk_sets import Ties, make_risk_sets

Floats = npt.NDArray[np.float64]

_Z95 = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class CoxFit:
    """A fitted model.

    Attributes:
        estimates: one row a term: ``term, coef, se, robust_se, ci_low, ci_high`` (of the coefficient), ``z,
            p, minus_log10_p, status``
            (``ok``; ``aliased``: constant or a combination of earlier terms; ``infinite``: no finite
            maximum). Interval, z and p are from ``robust_se`` where ``robust``, else from ``se``.
        log_likelihood: partial log likelihood.
        log_likelihood_null: with all coefficients 0.
        linear_predictor: ``(n,)`` of the rows fitted, centred.
        n: rows fitted.
        n_events: events among them.
        covariance: of the coefficients that are not aliased, from the information.
        robust_covariance: the same, by the sandwich over people or clusters.
        robust: whether clusters or weights that are not whole numbers were given.
        covariate_of: the covariate that each of those coefficients belongs to.
    """

    estimates: pd.DataFrame
    log_likelihood: float
    log_likelihood_null: float
    linear_predictor: Floats
    n: int
    n_events: int
    covariance: pd.DataFrame
    robust_covariance: pd.DataFrame
    robust: bool
    covariate_of: pd.Series
    _likelihood: PartialLikelihood = field(repr=False)
    _standard_coef: Floats = field(repr=False)
    _observed: pd.DataFrame = field(repr=False)
    _centre: pd.Series = field(repr=False)


def fit_cox(
    table: pd.DataFrame,
    *,
    exit: str,
    event: str,
    entry: str | None = None,
    covariates: Sequence[str],
    strata: str | Sequence[str] | None = None,
    cluster: str | None = None,
    weights: str | None = None,
    ties: Ties = "efron",
) -> CoxFit:
    """Fit a Cox model.

    Args:
        table: one row a person (or an interval of one), without missing values in the columns used.
        exit: column of the time at the event or at censoring.
        event: column, true (1) where the event occurred.
        entry: column of the time at which each row comes under observation; everybody at risk from the
            start if None.
        covariates: columns; text becomes indicators.
        strata: columns whose combinations have baseline hazards of their own.
        cluster: column of the family, person or centre whose rows depend on each other.
        weights: column of case weights, over 0.
        ties: ``"efron"`` or ``"breslow"``.

    Returns:
        :class:`CoxFit`.

    Raises:
        ValueError: missing columns or values, ``exit`` not after ``entry``, an event that is not 0 or 1,
            negative times without entry, weights that are not positive, unknown ``ties``.
        NotEstimableError: no events, or no term that varies.

    Reference:
        Efron 1977 and Breslow 1974 for ties; delayed entry as R's ``Surv(entry, exit, event)``, at risk on
        (entry, exit]; sandwich of Lin & Wei 1989, 10.1080/01621459.1989.10478874, without a correction for
        few clusters, as R's ``coxph``.
    """
    if ties not in ("efron", "breslow"):
        raise ValueError(f"ties must be 'efron' or 'breslow', got {ties!r}")
    names = [strata] if isinstance(strata, str) else list(strata or [])
    observed = _check_rows(table, exit, event, entry, names, cluster, weights)
    design, owners = _design(table, covariates)
    n_events = int(observed["event"].sum())
    if n_events == 0:
        raise NotEstimableError("too_few_cases", "no event in the table")
    values = design.to_numpy(float)
    kept = independent_columns(values)
    if not kept.any():
        raise NotEstimableError("constant_exposure", "no covariate varies")
    standard, spread = standardise(values if kept.all() else values[:, kept])
    entries, exits, cases = (observed[name].to_numpy() for name in ("entry", "exit", "event"))
    codes = _codes(table, names)
    risk_sets = make_risk_sets(entries, exits, cases, codes, observed["weight"].to_numpy(), ties)
    likelihood = PartialLikelihood.of(standard, risk_sets)
    best = maximise(likelihood.derivatives, standard.shape[1])
    se = np.where(best.diverging, np.inf, np.sqrt(np.maximum(np.diag(best.covariance), 0)))
    families = None if cluster is None else observed["cluster"].to_numpy()
    sandwich = best.covariance @ likelihood.score_products(best.coef, families) @ best.covariance
    robust = cluster is not None or bool((observed["weight"] % 1 != 0).any())
    terms = term_table([str(name) for name in design], kept, best.coef, se, spread)
    unit = np.outer(spread, spread)
    labels = design.columns[kept]
    return CoxFit(
        estimates=_with_robust(terms, kept, np.sqrt(np.diag(sandwich)) / spread, robust),
        log_likelihood=best.log_likelihood,
        log_likelihood_null=best.log_likelihood_null,
        linear_predictor=standard @ best.coef,
        n=len(table),
        n_events=n_events,
        covariance=pd.DataFrame(best.covariance / unit, labels, labels),
        robust_covariance=pd.DataFrame(sandwich / unit, labels, labels),
        robust=robust,
        covariate_of=owners[kept],
        _likelihood=likelihood,
        _standard_coef=best.coef,
        _observed=observed.assign(stratum=codes),
        _centre=pd.Series(values[:, kept].mean(axis=0), labels),
    )


def _check_rows(
    table: pd.DataFrame,
    exit: str,
    event: str,
    entry: str | None,
    strata: list[str],
    cluster: str | None,
    weights: str | None,
) -> pd.DataFrame:
    """``exit, event, entry, weight, cluster`` of each row."""
    used = (exit, event, entry, *strata, cluster, weights)
    unknown = [name for name in used if name is not None and name not in table]
    if unknown:
        raise ValueError(f"columns {unknown} are not in the table; it has {list(table)}")
    rows = pd.DataFrame({"exit": table[exit].astype(float), "event": table[event].astype(float)})
    rows["entry"] = table[entry].astype(float) if entry else -np.inf
    if not np.isfinite(rows.iloc[:, : 3 if entry else 2].to_numpy()).all():
        raise ValueError(f"{exit}, {event} and {entry} must be finite; drop rows with missing times first")
    if not rows["event"].isin((0, 1)).all():
        raise ValueError(f"{event} must be 0 or 1; code competing causes as censored for this model")
    if entry is None:
        refuse_negative(rows["exit"].to_numpy())
    late = int((rows["exit"] <= rows["entry"]).sum())
    if late:
        raise ValueError(f"{late} rows leave at or before they enter; {exit} must be after {entry or 0}")
    rows["weight"] = table[weights].astype(float) if weights else 1.0
    if not (np.isfinite(rows["weight"]) & (rows["weight"] > 0)).all():
        raise ValueError(f"{weights} must be finite and over 0; drop rows without weight first")
    if cluster is not None and table[cluster].isna().any():
        raise ValueError(f"{cluster} has missing values; give each unrelated row a cluster of its own")
    rows["cluster"] = np.arange(len(table)) if cluster is None else pd.factorize(table[cluster])[0]
    return rows.astype({"event": bool}).reset_index(drop=True)


def _design(table: pd.DataFrame, covariates: Sequence[str]) -> tuple[pd.DataFrame, pd.Series]:
    """Columns of the regression, and the covariate each of them belongs to."""
    design = complete_design(table, covariates)
    if not np.isfinite(design.to_numpy(float)).all():
        raise ValueError("covariates must be finite")
    owners = [column if column in covariates else str(column).rsplit("=", 1)[0] for column in design]
    return design, pd.Series(owners, index=design.columns)


def _codes(table: pd.DataFrame, strata: list[str]) -> npt.NDArray[np.intp]:
    if not strata:
        return np.zeros(len(table), np.intp)
    return np.asarray(table.groupby(strata, dropna=False, sort=True).ngroup(), np.intp)


def _with_robust(terms: pd.DataFrame, kept: npt.NDArray[np.bool_], robust_se: Floats, robust: bool) -> pd.DataFrame:
    """``terms`` with ``robust_se`` and ``p``; interval and z from it where ``robust``."""
    terms = terms.copy()
    by_term = np.full(len(terms), np.nan)
    by_term[kept] = robust_se
    terms["robust_se"] = np.where(terms["status"] == "ok", by_term, np.nan)
    if robust:
        coef, se = terms["coef"].to_numpy(float), terms["robust_se"].to_numpy(float)
        z = np.divide(coef, se, out=np.full(len(terms), np.nan), where=se > 0)
        terms = terms.assign(ci_low=coef - _Z95 * se, ci_high=coef + _Z95 * se, z=z, minus_log10_p=minus_log10_p(z))
    terms["p"] = 2 * stats.norm.sf(terms["z"].astype(float).abs())
    columns = ["term", "coef", "se", "robust_se", "ci_low", "ci_high", "z", "p", "minus_log10_p", "status"]
    return terms[columns]
