"""The Cox partial likelihood with (entry, exit] risk sets, Efron or Breslow ties, strata and case weights.

Sums over risk sets are running sums over the distinct event times, and the second derivative needs one
weighted cross product of the covariates: a step costs O(n p²) and the residuals O(n p), whatever the
number of events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.estimates import NotEstimableError
from cmr_models.survival.newton import Slope
from cmr_models.survival.risk_sets import RiskSets

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_ROWS_PER_CHUNK = 2048
# Below this a risk set of a coefficient on its way to infinity has a weight that is no floating-point number.
_LEAST = -600.0
_LARGEST_HAZARD = 1e50


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
    _latest: dict[bytes, list[Terms]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, covariates: Floats, strata: list[RiskSets]) -> PartialLikelihood:
        """From ``covariates (n, p)``, centred and of unit spread, linearly independent."""
        return cls(strata, [np.take(covariates, at.rows, axis=0) for at in strata], len(covariates))

    def derivatives(self, coef: Floats) -> Slope:
        """Log likelihood, gradient ``(p,)`` and information ``(p, p)``.

        Reference:
            Efron 1977, 10.1080/01621459.1977.10480613; case weights as in R's ``coxph``: each of the d
            terms of a tie has the mean weight of its deaths.
        """
        value, gradient, terms = 0.0, np.zeros(len(coef)), self.terms(coef)
        for of, at, x in zip(terms, self.strata, self.covariates, strict=True):
            value += float(at.weight[at.dead] @ of.eta[at.dead])
            value -= float(at.term_weight @ (np.log(of.total) + of.shift))
            gradient += score(of, x, at)
        return Slope(value, gradient, lambda: self._information(terms))

    def _information(self, terms: list[Terms]) -> Floats:
        parts = (curvature(of, x, at) for of, at, x in zip(terms, self.strata, self.covariates, strict=True))
        return np.asarray(sum(parts), np.float64)

    def terms(self, coef: Floats) -> list[Terms]:
        """Of each stratum; those of the latest coefficients are remembered."""
        key = coef.tobytes()
        if key not in self._latest:
            made = [make_terms(coef, x, at) for at, x in zip(self.strata, self.covariates, strict=True)]
            self._latest.clear()
            self._latest[key] = made
        return self._latest[key]

    def score_residuals(self, coef: Floats) -> Floats:
        """``(n, p)`` each person's part of the gradient, case weight included; 0 for those never at risk.

        Reference:
            Therneau & Grambsch 2000, section 7.1; Efron ties as in R's ``residuals(type="score")``.
        """
        residuals = np.zeros((self.n, len(coef)))
        for terms, at, x in zip(self.terms(coef), self.strata, self.covariates, strict=True):
            for rows, part in _residual_chunks(terms, x, at):
                residuals[at.rows[rows]] = part
        return residuals

    def score_products(self, coef: Floats, cluster: Ints | None) -> Floats:
        """``(p, p)`` sum of the outer products of the score residuals, added up within ``cluster (n,)`` codes."""
        p = len(coef)
        if cluster is None:
            products = np.zeros((p, p))
            for terms, at, x in zip(self.terms(coef), self.strata, self.covariates, strict=True):
                products += _residual_products(terms, x, at)
            return products
        residuals, count = self.score_residuals(coef), int(cluster.max()) + 1
        sums = np.column_stack([np.bincount(cluster, column, count) for column in residuals.T])
        return np.asarray(sums.T @ sums, np.float64)


def make_terms(coef: Floats, x: Floats, at: RiskSets) -> Terms:
    """The terms of one stratum.

    Raises:
        NotEstimableError: a risk set has no weight.
    """
    eta = x @ coef if coef.any() else np.zeros(len(x))
    shift = float(eta.max())
    relative = at.weight * np.exp(np.maximum(eta - shift, _LEAST))
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
    sums = np.take(at.at_risk(relative, x), at.term_at, axis=0)
    if at.term_share.any():
        dying = np.ones((len(at.dead), 1 + x.shape[1]))
        dying[:, 1:] = np.take(x, at.dead, axis=0)
        dying *= relative[at.dead, None]
        # Those who die at one time lie side by side.
        ties = np.add.reduceat(dying, np.flatnonzero(np.diff(at.dead_at, prepend=-1)), axis=0)
        sums -= at.term_share[:, None] * np.take(ties, at.term_at, axis=0)
    return sums


def score(terms: Terms, x: Floats, at: RiskSets, by_time: Floats | None = None) -> Floats:
    """``(p,)`` gradient; with ``by_time (K,)``, of covariates multiplied by it."""
    factor = np.ones(at.n_times) if by_time is None else by_time
    observed = (at.weight[at.dead] * factor[at.dead_at]) @ np.take(x, at.dead, axis=0)
    return np.asarray(observed - (at.term_weight * factor[at.term_at]) @ terms.mean, np.float64)


def curvature(terms: Terms, x: Floats, at: RiskSets, by_time: Floats | None = None) -> Floats:
    """``(p, p)`` information, the variance at each event time multiplied by ``by_time (K,)`` where given."""
    factor = np.ones(len(at.term_at)) if by_time is None else by_time[at.term_at]
    observed = weighted_cross_product(x, expected_events(terms, at, factor))
    return observed - weighted_cross_product(terms.mean, factor * at.term_weight)


def weighted_cross_product(x: Floats, weight: Floats) -> Floats:
    """``x' diag(weight) x``, some rows at a time so that the product stays in the processor's cache."""
    product = np.zeros((x.shape[1], x.shape[1]))
    # A matrix times its own transpose costs half; it needs a root of the weights.
    root = np.sqrt(weight) if weight.min(initial=0) >= 0 else None
    factor, buffer = weight if root is None else root, np.empty((_ROWS_PER_CHUNK, x.shape[1]))
    for start in range(0, len(x), _ROWS_PER_CHUNK):
        rows = slice(start, start + _ROWS_PER_CHUNK)
        part = np.multiply(x[rows], factor[rows, None], out=buffer[: len(x[rows])])
        product += part.T @ (x[rows] if root is None else part)
    return product


def expected_events(terms: Terms, at: RiskSets, factor: Floats) -> Floats:
    """``(m,)`` cumulative hazard each person has been under, times case weight; ``factor (E,)`` by term."""
    increment = terms.increment * factor
    expected = terms.relative * at.during(at.over_terms(increment))
    if at.term_share.any():
        expected[at.dead] -= terms.relative[at.dead] * at.over_terms(increment * at.term_share)[at.dead_at]
    return expected


def _residual_products(terms: Terms, x: Floats, at: RiskSets) -> Floats:
    """``(p, p)`` sum of the outer products of the score residuals.

    A residual is ``relative * (M - x H) + D`` with ``M`` and ``H`` of its time of exit and ``D`` of its event, if it
    has one; without delayed entry those of one time of exit are summed before they are multiplied.
    """
    none = np.zeros((1, x.shape[1]))
    hazard = np.concatenate([[0.0], np.cumsum(at.over_terms(terms.increment))])
    if at.enters_late or hazard[-1] > _LARGEST_HAZARD:
        return np.asarray(sum(part.T @ part for _, part in _residual_chunks(terms, x, at)), np.float64)
    means = np.concatenate([none, np.cumsum(at.over_terms(terms.increment[:, None] * terms.mean), axis=0)])
    square = terms.relative**2
    sums = at.leaving.sums(square, x)
    crossed = means.T @ (sums[:, 1:] * hazard[:, None])
    products = (means * sums[:, :1]).T @ means - crossed - crossed.T
    products += weighted_cross_product(x, (terms.relative * hazard[at.last]) ** 2)
    of_dead, last = _residuals_of_dead(terms, x, at), at.last[at.dead]
    before = np.take(means, last, axis=0) - np.take(x, at.dead, axis=0) * hazard[last, None]
    crossed = (before * terms.relative[at.dead, None]).T @ of_dead
    return np.asarray(products + crossed + crossed.T + of_dead.T @ of_dead, np.float64)


def _residual_chunks(terms: Terms, x: Floats, at: RiskSets) -> Iterator[tuple[slice, Floats]]:
    """Some rows of ``x`` at a time, and their score residuals."""
    hazard = at.during(at.over_terms(terms.increment))
    means = np.cumsum(at.over_terms(terms.increment[:, None] * terms.mean), axis=0)
    means = np.concatenate([np.zeros_like(means[:1]), means])
    of_dead = _residuals_of_dead(terms, x, at)
    for start in range(0, len(x), _ROWS_PER_CHUNK):
        rows = slice(start, start + _ROWS_PER_CHUNK)
        part = np.take(means, at.last[rows], axis=0) - x[rows] * hazard[rows, None]
        if at.enters_late:
            part -= np.take(means, at.first[rows], axis=0)
        part *= terms.relative[rows, None]
        dead = slice(*np.searchsorted(at.dead, [start, start + _ROWS_PER_CHUNK]))
        part[at.dead[dead] - start] += of_dead[dead]
        yield rows, part


def _residuals_of_dead(terms: Terms, x: Floats, at: RiskSets) -> Floats:
    """``(events, p)`` what the event adds to a person's score residual."""
    dead, dead_at = at.dead, at.dead_at
    average = at.over_terms(terms.mean) / at.over_terms(np.ones(len(at.term_at)))[:, None]
    of_dead = np.take(x, dead, axis=0)
    residuals = at.weight[dead, None] * (of_dead - average[dead_at])
    if at.term_share.any():
        share = at.term_share[:, None] * terms.increment[:, None]
        spared = of_dead * at.over_terms(share)[dead_at] - at.over_terms(share * terms.mean)[dead_at]
        residuals += terms.relative[dead, None] * spared
    return np.asarray(residuals, np.float64)
