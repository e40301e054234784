"""What each set of predictors adds: nested models, each person predicted by a model that never saw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.estimates import NotEstimableError, minus_log10_p
from cmr_models.estimates.design_matrix import check_columns, complete_design, numbers
from cmr_models.prediction.calibration_curve import calibration
from cmr_models.prediction.compare import Comparison, compare_auc, compare_brier
from cmr_models.prediction.dynamic_auc import time_auc
from cmr_models.prediction.folds import person_folds
from cmr_models.prediction.learners import LEARNERS, PENALTIES, Learner, Times, fit_ridge
from cmr_models.survival.brier_score import brier
from cmr_models.survival.checks import check_events, check_order
from cmr_models.survival.discrimination import Concordance, concordance

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_INNER_FOLDS = 5
_TIMES = 10
_Z95 = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Validated:
    """Predictions of people by models that never saw them.

    Attributes:
        score: ``(n, sets)`` log relative risk; comparable within a fold.
        risk: ``(n, sets)`` chance of the event by ``horizon`` after entry.
        exit, event, fold: ``(n,)``; the exit counted from entry.
        horizon: in the unit of the times.
        entry: ``(n,)`` on the clock of the model; None if everybody enters at its start.
        times: ``(t,)`` up to ``horizon``.
        curve: of each set ``(n, t)`` chance of the event by ``times``.
    """

    score: pd.DataFrame
    risk: pd.DataFrame
    exit: Floats
    event: npt.NDArray[np.bool_]
    fold: Ints
    horizon: float
    entry: Floats | None
    times: Floats
    curve: dict[str, Floats]

    @property
    def clock(self) -> tuple[Floats, Floats | None]:
        """Exit and entry on the clock of the model."""
        return (self.exit, None) if self.entry is None else (self.exit + self.entry, self.entry)


def validate_nested(
    table: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    *,
    exit: str,
    event: str,
    fold: npt.ArrayLike,
    horizon: float,
    rng: np.random.Generator,
    entry: str | None = None,
    learner: str = "cox",
    deep: Sequence[str] = (),
    deep_name: str = "deep features",
) -> Validated:
    """Fit each set on all folds but one and predict that one, for every fold.

    Deep features enter as one score: a ridge model of them, fitted without the fold that is tested; its values for the
    people it was fitted on come from models that had left them out (cross-fitting), lest their optimism crowd out
    the other predictors.

    Args:
        table: one row a person, without missing values in the columns used.
        sets: a name to its columns, each set usually holding the one before; text becomes indicators.
        exit, event: columns.
        fold: ``(n,)`` of :func:`person_folds` or :func:`group_folds` (by centre).
        horizon: of predicted risk, after entry.
        rng: deals inner folds and grows trees.
        entry: column of delayed entry, such as age at imaging where ``exit`` is age; at risk on (entry, exit]. Risk,
            areas, Brier scores and calibration are then of the time since entry, concordance of the clock.
        learner: a key of :data:`cmr_models.prediction.LEARNERS`; tuning happens inside the training folds.
        deep: columns of features of a network; their score is added to the last set, as set ``deep_name``.

    Raises:
        ValueError: an unknown learner, missing columns or values, fewer than two folds.
        NotEstimableError: a training set without events.
    """
    if learner not in LEARNERS:
        raise ValueError(f"learner must be one of {sorted(LEARNERS)}, got {learner!r}")
    times, folds = _check(table, exit, event, fold, entry)
    columns = dict(sets) | ({deep_name: [*(list(sets.values())[-1] if sets else []), *deep]} if deep else {})
    if not columns:
        raise ValueError("sets must name at least one set of columns")
    at = horizon * np.arange(1, _TIMES + 1) / _TIMES
    deep_set = (deep_name, list(deep))
    scores, curves = _across_folds(table, columns, deep_set, times, folds, at, LEARNERS[learner], rng)
    risks = pd.DataFrame({name: curve[:, -1] for name, curve in curves.items()}, table.index)
    since = None if entry is None else times.entry
    follow_up = times.exit if since is None else times.exit - since
    return Validated(scores, risks, follow_up, times.event, folds, horizon, since, at, curves)


def _across_folds(
    table: pd.DataFrame,
    columns: Mapping[str, Sequence[str]],
    deep: tuple[str, list[str]],
    times: Times,
    folds: Ints,
    at: Floats,
    learner: Learner,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, dict[str, Floats]]:
    """``(n, sets)`` scores, and of each set ``(n, t)`` risks by the times ``at``, of people left out of the fit."""
    deep_name, deep_columns = deep
    since = times.entry if np.isfinite(times.entry).all() else None
    scores = pd.DataFrame(np.nan, table.index, list(columns))
    curves = {name: np.full((len(table), len(at)), np.nan) for name in columns}
    for code in np.unique(folds):
        train, test = folds != code, folds == code
        for name, chosen in columns.items():
            features = [column for column in chosen if name != deep_name or column not in deep_columns]
            x = complete_design(table, features).to_numpy(float) if features else np.zeros((len(table), 0))
            if deep_columns and name == deep_name:
                x = np.column_stack([x, _deep_score(table[deep_columns].to_numpy(float), times, train, rng)])
            fitted = learner(x[train], times.of(train), rng)
            scores.loc[test, name] = fitted.score(x[test])
            curves[name][test] = fitted.risk(x[test], at, None if since is None else since[test])
    return scores, curves


def _check(table: pd.DataFrame, exit: str, event: str, fold: npt.ArrayLike, entry: str | None) -> tuple[Times, Ints]:
    check_columns(table, [name for name in (exit, event, entry) if name is not None])
    exits, events = numbers(table[exit], exit), check_events(table[event])
    entries = np.full(len(table), -np.inf) if entry is None else numbers(table[entry], entry)
    if not np.isfinite(exits).all() or (entry is not None and not np.isfinite(entries).all()):
        raise ValueError(f"{exit} and entry must be finite; drop rows with missing times first")
    check_order(exits, None if entry is None else entries, (exit, entry or ""))
    codes = np.asarray(pd.factorize(np.asarray(fold), sort=True)[0], np.intp)
    if len(codes) != len(table) or (codes < 0).any() or codes.max(initial=0) < 1:
        raise ValueError(f"fold must be {len(table)} labels, none missing, of two folds or more")
    return Times(entries, exits, events), codes


def _deep_score(x: Floats, times: Times, train: npt.NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """``(n,)``: of the people tested from all that trained, of those that trained from the others among them."""
    if not np.isfinite(x).all():
        raise ValueError("deep features must be finite; drop or impute those rows first")
    fitted, penalty = fit_ridge(x[train], times.of(train), PENALTIES, rng)
    score = np.asarray(fitted.score(x), np.float64)
    rows = np.flatnonzero(train)
    inner = person_folds(rows, times.event[rows], _INNER_FOLDS, rng)
    for code in range(_INNER_FOLDS):
        kept, left = rows[inner != code], rows[inner == code]
        score[left] = fit_ridge(x[kept], times.of(kept), [penalty], None)[0].score(x[left])
    return score


def validation_rows(
    validated: Validated,
    *,
    outcome: str,
    learner: str,
    rng: np.random.Generator | None = None,
    n_bootstrap: int = 100,
) -> list[dict[str, Any]]:
    """Rows for :func:`cmr_models.estimates.tidy`: each set's measures, and its gain over the set before.

    ``exposure`` is the set, ``model`` the learner, ``measure`` one of ``concordance``, ``uno``, ``auc``, ``brier``,
    ``scaled_brier``, ``integrated_brier``, ``observed_over_expected``, ``calibration_slope``, ``ici``; of gains
    ``concordance_gain``, ``auc_gain``, ``brier_gain``. Concordance compares people of one fold. What cannot be had is a
    row with its reason. ``rng`` draws the ``n_bootstrap`` resamples of the error of ``ici``, which has none without.
    """
    v, rows = validated, list[dict[str, Any]]()
    names = [str(name) for name in v.score]
    shared: dict[str, Any] = {
        "outcome": outcome,
        "model": learner,
        "scale": "absolute",
        "group_by": "overall",
        "group": "all",
    }
    shared |= {"n": len(v.exit), "n_events": int(v.event.sum())}
    for k, name in enumerate(names):
        before = names[k - 1] if k else None
        for measure, values in _measures(v, name, before, rng, n_bootstrap).items():
            rows.append({**shared, "exposure": name, "measure": measure, **values})
    return rows


def _measures(
    v: Validated, name: str, before: str | None, rng: np.random.Generator | None, n_bootstrap: int
) -> dict[str, dict[str, Any]]:
    score, risk = v.score[name].to_numpy(float), v.risk[name].to_numpy(float)
    sources: dict[str, Any] = {
        "concordance": lambda: _with_error(_harrell(v, score), 0.5),
        "uno": lambda: _with_error(
            concordance(v.exit, v.event, score, method="uno", tau=v.horizon, strata=v.fold), 0.5
        ),
        "auc": lambda: _auc(v, risk),
        "brier": lambda: _brier(v, risk),
        "scaled_brier": lambda: {"estimate": float(_scores(v, risk)["scaled"])},
        "integrated_brier": lambda: {"estimate": brier(v.exit, v.event, 1 - v.curve[name], v.times).ibs},
        "observed_over_expected": lambda: _calibration(v, risk, "ratio"),
        "calibration_slope": lambda: _calibration(v, risk, "slope"),
        "ici": lambda: _calibration(v, risk, "ici", rng, n_bootstrap),
    }
    if before is not None:
        old_score, old_risk = v.score[before].to_numpy(float), v.risk[before].to_numpy(float)
        sources["concordance_gain"] = lambda: _gain_of_concordance(v, score, old_score)
        sources["auc_gain"] = lambda: _gain(compare_auc(v.exit, v.event, risk, old_risk, v.horizon))
        sources["brier_gain"] = lambda: _gain(compare_brier(v.exit, v.event, risk, old_risk, v.horizon))
    return {measure: _or_reason(source) for measure, source in sources.items()}


def _or_reason(source: Any) -> dict[str, Any]:
    try:
        values: dict[str, Any] = source()
    except NotEstimableError as error:
        return {"status": "failed", "reason": error.reason}
    return values


def _with_error(found: Any, null: float) -> dict[str, float]:
    return _wald(found.value, found.se, null)


def _wald(value: float, se: float, null: float) -> dict[str, float]:
    z = (value - null) / se if se > 0 else float("nan")
    limits = {"ci_low": value - _Z95 * se, "ci_high": value + _Z95 * se}
    return {"estimate": value, "se": se, **limits, "z": z, "minus_log10_p": float(minus_log10_p(z))}


def _auc(v: Validated, risk: Floats) -> dict[str, float]:
    found = time_auc(v.exit, v.event, risk, v.horizon)
    return _wald(found.auc, found.se, 0.5)


def _scores(v: Validated, risk: Floats) -> pd.Series:
    return brier(v.exit, v.event, 1 - risk, [v.horizon]).scores.iloc[0]


def _brier(v: Validated, risk: Floats) -> dict[str, float]:
    value, se = (float(_scores(v, risk)[name]) for name in ("brier", "se"))
    return {"estimate": value, "se": se, "ci_low": value - _Z95 * se, "ci_high": value + _Z95 * se}


def _calibration(
    v: Validated, risk: Floats, measure: str, rng: np.random.Generator | None = None, n_bootstrap: int = 0
) -> dict[str, float]:
    found = calibration(v.exit, v.event, risk, v.horizon, rng=rng, n_bootstrap=n_bootstrap)
    if measure == "slope":
        return _wald(found.slope, found.slope_se, 1.0)
    if measure == "ratio":
        limits = {"ci_low": found.ratio_ci_low, "ci_high": found.ratio_ci_high}
        return {"estimate": found.ratio, "se": found.ratio_se, **limits}
    return {"estimate": found.ici, "se": found.ici_se, "ci_low": found.ici_ci_low, "ci_high": found.ici_ci_high}


def _harrell(v: Validated, score: Floats) -> Concordance:
    exits, entries = v.clock
    return concordance(exits, v.event, score, entry=entries, strata=v.fold)


def _gain_of_concordance(v: Validated, score: Floats, old: Floats) -> dict[str, float]:
    new, before = (_harrell(v, risk) for risk in (score, old))
    se = float(np.sqrt(((new.influence - before.influence) ** 2).sum()))
    return _wald(new.value - before.value, se if se > 1e-12 else 0.0, 0.0)


def _gain(found: Comparison) -> dict[str, float]:
    return _wald(found.difference, found.se, 0.0)
