"""Cox regression with (entry, exit] risk sets, weights and clusters: one table in, one row a term out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from cmr_models.estimates import Z95, NotEstimableError, minus_log10_p
from cmr_models.estimates.design_matrix import (
    Standard,
    check_columns,
    complete_design,
    is_infinite,
    numbers,
    standard_columns,
    term_table,
)
from cmr_models.survival.checks import check_order
from cmr_models.survival.newton import Maximum, maximise
from cmr_models.survival.partial_likelihood import PartialLikelihood
from cmr_models.survival.risk_sets import Ties, make_risk_sets

Floats = npt.NDArray[np.float64]


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
        likelihood: of the standardised columns, with weights of mean 1.
        standard_coef: ``(p,)`` its maximum.
        observed: ``exit, event, entry, weight, cluster, stratum`` of the rows fitted.
        centre: mean of each column that is not aliased, which ``linear_predictor`` is centred at.
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
    likelihood: PartialLikelihood = field(repr=False)
    standard_coef: Floats = field(repr=False)
    observed: pd.DataFrame = field(repr=False)
    centre: pd.Series = field(repr=False)


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
        NotEstimableError: no events, no term that varies (within strata), one cluster.

    Reference:
        Efron 1977 and Breslow 1974 for ties; delayed entry as R's ``Surv(entry, exit, event)``, at risk on
        (entry, exit]; sandwich of Lin & Wei 1989, 10.1080/01621459.1989.10478874, without a correction for
        few clusters, as R's ``coxph``.
    """
    if ties not in ("efron", "breslow"):
        raise ValueError(f"ties must be 'efron' or 'breslow', got {ties!r}")
    names = [strata] if isinstance(strata, str) else list(strata or [])
    observed = _check_rows(table, exit, event, entry, names, cluster, weights)
    design = complete_design(table, covariates)
    owners = pd.Series([_owner(str(name), table) for name in design], index=design.columns)
    return _fit(observed, design, owners, ties, bool(names), cluster is not None)


def _fit(
    observed: pd.DataFrame, design: pd.DataFrame, owners: pd.Series, ties: Ties, stratified: bool, clustered: bool
) -> CoxFit:
    if not observed["event"].any():
        raise NotEstimableError("too_few_cases", "no event in the table")
    standard = standard_columns(design.to_numpy(float), observed["stratum"].to_numpy() if stratified else None)
    if not standard.kept.any():
        raise NotEstimableError("constant_exposure", "no covariate varies" + " within the strata" * stratified)
    solved = _solve(standard, observed, ties, clustered)
    weight = observed["weight"].to_numpy()
    robust = clustered or bool((weight != np.rint(weight)).any())
    labels, unit = design.columns[standard.kept], np.outer(standard.spread, standard.spread)
    return CoxFit(
        estimates=_terms([str(name) for name in design], standard, solved, robust),
        log_likelihood=solved.best.log_likelihood,
        log_likelihood_null=solved.best.log_likelihood_null,
        linear_predictor=standard.columns @ solved.best.coef,
        n=len(observed),
        n_events=int(observed["event"].sum()),
        covariance=pd.DataFrame(solved.best.covariance / unit, labels, labels),
        robust_covariance=pd.DataFrame(solved.sandwich / unit, labels, labels),
        robust=robust,
        covariate_of=owners[standard.kept],
        likelihood=solved.likelihood,
        standard_coef=solved.best.coef,
        observed=observed,
        centre=pd.Series(standard.centre, labels),
    )


class _Solved(NamedTuple):
    """The maximum in standard units, of ``p`` columns that are independent.

    Attributes:
        best: where it is; in the units of the weights as given.
        sandwich: ``(p, p)`` robust covariance.
        infinite: ``(p,)`` columns whose coefficient has no finite maximum.
        likelihood: with weights of mean 1.
    """

    best: Maximum
    sandwich: Floats
    infinite: npt.NDArray[np.bool_]
    likelihood: PartialLikelihood


