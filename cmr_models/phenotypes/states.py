"""The state of a study after measuring: passed, doubted, set aside or absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class State:
    """One row: a state, its word on pages and what it means."""

    code: str
    title: str
    meaning: str


STATES: tuple[State, ...] = (
    State("passed", "passed", "measured, and no quality rule is broken"),
    State("doubted", "doubted", "measured, but a quality rule is broken: look at the images first"),
    State("set_aside", "set aside", "quarantined: it could not be processed, or its result is not plausible"),
    State("absent", "absent", "what has to be measured was not acquired"),
)
"""Every state, in the order of pages."""

TITLES = {state.code: state.title for state in STATES}
"""State -> its word on pages."""

_NOT_MEASURED = {"quarantined": "set_aside", "absent": "absent"}


def state_of(status: Any, qc_ok: Any) -> str:
    """The state of a study.

    Args:
        status: how the study ended: ``ok``, ``absent`` or ``quarantined``.
        qc_ok: whether no quality rule is broken. A measured study passes only where this is True: one on which there
            is no verdict is doubted.

    Returns:
        A code of :data:`STATES`; ``""`` for any other status, such as that of a study that was removed.
    """
    if status != "ok":
        return _NOT_MEASURED.get(str(status), "")
    return "doubted" if pd.isna(qc_ok) or not qc_ok else "passed"
