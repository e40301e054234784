"""Any number again by group, with n, events and interval; the largest gap and its null; equivalence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.estimates import NotEstimableError, failed, minus_log10_p_chi2
from cmr_models.estimates.design_matrix import check_columns
from cmr_models.estimates.groups import INTERSECTION, intersection
from cmr_models.survival.checks import check_events

Floats = npt.NDArray[np.float64]

OVERALL = ("overall", "all")
_NULL_DRAWS = 2000


class Gap(NamedTuple):
    """The largest difference between two groups.

    Attributes:
        value: highest less lowest estimate.
        high, low: their groups.
        minus_log10_p: against the null that all groups have one value.
        null_q95: 95 % point of ``value`` under that null.
    """

    value: float
    high: str
    low: str
    minus_log10_p: float
    null_q95: float


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


def max_gap(groups: Sequence[str], estimate: npt.ArrayLike, se: npt.ArrayLike, rng: np.random.Generator) -> Gap:
    """The largest gap between independent estimates with known standard errors.

    Its p is that of Cochran's homogeneity statistic, chi-squared with one degree of freedom less than groups (for two
    groups: the z test of the difference); ``null_q95`` comes from drawing all groups from their common mean.

    Raises:
        NotEstimableError: fewer than two groups with an estimate and a positive standard error. A gap of 0 is never
            returned for want of groups.

    Reference:
        Cochran 1954, 10.2307/3001666.
    """
    values, errors = np.asarray(estimate, np.float64), np.asarray(se, np.float64)
    usable = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    if usable.sum() < 2:
        raise NotEstimableError("too_few_groups", f"{int(usable.sum())} of {len(values)} groups have an estimate")
    names, values, errors = np.asarray(groups, object)[usable], values[usable], errors[usable]
    weights = errors**-2.0
    statistic = float((weights * (values - (weights @ values) / weights.sum()) ** 2).sum())
    null = np.ptp(rng.standard_normal((_NULL_DRAWS, len(values))) * errors, axis=1)
    high, low = int(values.argmax()), int(values.argmin())
    return Gap(
        value=float(values[high] - values[low]),
        high=str(names[high]),
        low=str(names[low]),
        minus_log10_p=float(minus_log10_p_chi2(statistic, len(values) - 1)),
        null_q95=float(np.quantile(null, 0.95)),
    )


def permutation_gaps(
    values: npt.ArrayLike,
    group: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    n_permutations: int = 499,
    minimum: int = 5,
) -> list[Gap]:
    """The largest gap between group means of each column, with its null by permuting the labels of people.

    Args:
        values: ``(person, column)``; NaN where missing.
        group: label of each person.
        rng: source of the permutations, which all columns share.
        n_permutations: the smallest p is ``1 / (n_permutations + 1)``.
        minimum: groups with fewer values in a column have no part in its gap.

    Returns:
        One :class:`Gap` a column; all NaN where fewer than two groups are large enough.

    Reference:
        p counts the observed arrangement: Phipson & Smyth 2010, 10.2202/1544-6115.1585.
    """
    table = np.atleast_2d(np.asarray(values, np.float64).T).T
    names, codes = np.unique(np.asarray(group, dtype=str), return_inverse=True)
    if len(codes) != len(table):
        raise ValueError(f"{len(table)} rows of values but {len(codes)} labels")
    indicator = np.zeros((len(names), len(table)))
    indicator[codes, np.arange(len(table))] = 1
    observed = _group_means(indicator, table, minimum)
    ranges = np.array(
        [_span(_group_means(indicator, table[rng.permutation(len(table))], minimum)) for _ in range(n_permutations)]
    )
    return [_permutation_gap(names, observed[:, k], ranges[:, k]) for k in range(table.shape[1])]


def equivalence_p(estimate: npt.ArrayLike, se: npt.ArrayLike, margin: float) -> float:
    """p of the hypothesis that some two groups differ by ``margin`` or more (two one-sided tests of every pair).

    A small p claims equivalence; a large p claims nothing.

    Raises:
        ValueError: a margin that is not positive.
        NotEstimableError: fewer than two groups with an estimate.

    Reference:
        Schuirmann 1987, 10.1007/BF01068419; intersection-union over pairs (Berger 1982).
    """
    if not margin > 0:
        raise ValueError(f"the margin of equivalence must be positive, got {margin}")
    values, errors = np.asarray(estimate, np.float64), np.asarray(se, np.float64)
    usable = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    if usable.sum() < 2:
        raise NotEstimableError("too_few_groups", f"{int(usable.sum())} groups have an estimate")
    values, errors = values[usable], errors[usable]
    first, second = np.triu_indices(len(values), 1)
    difference, spread = np.abs(values[first] - values[second]), np.hypot(errors[first], errors[second])
    return float(stats.norm.cdf((difference - margin) / spread).max())


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


def _group_means(indicator: Floats, table: Floats, minimum: int) -> Floats:
    there = np.isfinite(table)
    counts = indicator @ there
    sums = indicator @ np.where(there, table, 0.0)
    return np.where(counts >= max(minimum, 1), sums / np.maximum(counts, 1), np.nan)


def _span(means: Floats) -> Floats:
    """Highest less lowest mean of each column; NaN with fewer than two groups."""
    estimable = np.isfinite(means)
    highest = np.where(estimable, means, -np.inf).max(axis=0, initial=-np.inf)
    lowest = np.where(estimable, means, np.inf).min(axis=0, initial=np.inf)
    return np.where(estimable.sum(axis=0) >= 2, highest - lowest, np.nan)


def _permutation_gap(names: npt.NDArray[np.str_], means: Floats, null: Floats) -> Gap:
    if np.isfinite(means).sum() < 2:
        return Gap(np.nan, "", "", np.nan, np.nan)
    high, low = int(np.nanargmax(means)), int(np.nanargmin(means))
    value = float(means[high] - means[low])
    null = null[np.isfinite(null)]
    # Rounding must not make an arrangement equal to the observed one look smaller.
    exceeding = int((null >= value * (1 - 1e-12)).sum())
    p = (1 + exceeding) / (1 + len(null))
    return Gap(value, str(names[high]), str(names[low]), -float(np.log10(p)), float(np.quantile(null, 0.95)))
