"""Learners of risk at cohort size: Cox, ridge, boosted trees and a forest, all with one baseline hazard.

The trees maximise the likelihood of Poisson counts whose exposure is the cumulative hazard each person was under. That
is the full likelihood of proportional hazards with the baseline held, it takes delayed entry, and it costs no more
than a regression on n rows; docs/adr/015 compares the alternatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates import NotEstimableError
from cmr_models.prediction.folds import person_folds
from cmr_models.survival.cox import fit_cox
from cmr_models.survival.partial_likelihood import make_terms
from cmr_models.survival.penalised import ridge_path
from cmr_models.survival.risk_sets import make_risk_sets

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Score = Callable[[Floats], Floats]

PENALTIES = tuple(10.0 ** np.arange(0.5, -4.1, -0.75))
_TREES = 100
_EVENTS_PER_LEAF = 5
_SMALLEST_RATE = 1e-3
_PEOPLE_PER_TREE = 20_000
_CALIBRATION_FOLDS = 3


class Times(NamedTuple):
    """``(n,)`` entry (``-inf`` from the start), exit, event."""

    entry: Floats
    exit: Floats
    event: Bools

    def of(self, rows: npt.NDArray[Any]) -> Times:
        """Those of some people."""
        return Times(self.entry[rows], self.exit[rows], self.event[rows])


class Fitted(NamedTuple):
    """A risk score, and the cumulative baseline hazard ``(k,)`` at ``times (k,)`` where the score is 0."""

    score: Score
    times: Floats
    cumulative: Floats

    def risk(self, x: Floats, horizon: npt.ArrayLike, entry: Floats | None = None) -> Floats:
        """``(m,)`` chance of the event by ``horizon``; after ``entry (m,)`` on the clock of the times, if given.

        ``horizon`` may be ``(t,)``: then ``(m, t)``.
        """
        steps, until = np.concatenate([[0.0], self.cumulative]), np.asarray(horizon, np.float64)
        since = np.zeros(len(x)) if entry is None else entry
        places = since.reshape(-1, *(1,) * until.ndim) + until
        hazard = steps[np.searchsorted(self.times, places, "right")]
        if entry is not None:
            hazard = (hazard.T - steps[np.searchsorted(self.times, entry, "right")]).T
        relative = np.exp(np.clip(self.score(x), -700, 700)).reshape(-1, *(1,) * until.ndim)
        return np.asarray(-np.expm1(-hazard * relative), np.float64)


Learner = Callable[[Floats, Times, np.random.Generator], Fitted]


def fit_cox_learner(x: Floats, times: Times, rng: np.random.Generator) -> Fitted:
    """Cox regression; columns that do not vary or whose effect is infinite count for nothing."""
    fit = fit_cox(_table(x, times), **_names(x, times))
    coef = fit.estimates["coef"].fillna(0.0).to_numpy(float)
    return _with_baseline(_linear(coef), x, times)


def fit_ridge_learner(x: Floats, times: Times, rng: np.random.Generator) -> Fitted:
    """Ridge regression, its penalty by the cross-validated partial likelihood."""
    return fit_ridge(x, times, PENALTIES, rng)[0]


def fit_ridge(
    x: Floats, times: Times, penalties: Sequence[float], rng: np.random.Generator | None
) -> tuple[Fitted, float]:
    """Ridge regression and the penalty chosen; the smallest of ``penalties`` without ``rng``."""
    path = ridge_path(_table(x, times), penalties=penalties, rng=rng, **_names(x, times))
    coef = path.coef.iloc[path.best].reindex([f"x{j}" for j in range(x.shape[1])], fill_value=0.0)
    return _with_baseline(_linear(coef.to_numpy(float)), x, times), float(path.penalty[path.best])


def fit_boosting(x: Floats, times: Times, rng: np.random.Generator) -> Fitted:
    """Gradient-boosted trees; the size of their effects is calibrated on people they were not grown on."""

    def model(leaf: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(
            loss="poisson",
            learning_rate=0.05,
            max_iter=_TREES,
            max_leaf_nodes=8,
            min_samples_leaf=leaf,
            l2_regularization=1.0,
            random_state=int(rng.integers(2**31)),
        )

    return _calibrate(model, x, times, rng)


def fit_forest(x: Floats, times: Times, rng: np.random.Generator) -> Fitted:
    """Random forest of relative risks, calibrated like the boosted trees.

    Reference:
        LeBlanc & Crowley 1992, 10.2307/2532300; Ishwaran 2004, 10.1198/016214504000000638.
    """

    def model(leaf: int) -> Any:
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(
            n_estimators=_TREES,
            criterion="poisson",
            min_samples_leaf=leaf,
            max_features="sqrt",
            max_samples=min(1.0, _PEOPLE_PER_TREE / len(x)),
            random_state=int(rng.integers(2**31)),
        )

    return _calibrate(model, x, times, rng)


LEARNERS: Mapping[str, Learner] = {
    "cox": fit_cox_learner,
    "ridge": fit_ridge_learner,
    "boosting": fit_boosting,
    "forest": fit_forest,
}


def _linear(coef: Floats) -> Score:
    return lambda x: np.asarray(x @ coef, np.float64)


def _leaf(event: Bools) -> int:
    """People in a leaf, so that it may expect a few events."""
    return max(5, min(len(event) // 10, int(np.ceil(_EVENTS_PER_LEAF * len(event) / max(int(event.sum()), 1)))))


def _exposure(times: Times) -> Floats:
    """``(n,)`` cumulative hazard (Nelson & Aalen) between entry and exit."""
    distinct, deaths = np.unique(times.exit[times.event], return_counts=True)
    late = np.searchsorted(np.sort(times.entry), distinct, "left")
    at_risk = late - np.searchsorted(np.sort(times.exit), distinct, "left")
    steps = np.concatenate([[0.0], np.cumsum(deaths / at_risk)])
    until, since = (steps[np.searchsorted(distinct, at, "right")] for at in (times.exit, times.entry))
    return np.asarray(until - since, np.float64)


def _grow(model: Callable[[int], Any], x: Floats, times: Times) -> Score:
    """``model`` grown on events per cumulative hazard, weighted by that hazard."""
    if not times.event.any():
        raise NotEstimableError("too_few_cases", "no event to learn from")
    exposure = _exposure(times)
    used = exposure > 0
    rate = times.event[used] / exposure[used]
    fitted = model(_leaf(times.event)).fit(x[used], rate, sample_weight=exposure[used] / exposure[used].mean())
    return lambda new: np.asarray(np.log(np.maximum(fitted.predict(new), _SMALLEST_RATE)), np.float64)


def _calibrate(model: Callable[[int], Any], x: Floats, times: Times, rng: np.random.Generator) -> Fitted:
    """The model's score times the Cox coefficient of it among people it had not seen, and their baseline."""
    fold, unseen = person_folds(np.arange(len(x)), times.event, _CALIBRATION_FOLDS, rng), np.empty(len(x))
    for code in range(_CALIBRATION_FOLDS):
        unseen[fold == code] = _grow(model, x[fold != code], times.of(fold != code))(x[fold == code])
    slope = 1.0
    if np.ptp(unseen) > 0:
        slope = float(fit_cox(_table(unseen[:, None], times), **_names(unseen[:, None], times)).estimates["coef"][0])
    # A score that ranks the unseen backwards, or not at all, is worth nothing.
    slope = max(slope, 0.0) if np.isfinite(slope) else 0.0
    score = _grow(model, x, times)
    return Fitted(lambda new: slope * score(new), *_baseline(slope * unseen, times))


def _with_baseline(score: Score, x: Floats, times: Times) -> Fitted:
    return Fitted(score, *_baseline(score(x), times))


def _baseline(score: Floats, times: Times) -> tuple[Floats, Floats]:
    n = len(score)
    (at,) = make_risk_sets(times.entry, times.exit, times.event, np.zeros(n, int), np.ones(n), "efron")
    terms = make_terms(np.ones(1), score[at.rows, None], at)
    return at.times, np.asarray(np.cumsum(at.over_terms(terms.increment) * np.exp(-terms.shift)), np.float64)


def _table(x: Floats, times: Times) -> pd.DataFrame:
    table = pd.DataFrame(x, columns=[f"x{j}" for j in range(x.shape[1])])
    return table.assign(exit=times.exit, event=times.event, entry=times.entry)


def _names(x: Floats, times: Times) -> dict[str, Any]:
    entry = "entry" if np.isfinite(times.entry).all() else None
    return {"exit": "exit", "event": "event", "entry": entry, "covariates": [f"x{j}" for j in range(x.shape[1])]}
