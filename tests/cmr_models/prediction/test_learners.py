"""Parts of the learners by hand: risk from a baseline, time at risk, size of leaves, slope of a forest."""

from typing import Any

import numpy as np
import pytest

from cmr_models.prediction.learners import Fitted, Times, _calibrate, _exposure, _leaf

FITTED = Fitted(lambda x: x[:, 0], np.array([1.0, 3.0]), np.array([0.1, 0.4]))
X = np.array([[0.0], [np.log(2)]])


@pytest.mark.parametrize(("horizon", "hazard"), [(0.9, 0.0), (1.0, 0.1), (2.9, 0.1), (3.0, 0.4), (9.0, 0.4)])
def test_risk_is_from_the_baseline_up_to_the_horizon(horizon: float, hazard: float) -> None:
    np.testing.assert_allclose(FITTED.risk(X, horizon), 1 - np.exp(-hazard * np.array([1, 2])))


def test_risk_after_a_late_entry_is_of_the_years_since() -> None:
    # The first enters at 1, after the event there, the second at 2.5: 0.3 from then to 3 and more.
    np.testing.assert_allclose(FITTED.risk(X, [1.0, 2.0], np.array([1.0, 2.5])), 1 - np.exp([[0, -0.3], [-0.6, -0.6]]))
    np.testing.assert_allclose(FITTED.risk(X, [0.4, 1.0], np.array([0.0, 0.8])), 1 - np.exp([[0, -0.1], [-0.2, -0.2]]))


def test_the_hazard_of_a_life_is_that_of_its_own_time_at_risk() -> None:
    # Events at 2 and 4. At 2 all but the fourth are at risk: 1/3; at 4 the second, third and fourth: 1/3.
    times = Times(np.array([0.0, 0, 1, 2]), np.array([2.0, 5, 4, 6]), np.array([True, False, True, False]))
    np.testing.assert_allclose(_exposure(times), [1 / 3, 2 / 3, 2 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("n", "n_events", "people"),
    [
        (1000, 500, 10),  # five events are in ten people
        (1000, 10, 100),  # in 500; a tenth of all at most
        (100, 60, 9),  # 8.33
        (40, 20, 5),  # a tenth is four; five at least
        (200, 0, 20),
    ],
)
def test_a_leaf_has_about_five_events(n: int, n_events: int, people: int) -> None:
    assert _leaf(np.arange(n) < n_events) == people


class _Model:
    """Predicts a rate that rises, or falls, with the first column whatever it was shown."""

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def fit(self, *_: Any, **__: Any) -> "_Model":
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.exp(self.sign * x[:, 0])


def test_a_score_that_ranks_the_unseen_backwards_is_worth_nothing() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 1))
    died = rng.exponential(np.exp(-x[:, 0]))
    times = Times(np.full(300, -np.inf), np.minimum(died, 1.0), died < 1)
    right = _calibrate(lambda _: _Model(1.0), x, times, np.random.default_rng(1))
    np.testing.assert_allclose(right.score(x), x[:, 0] * right.score(np.ones((1, 1))))
    assert 0.8 < right.score(np.ones((1, 1)))[0] < 1.2  # the truth is 1
    steep = _calibrate(lambda _: _Model(2.0), x, times, np.random.default_rng(1))
    np.testing.assert_allclose(steep.score(x), right.score(x), rtol=1e-6)  # twice too steep: halved
    wrong = _calibrate(lambda _: _Model(-1.0), x, times, np.random.default_rng(1))
    np.testing.assert_array_equal(wrong.score(x), np.zeros(300))
    assert np.ptp(wrong.risk(x, 0.5)) == 0
