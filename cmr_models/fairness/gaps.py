"""The largest gap between groups: its size, its null, its row in a table, and whether groups are equivalent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.estimates import NotEstimableError, failed, minus_log10_p_chi2
from cmr_models.estimates.groups import intersection
from cmr_models.fairness.metrics import Metric

Floats = npt.NDArray[np.float64]

MAX_GAP = "max_gap"
"""Group of the row that holds the largest gap of a grouping."""
GAP_COLUMNS = ("gap_groups", "null_q95", "margin", "equivalence_p", "not_estimable")
"""Columns that only the rows of gaps fill."""

_NULL_DRAWS = 2000
# Rounding must not make an arrangement equal to the observed one look smaller.
_ROUNDING = 1e-12


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


def gap_row(
    rows: Sequence[Mapping[str, Any]],
    rng: np.random.Generator,
    *,
    ratio: bool = False,
    margin: float = float("nan"),
    find: Callable[[], Gap] | None = None,
) -> dict[str, Any]:
    """The largest gap between the groups of one grouping, as a row.

    Args:
        rows: ``group, n, estimate, se, status`` of each group, without the overall row.
        rng: source of the null of :func:`max_gap`.
        ratio: whether estimates are compared as logs.
        margin: of equivalence; NaN if none is stated.
        find: how to find the gap and its null; None: :func:`max_gap` of the rows with status ``ok``.

    Returns:
        ``group, n, status, reason``; where there is a gap, ``estimate, minus_log10_p, gap_groups, null_q95`` too, and
        ``equivalence_p`` if a margin is stated.
    """
    ok = [row for row in rows if row["status"] == "ok"]
    about = {"group": MAX_GAP, "n": float(sum(row["n"] for row in ok)) if ok else np.nan}
    values = np.array([row["estimate"] for row in ok], float)
    values = np.log(values) if ratio else values
    errors = np.array([row.get("se", np.nan) for row in ok], float)
    try:
        gap = find() if find else max_gap([str(row["group"]) for row in ok], values, errors, rng)
        if not np.isfinite(gap.value):
            raise NotEstimableError("too_few_groups")
    except NotEstimableError as error:
        return {**about, **failed(error.reason)}
    found = {"estimate": gap.value, "gap_groups": f"{gap.high} - {gap.low}", "null_q95": gap.null_q95}
    if np.isfinite(margin) and _usable(values, errors).sum() >= 2:
        found["equivalence_p"] = equivalence_p(values, errors, margin)
    return {**about, **found, "minus_log10_p": gap.minus_log10_p, "status": "ok", "reason": ""}


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
    usable = _usable(values, errors)
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
    return [_gap_of_means(names, observed[:, k], ranges[:, k]) for k in range(table.shape[1])]


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
    n_lost = int((~np.isfinite(null)).sum())
    if n_permutations - n_lost < 0.9 * n_permutations:
        raise NotEstimableError("too_few_groups", f"{n_lost} permutations lose a group")
    return _against_null(names, np.array([observed[name] for name in names]), null)


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
    usable = _usable(values, errors)
    if usable.sum() < 2:
        raise NotEstimableError("too_few_groups", f"{int(usable.sum())} groups have an estimate")
    values, errors = values[usable], errors[usable]
    first, second = np.triu_indices(len(values), 1)
    difference, spread = np.abs(values[first] - values[second]), np.hypot(errors[first], errors[second])
    return float(stats.norm.cdf((difference - margin) / spread).max())


def _usable(values: Floats, errors: Floats) -> npt.NDArray[np.bool_]:
    return np.isfinite(values) & np.isfinite(errors) & (errors > 0)


def _against_null(names: Sequence[str] | npt.NDArray[np.str_], values: Floats, null: Floats) -> Gap:
    """The gap of ``values (g,)``, NaN where a group has none, beside the gaps ``null (k,)`` of permuted labels."""
    high, low = int(np.nanargmax(values)), int(np.nanargmin(values))
    value = float(values[high] - values[low])
    null = null[np.isfinite(null)]
    exceeding = int((null >= value * (1 - _ROUNDING)).sum())
    p = (1 + exceeding) / (1 + len(null))
    return Gap(value, str(names[high]), str(names[low]), -float(np.log10(p)), float(np.quantile(null, 0.95)))


def _gap_of_means(names: npt.NDArray[np.str_], means: Floats, null: Floats) -> Gap:
    if np.isfinite(means).sum() < 2:
        return Gap(np.nan, "", "", np.nan, np.nan)
    return _against_null(names, means, null)


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
