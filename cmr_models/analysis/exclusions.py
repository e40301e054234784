"""Who is left out, why, and how many are left after each rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.spec import Exclusion


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
    keys = pd.MultiIndex.from_frame(participants[["participant", "visit"]].astype(str))
    inside = pd.MultiIndex.from_frame(outcomes[["participant", "visit"]].astype(str)).isin(keys)
    return participants.reset_index(drop=True), outcomes[inside].reset_index(drop=True), pd.DataFrame(flow)


def _step(group_by: str, name: str, n: int) -> dict[str, object]:
    return {"outcome": "", "group_by": group_by, "group": name, "step": name, "n": float(n)}


def _meant(participants: pd.DataFrame, outcomes: pd.DataFrame, rule: Exclusion) -> npt.NDArray[np.bool_]:
    if rule.prevalent:
        chosen = outcomes[(outcomes["condition"] == rule.prevalent) & (outcomes["prevalent"] == 1)]
        return participants["participant"].astype(str).isin(chosen["participant"].astype(str)).to_numpy(bool)
    if rule.column not in participants:
        raise ValueError(f"exclusion {rule.name}: no column {rule.column!r}; there are {list(participants)}")
    column = participants[rule.column]
    out = column.isna().to_numpy(bool) & rule.missing
    if rule.values:
        out |= column.astype(object).astype(str).isin(rule.values).to_numpy(bool)
    if rule.below is not None or rule.above is not None:
        if not pd.api.types.is_numeric_dtype(column):
            raise ValueError(f"exclusion {rule.name}: {rule.column} is text and has no below or above")
        low, high = (-np.inf if rule.below is None else rule.below), (np.inf if rule.above is None else rule.above)
        out |= ((column < low) | (column > high)).to_numpy(bool)
    return out
