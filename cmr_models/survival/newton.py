"""Newton's method with halved steps, for likelihoods whose maximum may be at infinity."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.estimates import NotEstimableError

Floats = npt.NDArray[np.float64]
Derivatives = Callable[[Floats], tuple[float, Floats, Floats]]
"""From ``(p,)`` coefficients to log likelihood, gradient ``(p,)`` and information ``(p, p)``."""

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


def maximise(derivatives: Derivatives, n_terms: int) -> Maximum:
    """Maximise from 0.

    Raises:
        NotEstimableError: no step raises the likelihood, or the information is singular.
    """
    coef = np.zeros(n_terms)
    value, gradient, information = derivatives(coef)
    null, step = value, np.zeros_like(coef)
    for _ in range(_MAX_STEPS):
        step = np.clip(solve(information, gradient), -_MAX_STEP_PER_SD, _MAX_STEP_PER_SD)
        climbed = _climb(coef, step, value, derivatives)
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
    return Maximum(coef, solve(information, np.eye(len(coef))), value, null, diverging)


def solve(information: Floats, right: Floats) -> Floats:
    """``information⁻¹ right``.

    Raises:
        NotEstimableError: it is singular.
    """
    try:
        return np.asarray(np.linalg.solve(information, right), np.float64)
    except np.linalg.LinAlgError as error:
        raise NotEstimableError("not_converged", "the information matrix is singular") from error


def _climb(
    coef: Floats, step: Floats, value: float, derivatives: Derivatives
) -> tuple[Floats, tuple[float, Floats, Floats]] | None:
    """Where the first of ``step``, ``step / 2`` ... leads that lowers no likelihood; None if all do."""
    for halving in range(_MAX_HALVINGS):
        following = coef + step / 2**halving
        after = derivatives(following)
        if after[0] >= value - _RELATIVE_TOLERANCE * (abs(value) + 1):
            return following, after
    return None
