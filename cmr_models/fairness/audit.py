"""A metric by group and intersection, and what may be said of its largest gap: chance, null, equivalence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from cmr_models.estimates.groups import INTERSECTION
from cmr_models.fairness.disaggregation import disaggregated_rows
from cmr_models.fairness.gaps import gap_row, permutation_gap
from cmr_models.fairness.metrics import Metric


def audit(
    metrics: Mapping[str, Metric],
    data: pd.DataFrame,
    by: Sequence[str | Sequence[str]],
    rng: np.random.Generator,
    *,
    events: str | None = None,
    ratios: Sequence[str] = (),
    margins: Mapping[str, float] | None = None,
    permutations: int = 0,
) -> pd.DataFrame:
    """Every metric overall, by group, and its largest gap.

    Args:
        metrics: name -> metric of :mod:`cmr_models.fairness.metrics`, or any function like them.
        data: one row a person.
        by: columns; an inner sequence is an intersection.
        rng: source of nulls and permutations.
        events: column whose true values are counted.
        ratios: metrics that are compared as logs (their ``se`` is of the log).
        margins: name -> the largest gap that does not matter (of logs for ratios).
        permutations: permutations of the labels for the null of each gap; 0: the null of independent normal errors.

    Returns:
        Columns ``metric, group_by, group, n, n_events, estimate, se, ci_low, ci_high, status, reason`` and, in rows
        of group ``max_gap``: ``gap_groups, minus_log10_p, null_q95, margin, equivalence_p, not_estimable``. A
        grouping with fewer than two estimable groups has a failed row, not a gap of 0.
    """
    rows: list[dict[str, Any]] = []
    for name, metric in metrics.items():
        found = disaggregated_rows(metric, data, by, events=events)
        rows += [{"metric": name, **row} for row in found]
        for entry in by:
            columns = [entry] if isinstance(entry, str) else list(entry)
            group_by = INTERSECTION.join(columns)
            of_grouping = [row for row in found if row["group_by"] == group_by]
            permuted = partial(
                permutation_gap, metric, data, columns, rng, n_permutations=permutations, ratio=name in ratios
            )
            margin = (margins or {}).get(name, np.nan)
            gap = gap_row(
                of_grouping, rng, ratio=name in ratios, margin=margin, find=permuted if permutations else None
            )
            rows.append({"metric": name, "group_by": group_by, "margin": margin, **_counts(of_grouping), **gap})
    return pd.DataFrame(rows)


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Events in the groups that the gap compares, and the names of the others with the reason."""
    ok = [row for row in rows if row["status"] == "ok"]
    hidden = "; ".join(f"{row['group']} ({row['reason']})" for row in rows if row["status"] != "ok")
    return {"n_events": float(sum(row["n_events"] for row in ok)) if ok else np.nan, "not_estimable": hidden}
