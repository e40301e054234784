"""What the means of a release tell of those whose mean is not shown: a mean times its people is a sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.claims import EVERYBODY, limits_of
from cmr_models.analysis.disclosure.coarsening import step_of_mean

MEAN_COLUMNS = ("exposure", "model", "measure", "group_by", "group", "n", "estimate", "se", "status", "rounded_to")
"""Means, as tables of estimates give them; those of figures have the same columns."""


def means_told(rows: pd.DataFrame, threshold: int) -> list[dict[str, Any]]:
    """Means of the people of hidden groups, from those of everybody less the groups that are shown.

    Args:
        rows: with :data:`MEAN_COLUMNS`.
        threshold: the smallest number that may be published.

    Returns:
        Rows as :func:`.audit.audit` gives them: a mean is determined if its people may be few, and it lies within an
        SD.
    """
    found = []
    means = rows[rows["measure"] == "mean"]
    for (exposure, model), of_mean in means.groupby(["exposure", "model"], sort=False):
        everybody = of_mean[(of_mean["group_by"] == EVERYBODY[0]) & (of_mean["status"] == "ok")]
        for group_by, groups in of_mean[of_mean["group_by"] != EVERYBODY[0]].groupby("group_by", sort=False):
            shown = groups[groups["status"] == "ok"]
            if len(everybody) != 1 or len(shown) == len(groups):
                continue
            low, high, determined = _left_over(everybody, shown, threshold)
            about = {"exposure": exposure, "outcome": "", "population": model, "group_by": group_by}
            about |= {"group": "; ".join(sorted(set(groups["group"]) - set(shown["group"]))), "cell": "mean"}
            found.append({**about, "low": low, "high": high, "determined": determined})
    return found


def _left_over(everybody: pd.DataFrame, shown: pd.DataFrame, threshold: int) -> tuple[float, float, bool]:
    """Limits of the mean of those who are not shown; determined if they may be few, and it lies within an SD."""
    known = [_sums(part, threshold) for part in (everybody, shown)]
    (n_low, n_high), (low, high) = known[0]
    n_low, n_high = max(1.0, n_low - known[1][0][1]), n_high - known[1][0][0]
    low, high = low - known[1][1][1], high - known[1][1][0]
    least, most = min(low / n_low, low / n_high), max(high / n_low, high / n_high)
    sd = float((everybody["se"] * np.sqrt(everybody["n"])).iloc[0])
    return least, most, bool(n_low < threshold and most - least < 2 * sd)


def _sums(rows: pd.DataFrame, threshold: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits of the number of people in all rows, and of the sum of their values."""
    people = np.stack(limits_of(rows["n"], rows["rounded_to"], threshold), axis=-1)
    sd = (rows["se"] * np.sqrt(rows["n"])).to_numpy(float)
    off = np.nan_to_num(step_of_mean(rows["n"], sd)) / 2
    mean = rows["estimate"].to_numpy(float)
    ends = np.stack([people[:, k] * (mean + sign * off) for k in (0, 1) for sign in (-1, 1)])
    n_low, n_high = people.sum(axis=0).tolist()
    return (n_low, n_high), (float(ends.min(axis=0).sum()), float(ends.max(axis=0).sum()))
