"""Times with competing causes: the checks at the door, and the counts at each distinct time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.estimates import NotEstimableError
from cmr_models.estimates.design_matrix import numbers
from cmr_models.survival.checks import check_order

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]


class Counts(NamedTuple):
    """What happens at each distinct time ``(K,)``: at risk just before, and leaving for each kind of reason."""

    time: Floats
    at_risk: Floats
    of_cause: Floats
    of_others: Floats
    censored: Floats


def check_causes(
    exit: npt.ArrayLike, event: npt.ArrayLike, cause: int, entry: Floats | None = None
) -> tuple[Floats, Codes]:
    """``(n,)`` times and codes: 0 censored, 1 the cause, 2 another cause.

    Raises:
        ValueError: no rows, lengths differ, times that are not finite or negative, codes that are not whole numbers of
            0 or more, ``cause`` not over 0, exits not after ``entry (n,)`` where it is given.
        NotEstimableError: nobody has the cause.
    """
    times, given = numbers(exit, "exit"), numbers(event, "event")
    if times.ndim != 1 or not len(times) or times.shape != given.shape:
        raise ValueError(f"exit and event must be vectors of one length over 0, got {times.shape}, {given.shape}")
    if not np.isfinite(times).all():
        raise ValueError("exit must be finite; drop rows with missing times first")
    check_order(times, entry)
    if not (np.isfinite(given) & (given >= 0) & (given == np.rint(given))).all():
        raise ValueError("event must hold whole numbers of 0 (censored) or more (causes)")
    if isinstance(cause, str) or cause < 1 or cause != int(cause):
        raise ValueError(f"cause must be a code over 0, got {cause!r}")
    codes = np.where(given == 0, 0, np.where(given == cause, 1, 2)).astype(np.intp)
    if not (codes == 1).any():
        raise NotEstimableError("too_few_cases", f"no event of cause {cause}")
    return times, codes


def count_causes(times: Floats, codes: Codes) -> Counts:
    """Counts at each distinct time of ``times``."""
    distinct, at = np.unique(times, return_inverse=True)
    leaving = [np.bincount(at, codes == code, len(distinct)).astype(np.float64) for code in (1, 2, 0)]
    left = np.cumsum(np.sum(leaving, axis=0))
    at_risk = len(times) - np.concatenate([[0.0], left[:-1]])
    return Counts(distinct, at_risk, *leaving)
