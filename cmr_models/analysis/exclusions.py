"""Who is left out, why, and how many are left after each rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.spec import Exclusion
from cmr_models.contracts.cells import is_decimal
from cmr_models.contracts.identifiers import KEYS, identifier_keys, with_keys


def exclude(
    participants: pd.DataFrame, outcomes: pd.DataFrame, rules: Sequence[Exclusion]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Apply the rules in their order.

    Args:
        participants: one row a person and visit.
        outcomes: the outcome table.
        rules: who is left out.

    Returns:
        Participants and outcomes of those left, and the flow: ``outcome`` (empty), ``group_by, group, step, n`` before
        the disclosure gate; steps of group_by ``people`` add up to all participants.

    Raises:
        ValueError: a rule names a column that is not there, or compares text with a number.
    """
    flow = [_step("overall", "participants", len(participants))]
    for rule in rules:
        out = _meant(participants, outcomes, rule)
        participants = participants[~out]
        flow.append(_step("people", f"excluded: {rule.name}", int(out.sum())))
    flow.append(_step("people", "analysed", len(participants)))
    keys = pd.MultiIndex.from_frame(with_keys(participants[list(KEYS)], "participants"))
    inside = pd.MultiIndex.from_frame(with_keys(outcomes[list(KEYS)], "outcomes")).isin(keys)
    return participants.reset_index(drop=True), outcomes[inside].reset_index(drop=True), pd.DataFrame(flow)


def _step(group_by: str, name: str, n: int) -> dict[str, object]:
    return {"outcome": "", "group_by": group_by, "group": name, "step": name, "n": float(n)}


def _meant(participants: pd.DataFrame, outcomes: pd.DataFrame, rule: Exclusion) -> npt.NDArray[np.bool_]:
    if rule.prevalent:
        chosen = outcomes[(outcomes["condition"] == rule.prevalent) & (outcomes["prevalent"] == 1)]
        people, ill = (identifier_keys(table["participant"]) for table in (participants, chosen))
        return people.isin(ill).to_numpy(bool)
    if rule.column not in participants:
        raise ValueError(f"exclusion {rule.name}: no column {rule.column!r}; there are {list(participants)}")
    column = participants[rule.column]
    out = column.isna().to_numpy(bool) & rule.missing
    if rule.values:
        out |= _has_value(column, rule)
    if rule.below is not None or rule.above is not None:
        if not pd.api.types.is_numeric_dtype(column):
            raise ValueError(f"exclusion {rule.name}: {rule.column} is text and has no below or above")
        low, high = (-np.inf if rule.below is None else rule.below), (np.inf if rule.above is None else rule.above)
        out |= ((column < low) | (column > high)).to_numpy(bool)
    return out


def _has_value(column: pd.Series, rule: Exclusion) -> npt.NDArray[np.bool_]:
    """Cells that are one of the values: of a column of numbers as numbers (``1`` is ``1.0``), else as words."""
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return column.astype(object).astype(str).isin(rule.values).to_numpy(bool)
    words = [value for value in rule.values if not is_decimal(value)]
    if words:
        raise ValueError(f"exclusion {rule.name}: {rule.column} holds numbers, and {words} are none")
    return column.astype(float).isin([float(value) for value in rule.values]).to_numpy(bool)
