"""Optimism of a model whose score is known, so that every concordance can be had again."""

import numpy as np
import pytest

from cmr_models.estimates import NotEstimableError
from cmr_models.prediction.learners import Fitted, Times
from cmr_models.prediction.optimism import bootstrap_optimism
from cmr_models.survival import concordance

N = 30
X = np.random.default_rng(3).normal(size=(N, 1))
TIMES = Times(np.full(N, -np.inf), np.random.default_rng(4).uniform(1, 9, N), np.arange(N) % 3 == 0)


class _Learner:
    """Its score is the column itself; it fails when called for the second and fourth resample."""

    def __init__(self, failing: tuple[int, ...]) -> None:
        self.failing, self.seen = failing, list[tuple[np.ndarray, Times]]()

    def __call__(self, x: np.ndarray, times: Times, rng: np.random.Generator) -> Fitted:
        self.seen.append((x, times))
        if len(self.seen) - 1 in self.failing:
            raise NotEstimableError("not_converged")
        return Fitted(lambda new: new[:, 0], np.ones(1), np.ones(1))


def test_optimism_is_the_mean_of_resample_less_everybody_and_those_that_fail_are_counted() -> None:
    learner = _Learner((2, 4))
    found = bootstrap_optimism(learner, X, TIMES, resamples=6, rng=np.random.default_rng(0))
    everybody = concordance(TIMES.exit, TIMES.event, X[:, 0]).value
    drawn = [
        concordance(times.exit, times.event, x[:, 0]).value
        for k, (x, times) in enumerate(learner.seen)
        if k not in (0, 2, 4)
    ]
    assert found.apparent == pytest.approx(everybody)
    assert found.optimism == pytest.approx(np.mean(drawn) - everybody)
    assert found.corrected == pytest.approx(2 * everybody - np.mean(drawn))
    assert (found.n_used, found.n_failed) == (4, 2)


def test_resamples_have_as_many_events_as_the_people_and_differ() -> None:
    learner = _Learner(())
    bootstrap_optimism(learner, X, TIMES, resamples=4, rng=np.random.default_rng(1))
    assert [int(times.event.sum()) for _, times in learner.seen] == [10] * 5
    assert len({x.tobytes() for x, _ in learner.seen}) == 5
    for x, times in learner.seen:
        rows = [int(np.flatnonzero(X[:, 0] == value)[0]) for value in x[:, 0]]
        np.testing.assert_array_equal(times.exit, TIMES.exit[rows])  # a person is drawn with the own time


def test_people_who_enter_late_are_compared_from_then_on() -> None:
    late = TIMES._replace(entry=TIMES.exit - 1.0)
    learner = _Learner(())
    found = bootstrap_optimism(learner, X, late, resamples=1, rng=np.random.default_rng(0))
    assert found.apparent == pytest.approx(concordance(late.exit, late.event, X[:, 0], entry=late.entry).value)


def test_without_any_resample_there_is_no_number() -> None:
    with pytest.raises(NotEstimableError, match="no resample could be fitted"):
        bootstrap_optimism(_Learner((1, 2)), X, TIMES, resamples=2, rng=np.random.default_rng(0))
