"""Numbers given so coarsely that one person more or less does not show: steps, means, counts that lie close together.

A mean of n people moves by at most a few SD / n when one of them leaves, and a survival curve by 1 / n. Two releases,
or two tables of people of whom one is not in the other, give that person's value back if their numbers are finer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.masking import round_counts
from cmr_models.estimates import Z95

Floats = npt.NDArray[np.float64]

_MEANS = ("mean",)
_PEOPLE_A_STEP = 2.0
"""A step is what two people move a mean by, if each lies an SD from it; or a survival curve, if each has an event."""


def nice_step(at_least: npt.ArrayLike) -> Floats:
    """The smallest of 1, 2, 5, 10, 20 ... times a power of ten that is not under ``at_least``; NaN for NaN and 0."""
    wanted = np.asarray(at_least, np.float64)
    wanted = np.where(wanted > 0, wanted, np.nan)
    power = 10.0 ** np.floor(np.log10(wanted))
    share = wanted / power
    return np.asarray(power * np.select([share <= 1, share <= 2, share <= 5], [1.0, 2.0, 5.0], 10.0), np.float64)


def to_step(values: npt.ArrayLike, step: npt.ArrayLike) -> Floats:
    """``values`` at the nearest multiple of ``step``; as they are where there is no step."""
    values, step = np.asarray(values, np.float64), np.asarray(step, np.float64)
    rounded = np.round(np.round(values / np.where(step > 0, step, 1.0)) * step, 12)
    return np.asarray(np.where(step > 0, rounded, values), np.float64)


def step_of_mean(n: npt.ArrayLike, sd: npt.ArrayLike) -> Floats:
    """The step of a mean of ``n`` people, in the unit of ``sd``."""
    n, sd = np.asarray(n, np.float64), np.asarray(sd, np.float64)
    return nice_step(_PEOPLE_A_STEP * sd / np.where(n > 0, n, np.nan))


def step_of_share(n: npt.ArrayLike) -> Floats:
    """The step of a share or of survival among ``n`` people."""
    n = np.asarray(n, np.float64)
    return nice_step(_PEOPLE_A_STEP / np.where(n > 0, n, np.nan))


def coarsen_means(table: pd.DataFrame, base: int | None) -> pd.DataFrame:
    """Means and their gaps in steps of :func:`step_of_mean`; standard errors and intervals are made from these.

    The standard error is that of the coarse SD and of the count as it is published, as it would tell the exact ones.

    Args:
        table: estimates; rows of the measure ``mean``, and of ``gap`` with a model that has such rows.
        base: of the counts; None where they are exact.
    """
    if "measure" not in table or not table["measure"].isin(_MEANS).any():
        return table
    table = table.reset_index(drop=True)
    rows = np.flatnonzero(
        (table["measure"].isin(_MEANS) & (table["status"] == "ok") & (table["se"] > 0)).to_numpy(bool)
    )
    n = table["n"].to_numpy(float)[rows]
    shown = n if base is None else round_counts(n, base)
    sd = table["se"].to_numpy(float)[rows] * np.sqrt(n)
    step = step_of_mean(n, sd)
    mean, se = to_step(table["estimate"].to_numpy(float)[rows], step), to_step(sd, step) / np.sqrt(shown)
    known = np.isfinite(shown)
    numbers = np.column_stack([mean, se, mean - Z95 * se, mean + Z95 * se])[known]
    table.loc[rows[known], ["estimate", "se", "ci_low", "ci_high"]] = numbers
    return _coarsen_gaps(table, pd.Series(step, rows))


def _coarsen_gaps(table: pd.DataFrame, step: pd.Series) -> pd.DataFrame:
    """Gaps of means in the widest step of the groups they compare."""
    keys = [name for name in ("exposure", "model", "group_by") if name in table]
    widest = table.loc[step.index, keys].assign(step=step).groupby(keys, dropna=False)["step"].max()
    gaps = np.flatnonzero((table["measure"] == "gap") & table["model"].isin(table.loc[step.index, "model"]))
    found = widest.reindex(pd.MultiIndex.from_frame(table.loc[gaps, keys])).to_numpy(float)
    for name in ("estimate", "se", "ci_low", "ci_high", "null_q95"):
        if name in table:
            table.loc[gaps, name] = to_step(table.loc[gaps, name].to_numpy(float), found)
    return table


def lie_close(counts: npt.ArrayLike, minimum: int) -> bool:
    """Whether two of ``counts`` differ by 1 to ``minimum - 1``, so that their difference is a small cell."""
    found = np.asarray(counts, np.float64)
    gaps = np.diff(np.unique(found[np.isfinite(found)]))
    return bool(((gaps > 0) & (gaps < minimum)).any())
