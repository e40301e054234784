"""What each set of predictors adds: nested models, each person predicted by a model that never saw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.covariates import complete_design
from cmr_models.estimates import NotEstimableError, minus_log10_p
from cmr_models.prediction.calibration import calibration
from cmr_models.prediction.compare import Comparison, compare_auc, compare_brier
from cmr_models.prediction.folds import person_folds
from cmr_models.prediction.learners import LEARNERS, PENALTIES, Learner, Times, fit_ridge
from cmr_models.prediction.time_auc import time_auc
from cmr_models.survival.brier_score import brier
from cmr_models.survival.discrimination import concordance
from cmr_models.survival.observed import check_events, refuse_negative

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_INNER_FOLDS = 5
_Z95 = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Validated:
    """Predictions of people by models that never saw them.

    Attributes:
        score: ``(n, sets)`` log relative risk; comparable within a fold.
        risk: ``(n, sets)`` chance of the event by ``horizon``.
        exit, event, fold: ``(n,)``.
        horizon: in the unit of the times.
    """

    score: pd.DataFrame
    risk: pd.DataFrame
    exit: Floats
    event: npt.NDArray[np.bool_]
    fold: Ints
    horizon: float


def validate_nested(
    table: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    *,
    exit: str,
    event: str,
    fold: npt.ArrayLike,
    horizon: float,
    rng: np.random.Generator,
    learner: str = "cox",
    deep: Sequence[str] = (),
    deep_name: str = "deep features",
) -> Validated:
    """Fit each set on all folds but one and predict that one, for every fold.

    Deep features enter as one score: a ridge model of them, fitted without the fold that is tested; its values for the
    people it was fitted on come from models that had left them out (cross-fitting), lest their optimism crowd out
    the other predictors.

    Args:
        table: one row a person, without missing values in the columns used; times since imaging.
        sets: a name to its columns, each set usually holding the one before; text becomes indicators.
        exit, event: columns.
        fold: ``(n,)`` of :func:`person_folds` or :func:`group_folds` (by centre).
        horizon: of predicted risk.
        rng: deals inner folds and grows trees.
        learner: a key of :data:`cmr_models.prediction.LEARNERS`; tuning happens inside the training folds.
        deep: columns of features of a network; their score is added to the last set, as set ``deep_name``.

    Raises:
        ValueError: an unknown learner, missing columns or values, fewer than two folds.
        NotEstimableError: a training set without events.
    """
    if learner not in LEARNERS:
        raise ValueError(f"learner must be one of {sorted(LEARNERS)}, got {learner!r}")
    times, folds = _check(table, exit, event, fold)
    columns = dict(sets) | ({deep_name: [*(list(sets.values())[-1] if sets else []), *deep]} if deep else {})
    if not columns:
        raise ValueError("sets must name at least one set of columns")
    scores, risks = (pd.DataFrame(np.nan, table.index, list(columns)) for _ in range(2))
    for code in np.unique(folds):
        train, test = folds != code, folds == code
        for name, chosen in columns.items():
            features = [column for column in chosen if name != deep_name or column not in deep]
            x = complete_design(table, features).to_numpy(float) if features else np.zeros((len(table), 0))
            if deep and name == deep_name:
                x = np.column_stack([x, _deep_score(table[list(deep)].to_numpy(float), times, train, rng)])
            score, risk = _predict(LEARNERS[learner], x, times, train, test, horizon, rng)
            scores.loc[test, name], risks.loc[test, name] = score, risk
    return Validated(scores, risks, times.exit, times.event, folds, horizon)


def _check(table: pd.DataFrame, exit: str, event: str, fold: npt.ArrayLike) -> tuple[Times, Ints]:
    unknown = [name for name in (exit, event) if name not in table]
    if unknown:
        raise ValueError(f"columns {unknown} are not in the table; it has {list(table)}")
    exits, events = table[exit].to_numpy(float), check_events(table[event].to_numpy())
    if not np.isfinite(exits).all():
        raise ValueError(f"{exit} must be finite; drop rows with missing times first")
    refuse_negative(exits)
    codes = np.asarray(pd.factorize(np.asarray(fold), sort=True)[0], np.intp)
    if len(codes) != len(table) or (codes < 0).any() or codes.max(initial=0) < 1:
        raise ValueError(f"fold must be {len(table)} labels, none missing, of two folds or more")
    return Times(np.full(len(table), -np.inf), exits, events), codes


def _predict(
    learner: Learner,
    x: Floats,
    times: Times,
    train: npt.NDArray[np.bool_],
    test: npt.NDArray[np.bool_],
    horizon: float,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    fitted = learner(x[train], times.of(train), rng)
    return fitted.score(x[test]), fitted.risk(x[test], horizon)


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


def validation_rows(validated: Validated, *, outcome: str, learner: str) -> list[dict[str, Any]]:
    """Rows for :func:`cmr_models.estimates.tidy`: each set's measures, and its gain over the set before.

    ``exposure`` is the set, ``model`` the learner, ``measure`` one of ``concordance``, ``uno``, ``auc``, ``brier``,
    ``scaled_brier``, ``observed_over_expected``, ``calibration_slope``, ``ici``; of gains ``concordance_gain``,
    ``auc_gain``, ``brier_gain``. Concordance compares people of one fold. What cannot be had is a row with its reason.
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
        for measure, values in _measures(v, name, before).items():
            rows.append({**shared, "exposure": name, "measure": measure, **values})
    return rows


def _measures(v: Validated, name: str, before: str | None) -> dict[str, dict[str, Any]]:
    score, risk = v.score[name].to_numpy(float), v.risk[name].to_numpy(float)
    sources: dict[str, Any] = {
        "concordance": lambda: _with_error(concordance(v.exit, v.event, score, strata=v.fold), 0.5),
        "uno": lambda: _with_error(
            concordance(v.exit, v.event, score, method="uno", tau=v.horizon, strata=v.fold), 0.5
        ),
        "auc": lambda: _auc(v, risk),
        "brier": lambda: _brier(v, risk),
        "scaled_brier": lambda: {"estimate": float(_scores(v, risk)["scaled"])},
        "observed_over_expected": lambda: _calibration(v, risk, "ratio"),
        "calibration_slope": lambda: _calibration(v, risk, "slope"),
        "ici": lambda: _calibration(v, risk, "ici"),
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


def _calibration(v: Validated, risk: Floats, measure: str) -> dict[str, float]:
    found = calibration(v.exit, v.event, risk, v.horizon)
    if measure == "slope":
        return _wald(found.slope, found.slope_se, 1.0)
    if measure == "ratio":
        return {"estimate": found.ratio, "ci_low": found.ratio_ci_low, "ci_high": found.ratio_ci_high}
    return {"estimate": found.ici}


def _gain_of_concordance(v: Validated, score: Floats, old: Floats) -> dict[str, float]:
    new, before = (concordance(v.exit, v.event, risk, strata=v.fold) for risk in (score, old))
    se = float(np.sqrt(((new.influence - before.influence) ** 2).sum()))
    return _wald(new.value - before.value, se if se > 1e-12 else 0.0, 0.0)


def _gain(found: Comparison) -> dict[str, float]:
    return _wald(found.difference, found.se, 0.0)
