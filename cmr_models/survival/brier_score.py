"""How far predicted survival is from what happened: Brier score with inverse-censoring weights, and its integral."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates import NotEstimableError
from cmr_models.estimates.design_matrix import numbers
from cmr_models.survival.censoring import CensoringCurve, censoring_curve
from cmr_models.survival.checks import check_events, refuse_negative
from cmr_models.survival.product_limit import kaplan_meier

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BrierScore:
    """Scores of a prediction.

    Attributes:
        scores: one row a time: ``time, brier, se, brier_null`` (of the Kaplan-Meier curve, one prediction for
            everybody), ``scaled`` (one minus their ratio: the index of prediction accuracy).
        ibs: mean Brier score over the span of the times (trapezium rule); NaN of a single time.
        ibs_null: of the Kaplan-Meier curve.
        scaled_ibs: one minus their ratio.
    """

    scores: pd.DataFrame
    ibs: float
    ibs_null: float
    scaled_ibs: float


def brier(
    exit: npt.ArrayLike,
    event: npt.ArrayLike,
    survival: npt.ArrayLike,
    times: npt.ArrayLike,
    *,
    censoring: CensoringCurve | None = None,
) -> BrierScore:
    """Brier score of predicted survival.

    Args:
        exit: ``(n,)`` times of event or censoring.
        event: ``(n,)`` boolean.
        survival: ``(n, t)`` predicted chance to be without the event at each time; ``(n,)`` for one time.
        times: ``(t,)`` ascending.
        censoring: curve of censoring; that of these people if None.

    Raises:
        ValueError: shapes differ, values are not finite, survival outside [0, 1], times not ascending or negative.
        NotEstimableError: nobody is observed up to the last of ``times``, or can be uncensored at one of them.

    Reference:
        Graf 1999, 10.1002/(SICI)1097-0258(19990915/30)18:17/18<2529::AID-SIM274>3.0.CO;2-5; scaled score of
        Kattan & Gerds 2018, 10.1186/s41512-018-0029-2. As there, a death is weighted
        by the chance to be uncensored at its time, censorings of that time included. The standard error takes
        the censoring curve as known.
    """
    exits, events, predicted, at = _check(exit, event, survival, times)
    curve = censoring_curve(exits, events) if censoring is None else censoring
    null = kaplan_meier(exits, events).at(at)[0]
    weights = brier_weights(exits, events, at, curve)
    alive = (exits[:, None] > at).astype(float)
    loss = weights * (alive - predicted) ** 2
    score = loss.mean(axis=0)
    reference = (weights * (alive - null) ** 2).mean(axis=0)
    scores = pd.DataFrame({"time": at, "brier": score, "se": loss.std(axis=0) / np.sqrt(len(exits))})
    scores = scores.assign(brier_null=reference, scaled=_scale_score(score, reference))
    span = at[-1] - at[0]
    ibs, ibs_null = (float(np.trapezoid(y, at) / span) if span > 0 else float("nan") for y in (score, reference))
    return BrierScore(scores, ibs, ibs_null, float(_scale_score(np.array([ibs]), np.array([ibs_null]))[0]))


def _check(
    exit: npt.ArrayLike, event: npt.ArrayLike, survival: npt.ArrayLike, times: npt.ArrayLike
) -> tuple[Floats, Bools, Floats, Floats]:
    exits, events = numbers(exit, "exit"), check_events(event)
    at = np.atleast_1d(numbers(times, "times"))
    predicted = numbers(survival, "survival")
    predicted = predicted[:, None] if predicted.ndim == 1 else predicted
    if exits.ndim != 1 or not len(exits) or exits.shape != events.shape:
        raise ValueError(f"exit and event must be vectors of one length over 0, got {exits.shape}, {events.shape}")
    if predicted.shape != (len(exits), len(at)):
        raise ValueError(f"survival must be (people, times) = {(len(exits), len(at))}, got {predicted.shape}")
    if not np.isfinite(exits).all() or not np.isfinite(at).all() or (np.diff(at) <= 0).any() or not len(at):
        raise ValueError("exit and times must be finite, and times ascending, one at least")
    refuse_negative(exits)
    within = f"times must lie within the follow-up, from 0 to {exits.max():g}; got {at[0]:g} to {at[-1]:g}"
    if at[0] < 0:
        raise ValueError(within)
    if at[-1] > exits.max():
        raise NotEstimableError("no_data", within)
    if not ((predicted >= 0) & (predicted <= 1)).all():
        raise ValueError("survival must be a chance between 0 and 1, without missing values")
    return exits, events, predicted, at


def brier_weights(exits: Floats, events: Bools, at: Floats, curve: CensoringCurve) -> Floats:
    """``(n, t)`` one over the chance to be uncensored, 0 where the status at the time is not known."""
    beyond, own = curve.at(at), curve.at(exits)
    alive, dead = exits[:, None] > at, events[:, None] & (exits[:, None] <= at)
    if (alive & (beyond <= 0)).any() or (dead & (own <= 0)[:, None]).any():
        raise NotEstimableError("no_data", "nobody can be uncensored at the last of the times; leave it out")
    by_own = np.divide(1.0, own, out=np.zeros_like(own), where=own > 0)
    by_time = np.divide(1.0, beyond, out=np.zeros_like(beyond), where=beyond > 0)
    return np.asarray(np.where(alive, by_time, np.where(dead, by_own[:, None], 0.0)), np.float64)


def _scale_score(score: Floats, reference: Floats) -> Floats:
    return 1 - np.divide(score, reference, out=np.full_like(score, np.nan), where=reference > 0)
