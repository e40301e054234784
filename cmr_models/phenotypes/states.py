"""The state of a study after measuring: passed, doubted, set aside or absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
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

STATUSES = ("ok", "absent", "quarantined", "retired")
"""How a study can have ended."""

_WORDS = {"true": True, "yes": True, "1": True, "1.0": True, "false": False, "no": False, "0": False, "0.0": False}
_NO_VERDICT = "no verdict"
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


def states_of(studies: pd.DataFrame) -> pd.Series:
    """The state of every study of a table: the one rule by which tables, pages and analyses tell who is doubted.

    Args:
        studies: ``status`` and, perhaps, ``qc_ok``: true or false, as booleans, numbers (1, 0) or words (yes, no). A
            table without this column is the user's own: its studies passed what the user asked of them.

    Returns:
        Codes of :data:`STATES` (:func:`state_of`), as objects.

    Raises:
        ValueError: a status that no stage gives, or a verdict other than true, false and missing. No cell is quoted.
    """
    given = studies["qc_ok"] if "qc_ok" in studies else pd.Series(True, index=studies.index, dtype=object)
    n_unknown = int((~studies["status"].isin(STATUSES)).sum())
    if n_unknown:
        raise ValueError(
            f"phenotypes: {n_unknown} of {len(studies)} cells of status are none of {', '.join(STATUSES)}; correct them"
        )
    verdicts = [_verdict(cell) for cell in given]
    if n_wrong := verdicts.count(_NO_VERDICT):
        raise ValueError(
            f"phenotypes: {n_wrong} of {len(studies)} cells of qc_ok are neither true, false, yes, no, 1, 0 nor empty;"
            " correct them, or list the words that mean a missing value under `missing_values`"
        )
    found = [state_of(status, verdict) for status, verdict in zip(studies["status"], verdicts, strict=True)]
    return pd.Series(found, index=studies.index, dtype=object)


def _verdict(cell: Any) -> bool | str | None:
    """True, False, or None for a missing cell; :data:`_NO_VERDICT` for anything else."""
    if pd.isna(cell):
        return None
    if isinstance(cell, str):
        return _WORDS.get(cell.strip().casefold(), _NO_VERDICT)
    if isinstance(cell, bool | np.bool_ | int | float | np.number) and cell in (0, 1):
        return bool(cell)
    return _NO_VERDICT
