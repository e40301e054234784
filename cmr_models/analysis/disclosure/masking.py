"""The gate through which every published table passes: small cells are masked, and what would give them back.

A cell is small when it counts 1 to ``minimum - 1`` people, events, or people without the event. UK Biobank permits no
smaller number than 5 in any publication. A count of 0 is not small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.estimates import VALUE_COLUMNS
from cmr_models.estimates.groups import INTERSECTION

Bools = npt.NDArray[np.bool_]

SUPPRESSED = "suppressed"
_MARGIN = ("exposure", "unit", "scale", "outcome", "model", "measure", "of", "view", "phase")
_OVERALL = "overall"


def mask_small_cells(
    table: pd.DataFrame,
    minimum: int = 5,
    *,
    margins: Sequence[str] = _MARGIN,
    values: Sequence[str] = VALUE_COLUMNS,
) -> pd.DataFrame:
    """Mask small cells and, within each grouping, enough further cells that no margin gives a masked one back.

    A row with a small ``n`` loses ``n``, ``n_events`` and its estimates; a row with a small ``n_events`` or a small
    ``n - n_events`` keeps ``n`` and loses the rest. Groups of one grouping add up to the overall row, so a single
    masked group could be had by subtraction: the next smallest groups are masked too (reason ``secondary``) until at
    least two cells and ``minimum`` people are hidden, and their sum narrows no small one (:func:`leaves_whole_range`);
    where that cannot be, none of them is told to be small. ``n_excluded`` (people left out of ``n`` whose number must
    not show either), if there, masks ``n`` where it is small, and is dropped.

    Args:
        table: rows with ``n``, ``n_events`` and optionally ``group_by, group, status, reason``.
        minimum: the smallest number that may be published.
        margins: columns that together with ``group_by`` name the rows that add up; those not in ``table``
            are ignored.
        values: columns of estimates to mask.

    Returns:
        A copy with NaN, status ``suppressed`` and reason ``small_cell`` or ``secondary``.

    Raises:
        ValueError: ``n`` or ``n_events`` is missing as a column, or ``minimum`` is under 1.
    """
    if minimum < 1:
        raise ValueError(f"the smallest number that may be published must be at least 1, got {minimum}")
    absent = [name for name in ("n", "n_events") if name not in table]
    if absent:
        raise ValueError(f"the gate needs the columns n and n_events; {absent} not in {list(table)}")
    table = table.reset_index(drop=True)
    n, n_events = table["n"].to_numpy(float), table["n_events"].to_numpy(float)
    hide_n = _small(n, minimum)
    hide_events = hide_n | _small(n_events, minimum) | _small(n - n_events, minimum)
    excluded = table["n_excluded"].to_numpy(float) if "n_excluded" in table else np.full(len(table), np.nan)
    hide_n_too = hide_n | _small(excluded, minimum)
    by_n, n_untold = _secondary(table, n, hide_n, minimum, margins)
    by_events, untold = _secondary(table, n_events, hide_events, minimum, margins)
    return _mask(
        table.drop(columns="n_excluded", errors="ignore"),
        hide_n=hide_n_too | by_n | _secondary(table, n, hide_n_too, minimum, margins)[0],
        hide_values=hide_events | by_n | by_events,
        primary=hide_events & ~n_untold & ~untold,
        values=[name for name in values if name in table],
    )


def masked_counts(counts: Mapping[str, float], minimum: int) -> dict[str, float]:
    """Counts that add up to a published total, NaN where masked: small cells, and what would give one away."""
    hidden = hidden_counts(counts, minimum)
    return {name: float("nan") if name in hidden else float(n) for name, n in counts.items()}


def hidden_counts(counts: Mapping[str, float], minimum: int) -> dict[str, str]:
    """Those of counts that add up to a published total that are hidden: name -> ``small_cell`` or ``secondary``."""
    table = pd.DataFrame({"group": list(counts), "n": [float(n) for n in counts.values()]})
    table = table.assign(n_events=float("nan"), group_by="reason")
    masked = mask_small_cells(table, minimum, values=())
    hidden = masked[masked["n"].isna()]
    return dict(zip(hidden["group"], hidden["reason"], strict=True))


def mask_curve(years: npt.ArrayLike, n_at_risk: npt.ArrayLike, n_events: npt.ArrayLike, minimum: int = 5) -> Bools:
    """Which points of a survival curve may be published.

    A point may be if nobody or at least ``minimum`` are at risk, and if between it and the point published before
    there were no events or at least ``minimum``. The first point counts from no events.

    Args:
        years: ``(k,)`` ascending.
        n_at_risk: ``(k,)`` at each time.
        n_events: ``(k,)`` cumulative.
        minimum: the smallest number that may be published.
    """
    risk, events = np.asarray(n_at_risk, np.int64), np.asarray(n_events, np.int64)
    if (np.diff(np.asarray(years, np.float64)) <= 0).any() or (np.diff(events) < 0).any():
        raise ValueError("years must ascend and n_events must not fall")
    allowed = np.zeros(len(risk), bool)
    published = 0
    for k in range(len(risk)):
        new = events[k] - published
        allowed[k] = not (0 < risk[k] < minimum) and not (0 < new < minimum)
        if allowed[k]:
            published = int(events[k])
    return allowed


def mask_last_steps(events: Sequence[npt.NDArray[np.float64]], total: int, minimum: int = 5) -> list[Bools]:
    """Which published points of several curves may stay beside their common ``total`` of events.

    After the last steps there must be no event, or at least ``minimum``: the total is published in other tables. So the
    smallest last step goes, until that is so.

    Args:
        events: of each curve, ``(k,)`` cumulative at the points that :func:`mask_curve` allows, else NaN.
        total: events of all curves in all of the follow-up.
        minimum: the smallest number that may be published.
    """
    stay = [np.isfinite(curve) for curve in events]
    while True:
        shown = [np.unique(np.r_[0, curve[kept]]) for curve, kept in zip(events, stay, strict=True)]
        steps = [steps[-1] - steps[-2] if len(steps) > 1 else np.inf for steps in shown]
        rest = total - sum(steps[-1] for steps in shown)
        if not 0 < rest < minimum or not np.isfinite(steps).any():
            return stay
        curve = int(np.argmin(steps))
        stay[curve] &= events[curve] < shown[curve][-1]


def round_counts(counts: npt.ArrayLike, base: int = 5) -> npt.NDArray[np.float64]:
    """Counts to the nearest multiple of ``base`` (halves up), so that neighbours cannot be differenced."""
    return np.asarray(np.floor(np.asarray(counts, np.float64) / base + 0.5) * base, np.float64)


def _small(counts: npt.NDArray[np.float64], minimum: int) -> Bools:
    return np.asarray((counts > 0) & (counts < minimum), bool)


def _secondary(
    table: pd.DataFrame,
    counts: npt.NDArray[np.float64],
    hidden: Bools,
    minimum: int,
    margins: Sequence[str],
) -> tuple[Bools, Bools]:
    """Further rows to hide so that no sum of ``counts`` gives a hidden cell back, and rows not to be told as small."""
    extra, untold = np.zeros(len(table), bool), np.zeros(len(table), bool)
    if "group_by" not in table:
        return extra, untold
    keys = [*(name for name in margins if name in table), "group_by"]
    labels = table["group"].astype(str).to_numpy(object) if "group" in table else None
    grouped = table.groupby(keys, sort=False, dropna=False).indices if len(table) else {}
    for key, rows in grouped.items():
        group_by = str(key[-1] if isinstance(key, tuple) else key)
        if group_by != _OVERALL:
            groups = np.array([]) if labels is None else labels[rows]
            totals = totals_of(group_by, groups, np.asarray(rows, np.intp))
            _hide_in_every_total(totals, counts, hidden, extra, minimum)
            for total in totals:
                untold[total] |= _is_told_by_sum(total, counts, hidden | extra, minimum)
    return extra, untold


def totals_of(group_by: str, groups: npt.NDArray[np.object_], rows: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """Rows of a grouping whose sum is known: all of them and, of an intersection, those of one label.

    ``female x 55-64`` and the other cells of women add up to the row ``female`` of the grouping ``sex``.
    """
    sets = [rows]
    if INTERSECTION in group_by and len(groups):
        parts = np.array([group.split(INTERSECTION) for group in groups if group.count(INTERSECTION)], dtype=object)
        cells = np.array([INTERSECTION in group for group in groups], bool)
        for column in range(parts.shape[1] if parts.ndim == 2 else 0):
            sets += [rows[cells][parts[:, column] == label] for label in sorted(set(parts[:, column]))]
    return sets


def _hide_in_every_total(
    totals: list[npt.NDArray[np.intp]],
    counts: npt.NDArray[np.float64],
    hidden: Bools,
    extra: Bools,
    minimum: int,
) -> None:
    """Hide until no known total gives a hidden cell back; what one total hides, another has to cover."""
    settled = False
    while not settled:
        settled = True
        for rows in totals:
            more = _more_to_hide(rows, counts, hidden | extra, minimum)
            settled &= not more
            extra[more] = True


def _more_to_hide(
    rows: npt.NDArray[np.intp], counts: npt.NDArray[np.float64], hidden: Bools, minimum: int
) -> list[int]:
    """The smallest visible cells of one grouping to hide with those already hidden; zeros last.

    At least two cells and ``minimum`` people are to be hidden, and the sum of the hidden ones must leave each small one
    its whole range.
    """
    rows = rows[np.isfinite(counts[rows])]
    masked = rows[hidden[rows]]
    if not len(masked):
        return []
    visible = sorted((r for r in rows if not hidden[r]), key=lambda r: (counts[r] == 0, counts[r], r))
    chosen: list[int] = []
    cells = counts[masked].tolist()
    for row in visible:
        if len(cells) >= 2 and sum(cells) >= minimum and leaves_whole_range(cells, minimum):
            break
        chosen.append(int(row))
        cells.append(float(counts[row]))
    return chosen


def leaves_whole_range(cells: Sequence[float], minimum: int) -> bool:
    """Whether hidden cells of a known sum may each be any number of 1 to ``minimum - 1`` if it is told to be small.

    A hidden cell that is not told to be small is at least ``minimum``, or 0. Of 1 and 5 the sum is 6, so the small one
    is 1; of 4 and 4 it is 8, so both are 4.
    """
    counts = np.asarray(cells, np.float64)
    small = _small(counts, minimum)
    low = np.where(small, 1, np.where(counts >= minimum, minimum, 0))
    high = np.where(small, minimum - 1, counts.sum())
    most = counts.sum() - (low.sum() - 1)
    least = counts.sum() - (high.sum() - (minimum - 1))
    return not small.any() or bool(most >= minimum - 1 and least <= 1)


def _is_told_by_sum(rows: npt.NDArray[np.intp], counts: npt.NDArray[np.float64], hidden: Bools, minimum: int) -> bool:
    """Whether a published sum narrows a hidden small cell, though nothing is left to hide: then none is told small."""
    cells = counts[rows[hidden[rows] & np.isfinite(counts[rows])]]
    return bool(cells.sum() >= minimum) and not leaves_whole_range(cells.tolist(), minimum)


def _mask(
    table: pd.DataFrame, *, hide_n: Bools, hide_values: Bools, primary: Bools, values: Sequence[str]
) -> pd.DataFrame:
    table = table.copy()
    for name in ("n", "n_events"):
        table[name] = table[name].astype(float)
    table.loc[hide_n, "n"] = np.nan
    table.loc[hide_values, ["n_events", *values]] = np.nan
    for name in ("status", "reason"):
        if name not in table:
            table[name] = "ok" if name == "status" else ""
    table.loc[hide_values, "status"] = SUPPRESSED
    table.loc[hide_values, "reason"] = np.where(primary[hide_values], "small_cell", "secondary")
    return table