def _solve(standard: Standard, observed: pd.DataFrame, ties: Ties, clustered: bool) -> _Solved:
    entries, exits, cases, strata, weight = (
        observed[name].to_numpy() for name in ("entry", "exit", "event", "stratum", "weight")
    )
    # Weights of any size: tolerances and what counts as infinite are those of weights of mean 1.
    mean = float(weight.mean())
    risk_sets = make_risk_sets(entries, exits, cases, strata, weight / mean, ties)
    likelihood = PartialLikelihood.of(standard.columns, risk_sets)
    # Were those at risk like everybody, the information would be this.
    guess = float(weight[cases].sum()) / mean * standard.correlation
    found = maximise(likelihood.derivatives, len(standard.spread), standard.basis, guess)
    families = observed["cluster"].to_numpy() if clustered else None
    sandwich = found.covariance @ likelihood.score_products(found.coef, families) @ found.covariance
    shift = float(weight[cases].sum()) * float(np.log(mean))
    best = found._replace(
        covariance=found.covariance / mean,
        log_likelihood=found.log_likelihood * mean - shift,
        log_likelihood_null=found.log_likelihood_null * mean - shift,
    )
    se = np.sqrt(np.maximum(np.diag(found.covariance), 0))
    return _Solved(best, sandwich, found.diverging | is_infinite(found.coef, se, standard.apart), likelihood)


def _check_rows(
    table: pd.DataFrame,
    exit: str,
    event: str,
    entry: str | None,
    strata: list[str],
    cluster: str | None,
    weights: str | None,
) -> pd.DataFrame:
    """``exit, event, entry, weight, cluster, stratum`` of each row."""
    used = [name for name in (exit, event, entry, *strata, cluster, weights) if name is not None]
    check_columns(table, used)
    times = {name: numbers(table[name], name) for name in (exit, event, entry) if name is not None}
    if not all(np.isfinite(column).all() for column in times.values()):
        raise ValueError(f"{', '.join(times)} must be finite; drop rows with missing times first")
    exits, events = times[exit], times[event]
    if not ((events == 0) | (events == 1)).all():
        raise ValueError(f"{event} must be 0 or 1; code competing causes as censored for this model")
    check_order(exits, None if entry is None else times[entry], (exit, entry or ""))
    entries = np.full(len(table), -np.inf) if entry is None else times[entry]
    weight = numbers(table[weights], weights) if weights else np.ones(len(table))
    if not (np.isfinite(weight) & (weight > 0)).all():
        raise ValueError(f"{weights} must be finite and over 0; drop rows without weight first")
    families = np.arange(len(table)) if cluster is None else _clusters(table[cluster])
    columns = {"exit": exits, "event": events == 1, "entry": entries, "weight": weight, "cluster": families}
    return pd.DataFrame({**columns, "stratum": _codes(table, strata)}, copy=False)


def _clusters(column: pd.Series) -> npt.NDArray[np.intp]:
    if column.isna().any():
        raise ValueError(f"{column.name} has missing values; give each unrelated row a cluster of its own")
    codes = pd.factorize(column)[0]
    if codes.max(initial=-1) == 0:
        raise NotEstimableError("too_few_groups", f"all rows are of one {column.name}: it gives no robust error")
    return codes


def _owner(column: str, table: pd.DataFrame) -> str:
    """The covariate that a column belongs to: indicators are ``covariate=level``."""
    return column if column in table else column.rsplit("=", 1)[0]


def _codes(table: pd.DataFrame, strata: list[str]) -> npt.NDArray[np.intp]:
    if not strata:
        return np.zeros(len(table), np.intp)
    if table[strata].isna().any(axis=None):
        raise ValueError(f"{', '.join(strata)} must not be missing; name the unknown or drop those rows first")
    return np.asarray(table.groupby(strata, sort=True, observed=True).ngroup(), np.intp)


def _terms(names: list[str], standard: Standard, solved: _Solved, robust: bool) -> pd.DataFrame:
    """The estimates; interval, z and p from the robust error where ``robust``."""
    best, spread, kept = solved.best, standard.spread, standard.kept
    se = np.sqrt(np.maximum(np.diag(best.covariance), 0))
    terms = term_table(names, kept, best.coef, se, spread, solved.infinite)
    by_term = np.full(len(terms), np.nan)
    by_term[kept] = np.sqrt(np.maximum(np.diag(solved.sandwich), 0)) / spread
    terms["robust_se"] = np.where(terms["status"] == "ok", by_term, np.nan)
    if robust:
        coef, se = terms["coef"].to_numpy(float), terms["robust_se"].to_numpy(float)
        z = np.divide(coef, se, out=np.full(len(terms), np.nan), where=se > 0)
        terms = terms.assign(ci_low=coef - Z95 * se, ci_high=coef + Z95 * se, z=z, minus_log10_p=minus_log10_p(z))
    terms["p"] = 2 * special.ndtr(-terms["z"].abs().to_numpy())
    columns = ["term", "coef", "se", "robust_se", "ci_low", "ci_high", "z", "p", "minus_log10_p", "status"]
    return terms[columns]
