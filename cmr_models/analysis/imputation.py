"""Missing covariates: several completed tables by chained equations, and one estimate from all of them.

Each column with gaps is drawn given all others, in turn, for a number of cycles. Every draw is made with parameters
that are themselves drawn (a Bayesian bootstrap of the rows), so that the spread between the completed tables carries
what is not known about the imputation model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cmr_models.estimates import NotEstimableError
from cmr_models.estimates.design_matrix import design_columns, independent_columns
from cmr_models.survival.checks import check_order

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_DONORS = 10
_FEWEST_OBSERVED = 10


@dataclass(frozen=True)
class Pooled:
    """One estimate from several completed tables.

    Attributes:
        estimate: the mean.
        se: its standard error, within and between tables.
        df: degrees of freedom of its t distribution.
        ci_low, ci_high: 95 % interval.
        fraction_missing: share of the variance that comes from what is missing.
        n_imputations: tables.
    """

    estimate: float
    se: float
    df: float
    ci_low: float
    ci_high: float
    fraction_missing: float
    n_imputations: int


def nelson_aalen(exit: npt.ArrayLike, event: npt.ArrayLike, entry: npt.ArrayLike | None = None) -> Floats:
    """``(n,)`` cumulative hazard of everybody over each person's own time at risk, (entry, exit].

    With the event itself it carries the outcome into the imputation model of a covariate.

    Raises:
        ValueError: lengths differ; an exit that is not after its entry.

    Reference:
        White & Royston 2009, 10.1002/sim.3618.
    """
    times, events = np.asarray(exit, np.float64), np.asarray(event, np.float64)
    entries = np.full(len(times), -np.inf) if entry is None else np.asarray(entry, np.float64)
    if not times.shape == events.shape == entries.shape:
        raise ValueError(f"exit, event and entry must have one length, got {len(times)}, {len(events)}, {len(entries)}")
    check_order(times, entries)
    distinct, counts = np.unique(times[events == 1], return_counts=True)
    left = np.searchsorted(np.sort(times), distinct, "left")
    come = np.searchsorted(np.sort(entries), distinct, "left")
    steps = np.concatenate([[0.0], np.cumsum(counts / (come - left))])
    return np.asarray(
        steps[np.searchsorted(distinct, times, "right")] - steps[np.searchsorted(distinct, entries, "right")]
    )


def impute(
    table: pd.DataFrame,
    columns: Sequence[str],
    rng: np.random.Generator,
    *,
    n_imputations: int = 20,
    n_cycles: int = 5,
    products: Sequence[tuple[str, str]] = (),
) -> list[pd.DataFrame]:
    """Completed copies of ``table``: numbers by predictive mean matching, labels by (multinomial) logistic regression.

    Args:
        table: one row a person.
        columns: all that predict each other: covariates, exposure, the event and its Nelson-Aalen hazard. Those with
            gaps are filled; the others only predict.
        products: pairs of columns whose product predicts too, made anew from what is filled in: a covariate and the
            hazard, where effects on the hazard are large (White & Royston 2009, 10.1002/sim.3618).
        rng: source of the draws.
        n_imputations: completed tables.
        n_cycles: turns through the columns before a table is taken.

    Returns:
        ``n_imputations`` copies without gaps in ``columns``; observed values are never changed.

    Raises:
        ValueError: a column is not in the table, or ``n_imputations`` is under 2.
        NotEstimableError: a column with gaps has fewer than 10 values.

    Reference:
        van Buuren 2018, Flexible Imputation of Missing Data, chapters 3 and 4; Rubin 1981, 10.1214/aos/1176345338.
    """
    unknown = [name for name in (*columns, *(name for pair in products for name in pair)) if name not in table]
    if unknown:
        raise ValueError(f"columns {unknown} are not in the table; it has {list(table)}")
    if n_imputations < 2:
        raise ValueError(f"the spread between tables needs at least 2 of them, got {n_imputations}")
    gaps = {name: table[name].isna().to_numpy() for name in columns if table[name].isna().any()}
    for name, missing in gaps.items():
        if (~missing).sum() < _FEWEST_OBSERVED:
            raise NotEstimableError("too_few_people", f"{name} has {int((~missing).sum())} values to learn from")
    in_turn = sorted(gaps, key=lambda name: int(gaps[name].sum()))
    plan = _Plan(list(columns), list(products), in_turn, gaps, n_cycles)
    return [_complete(table, plan, rng) for _ in range(n_imputations)]


def pool(estimate: npt.ArrayLike, se: npt.ArrayLike, *, df_complete: float = np.inf) -> Pooled:
    """One estimate (a coefficient, a log ratio) from one a completed table.

    Args:
        estimate: ``(m,)`` of each table.
        se: ``(m,)`` of each table.
        df_complete: degrees of freedom had nothing been missing.

    Raises:
        ValueError: fewer than two tables, or one without a finite estimate: a table may not be dropped.

    Reference:
        Rubin 1987; degrees of freedom of Barnard & Rubin 1999, 10.1093/biomet/86.4.948.
    """
    values, errors = np.asarray(estimate, np.float64), np.asarray(se, np.float64)
    if len(values) < 2 or values.shape != errors.shape:
        raise ValueError(f"at least 2 estimates, each with its standard error, are needed; got {len(values)}")
    if not (np.isfinite(values).all() and (errors > 0).all()):
        raise ValueError("every completed table must give a finite estimate and a positive standard error")
    m, mean = len(values), float(values.mean())
    within, between = float((errors**2).mean()), float(values.var(ddof=1)) * (1 + 1 / len(values))
    total = within + between
    share = between / total
    df_old = (m - 1) / share**2 if share > 0 else np.inf
    df_observed = np.inf if np.isinf(df_complete) else (df_complete + 1) / (df_complete + 3) * df_complete * (1 - share)
    df = 1 / (1 / df_old + 1 / df_observed) if np.isfinite(min(df_old, df_observed)) else np.inf
    half = float(stats.t.ppf(0.975, df) if np.isfinite(df) else stats.norm.ppf(0.975)) * np.sqrt(total)
    return Pooled(mean, float(np.sqrt(total)), float(df), mean - half, mean + half, share, m)


class _Plan(NamedTuple):
    """Columns and products that predict, columns to fill in turn, where they have gaps, and how often."""

    columns: list[str]
    products: list[tuple[str, str]]
    in_turn: list[str]
    gaps: dict[str, Bools]
    n_cycles: int


def _complete(table: pd.DataFrame, plan: _Plan, rng: np.random.Generator) -> pd.DataFrame:
    """One completed table; gaps begin as values drawn from the column."""
    filled = table.copy()
    for name in plan.in_turn:
        known = table[name].dropna().to_numpy()
        filled.loc[plan.gaps[name], name] = rng.choice(known, int(plan.gaps[name].sum()))
    for _ in range(plan.n_cycles if len(plan.in_turn) > 1 else 1):
        for name in plan.in_turn:
            others = _standard_design(filled, plan, name)
            filled.loc[plan.gaps[name], name] = _draw(table[name], plan.gaps[name], others, rng)
    return filled


def _standard_design(table: pd.DataFrame, plan: _Plan, target: str) -> Floats:
    """All that predicts ``target``."""
    parts = [design_columns(table, [name for name in plan.columns if name != target]).to_numpy(float)]
    for pair in plan.products:
        if target not in pair:
            first, second = (design_columns(table, [name]).to_numpy(float) for name in pair)
            parts.append((first[:, :, None] * second[:, None, :]).reshape(len(table), -1))
    values = np.column_stack(parts)
    values = values[:, independent_columns(values)]
    spread = values.std(axis=0)
    return np.column_stack([np.ones(len(values)), (values - values.mean(axis=0)) / spread])


def _draw(column: pd.Series, missing: Bools, design: Floats, rng: np.random.Generator) -> npt.NDArray[np.generic]:
    known = column[~missing].to_numpy()
    weight = rng.exponential(size=len(known))
    is_number = pd.api.types.is_numeric_dtype(column) and len(np.unique(known)) > 2
    return (_match_donors if is_number else _draw_labels)(known, weight, design[~missing], design[missing], rng)


def _match_donors(
    known: npt.NDArray[np.generic], weight: Floats, observed: Floats, wanted: Floats, rng: np.random.Generator
) -> npt.NDArray[np.generic]:
    """A value of one of the people whose expectation is nearest to the drawn one (type 1 matching).

    Donors are drawn by the weights of the bootstrap that made the parameters: drawn evenly from the few nearest, they
    would leave out what is not known about the spread around the expectation, and intervals came out too short.

    Reference:
        Siddique & Belin 2008, 10.1002/sim.3001, on donors by an approximate Bayesian bootstrap.
    """
    values = known.astype(float)
    root = np.sqrt(weight)
    drawn = np.linalg.lstsq(observed * root[:, None], values * root, rcond=None)[0]
    expected = observed @ np.linalg.lstsq(observed, values, rcond=None)[0]
    order = np.argsort(expected, kind="stable")
    targets = wanted @ drawn
    place = np.searchsorted(expected[order], targets)
    # Shifted inwards at the ends, where it would else hold the last person many times over.
    first = np.clip(place - _DONORS, 0, max(len(order) - 2 * _DONORS, 0))
    window = first[:, None] + np.arange(min(2 * _DONORS, len(order)))
    distance = np.abs(expected[order][window] - targets[:, None])
    near = np.argsort(distance, axis=1, kind="stable")[:, :_DONORS]
    donors = order[np.take_along_axis(window, near, axis=1)]
    share = weight[donors].cumsum(axis=1)
    chosen = (rng.random((len(targets), 1)) * share[:, -1:] > share).sum(axis=1)
    return np.asarray(known[np.take_along_axis(donors, chosen[:, None], axis=1)[:, 0]])


def _draw_labels(
    known: npt.NDArray[np.generic], weight: Floats, observed: Floats, wanted: Floats, rng: np.random.Generator
) -> npt.NDArray[np.generic]:
    """Labels drawn from their probabilities; a weak ridge keeps separated levels finite."""
    from sklearn.linear_model import LogisticRegression

    levels, codes = np.unique(known, return_inverse=True)
    if len(levels) < 2:
        return np.repeat(levels, len(wanted))
    model = LogisticRegression(C=1e3, max_iter=1000, fit_intercept=False)
    model.fit(observed, codes, sample_weight=weight)
    share = model.predict_proba(wanted).cumsum(axis=1)
    drawn = (rng.random(len(wanted))[:, None] > share).sum(axis=1).clip(0, len(levels) - 1)
    return np.asarray(levels[model.classes_[drawn]])
