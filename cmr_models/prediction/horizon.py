"""Where everybody stands at a horizon: had the event, is without it, or left before; with weights for the leavers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.estimates import NotEstimableError
from cmr_models.survival.censoring import CensoringCurve, censoring_curve
from cmr_models.survival.checks import check_events, refuse_negative

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Standing(NamedTuple):
    """Attributes:
    case: ``(n,)`` had the event at or before the horizon.
    control: ``(n,)`` without it at the horizon; those in neither left before.
    weight: ``(n,)`` one over the chance of being seen so long; 0 for those who left.
    """

    case: Bools
    control: Bools
    weight: Floats


def check_times(
    exit: npt.ArrayLike, event: npt.ArrayLike, *scores: npt.ArrayLike
) -> tuple[Floats, Bools, list[Floats]]:
    """Times, events and scores as vectors.

    Raises:
        ValueError: lengths differ, values are not finite, negative times, an event that is not 0 or 1.
    """
    times, events = np.asarray(exit, np.float64), check_events(event)
    given = [np.asarray(score, np.float64) for score in scores]
    if times.ndim != 1 or not len(times) or any(part.shape != times.shape for part in (events, *given)):
        raise ValueError(
            f"exit, event and scores must be vectors of one length over 0, got {times.shape}, {events.shape}"
        )
    if not all(np.isfinite(part).all() for part in (times, *given)):
        raise ValueError("exit and scores must be finite; drop rows with missing values first")
    refuse_negative(times)
    return times, events, given


def standing(times: Floats, events: Bools, horizon: float, curve: CensoringCurve | None = None) -> Standing:
    """Who is a case, who a control, and their weights, by the censoring curve of these people if None.

    Raises:
        NotEstimableError: no case or no control at the horizon, or nobody can be uncensored then.

    Reference:
        Inverse-probability-of-censoring weights, Robins & Rotnitzky 1992; a case weighs ``1 / G(t-)``, as Uno 2007,
        10.1198/016214507000000149.
    """
    case, control = events & (times <= horizon), times > horizon
    if not case.any():
        raise NotEstimableError("too_few_cases", f"no event by {horizon}")
    if not control.any():
        raise NotEstimableError("too_few_controls", f"nobody without the event is observed beyond {horizon}")
    known = censoring_curve(times, events) if curve is None else curve
    own, beyond = known.before(times), float(known.at([horizon])[0])
    if beyond <= 0:
        raise NotEstimableError("no_data", f"nobody can be uncensored at {horizon}; give an earlier one")
    weight = np.where(control, 1 / beyond, np.divide(1.0, own, out=np.zeros_like(own), where=case))
    return Standing(case, control, np.where(case | control, weight, 0.0))


def check_risk(risk: Floats) -> None:
    """Predicted chances lie between 0 and 1.

    Raises:
        ValueError: one does not.
    """
    if ((risk < 0) | (risk > 1)).any():
        raise ValueError(f"risk must be a chance between 0 and 1, got {float(risk.min())} to {float(risk.max())}")
