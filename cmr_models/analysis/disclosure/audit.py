"""All tables of estimates of a release together, as one who attacks it sees them: which small cells do they determine?

The tables are read as they are published; nothing else is known. A cell is *determined* if the statements of all tables
leave it fewer than three numbers, all of them small: then it is hidden in vain. Means are looked at as sums: the groups
that are shown, taken from everybody, leave those that are hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.bounds import Programme, Statements
from cmr_models.analysis.disclosure.coarsening import step_of_mean
from cmr_models.analysis.disclosure.gate import hide
from cmr_models.analysis.disclosure.masking import SUPPRESSED
from cmr_models.estimates.groups import INTERSECTION

COLUMNS = ("exposure", "outcome", "population", "group_by", "group", "cell", "low", "high", "determined")
FEWEST_NUMBERS = 3
"""A small cell must keep as many possible numbers (all of them, where there are no more)."""
_POPULATIONS = {"logistic": "asked", **dict.fromkeys(("cox_age", "harrell_phenotype", "harrell_adjusted",
                "uno_adjusted"), "at risk")}  # fmt: skip
_EVERYBODY = ("overall", "all")
_SURELY_RARE = 4
Known = dict[bytes, list[tuple[float, float]]]
"""Digest of a programme and its targets -> the bounds of these."""


@dataclass(frozen=True)
class _Cell:
    """A count of a population in a group; ``what`` is ``n`` or ``n_events``."""

    population: str
    group_by: str
    group: str
    what: str

    def __str__(self) -> str:
        return "|".join((self.population, self.group_by, self.group, self.what))


def audit(tables: Mapping[str, pd.DataFrame], threshold: int, known: Known | None = None) -> pd.DataFrame:
    """What the tables of a release say of every hidden cell.

    Args:
        tables: of estimates, as published, with ``rounded_to``.
        threshold: the smallest number that may be published.
        known: bounds of programmes that were solved before, to which those of this audit are added.

    Returns:
        A row a hidden cell (``n``, ``n_events``, ``without event``, ``left out``, ``mean``): the least and the most
        that it can be, and whether it is determined. Where a bound was not looked for, it is at least so far.
    """
    rows = pd.concat([_rows_of(table) for table in tables.values()], ignore_index=True) if tables else pd.DataFrame()
    found: list[dict[str, Any]] = []
    known = {} if known is None else known
    for (exposure, outcome), pair in rows.groupby(["exposure", "outcome"], sort=False) if len(rows) else ():
        for one in _groupings(pair):
            about = {"exposure": exposure, "outcome": outcome}
            found += [{**about, **row} for row in _bounded(one, threshold, known)]
    found += _means(rows, threshold) if len(rows) else []
    return pd.DataFrame(found, columns=list(COLUMNS))


def _rows_of(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that count people of a group, and gaps, which count those of all groups they compare; ratios once."""
    table = table[(table["scale"] != "per_unit") & (table["model"] != "kaplan_meier")]
    table = table.assign(population=table["model"].map(_POPULATIONS).fillna(table["model"]))
    if "covariate_set" in table and len(table):  # sets have people of their own: the first is that of the other tables
        table = table[table["covariate_set"] == table["covariate_set"].iloc[0]]
    if "rounded_to" not in table:
        table = table.assign(rounded_to=1.0)
    names = ["exposure", "outcome", "model", "measure", "population", "group_by", "group", "n", "n_events", "estimate"]
    table = table[[*names, "se", "status", "reason", "rounded_to"]]
    told = ["exposure", "outcome", "measure", "population", "group_by", "group", "n", "n_events", "status", "reason"]
    is_statement = ~table["measure"].isin(("mean", "gap"))  # several models state the same counts
    return table[~(is_statement & table.duplicated([*told, "rounded_to"]))]


