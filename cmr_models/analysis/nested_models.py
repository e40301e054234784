"""Nested risk prediction models of each outcome as tables: discrimination, calibration and net benefit of each set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.masking import SUPPRESSED
from cmr_models.analysis.people import analysis_outcome, at_risk_rows, complete_rows
from cmr_models.estimates import NotEstimableError, failed, tidy
from cmr_models.prediction.calibration_curve import calibration
from cmr_models.prediction.decision import decision_curve
from cmr_models.prediction.folds import group_folds, person_folds
from cmr_models.prediction.nested import Validated, validate_nested, validation_rows

DEEP = "network features"


@dataclass(frozen=True)
class PredictionPlan:
    """What is predicted from what.

    Attributes:
        steps: set -> columns it adds to the sets before it.
        features: columns of a network, the last step; as one cross-fitted score.
        horizon_years: of predicted risk, since the visit.
        learner: of :data:`cmr_models.prediction.LEARNERS`.
        folds: of people, where ``fold_by`` is empty.
        fold_by: column whose groups are tested by the others.
        thresholds: of the decision curves.
        resamples: of people, for the error of the calibration index.
        minimum_cell: the smallest number that may be published.
        minimum_events: an outcome with fewer is not predicted.
        seed: of folds and trees.
    """

    steps: Mapping[str, Sequence[str]]
    features: Sequence[str] = ()
    horizon_years: float = 5.0
    learner: str = "cox"
    folds: int = 5
    fold_by: str = ""
    thresholds: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2)
    resamples: int = 100
    minimum_cell: int = 5
    minimum_events: int = 10
    seed: int = 0

    @property
    def sets(self) -> dict[str, list[str]]:
        """Set -> all its columns."""
        found: dict[str, list[str]] = {}
        for name, added in self.steps.items():
            found[name] = [*(list(found.values())[-1] if found else []), *added]
        return found

    @property
    def names(self) -> list[str]:
        """The sets in order, that of the features last."""
        return [*self.steps, *([DEEP] if self.features else [])]


@dataclass(frozen=True)
class Predicted:
    """One outcome: its validated predictions, or the reason why there are none; people and events."""

    outcome: str
    validated: Validated | None
    reason: str
    n: int
    n_events: int


def predict_outcomes(
    people: pd.DataFrame, outcomes: pd.DataFrame, conditions: Sequence[str], plan: PredictionPlan
) -> list[Predicted]:
    """Nested models of each condition, in years since the visit, among those free of it then.

    Only people with every predictor of every set are used, so that the sets are compared on the same people.
    """
    return [_predict(people, outcomes, condition, plan) for condition in conditions]


def _predict(people: pd.DataFrame, outcomes: pd.DataFrame, condition: str, plan: PredictionPlan) -> Predicted:
    columns = [*dict.fromkeys(name for names in plan.steps.values() for name in names), *plan.features]
    columns += [plan.fold_by] if plan.fold_by else []
    table = complete_rows(at_risk_rows(analysis_outcome(people, outcomes, condition)), columns).reset_index(drop=True)
    n_events = int(table["event"].sum())
    counts = (len(table), n_events)
    if not len(table) or n_events < plan.minimum_events:
        return Predicted(condition, None, "no_data" if not len(table) else "too_few_cases", *counts)
    rng = np.random.default_rng([plan.seed, 5, *condition.encode()])
    try:
        fold = group_folds(table[plan.fold_by]) if plan.fold_by else _folds(table, plan.folds, rng)
        validated = validate_nested(
            table,
            plan.sets,
            exit="follow_up_years",
            event="event",
            fold=fold,
            horizon=plan.horizon_years,
            rng=rng,
            learner=plan.learner,
            deep=list(plan.features),
            deep_name=DEEP,
        )
    except NotEstimableError as error:
        return Predicted(condition, None, error.reason, *counts)
    return Predicted(condition, validated, "", *counts)


def _folds(table: pd.DataFrame, count: int, rng: np.random.Generator) -> Any:
    return person_folds(table["participant"], table["event"], count, rng)


def prediction_rows(predicted: Sequence[Predicted], plan: PredictionPlan) -> pd.DataFrame:
    """Measures of each set and its gain over the set before; see :func:`cmr_models.prediction.validation_rows`."""
    rows: list[dict[str, Any]] = []
    for one in predicted:
        if one.validated is None:
            rows += [_failed_row(one, name, "concordance", plan) for name in plan.names]
            continue
        rng = np.random.default_rng([plan.seed, 6, *one.outcome.encode()])
        about = {"outcome": one.outcome, "learner": plan.learner}
        rows += validation_rows(one.validated, **about, rng=rng, n_bootstrap=plan.resamples)
    return tidy(rows)


def calibration_rows(predicted: Sequence[Predicted], plan: PredictionPlan) -> pd.DataFrame:
    """Observed risk (``estimate``) in tenths of predicted risk, beside the mean ``predicted`` there."""
    rows: list[dict[str, Any]] = []
    for one, name in _each(predicted, plan):
        if one.validated is None:
            rows.append(_failed_row(one, name, "proportion_by_tenth", plan))
            continue
        v = one.validated
        try:
            tenths = calibration(v.exit, v.event, v.risk[name], v.horizon).deciles
        except NotEstimableError as error:
            rows.append({**_failed_row(one, name, "proportion_by_tenth", plan), **failed(error.reason)})
            continue
        about = {"exposure": name, "outcome": one.outcome, "model": plan.learner, "measure": "proportion_by_tenth"}
        about |= {"scale": "absolute", "group_by": "tenth"}
        for k, row in enumerate(tenths.to_dict("records"), start=1):
            values = {key: row[key] for key in ("predicted", "ci_low", "ci_high", "n", "n_events")}
            rows.append({**about, "group": f"{k}", "estimate": row["observed"], **values})
    return tidy(rows, extra=("predicted",))


def decision_rows(predicted: Sequence[Predicted], plan: PredictionPlan) -> pd.DataFrame:
    """Net benefit (``estimate``) along thresholds, beside ``treat_all``.

    ``n_at_risk`` counts those under treatment, ``n_events`` the events by the horizon among those spared it, so that
    both are what the gate of curves asks for along ``threshold``. Their complements, which that gate does not see, are
    guarded here: few events under treatment, or few people spared.
    """
    rows: list[dict[str, Any]] = []
    for one, name in _each(predicted, plan):
        about: dict[str, Any] = {"exposure": name, "outcome": one.outcome, "model": plan.learner}
        about |= {"measure": "net_benefit"}
        about |= {"scale": "absolute", "group_by": "overall", "group": "all", "n": one.n}
        if one.validated is None:
            rows.append({**about, **failed(one.reason), "threshold": np.nan})
            continue
        v, risk = one.validated, one.validated.risk[name].to_numpy(float)
        early = v.event & (v.exit <= v.horizon)
        try:
            curve = decision_curve(v.exit, v.event, risk, v.horizon, list(plan.thresholds))
        except NotEstimableError as error:
            rows.append({**about, **failed(error.reason), "threshold": np.nan})
            continue
        for row in curve.to_dict("records"):
            spared = risk < row["threshold"]
            counts = {"n_at_risk": float((~spared).sum()), "n_events": float((early & spared).sum())}
            made = {**about, **counts, "threshold": row["threshold"]}
            few = (float((early & ~spared).sum()), float(spared.sum()))
            if any(0 < count < plan.minimum_cell for count in few):
                hidden = {"n_at_risk": np.nan, "n_events": np.nan, "status": SUPPRESSED, "reason": "small_cell"}
                rows.append({**made, **hidden})
                continue
            rows.append({**made, "estimate": row["net_benefit"], "treat_all": row["treat_all"]})
    return tidy(rows, extra=("threshold", "treat_all", "n_at_risk"))


def _each(predicted: Sequence[Predicted], plan: PredictionPlan) -> Iterator[tuple[Predicted, str]]:
    for one in predicted:
        for name in plan.names:
            yield one, name


def _failed_row(one: Predicted, name: str, measure: str, plan: PredictionPlan) -> dict[str, Any]:
    about = {"exposure": name, "outcome": one.outcome, "model": plan.learner, "measure": measure, "scale": "absolute"}
    counts = {"n": one.n, "n_events": one.n_events}
    return {**about, **counts, "group_by": "overall", "group": "all", **failed(one.reason)}
