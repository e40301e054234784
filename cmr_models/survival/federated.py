"""Cox regression over sites that share sums, never rows: the same fit as of the pooled table, stratified by site.

With a baseline hazard of its own in every site, the partial likelihood is a sum over sites, and so are its gradient and
information: adding them up loses nothing. A site answers five kinds of question, each with sums of its people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from cmr_models.estimates import NotEstimableError
from cmr_models.estimates.design_matrix import is_infinite, term_table
from cmr_models.survival.checks import check_events, check_order
from cmr_models.survival.newton import Slope, maximise
from cmr_models.survival.partial_likelihood import PartialLikelihood
from cmr_models.survival.risk_sets import Ties, make_risk_sets

Floats = npt.NDArray[np.float64]

_CONSTANT = 1e-12
_DEPENDENT = 1e-10


@dataclass(frozen=True)
class CoxSite:
    """The rows of one site.

    Attributes:
        x: ``(n, p)`` covariates, the same columns in the same order in every site.
        exit, event: ``(n,)``.
        entry: ``(n,)`` delayed entry, at risk on (entry, exit]; None if everybody is seen from the start.
        ties: how events at one time share their risk set.
        minimum_events: a site with fewer events answers nothing: its sums would be about a few people.
    """

    x: Floats
    exit: Floats
    event: npt.NDArray[np.bool_]
    entry: Floats | None = None
    ties: Ties = "efron"
    minimum_events: int = 5

    def __post_init__(self) -> None:
        """Check the rows.

        Raises:
            ValueError: lengths differ, values are not finite, impossible times, too few events.
        """
        n, events = len(self.x), int(check_events(self.event).sum())
        if self.x.ndim != 2 or not n == len(self.exit) == len(self.event) == (
            n if self.entry is None else len(self.entry)
        ):
            raise ValueError(f"x must be (n, p) and the times (n,), got {self.x.shape} and {np.shape(self.exit)}")
        if not (np.isfinite(self.x).all() and np.isfinite(self.exit).all()):
            raise ValueError("covariates and times must be finite; drop or impute those people first")
        check_order(self.exit, self.entry)
        if events < self.minimum_events:
            raise ValueError(f"a site needs {self.minimum_events} events to take part, this one has fewer")

    def totals(self) -> tuple[float, float, Floats]:
        """People, events, sums of the covariates."""
        return float(len(self.x)), float(self.event.sum()), np.asarray(self.x.sum(axis=0), np.float64)

    def products(self, centre: Floats) -> Floats:
        """``(p, p)`` sums of products of the covariates less the common means."""
        apart = self.x - centre
        return np.asarray(apart.T @ apart, np.float64)

    def likelihood(self, centre: Floats, spread: Floats) -> PartialLikelihood:
        """That of the site in common units; it stays in the site."""
        n = len(self.x)
        entry = np.full(n, -np.inf) if self.entry is None else self.entry
        none, ones = np.zeros(n, np.intp), np.ones(n)
        risk_sets = make_risk_sets(entry, self.exit, np.asarray(self.event, bool), none, ones, self.ties)
        return PartialLikelihood.of((self.x - centre) / spread, risk_sets)


@dataclass(frozen=True)
class FederatedCox:
    """A fit over sites.

    Attributes:
        estimates: as :class:`cmr_models.survival.CoxFit`; z and p from ``se``.
        log_likelihood, log_likelihood_null: partial, over all sites.
        n, n_events: people and events.
    """

    estimates: pd.DataFrame
    log_likelihood: float
    log_likelihood_null: float
    n: int
    n_events: int


def fit_federated_cox(sites: Sequence[CoxSite], terms: Sequence[str]) -> FederatedCox:
    """What :func:`cmr_models.survival.fit_cox` gives for all rows with the site as stratum, from sums alone.

    Args:
        sites: with the same columns.
        terms: their names.

    Raises:
        ValueError: no site, or columns that differ.
        NotEstimableError: a column is constant or a combination of others (which of them to drop is for the sites to
            agree on), or the likelihood has no maximum that could be found.

    Reference:
        Lu 2015, 10.1093/jamia/ocv083, on Cox models over sites that share sums.
    """
    if not sites or {site.x.shape[1] for site in sites} != {len(terms)}:
        raise ValueError(f"every site needs the {len(terms)} columns {list(terms)}")
    parts = [site.totals() for site in sites]
    n, n_events = sum(part[0] for part in parts), sum(part[1] for part in parts)
    centre = np.asarray(sum(part[2] for part in parts), np.float64) / n
    products = np.asarray(sum(site.products(centre) for site in sites), np.float64)
    spread = np.sqrt(np.diag(products) / n)
    _refuse_dependent(products, centre, spread, n)
    likelihoods = [site.likelihood(centre, spread) for site in sites]
    best = maximise(lambda coef: _together(likelihoods, coef), len(terms))
    meat = np.asarray(sum(part.score_products(best.coef, None) for part in likelihoods), np.float64)
    sandwich = best.covariance @ meat @ best.covariance
    se, kept = np.sqrt(np.maximum(np.diag(best.covariance), 0)), np.ones(len(terms), bool)
    table = term_table(list(terms), kept, best.coef, se, spread, best.diverging | is_infinite(best.coef, se))
    robust = np.sqrt(np.maximum(np.diag(sandwich), 0)) / spread
    table["robust_se"] = np.where(table["status"] == "ok", robust, np.nan)
    table["p"] = 2 * special.ndtr(-table["z"].abs().to_numpy(float))
    return FederatedCox(table, best.log_likelihood, best.log_likelihood_null, int(n), int(n_events))


def _together(likelihoods: Sequence[PartialLikelihood], coef: Floats) -> Slope:
    at = [likelihood.derivatives(coef) for likelihood in likelihoods]
    gradient = np.asarray(sum(part.gradient for part in at), np.float64)
    return Slope(
        sum(part.value for part in at),
        gradient,
        lambda: np.asarray(sum(part.information() for part in at), np.float64),
    )


def _refuse_dependent(products: Floats, centre: Floats, spread: Floats, n: float) -> None:
    if (spread <= _CONSTANT * np.maximum(np.abs(centre), np.finfo(float).tiny)).any():
        raise NotEstimableError("constant_exposure", "a covariate is the same in all sites")
    correlation = products / np.outer(spread, spread) / n
    if np.linalg.eigvalsh(correlation).min() < _DEPENDENT:
        raise NotEstimableError("collinear", "a covariate is a combination of others")
