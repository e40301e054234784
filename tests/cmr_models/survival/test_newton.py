"""Newton's steps on parabolas, whose maximum is known: when they end, and what a wrong guess or gradient does."""

from collections.abc import Callable

import numpy as np
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.survival.newton import Floats, Slope, maximise


def _parabola(curvature: float = 2.0, top: float = 3.0) -> Callable[[Floats], Slope]:
    """Highest, at 7, where the coefficient is ``top``."""

    def at(coef: Floats) -> Slope:
        away = coef - top
        return Slope(7 - curvature / 2 * float(away @ away), -curvature * away, lambda: np.array([[curvature]]))

    return at


def test_the_top_of_a_parabola_is_one_step_away() -> None:
    found = maximise(_parabola(), 1)
    np.testing.assert_allclose(found.coef, [3])
    np.testing.assert_allclose(found.covariance, [[0.5]])
    assert (found.log_likelihood, found.log_likelihood_null) == (pytest.approx(7), pytest.approx(7 - 9))
    assert not found.diverging.any()


def test_a_step_is_of_five_at_most() -> None:
    np.testing.assert_allclose(maximise(_parabola(top=12.0), 1).coef, [12])


@pytest.mark.parametrize("guess", [1e20, 100.0, 2.0, -1.0])
def test_a_wrong_guess_of_the_information_neither_ends_the_way_nor_is_an_error(guess: float) -> None:
    # 1e20: a step that promises nothing, 100: too short a step, -1: downhill; the second derivative corrects them all.
    found = maximise(_parabola(), 1, guess=np.array([[guess]]))
    np.testing.assert_allclose(found.coef, [3], atol=1e-6)
    np.testing.assert_allclose(found.covariance, [[0.5]])


def _spike(gradient: float, curvature: float = 1.0) -> Callable[[Floats], Slope]:
    """A likelihood that falls off on all sides of 0, whatever its gradient there promises."""

    def at(coef: Floats) -> Slope:
        value = 0.0 if not coef.any() else -1.0
        return Slope(value, np.array([gradient]), lambda: curvature * np.eye(1))

    return at


def test_where_no_step_raises_the_likelihood_rounding_alone_is_forgiven() -> None:
    # The step is the gradient g and promises g^2 / 2: twice that is 0.9 and 1.1 millionths.
    found = maximise(_spike(np.sqrt(0.9e-6)), 1)
    assert (found.coef.tolist(), found.log_likelihood) == ([0], 0)
    with pytest.raises(NotEstimableError, match="no step raises the likelihood"):
        maximise(_spike(np.sqrt(1.1e-6)), 1)
    # What a guess promises in vain is no error: the second derivative, a million times it, promises next to nothing.
    assert maximise(_spike(np.sqrt(1.1e-6), 1e6), 1, guess=np.eye(1)).coef.tolist() == [0]


def test_a_likelihood_that_rises_for_ever_is_marked() -> None:
    def at(coef: Floats) -> Slope:
        rest = float(np.exp(-coef[0]))
        return Slope(-rest, np.array([rest]), lambda: np.array([[rest]]))

    assert maximise(at, 1).diverging.tolist() == [True]


def test_an_information_that_is_singular_is_a_reason() -> None:
    with pytest.raises(NotEstimableError, match="the information matrix is singular"):
        maximise(lambda _: Slope(0.0, np.ones(2), lambda: np.ones((2, 2))), 2)
