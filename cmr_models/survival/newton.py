"""Newton's method with halved steps, for likelihoods whose maximum may be at infinity."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.estimates import NotEstimableError

Floats = npt.NDArray[np.float64]


class Slope(NamedTuple):
    """A log likelihood at some coefficients ``(p,)``: its value, gradient ``(p,)`` and information ``(p, p)``.

    The information is worked out when it is asked for.
    """

    value: float
    gradient: Floats
    information: Callable[[], Floats]


Derivatives = Callable[[Floats], Slope]

_MAX_STEPS = 60
_MAX_HALVINGS = 20
_RELATIVE_TOLERANCE = 1e-10
# A step that promises less than this share of the likelihood changes neither coefficients nor errors in their sixth
# digit.
_LAST_GAIN = 1e-15
# A coefficient on its way to infinity leaves risk sets of next to no weight, whose sums are rounded this
# coarsely.
_NOISE = 1e-6
_MAX_STEP_PER_SD = 5.0
# A guessed information serves as long as steps gain about what it promises, and more than this.
_TRUST = 0.1
_ROUGH_GAIN = 1e-2


class Maximum(NamedTuple):
    """Where the likelihood is largest.

    Attributes:
        coef: ``(p,)``.
        covariance: ``(p, p)`` inverse of the information there.
        log_likelihood: there.
        log_likelihood_null: at 0.
        diverging: ``(p,)`` coefficients that still grew when the likelihood no longer did: their maximum
            is infinite.
        step: ``(p,)`` the last one.
    """

    coef: Floats
    covariance: Floats
    log_likelihood: float
    log_likelihood_null: float
    diverging: npt.NDArray[np.bool_]
    step: Floats


def maximise(
    derivatives: Derivatives, n_terms: int, basis: Floats | None = None, guess: Floats | None = None
) -> Maximum:
    """Maximise from 0.

    Args:
        derivatives: of the coefficients.
        n_terms: p.
        basis: ``(p, p)``; steps are taken in coordinates of which it makes the coefficients, such as those of
            :func:`cmr_models.estimates.design_matrix.orthogonal_basis` where columns nearly depend on each other.
        guess: ``(p, p)`` something close to the information, for the first steps.

    Raises:
        NotEstimableError: no step raises the likelihood, or the information is singular.
    """
    if basis is None:
        return _maximise(derivatives, n_terms, guess)
    turned = _maximise(lambda at: _turn(derivatives, basis, at), n_terms, None)
    coef, covariance = basis @ turned.coef, basis @ turned.covariance @ basis.T
    own = 1 / np.sqrt((basis**2).sum(axis=1))
    step = basis @ turned.step
    return turned._replace(coef=coef, covariance=covariance, diverging=_is_diverging(coef * own, step * own), step=step)


def _maximise(derivatives: Derivatives, n_terms: int, guess: Floats | None) -> Maximum:
    coef = np.zeros(n_terms)
    at = derivatives(coef)
    null = at.value
    for _ in range(_MAX_STEPS):
        information = at.information() if guess is None else guess
        step = np.clip(solve(information, at.gradient), -_MAX_STEP_PER_SD, _MAX_STEP_PER_SD)
        promised = float(at.gradient @ step) / 2
        is_last = guess is None and 0 <= promised <= _LAST_GAIN * (abs(at.value) + 1)
        if is_last and not _is_diverging(coef, step).any():
            return _make_maximum(coef + step, information, at.value + promised, null, step)
        climbed = _climb(coef, step, at.value, derivatives)
        if climbed is None and guess is None and 2 * promised > _NOISE * (abs(at.value) + 1):
            raise NotEstimableError("not_converged", "no step raises the likelihood")
        if climbed is None and guess is None:
            return _make_maximum(coef, information, at.value, null, step)
        gain = 0.0
        if climbed is not None:
            gain, (coef, at) = climbed[1].value - at.value, climbed
        if guess is None and gain <= _RELATIVE_TOLERANCE * (abs(at.value) + 1):
            return _make_maximum(coef, at.information(), at.value, null, step)
        if abs(gain - promised) > _TRUST * promised or promised < _ROUGH_GAIN:
            guess = None
    raise NotEstimableError("not_converged", f"{_MAX_STEPS} Newton steps")


def _make_maximum(coef: Floats, information: Floats, value: float, null: float, step: Floats) -> Maximum:
    return Maximum(coef, solve(information, np.eye(len(coef))), value, null, _is_diverging(coef, step), step)


def _is_diverging(coef: Floats, step: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray(np.abs(step) > 1e-3 * np.maximum(1, np.abs(coef)), bool)


def _turn(derivatives: Derivatives, basis: Floats, at: Floats) -> Slope:
    found = derivatives(basis @ at)
    return Slope(found.value, basis.T @ found.gradient, lambda: basis.T @ found.information() @ basis)


def solve(information: Floats, right: Floats) -> Floats:
    """``information⁻¹ right``.

    Raises:
        NotEstimableError: it is singular.
    """
    try:
        return np.asarray(np.linalg.solve(information, right), np.float64)
    except np.linalg.LinAlgError as error:
        raise NotEstimableError("not_converged", "the information matrix is singular") from error


def _climb(coef: Floats, step: Floats, value: float, derivatives: Derivatives) -> tuple[Floats, Slope] | None:
    """Where the first of ``step``, ``step / 2`` ... leads that lowers no likelihood; None if all do."""
    for halving in range(_MAX_HALVINGS):
        following = coef + step / 2**halving
        after = derivatives(following)
        if after.value >= value - _RELATIVE_TOLERANCE * (abs(value) + 1):
            return following, after
    return None