def _groupings(pair: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The rows of everybody and of one grouping with hidden cells; of an intersection, with those of its parts."""
    hidden = pair["n"].isna() | (pair["n_events"].isna() & (pair["status"] == SUPPRESSED))
    hidden &= pair["measure"] != "gap"
    for group_by in pair.loc[hidden & (pair["group_by"] != _EVERYBODY[0]), "group_by"].unique():
        named = {_EVERYBODY[0], group_by, *str(group_by).split(INTERSECTION)}
        yield pair[pair["group_by"].isin(named)]


def _bounded(rows: pd.DataFrame, threshold: int, known: Known) -> list[dict[str, Any]]:
    """The hidden cells of one grouping; of the same programme as one before, the same bounds."""
    targets: dict[str, dict[str, float]] = {}
    for told in (True, False):  # whether a row that is masked as small is one: of its counts any may be the small one
        statements, targets = _statements(rows, threshold, told=told)
        if not targets:
            return []
        programme = Programme(statements)
        key = programme.key + repr(sorted(targets)).encode()
        try:
            ranges = known.get(key) or programme.ranges(list(targets.values()), FEWEST_NUMBERS - 1)
        except ValueError:
            continue
        known[key] = ranges
        return [_row(name, *limits, threshold) for name, limits in zip(targets, ranges, strict=True)]
    return [_row(name, 0.0, np.inf, threshold) for name in targets]


def _row(name: str, low: float, high: float, threshold: int) -> dict[str, Any]:
    population, group_by, group, cell = name.split("|")
    about = {"population": population, "group_by": group_by, "group": group, "cell": cell, "low": low, "high": high}
    return {**about, "determined": is_determined(low, high, threshold)}


def is_determined(low: float, high: float, threshold: int) -> bool:
    """Whether a count is known to be small, and to be one of too few numbers."""
    return low >= 1 and high < threshold and high - low + 1 < min(FEWEST_NUMBERS, threshold - 1)


def _statements(rows: pd.DataFrame, threshold: int, *, told: bool) -> tuple[Statements, dict[str, dict[str, float]]]:
    """What the rows state, and the cells that they hide: name -> weights."""
    statements, hidden = Statements(), {}
    there: set[tuple[str, str, str]] = set()
    _state_gaps(statements, rows, threshold)
    for row in rows[rows["measure"] != "gap"].to_dict("records"):
        n, events = (_Cell(row["population"], row["group_by"], row["group"], what) for what in ("n", "n_events"))
        there.add((n.population, n.group_by, n.group))
        for cell, shown in ((n, row["n"]), (events, row["n_events"])):
            statements.within(str(cell), *_limits(shown, row["rounded_to"], threshold))
        small = told and row["status"] == SUPPRESSED and row["reason"] == "small_cell"
        if small and np.isnan(row["n"]):
            statements.within(str(n), 1, threshold - 1)
        elif small and row["n"] > _SURELY_RARE * threshold and row["measure"] != "proportion":
            statements.within(str(events), 1, threshold - 1)
        if np.isnan(row["n"]):
            hidden[str(n)] = {str(n): 1.0}
        if np.isnan(row["n_events"]) and row["status"] == SUPPRESSED and row["measure"] != "mean":
            hidden[str(events)] = {str(events): 1.0}
            without = f"{row['population']}|{row['group_by']}|{row['group']}|without event"
            hidden[without] = {str(n): 1.0, str(events): -1.0}
    for place in there:
        statements.at_least({str(_Cell(*place, "n")): 1.0, str(_Cell(*place, "n_events")): -1.0}, 0.0)
    _state_totals(statements, there)
    return statements, hidden | _state_left_out(statements, there)


def _state_gaps(statements: Statements, rows: pd.DataFrame, threshold: int) -> None:
    """A gap counts the people and events of all groups that it compares: those of its model with an estimate."""
    gaps = rows[rows["measure"] == "gap"]
    for k, gap in enumerate(gaps.to_dict("records")):
        same = (rows["model"] == gap["model"]) & (rows["group_by"] == gap["group_by"]) & (rows["measure"] != "gap")
        groups = rows.loc[same & (rows["status"] == "ok"), "group"]
        for what in ("n", "n_events"):
            if len(groups) and not np.isnan(gap[what]):
                cells = [str(_Cell(gap["population"], gap["group_by"], group, what)) for group in groups]
                whole = f"gap {k} {what}"
                for cell in cells:
                    statements.within(cell, 0.0, np.inf)
                statements.within(whole, *_limits(gap[what], gap["rounded_to"], threshold))
                statements.total(whole, cells)


def _limits(shown: float, rounded_to: float, threshold: int) -> tuple[float, float]:
    """The least and the most that a count may be that is shown, or hidden."""
    if np.isnan(shown):
        return 0.0, np.inf
    if rounded_to <= 1:
        return shown, shown
    least = np.ceil(shown - rounded_to / 2)  # halves are rounded up
    most = np.ceil(shown + rounded_to / 2) - 1
    return (0.0 if shown == 0 else max(least, threshold)), (0.0 if shown == 0 else most)


def _state_totals(statements: Statements, there: set[tuple[str, str, str]]) -> None:
    """Groups add up to everybody, and the cells of an intersection to its parts."""
    for population, group_by in sorted({place[:2] for place in there}):
        groups = sorted(group for p, g, group in there if (p, g) == (population, group_by))
        if group_by == _EVERYBODY[0] or (population, *_EVERYBODY) not in there:
            continue
        sums = [(_EVERYBODY, groups)]
        for k, part in enumerate(group_by.split(INTERSECTION) if INTERSECTION in group_by else ()):
            labels = sorted(group for p, g, group in there if (p, g) == (population, part))
            sums += [
                ((part, label), [g for g in groups if g.split(INTERSECTION)[k : k + 1] == [label]]) for label in labels
            ]
        for whole, parts in sums:
            for what in ("n", "n_events"):
                cells = [str(_Cell(population, group_by, group, what)) for group in parts]
                statements.total(str(_Cell(population, *whole, what)), cells)


def _state_left_out(statements: Statements, there: set[tuple[str, str, str]]) -> dict[str, dict[str, float]]:
    """Those at risk are among those asked, and the cases are not: how many were left out of a group."""
    targets = {}
    for _, group_by, group in sorted(place for place in there if place[0] == "asked"):
        if ("at risk", group_by, group) not in there:
            continue
        asked, at_risk = (str(_Cell(population, group_by, group, "n")) for population in ("asked", "at risk"))
        cases = str(_Cell("asked", group_by, group, "n_events"))
        statements.at_least({asked: 1.0, at_risk: -1.0, cases: -1.0}, 0.0)
        targets[f"asked|{group_by}|{group}|left out"] = {asked: 1.0, at_risk: -1.0}
    return targets


def _means(rows: pd.DataFrame, threshold: int) -> list[dict[str, Any]]:
    """Means of the people of hidden groups, from those of everybody less the groups that are shown."""
    found = []
    means = rows[rows["measure"] == "mean"]
    for (exposure, model), of_mean in means.groupby(["exposure", "model"], sort=False):
        everybody = of_mean[(of_mean["group_by"] == _EVERYBODY[0]) & (of_mean["status"] == "ok")]
        for group_by, groups in of_mean[of_mean["group_by"] != _EVERYBODY[0]].groupby("group_by", sort=False):
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
    people = np.array([_limits(n, base, threshold) for n, base in rows[["n", "rounded_to"]].to_numpy(float)])
    people = people.reshape(-1, 2)
    sd = (rows["se"] * np.sqrt(rows["n"])).to_numpy(float)
    off = np.nan_to_num(step_of_mean(rows["n"], sd)) / 2
    mean = rows["estimate"].to_numpy(float)
    ends = np.stack([people[:, k] * (mean + sign * off) for k in (0, 1) for sign in (-1, 1)])
    n_low, n_high = people.sum(axis=0).tolist()
    return (n_low, n_high), (float(ends.min(axis=0).sum()), float(ends.max(axis=0).sum()))


def hide_determined(
    released: Mapping[str, pd.DataFrame],
    beside: Mapping[str, pd.DataFrame],
    threshold: int,
    known: Known | None = None,
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Tables in which nothing is determined any more, not even beside tables that were published before.

    Of a pair and grouping with a determined cell all counts and numbers of the groups are hidden, and if that does not
    do, those of everybody.

    Args:
        released: tables as they have passed the gate one by one.
        beside: those that are published already and stay as they are.
        threshold: the smallest number that may be published.
        known: as for :func:`audit`.

    Returns:
        The tables, and what :func:`audit` says of them.
    """
    tables, known = dict(released), {} if known is None else known
    found = audit({**beside, **tables}, threshold, known)
    for widest in (False, True):
        wrong = found[found["determined"].astype(bool)]
        if wrong.empty:
            break
        tables = {name: _without(table, wrong, everybody=widest) for name, table in tables.items()}
        again = {name: _of_pairs(table, wrong) for name, table in {**beside, **tables}.items()}
        rest = found[~_is_of_pairs(found, wrong)]
        found = pd.concat([part for part in (rest, audit(again, threshold, known)) if len(part)], ignore_index=True)
    return tables, found


def _of_pairs(table: pd.DataFrame, wrong: pd.DataFrame) -> pd.DataFrame:
    return table[_is_of_pairs(table, wrong)]


def _is_of_pairs(table: pd.DataFrame, wrong: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """``(n,)`` whether a row is about an exposure and outcome of ``wrong``."""
    pairs = ["exposure", "outcome"]
    return pd.MultiIndex.from_frame(table[pairs]).isin(pd.MultiIndex.from_frame(wrong[pairs].drop_duplicates()))


def _without(table: pd.DataFrame, wrong: pd.DataFrame, *, everybody: bool) -> pd.DataFrame:
    """``table`` without the numbers of the pairs and groupings of ``wrong``."""
    keys = ["exposure", "outcome", "group_by"]
    if not set(keys) <= set(table) or "years" in table:
        return table
    named = wrong[keys].drop_duplicates()
    if everybody:
        named = pd.concat([named, named.assign(group_by=_EVERYBODY[0])])
    rows = pd.MultiIndex.from_frame(table[keys]).isin(pd.MultiIndex.from_frame(named))
    return hide(table, np.asarray(rows, bool), np.full(len(table), "secondary", object))
