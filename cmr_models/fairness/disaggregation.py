"""Any metric overall and by group, with n, events and interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cmr_models.estimates import NotEstimableError, failed
from cmr_models.estimates.design_matrix import check_columns
from cmr_models.estimates.groups import INTERSECTION, intersection
from cmr_models.survival.checks import check_events

OVERALL = ("overall", "all")


def disaggregate(
    metric: Callable[[pd.DataFrame], Mapping[str, Any]],
    data: pd.DataFrame,
    by: Sequence[str | Sequence[str]],
    *,
    events: str | None = None,
    overall: bool = True,
) -> pd.DataFrame:
    """Compute ``metric`` overall and by group.

    Args:
        metric: function of the rows of a group; returns columns such as ``estimate, se, ci_low, ci_high``; raises
            :class:`NotEstimableError` where the rows do not give the number.
        data: one row a person.
        by: columns; an inner sequence of columns is their intersection (named ``a x b``).
        events: column of which the true values are counted.
        overall: whether the first row is about everybody.

    Returns:
        One row a group: ``group_by, group, n, n_events``, the metric's columns, ``status, reason``. A group
        without a number (an estimate of NaN included) is a row with status ``failed``. Missing group labels are the
        group ``unknown``.

    Raises:
        ValueError: a column of ``by`` or ``events`` is not in ``data``; events other than 0 and 1, or missing.
    """
    return pd.DataFrame(disaggregated_rows(metric, data, by, events=events, overall=overall))


def disaggregated_rows(
    metric: Callable[[pd.DataFrame], Mapping[str, Any]],
    data: pd.DataFrame,
    by: Sequence[str | Sequence[str]],
    *,
    events: str | None = None,
    overall: bool = True,
) -> list[dict[str, Any]]:
    """The rows of :func:`disaggregate`, for callers that make thousands of them."""
    groupings = [[entry] if isinstance(entry, str) else list(entry) for entry in ([by] if isinstance(by, str) else by)]
    needed = [name for columns in groupings for name in columns] + ([events] if events else [])
    check_columns(data, needed)
    rows = [_metric_row(metric, data, *OVERALL, events)] if overall else []
    for columns in groupings:
        group = intersection(data, columns)
        for name in sorted(set(group)):
            chosen = data.iloc[np.flatnonzero(group == name)]
            rows.append(_metric_row(metric, chosen, INTERSECTION.join(columns), name, events))
    return rows


def _metric_row(
    metric: Callable[[pd.DataFrame], Mapping[str, Any]],
    rows: pd.DataFrame,
    group_by: str,
    group: str,
    events: str | None,
) -> dict[str, Any]:
    n_events = float(check_events(rows[events]).sum()) if events else float("nan")
    about = {"group_by": group_by, "group": group, "n": float(len(rows)), "n_events": n_events}
    if not len(rows):
        return {**about, **failed("no_data")}
    try:
        row = {**about, "status": "ok", "reason": "", **metric(rows)}
    except NotEstimableError as error:
        return {**about, **failed(error.reason)}
    without = row["status"] == "ok" and pd.isna(row.get("estimate", 0.0))
    return {**row, **failed("undefined")} if without else row
