"""The Cox partial likelihood with (entry, exit] risk sets, Efron or Breslow ties, strata and case weights.

Sums over risk sets are running sums over the distinct event times, and the second derivative needs one
weighted cross product of the covariates: a step costs O(n p²) and the residuals O(n p), whatever the
number of events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.estimates import NotEstimableError
from cmr_models.survival.risk_sets import RiskSets

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_ROWS_PER_CHUNK = 1024


class Terms(NamedTuple):
    """The terms of one stratum's likelihood at some coefficients.

    Attributes:
        eta: ``(m,)`` linear predictor.
        shift: largest ``eta``; the exponential below cannot overflow.
        relative: ``(m,)`` case weight times ``exp(eta - shift)``.
        total: ``(E,)`` sum of ``relative`` over the risk set.
        mean: ``(E, p)`` covariates' mean over the risk set, by ``relative``.
        increment: ``(E,)`` of the baseline hazard, times ``exp(shift)``.
    """

    eta: Floats
    shift: float
    relative: Floats
    total: Floats
    mean: Floats
    increment: Floats


@dataclass(frozen=True)
class PartialLikelihood:
    """The likelihood of some people.

    Attributes:
        strata: their risk sets.
        covariates: of each stratum, ``(m, p)`` in the order of its rows.
        n: people, at risk or not.
    """

    strata: list[RiskSets]
    covariates: list[Floats]
    n: int

    @classmethod
    def of(cls, covariates: Floats, strata: list[RiskSets]) -> PartialLikelihood:
        """From ``covariates (n, p)``, centred and of unit spread, linearly independent."""
        return cls(strata, [covariates[at.rows] for at in strata], len(covariates))

    def derivatives(self, coef: Floats) -> tuple[float, Floats, Floats]:
        """Log likelihood, gradient ``(p,)`` and information ``(p, p)``.

        Reference:
            Efron 1977, 10.1080/01621459.1977.10480613; case weights as in R's ``coxph``: each of the d
            terms of a tie has the mean weight of its deaths.
        """
        p = len(coef)
        value, gradient, information = 0.0, np.zeros(p), np.zeros((p, p))
        for at, x in zip(self.strata, self.covariates, strict=True):
            terms = make_terms(coef, x, at)
            value += float(at.weight[at.dead] @ terms.eta[at.dead])
            value -= float(at.term_weight @ (np.log(terms.total) + terms.shift))
            gradient += score(terms, x, at)
            information += curvature(terms, x, at)
        return value, gradient, information

    def score_residuals(self, coef: Floats) -> Floats:
        """``(n, p)`` each person's part of the gradient, case weight included; 0 for those never at risk.

        Reference:
            Therneau & Grambsch 2000, section 7.1; Efron ties as in R's ``residuals(type="score")``.
        """
        residuals = np.zeros((self.n, len(coef)))
        for at, x in zip(self.strata, self.covariates, strict=True):
            residuals[at.rows] = _score_residuals(make_terms(coef, x, at), x, at)
        return residuals

    def score_products(self, coef: Floats, cluster: Ints | None) -> Floats:
        """``(p, p)`` sum of the outer products of the score residuals, added up within ``cluster (n,)`` codes."""
        p = len(coef)
        if cluster is None:
            parts = [
                _score_residuals(make_terms(coef, x, at), x, at)
                for at, x in zip(self.strata, self.covariates, strict=True)
            ]
            return np.asarray(sum((part.T @ part for part in parts), np.zeros((p, p))), np.float64)
        residuals, count = self.score_residuals(coef), int(cluster.max()) + 1
        sums = np.column_stack([np.bincount(cluster, column, count) for column in residuals.T])
        return np.asarray(sums.T @ sums, np.float64)


def make_terms(coef: Floats, x: Floats, at: RiskSets) -> Terms:
    """The terms of one stratum.

    Raises:
        NotEstimableError: a risk set has no weight.
    """
    eta = x @ coef
    shift = float(eta.max())
    relative = at.weight * np.exp(eta - shift)
    sums = _less_ties(relative, x, at)
    total = sums[:, 0]
    if not (total > 0).all():
        raise NotEstimableError("not_converged", "a risk set has no weight")
    return Terms(eta, shift, relative, total, sums[:, 1:] / total[:, None], at.term_weight / total)


def risk_set_means(terms: Terms, values: Floats, at: RiskSets) -> Floats:
    """``(E, c)`` mean over each term's risk set of ``values (m, c)`` that are no part of the model."""
    return np.asarray(_less_ties(terms.relative, values, at)[:, 1:] / terms.total[:, None], np.float64)


