"""A gap at common covariates, and a gap taken apart into what explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates import NotEstimableError, bootstrap_interval
from cmr_models.estimates.design_matrix import complete_design, independent_columns, standardise
from cmr_models.estimates.groups import labels

Floats = npt.NDArray[np.float64]

REST = "model"
TOTAL = "total"


def standardisation_weights(
    data: pd.DataFrame, by: str, cells: Sequence[str], *, minimum: int = 5, smallest_group: int = 50
) -> tuple[pd.Series, float]:
    """Weights under which every group has the same mix of ``cells``: direct standardisation to everybody.

    Only cells in which every group has at least ``minimum`` people are used: elsewhere nothing can be compared. Groups
    under ``smallest_group`` would leave next to none of them, and are not standardised: their weights are missing.

    Args:
        data: one row a person.
        by: column of the groups.
        cells: columns whose combinations are the cells (age band, BMI class, ...).
        minimum: people of each group in a cell.
        smallest_group: people of a group that is standardised.

    Returns:
        The weights (0 outside the common cells, NaN in small groups) and the share of people outside the common cells.

    Raises:
        NotEstimableError: no common cell.

    Reference:
        Rothman, Greenland & Lash 2008, Modern Epidemiology, chapter 4.
    """
    group = labels(data[by])
    cell = pd.Series(list(zip(*(labels(data[name]) for name in cells), strict=True)), index=data.index)
    code = pd.factorize(cell)[0]
    counts = pd.crosstab(code, group)
    counts = counts.loc[:, counts.sum() >= smallest_group]
    common = counts.index[(counts >= minimum).all(axis=1)]
    if not len(common) or counts.empty:
        raise NotEstimableError("no_overlap", f"{by} over {list(cells)}")
    large = np.isin(group, list(counts.columns))
    inside = np.isin(code, common) & large
    standard = counts.loc[common].sum(axis=1) / counts.loc[common].to_numpy().sum()
    own = counts.loc[common] / counts.loc[common].sum()
    ratio = own.rdiv(standard, axis=0)
    weight = np.where(large, 0.0, np.nan)
    columns = ratio.columns.get_indexer(pd.Index(group[inside]))
    weight[inside] = ratio.to_numpy()[ratio.index.get_indexer(pd.Index(code[inside])), columns]
    return pd.Series(weight, index=data.index, name="weight"), float(1 - inside.sum() / large.sum())


def decompose_gap(
    data: pd.DataFrame,
    value: str,
    group: str,
    pair: tuple[str, str],
    blocks: Mapping[str, Sequence[str]],
    rng: np.random.Generator,
    *,
    n_bootstrap: int = 500,
) -> pd.DataFrame:
    """Take the difference of a mean between two groups apart: what differing covariates explain, and the rest.

    With blocks such as ``measurement`` (error of the segmentation), ``acquisition`` (BMI, heart rate, centre, scan
    year) and ``prevalence`` (disease, age), the rest, named ``model``, is what remains between people alike in all of
    them. The components add up to the gap exactly. It is a description of associations, not of causes: covariates that
    the group itself changes take part of its effect with them.

    Args:
        data: one row a person, without missing values in the columns used.
        value: column whose mean differs: an error, a score, a phenotype.
        group: column of the groups.
        pair: two of its labels; the gap is the first less the second.
        blocks: name -> covariates.
        rng: source of the resamples, within group.
        n_bootstrap: resamples of the intervals.

    Returns:
        One row a component: ``component, estimate, se, ci_low, ci_high, share`` (of the total), then ``model`` and
        ``total``; ``n`` people.

    Raises:
        ValueError: missing columns or values, a covariate in two blocks, a block named ``model`` or ``total``.
        NotEstimableError: a group has fewer people than there are terms, plus ten.

    Reference:
        Oaxaca 1973, 10.2307/2525981, and Blinder 1973; coefficients of the pooled model with the group in it,
        Jann 2008, 10.1177/1536867X0800800401.
    """
    two = _two_groups(data, value, group, pair, blocks)
    found = _components(two, two.first)
    drawn = np.array([_resample(two, rng) for _ in range(n_bootstrap)])
    low, high = bootstrap_interval(drawn)
    columns: dict[str, Any] = {"component": [*blocks, REST, TOTAL], "estimate": found, "se": drawn.std(axis=0, ddof=1)}
    share = found / found[-1] if found[-1] else np.full(len(found), np.nan)
    return pd.DataFrame({**columns, "ci_low": low, "ci_high": high, "share": share, "n": float(len(two.y))})


class _TwoGroups(NamedTuple):
    """People of two groups.

    Attributes:
        design: ``(n, p)`` standard columns of all blocks; ``owner (p,)`` the block of each, of ``n_blocks``.
        y: ``(n,)``.
        first: ``(n,)`` whether of the first group.
    """

    design: Floats
    owner: npt.NDArray[np.intp]
    n_blocks: int
    y: Floats
    first: npt.NDArray[np.bool_]


def _two_groups(
    data: pd.DataFrame, value: str, group: str, pair: tuple[str, str], blocks: Mapping[str, Sequence[str]]
) -> _TwoGroups:
    covariates = [name for names in blocks.values() for name in names]
    if len(set(covariates)) < len(covariates):
        raise ValueError(f"every covariate belongs to one block, got {covariates}")
    if set(blocks) & {REST, TOTAL}:
        raise ValueError(f"blocks cannot be named {REST!r} or {TOTAL!r}: these are the rest and the sum")
    everybody = labels(data[group])
    chosen, name = data[np.isin(everybody, pair)], everybody[np.isin(everybody, pair)]
    design, owner = _blocks(chosen, blocks)
    y = chosen[value].to_numpy(float)
    if not np.isfinite(y).all():
        raise ValueError(f"{value} has {int((~np.isfinite(y)).sum())} missing values; drop those rows first")
    first = name == pair[0]
    smallest = int(min(first.sum(), (~first).sum()))
    if smallest < design.shape[1] + 10:
        raise NotEstimableError("too_few_people", f"{smallest} people for {design.shape[1]} terms")
    return _TwoGroups(design, owner, len(blocks), y, first)


def _blocks(data: pd.DataFrame, blocks: Mapping[str, Sequence[str]]) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Columns of all blocks, and the number of the block each belongs to; redundant columns are left out."""
    designs = [complete_design(data, list(names)) for names in blocks.values()]
    values = pd.concat(designs, axis=1).to_numpy(float)
    owner = np.repeat(np.arange(len(designs)), [design.shape[1] for design in designs])
    kept = independent_columns(values)
    # Standard columns: the products of a resample are then well conditioned, and no part of the gap changes.
    return standardise(values[:, kept])[0], owner[kept]


def _components(two: _TwoGroups, first: npt.NDArray[np.bool_]) -> Floats:
    """``(block + 2,)`` explained by each block, the rest, the total."""
    design, y = two.design, two.y
    full = np.column_stack([np.ones(len(y)), first, design])
    coef = np.linalg.lstsq(full.T @ full, full.T @ y, rcond=None)[0]
    explained = (design[first].mean(axis=0) - design[~first].mean(axis=0)) * coef[2:]
    total = float(y[first].mean() - y[~first].mean())
    by_block = np.bincount(two.owner, explained, two.n_blocks)
    return np.concatenate([by_block, [total - by_block.sum(), total]])


def _resample(two: _TwoGroups, rng: np.random.Generator) -> Floats:
    sides = (np.flatnonzero(two.first), np.flatnonzero(~two.first))
    rows = np.concatenate([rng.choice(side, len(side)) for side in sides])
    first = np.arange(len(rows)) < len(sides[0])
    return _components(two._replace(design=two.design[rows], y=two.y[rows]), first)
