"""A metric by group and intersection, and what may be said of its largest gap: chance, null, equivalence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates import NotEstimableError, failed
from cmr_models.estimates.groups import INTERSECTION, intersection
from cmr_models.fairness.disaggregation import Gap, disaggregated_rows, equivalence_p, max_gap
from cmr_models.fairness.metrics import Metric

Floats = npt.NDArray[np.float64]

MAX_GAP = "max_gap"


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
            null = (metric, data, columns, permutations) if permutations else None
            gap = gap_row(
                of_grouping, rng, ratio=name in ratios, margin=(margins or {}).get(name, np.nan), permuted=null
            )
            rows.append({"metric": name, "group_by": group_by, **gap})
    return pd.DataFrame(rows)


def gap_row(
    rows: Sequence[Mapping[str, Any]],
    rng: np.random.Generator,
    *,
    ratio: bool = False,
    margin: float = float("nan"),
    permuted: tuple[Metric, pd.DataFrame, Sequence[str], int] | None = None,
) -> dict[str, Any]:
    """The largest gap between the groups of one grouping, as a row.

    Args:
        rows: of :func:`cmr_models.fairness.disaggregated_rows`, without the overall one.
        rng: source of the null.
        ratio: whether estimates are compared as logs.
        margin: of equivalence; NaN if none is stated.
        permuted: metric, people, columns of the grouping, and number of permutations; None: normal errors.
    """
    ok = [row for row in rows if row["status"] == "ok"]
    hidden = "; ".join(f"{row['group']} ({row['reason']})" for row in rows if row["status"] != "ok")
    about = {"group": MAX_GAP, "not_estimable": hidden, "margin": margin}
    counts = {name: float(sum(row[name] for row in ok)) if ok else np.nan for name in ("n", "n_events")}
    names = [str(row["group"]) for row in ok]
    values = np.array([row["estimate"] for row in ok], float)
    values = np.log(values) if ratio else values
    errors = np.array([row.get("se", np.nan) for row in ok], float)
    try:
        if permuted is None:
            gap = max_gap(names, values, errors, rng)
        else:
            gap = permutation_gap(*permuted[:3], rng, n_permutations=permuted[3], ratio=ratio)
    except NotEstimableError as error:
        return {**about, **counts, "estimate": np.nan, **failed(error.reason)}
    found = {"estimate": gap.value, "gap_groups": f"{gap.high} - {gap.low}", "null_q95": gap.null_q95}
    if np.isfinite(margin) and (np.isfinite(errors) & (errors > 0)).sum() >= 2:
        found["equivalence_p"] = equivalence_p(values, errors, margin)
    return {**about, **counts, **found, "minus_log10_p": gap.minus_log10_p, "status": "ok", "reason": ""}


def permutation_gap(
    metric: Metric,
    data: pd.DataFrame,
    by: Sequence[str],
    rng: np.random.Generator,
    *,
    n_permutations: int = 199,
    ratio: bool = False,
) -> Gap:
    """The largest gap of any metric, with its null by permuting the labels of people.

    Only groups that have an estimate are compared, and only their people permuted.

    Raises:
        NotEstimableError: fewer than two groups with an estimate, or more than one in ten permutations without.

    Reference:
        p counts the observed arrangement: Phipson & Smyth 2010, 10.2202/1544-6115.1585.
    """
    group = intersection(data, by)
    observed = _by_label(metric, data, group, ratio)
    names = [name for name, value in observed.items() if np.isfinite(value)]
    if len(names) < 2:
        raise NotEstimableError("too_few_groups", f"{len(names)} of {len(observed)} groups have an estimate")
    inside = np.isin(group, names)
    people, group = data[inside], group[inside]
    null = np.array([_spread(_by_label(metric, people, rng.permutation(group), ratio)) for _ in range(n_permutations)])
    known = null[np.isfinite(null)]
    if len(known) < 0.9 * n_permutations:
        raise NotEstimableError("too_few_groups", f"{n_permutations - len(known)} permutations lose a group")
    values = np.array([observed[name] for name in names])
    high, low = int(values.argmax()), int(values.argmin())
    value = float(values[high] - values[low])
    p = (1 + int((known >= value * (1 - 1e-12)).sum())) / (1 + len(known))
    return Gap(value, names[high], names[low], -float(np.log10(p)), float(np.quantile(known, 0.95)))


def _by_label(metric: Metric, data: pd.DataFrame, group: npt.NDArray[np.object_], ratio: bool) -> dict[str, float]:
    values = {}
    for name in sorted(set(group)):
        try:
            value = float(metric(data.iloc[np.flatnonzero(group == name)])["estimate"])
            values[name] = float(np.log(value)) if ratio else value
        except NotEstimableError:
            values[name] = float("nan")
    return values


def _spread(values: Mapping[str, float]) -> float:
    """Highest less lowest; NaN where a group has lost its estimate."""
    return float(np.ptp(np.array(list(values.values()))))