def _less_ties(relative: Floats, x: Floats, at: RiskSets) -> Floats:
    """``(E, 1 + c)`` sums over each term's risk set, less Efron's share of its deaths."""
    sums = at.at_risk(relative, x)[at.term_at]
    if at.term_share.any():
        dying = relative[at.dead]
        sums[:, 0] -= at.term_share * np.bincount(at.dead_at, dying, at.n_times)[at.term_at]
        for j in range(x.shape[1]):
            ties = np.bincount(at.dead_at, dying * x[at.dead, j], at.n_times)
            sums[:, 1 + j] -= at.term_share * ties[at.term_at]
    return sums


def score(terms: Terms, x: Floats, at: RiskSets, by_time: Floats | None = None) -> Floats:
    """``(p,)`` gradient; with ``by_time (K,)``, of covariates multiplied by it."""
    factor = np.ones(at.n_times) if by_time is None else by_time
    observed = (at.weight[at.dead] * factor[at.dead_at]) @ x[at.dead]
    return np.asarray(observed - (at.term_weight * factor[at.term_at]) @ terms.mean, np.float64)


def curvature(terms: Terms, x: Floats, at: RiskSets, by_time: Floats | None = None) -> Floats:
    """``(p, p)`` information, the variance at each event time multiplied by ``by_time (K,)`` where given."""
    factor = np.ones(len(at.term_at)) if by_time is None else by_time[at.term_at]
    observed = weighted_cross_product(x, expected_events(terms, at, factor))
    return observed - weighted_cross_product(terms.mean, factor * at.term_weight)


def weighted_cross_product(x: Floats, weight: Floats) -> Floats:
    """``x' diag(weight) x``, some rows at a time so that the product stays in the processor's cache."""
    product = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), _ROWS_PER_CHUNK):
        rows = slice(start, start + _ROWS_PER_CHUNK)
        product += (x[rows] * weight[rows, None]).T @ x[rows]
    return product


def expected_events(terms: Terms, at: RiskSets, factor: Floats) -> Floats:
    """``(m,)`` cumulative hazard each person has been under, times case weight; ``factor (E,)`` by term."""
    increment = terms.increment * factor
    expected = terms.relative * at.during(at.over_terms(increment))
    if at.term_share.any():
        expected[at.dead] -= terms.relative[at.dead] * at.over_terms(increment * at.term_share)[at.dead_at]
    return expected


def _score_residuals(terms: Terms, x: Floats, at: RiskSets) -> Floats:
    increment = terms.increment[:, None]
    hazard = at.during(at.over_terms(terms.increment))
    means = np.cumsum(at.over_terms(increment * terms.mean), axis=0)
    means = np.concatenate([np.zeros_like(means[:1]), means])
    residuals = np.empty_like(x)
    for start in range(0, len(x), _ROWS_PER_CHUNK):
        rows = slice(start, start + _ROWS_PER_CHUNK)
        part = means[at.last[rows]] - x[rows] * hazard[rows, None]
        if at.enters_late:
            part -= means[at.first[rows]]
        np.multiply(part, terms.relative[rows, None], out=residuals[rows])
    dead, dead_at = at.dead, at.dead_at
    average = at.over_terms(terms.mean) / at.over_terms(np.ones(len(at.term_at)))[:, None]
    residuals[dead] += at.weight[dead, None] * (x[dead] - average[dead_at])
    if at.term_share.any():
        share = at.term_share[:, None] * increment
        spared = x[dead] * at.over_terms(share)[dead_at] - at.over_terms(share * terms.mean)[dead_at]
        residuals[dead] += terms.relative[dead, None] * spared
    return np.asarray(residuals, np.float64)
