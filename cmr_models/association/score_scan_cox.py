"""Every exposure against every time to event by score tests: one null Cox model an outcome, none a pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates import NotEstimableError
from cmr_models.estimates.design_matrix import numbers, standard_columns
from cmr_models.survival.checks import check_events, refuse_negative
from cmr_models.survival.newton import maximise, solve
from cmr_models.survival.partial_likelihood import (
    PartialLikelihood,
    Terms,
    curvature,
    expected_events,
    make_terms,
    risk_set_means,
)
from cmr_models.survival.risk_sets import RiskSets, make_risk_sets

Floats = npt.NDArray[np.float64]

_EXPOSURES_PER_CHUNK = 32
_ROUNDING = 1e-8


class CoxScores(NamedTuple):
    """Tests of ``e`` exposures against one time to event.

    Attributes:
        score, variance: ``(e,)`` of the partial likelihood at the null model.
        apart: ``(e,)`` whether the exposure says something among those at risk that the covariates do not.
        n, n_events: people in the comparison, and events among them.
        reason: why there is no test; empty where there is.
    """

    score: Floats
    variance: Floats
    apart: npt.NDArray[np.bool_]
    n: float
    n_events: float
    reason: str


class _Times(NamedTuple):
    rows: npt.NDArray[np.intp]
    entry: Floats
    exit: Floats
    event: npt.NDArray[np.bool_]


def check_times(outcomes: object, n: int) -> Mapping[str, pd.DataFrame]:
    """Outcomes of the Cox family: a name to a frame of ``n`` rows with ``exit``, ``event`` and perhaps ``entry``.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(outcomes, Mapping):
        raise ValueError("outcomes of the 'cox' family must map each name to a frame with columns exit, event (entry)")
    for name, frame in outcomes.items():
        if not {"exit", "event"} <= set(frame) or len(frame) != n:
            raise ValueError(f"outcome {name!r} needs columns exit and event and {n} rows, has {list(frame)}")
    return outcomes


def score_times(name: str, frame: pd.DataFrame, x: Floats, q: Floats) -> CoxScores:
    """Score tests of one outcome.

    Args:
        name: for messages.
        frame: ``exit, event`` and perhaps ``entry`` of each of ``n`` people; those who lack a time or the event do
            not belong to the comparison.
        x: ``(n, e)`` exposures.
        q: ``(n, k)`` covariates without an intercept.

    Raises:
        ValueError: times or events that no one can have.

    Reference:
        Score test of Cox 1972 with Efron's ties; the covariates' effects are those of the null model.
    """
    nothing = np.full(x.shape[1], np.nan)
    none = np.zeros(x.shape[1], bool)
    times = _present(name, frame)
    n, n_events = float(len(times.rows)), float(times.event.sum())
    if not n:
        return CoxScores(nothing, nothing, none, n, n_events, "no_data")
    if not n_events:
        return CoxScores(nothing, nothing, none, n, n_events, "too_few_cases")
    try:
        found, variance, own = _scores(times, x, q)
    except NotEstimableError as error:
        return CoxScores(nothing, nothing, none, n, n_events, error.reason)
    return CoxScores(found, variance, variance > _ROUNDING * own, n, n_events, "")


def _present(name: str, frame: pd.DataFrame) -> _Times:
    columns = [column for column in ("exit", "event", "entry") if column in frame]
    values = numbers(frame[columns], f"times of outcome {name!r}")
    rows = np.flatnonzero(~np.isnan(values).any(axis=1))
    exits, event = values[rows, 0], check_events(values[rows, 1])
    entry = values[rows, 2] if "entry" in columns else np.full(len(rows), -np.inf)
    if not np.isfinite(exits).all():
        raise ValueError(f"outcome {name!r} has infinite times")
    if "entry" not in columns:
        refuse_negative(exits)
    late = int((exits <= entry).sum())
    if late:
        raise ValueError(f"outcome {name!r}: {late} rows leave at or before they enter; exit must be after entry")
    return _Times(rows, entry, exits, event)


def _scores(times: _Times, x: Floats, q: Floats) -> tuple[Floats, Floats, Floats]:
    """``(e,)`` score, its variance, and the variance before the covariates' share."""
    standard = standard_columns(q[times.rows])
    ones = np.ones(len(times.rows))
    (at,) = make_risk_sets(times.entry, times.exit, times.event, np.zeros(len(ones), int), ones, "efron")
    likelihood = PartialLikelihood.of(standard.columns, [at])
    k = len(standard.spread)
    coef = maximise(likelihood.derivatives, k, standard.basis).coef
    covariates = likelihood.covariates[0]
    terms = make_terms(coef, covariates, at)
    rows, chunks = times.rows[at.rows], range(0, x.shape[1], _EXPOSURES_PER_CHUNK)
    parts = [_chunk(x[rows, start : start + _EXPOSURES_PER_CHUNK], covariates, terms, at) for start in chunks]
    found, own, crossed = (np.concatenate([part[i] for part in parts]) for i in range(3))
    if not k:
        return found, own, own
    information = curvature(terms, covariates, at)
    explained = np.einsum("ek,ke->e", crossed, solve(information, crossed.T))
    return found, own - explained, own


def _chunk(x: Floats, covariates: Floats, terms: Terms, at: RiskSets) -> tuple[Floats, Floats, Floats]:
    """``(c,)`` score and variance of some exposures, ``(c, k)`` their covariance with the covariates."""
    mean = risk_set_means(terms, x, at)
    expected = expected_events(terms, at, np.ones(len(at.term_at)))
    weighted_mean = mean * at.term_weight[:, None]
    own = np.einsum("i,ij,ij->j", expected, x, x) - np.einsum("tj,tj->j", weighted_mean, mean)
    crossed = x.T @ (covariates * expected[:, None]) - weighted_mean.T @ terms.mean
    found = at.weight[at.dead] @ x[at.dead] - weighted_mean.sum(axis=0)
    return np.asarray(found, np.float64), np.asarray(own, np.float64), np.asarray(crossed, np.float64)
