"""Groups that one value dominates, by :mod:`cmr_models.estimates.contributions`: mean and SD would tell it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.masking import SUPPRESSED, totals_of
from cmr_models.estimates import VALUE_COLUMNS
from cmr_models.estimates.contributions import Contributions

DOMINATED = "dominated"
OVERALL = ("overall", "all")
ERROR = " error"
"""What a difference of two columns is called by: the first one's name with this behind it."""
_MEANS = ("mean", "bias")
_BOUND_COLUMNS = ("loa_low", "loa_high", "loa_se", "mean_absolute_error")


Magnitudes = Mapping[tuple[str, str, str], tuple[Contributions, ...]]
"""Exposure, grouping and group -> contributions, once for each set of people that a table may be about."""


def magnitudes(
    values: pd.DataFrame, groups: pd.DataFrame, complete: Sequence[npt.NDArray[np.bool_]]
) -> dict[tuple[str, str, str], tuple[Contributions, ...]]:
    """Contributions of every column of ``values`` in everybody and in every group.

    Args:
        values: a row a person, a column an exposure.
        groups: a row a person, a column a grouping, with labels.
        complete: sets of people that tables are about: those with all covariates, for one.
    """
    found = {}
    for group_by in (OVERALL[0], *groups):
        labels = np.full(len(values), OVERALL[1], object) if group_by == OVERALL[0] else groups[group_by].to_numpy()
        for label in sorted(set(labels), key=str):
            sets = [values[(labels == label) & people] for people in complete]
            for name in values:
                parts = tuple(Contributions.of(rows[name].to_numpy(float)) for rows in sets)
                found[str(name), str(group_by), str(label)] = parts
    return found


def hide_dominated(table: pd.DataFrame, known: Magnitudes) -> pd.DataFrame:
    """``table`` without the means of groups that one value dominates, and of those that would give them back.

    Of the groups that add up to everybody, those that are hidden must be two, and not be dominated as one group: the
    smallest of the others are hidden with them until that is so. A row per unit tells the SD of everybody by the row
    per SD, and a difference of two groups the mean of one by that of the other, so they go too. Counts stay.

    Args:
        table: estimates, masked.
        known: of all exposures that the table has means of.
    """
    if not {"measure", "scale", "exposure", "group_by", "group"} <= set(table):
        return table
    table = table.reset_index(drop=True)
    reason = np.full(len(table), "", object)
    means = table[table["measure"].isin(_MEANS)]
    for (exposure, model, group_by), rows in means.groupby(["exposure", "model", "group_by"], sort=False):
        name = f"{exposure}{ERROR}" if model == "bias" else str(exposure)
        parts = [known[name, str(group_by), str(group)] for group in rows["group"]]
        reason[rows.index] = _reasons(rows, str(group_by), parts)
    for row, groups in _told_by_others(table):
        told = any(found.is_dominated for group in groups for found in known[group])
        reason[row] = DOMINATED if told else reason[row]
    return _without_values(table, reason)


def hidden_groups(
    shown: npt.NDArray[np.bool_], counts: npt.NDArray[np.float64], parts: Sequence[Sequence[Contributions]]
) -> npt.NDArray[np.bool_]:
    """``(groups,)`` which groups of one sum are to be hidden.

    Args:
        shown: ``(groups,)`` whether a group is shown so far.
        counts: ``(groups,)`` of people, by which the next one is chosen.
        parts: of each group, its contributions in every set of people.
    """
    hidden = ~shown | np.array([any(found.is_dominated for found in sets) for sets in parts], bool)
    for row in np.argsort(np.nan_to_num(counts), kind="stable"):
        if not hidden.any() or (hidden.sum() > 1 and not _is_told([parts[k] for k in np.flatnonzero(hidden).tolist()])):
            break
        hidden[row] = True
    return np.asarray(hidden, bool)


def _is_told(parts: Iterable[Sequence[Contributions]]) -> bool:
    """Whether one value dominates groups taken as one, in any set of people."""
    return any(reduce(Contributions.__add__, found).is_dominated for found in zip(*parts, strict=True))


def _reasons(rows: pd.DataFrame, group_by: str, parts: list[tuple[Contributions, ...]]) -> npt.NDArray[np.object_]:
    """Why each mean of a grouping is hidden anew; empty where it is not."""
    own = np.array([any(found.is_dominated for found in sets) for sets in parts], bool)
    suppressed, counts = (rows["status"] == SUPPRESSED).to_numpy(bool), rows["n"].to_numpy(float)
    hidden = suppressed | own
    settled = group_by == OVERALL[0]
    while not settled:
        before = hidden.copy()
        for total in totals_of(group_by, rows["group"].to_numpy(object), np.arange(len(rows))):
            hidden[total] = hidden_groups(~hidden[total], counts[total], [parts[k] for k in total])
        settled = bool((hidden == before).all())
    shown = (rows["status"] == "ok").to_numpy(bool)
    return np.where(hidden & shown, np.where(own, DOMINATED, "secondary"), "")


def _told_by_others(table: pd.DataFrame) -> Iterator[tuple[int, list[tuple[str, str, str]]]]:
    """Rows with a number that tells of SDs or means, and the groups whose these are."""
    ok = (table["status"] == "ok").to_numpy(bool)
    of_parts = table["component"].notna().to_numpy(bool) if "component" in table else np.zeros(len(table), bool)
    for row in np.flatnonzero(ok & ((table["scale"] == "per_unit").to_numpy(bool) | of_parts)).tolist():
        exposure, group_by, group = (str(table[name].iloc[row]) for name in ("exposure", "group_by", "group"))
        if of_parts[row]:
            yield row, [(exposure, group_by, side) for side in group.split(" - ")]
        else:
            yield row, [(exposure, *OVERALL)]


def _without_values(table: pd.DataFrame, reason: npt.NDArray[np.object_]) -> pd.DataFrame:
    """``table`` without the numbers of the rows that have a reason, but with their counts."""
    rows = reason != ""
    values = [name for name in (*VALUE_COLUMNS, *_BOUND_COLUMNS, "share") if name in table]
    table.loc[rows, values] = np.nan
    table.loc[rows, "status"] = SUPPRESSED
    table.loc[rows, "reason"] = reason[rows]
    return table
