"""How much better a model looks on the people it was fitted to: Harrell's bootstrap, tuning repeated inside."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.estimates import NotEstimableError
from cmr_models.prediction.learners import Learner, Times
from cmr_models.survival.discrimination import concordance

Floats = npt.NDArray[np.float64]


class Optimism(NamedTuple):
    """Apparent concordance, its optimism, the difference; resamples used and those without an answer."""

    apparent: float
    optimism: float
    corrected: float
    n_used: int
    n_failed: int


def bootstrap_optimism(
    learner: Learner, x: Floats, times: Times, *, resamples: int, rng: np.random.Generator
) -> Optimism:
    """Optimism of the concordance of ``learner``.

    Args:
        learner: of :data:`cmr_models.prediction.LEARNERS`.
        x: ``(n, p)`` predictors.
        times: of ``n`` people.
        resamples: bootstrap samples; drawn among cases and others apart, so that none lacks events.
        rng: draws them.

    Raises:
        NotEstimableError: the model cannot be fitted to the people themselves, or to no resample.

    Reference:
        Harrell, Lee & Mark 1996, 10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4.
    """
    everybody = np.arange(len(x))
    apparent = _concordance(learner(x, times, rng).score(x), times, everybody)
    apart: list[float] = []
    for _ in range(resamples):
        rows = np.concatenate([rng.choice(part, len(part)) for part in _strata(times.event)])
        try:
            score = learner(x[rows], times.of(rows), rng).score(x)
            apart.append(_concordance(score, times, rows) - _concordance(score, times, everybody))
        except NotEstimableError:
            continue  # counted below
    if not apart:
        raise NotEstimableError("not_converged", "no resample could be fitted")
    optimism = float(np.mean(apart))
    return Optimism(apparent, optimism, apparent - optimism, len(apart), resamples - len(apart))


def _strata(event: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.intp]]:
    return [rows for rows in (np.flatnonzero(event), np.flatnonzero(~event)) if len(rows)]


def _concordance(score: Floats, times: Times, rows: npt.NDArray[np.intp]) -> float:
    entry = times.entry[rows] if np.isfinite(times.entry).all() else None
    return concordance(times.exit[rows], times.event[rows], score[rows], entry=entry).value
