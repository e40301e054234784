"""The Cox partial likelihood with Efron ties and (entry, exit] risk sets, and its maximum by Newton's method.

Sums over risk sets are differences of running sums over the distinct event times, and the second
derivative needs
one weighted cross product of the covariates, so that a step costs O(n p²) whatever the number of events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.estimates import NotEstimableError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_MAX_STEPS = 60
_MAX_HALVINGS = 20
_RELATIVE_TOLERANCE = 1e-10
# A coefficient on its way to infinity leaves risk sets of next to no weight, whose sums are rounded this
# coarsely.
_NOISE = 1e-6
_MAX_STEP_PER_SD = 5.0


class Maximum(NamedTuple):
    """Where the likelihood is largest.

    Attributes:
        coef: ``(p,)``.
        covariance: ``(p, p)`` inverse of the information there.
        log_likelihood: there.
        log_likelihood_null: at 0.
        diverging: ``(p,)`` coefficients that still grew when the likelihood no longer did: their maximum
            is infinite.
    """

    coef: Floats
    covariance: Floats
    log_likelihood: float
    log_likelihood_null: float
    diverging: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Stratum:
    """Who is at risk when, in one stratum; ``K`` distinct event times, ``E`` events.

    Attributes:
        rows: of the table.
        first, last: ``(n,)`` at risk at the event times ``first <= k < last``.
        dead: positions in ``rows`` of the events, and ``dead_at`` the event time of each.
        tie_at: ``(E,)`` event time of each term of the likelihood; ``tie_share`` Efron's share of the
            deaths taken off.
        n_times: K.
    """

    rows: Ints
    first: Ints
    last: Ints
    dead: Ints
    dead_at: Ints
    tie_at: Ints
    tie_share: Floats
    n_times: int


def maximise(
    covariates: Floats, entry: Floats, exit: Floats, event: npt.NDArray[np.bool_], stratum: Ints
) -> Maximum:
    """Maximise the partial likelihood.

    Args:
        covariates: ``(n, p)``, centred and of unit spread, linearly independent.
        entry: ``(n,)``; ``-inf`` for those observed from the start.
        exit: ``(n,)``.
        event: ``(n,)``.
        stratum: ``(n,)`` codes; each has a baseline hazard of its own.

    Raises:
        NotEstimableError: no step raises the likelihood, or the information is singular.

    Reference:
        Efron 1977, 10.1080/01621459.1977.10480613.
    """
    strata = [_stratum(np.flatnonzero(stratum == code), entry, exit, event) for code in np.unique(stratum)]
    coef = np.zeros(covariates.shape[1])
    value, gradient, information = _derivatives(coef, covariates, strata)
    null, step = value, np.zeros_like(coef)
    for _ in range(_MAX_STEPS):
        step = np.clip(_solve(information, gradient), -_MAX_STEP_PER_SD, _MAX_STEP_PER_SD)
        climbed = _climb(coef, step, value, covariates, strata)
        if climbed is None and gradient @ step > _NOISE * (abs(value) + 1):
            raise NotEstimableError("not_converged", "no step raises the likelihood")
        if climbed is None:
            break
        following, after = climbed
        gain, coef = after[0] - value, following
        value, gradient, information = after
        if gain <= _RELATIVE_TOLERANCE * (abs(value) + 1):
            break
    else:
        raise NotEstimableError("not_converged", f"{_MAX_STEPS} Newton steps")
    diverging = np.abs(step) > 1e-3 * np.maximum(1, np.abs(coef))
    return Maximum(coef, _solve(information, np.eye(len(coef))), value, null, diverging)


def _stratum(rows: Ints, entry: Floats, exit: Floats, event: npt.NDArray[np.bool_]) -> _Stratum:
    times, deaths = np.unique(exit[rows][event[rows]], return_counts=True)
    dead = np.flatnonzero(event[rows])
    tie_at = np.repeat(np.arange(len(times)), deaths)
    within = np.arange(len(tie_at)) - np.repeat(np.cumsum(deaths) - deaths, deaths)
    return _Stratum(
        rows=rows,
        first=np.searchsorted(times, entry[rows], "right"),
        last=np.searchsorted(times, exit[rows], "right"),
        dead=dead,
        dead_at=np.searchsorted(times, exit[rows][dead]),
        tie_at=tie_at,
        tie_share=within / deaths[tie_at],
        n_times=len(times),
    )


def _derivatives(coef: Floats, covariates: Floats, strata: list[_Stratum]) -> tuple[float, Floats, Floats]:
    """Log likelihood, gradient ``(p,)`` and information ``(p, p)``."""
    p = len(coef)
    value, gradient, information = 0.0, np.zeros(p), np.zeros((p, p))
    for stratum in strata:
        if stratum.n_times:
            parts = _stratum_derivatives(coef, covariates[stratum.rows], stratum)
            value, gradient, information = value + parts[0], gradient + parts[1], information + parts[2]
    return value, gradient, information


def _stratum_derivatives(coef: Floats, x: Floats, at: _Stratum) -> tuple[float, Floats, Floats]:
    eta = x @ coef
    shift = float(eta.max())  # the likelihood does not change; the exponential cannot overflow
    r = np.exp(eta - shift)
    x_dead, r_dead = x[at.dead], r[at.dead]
    died = np.bincount(at.dead_at, r_dead, at.n_times)
    total = _at_risk_sum(r, at)[at.tie_at] - at.tie_share * died[at.tie_at]  # (E,)
    if not (total > 0).all():
        raise NotEstimableError("not_converged", "a risk set has no weight")
    value = float(eta[at.dead].sum() - (np.log(total) + shift).sum())
    # How much of the hazard each person, and in ties each death, has been under.
    hazard = np.concatenate([[0.0], np.cumsum(np.bincount(at.tie_at, 1 / total, at.n_times))])
    weight = r * (hazard[at.last] - hazard[at.first])
    weight[at.dead] -= r_dead * np.bincount(at.tie_at, at.tie_share / total, at.n_times)[at.dead_at]
    mean = np.empty((len(at.tie_at), x.shape[1]))
    for j in range(x.shape[1]):
        sums = _at_risk_sum(r * x[:, j], at)
        ties = np.bincount(at.dead_at, r_dead * x_dead[:, j], at.n_times)
        mean[:, j] = (sums[at.tie_at] - at.tie_share * ties[at.tie_at]) / total
    gradient = x_dead.sum(axis=0) - mean.sum(axis=0)
    information = (x * weight[:, None]).T @ x - mean.T @ mean
    return value, gradient, information


def _at_risk_sum(values: Floats, at: _Stratum) -> Floats:
    """Sum of ``values`` over those at risk at each event time ``(K,)``."""
    size = at.n_times + 1
    change = np.bincount(at.first, values, size) - np.bincount(at.last, values, size)
    return np.asarray(np.cumsum(change)[: at.n_times], np.float64)


def _climb(
    coef: Floats, step: Floats, value: float, covariates: Floats, strata: list[_Stratum]
) -> tuple[Floats, tuple[float, Floats, Floats]] | None:
    """Where the first of ``step``, ``step / 2`` ... leads that does not lower the likelihood; None if all do."""
    for halving in range(_MAX_HALVINGS):
        following = coef + step / 2**halving
        after = _derivatives(following, covariates, strata)
        if after[0] >= value - _RELATIVE_TOLERANCE * (abs(value) + 1):
            return following, after
    return None


def _solve(information: Floats, right: Floats) -> Floats:
    try:
        return np.asarray(np.linalg.solve(information, right), np.float64)
    except np.linalg.LinAlgError as error:
        raise NotEstimableError("not_converged", "the information matrix is singular") from error
