"""Times and events as given: the checks that every function of time to event makes at its door."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates.design_matrix import numbers

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def check_events(event: npt.ArrayLike) -> Bools:
    """``(n,)`` whether the event occurred.

    Raises:
        ValueError: anything but false and true, 0 and 1; a missing value.
    """
    given = event if isinstance(event, pd.Series) else np.asarray(event)
    if given.dtype == bool:
        return np.asarray(given, bool)
    values = numbers(given, "event")
    wrong = int((~np.isin(values, (0, 1))).sum())
    if wrong:
        raise ValueError(f"event must be 0 or 1 without missing values, {wrong} are not; name the cause")
    return np.asarray(values == 1, bool)


def refuse_negative(exit: Floats) -> None:
    """Times counted from the start of observation cannot be negative.

    Raises:
        ValueError: one is.
    """
    below = int((exit < 0).sum())
    if below:
        raise ValueError(f"{below} times are negative; give entry if the clock does not start at observation")


def check_order(exit: Floats, entry: Floats | None, names: tuple[str, str] = ("exit", "entry")) -> None:
    """Everybody must leave after entering; without ``entry``, at no negative time.

    Args:
        exit: ``(n,)`` finite times.
        entry: ``(n,)``; None: everybody is there from the start.
        names: of both, for the message.

    Raises:
        ValueError: somebody leaves at or before they enter; a negative time without entry.
    """
    if entry is None:
        refuse_negative(exit)
        return
    wrong = int((~(exit > entry)).sum())
    if wrong:
        raise ValueError(f"{wrong} rows leave at or before they enter; {names[0]} must be after {names[1]}")
