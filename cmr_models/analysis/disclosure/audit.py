"""Everything of a release together, as one who attacks it sees it: which small cells do its numbers determine?

The claims of all tables and figures (:mod:`.claims`) are read as they are published; nothing else is known. A cell is
*determined* if the claims leave it fewer than three numbers, all of them small: then it is hidden in vain. So is what
two populations differ by, of which one is part of the other. Means are looked at as sums: the groups that are shown,
taken from everybody, leave those that are hidden.

A pair of exposure and outcome makes one system a grouping, with the claims about the exposure or the outcome alone, and
about everybody. Systems that are the same but for names are solved once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.bounds import Statements, System, Told, Weights, told_by
from cmr_models.analysis.disclosure.claims import (
    CELL,
    CONTAINED,
    EVERYBODY,
    Cell,
    Within,
    estimates_say,
)
from cmr_models.analysis.disclosure.gate import hide
from cmr_models.analysis.disclosure.means import MEAN_COLUMNS, means_told
from cmr_models.estimates.groups import INTERSECTION

COLUMNS = ("exposure", "outcome", "population", "group_by", "group", "cell", "low", "high", "determined")
_PAIR = ["exposure", "outcome"]
_LEFT_OUT = {"asked": "at risk", "told": "followed"}
"""Those with the condition are among the first, and not among the second, who are among the first too."""
_SIDE_BY_SIDE = 48
_NOTHING = np.empty(0, np.intp)
Known = dict[bytes, "Told | None"]
"""Digest of a system -> what it tells."""


def audit(
    tables: Mapping[str, pd.DataFrame],
    threshold: int,
    known: Known | None = None,
    contained: Sequence[Within] = CONTAINED,
    figures: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """What a release says of every hidden cell, of what two populations differ by, and of means that are not shown.

    Args:
        tables: of estimates by their names, as published, with ``rounded_to``.
        threshold: the smallest number that may be published.
        known: what systems told that were solved before, to which those of this audit are added.
        contained: which population is part of which.
        figures: claims of what else is published.

    Returns:
        A row a hidden cell (``n``, ``n_events``, ``without event``, ``left out``, ``mean``), and a difference that may
        be small (``n less ...``): limits of what it can be, and whether it is determined. The limits are NaN where what
        is published contradicts itself, so that nothing could be worked out: a person has to look at it.
    """
    claims = [estimates_say(name, table, threshold) for name, table in tables.items()]
    claims = [part for part in (*claims, figures) if part is not None and len(part)]
    found = _told_of_cells(pd.concat(claims, ignore_index=True), threshold, known, contained) if claims else []
    means = [table.reindex(columns=list(MEAN_COLUMNS)) for table in tables.values() if {"se", "measure"} <= set(table)]
    means = [table[table["measure"] == "mean"] for table in means]
    rows = pd.concat(means, ignore_index=True) if means else pd.DataFrame(columns=list(MEAN_COLUMNS))
    found += means_told(rows.fillna({"rounded_to": 1.0}), threshold)
    return pd.DataFrame(found, columns=list(COLUMNS)).drop_duplicates(ignore_index=True)


def _told_of_cells(
    claims: pd.DataFrame, threshold: int, known: Known | None, contained: Sequence[Within]
) -> list[dict[str, Any]]:
    known = {} if known is None else known
    blocks = list(_blocks(_collapsed(claims), contained))
    for told in (True, False):  # whether a row that is masked as small is one: of its counts any may be the small one
        asked = {block.key(told=told): block for block in blocks if block.needs(known, told=told)}
        for some in _by_some(list(asked)):
            systems = [asked[key].system(threshold, told=told) for key in some]
            known |= dict(zip(some, told_by(systems, threshold), strict=True))
    return [row for block in blocks for row in block.rows(known, threshold)]


def _by_some(keys: list[bytes]) -> Iterator[list[bytes]]:
    yield from (keys[first : first + _SIDE_BY_SIDE] for first in range(0, len(keys), _SIDE_BY_SIDE))


def _collapsed(claims: pd.DataFrame) -> pd.DataFrame:
    """One row a cell, and one more for each sum that it is, with the limits that all claims leave, and a digest."""
    named = claims[list(CELL)].astype("category").assign(parts=claims["parts"].map(repr).astype("category"))
    codes = pd.MultiIndex.from_frame(named)
    by = claims.groupby(codes.factorize()[0], sort=False)
    cells = by.first()
    cells["low"], cells["high"] = by["low"].max(), by["high"].min()
    for name in ("hidden", "small"):
        cells[name] = by[name].max().astype(bool)
    content = cells[[*CELL[2:], "low", "high", "hidden", "small"]].assign(parts=cells["parts"].map(repr))
    return cells.assign(digest=pd.util.hash_pandas_object(content, index=False).to_numpy()).reset_index(drop=True)


def _blocks(cells: pd.DataFrame, contained: Sequence[Within]) -> Iterator[_Block]:
    """The systems of every pair: one a grouping that the pair has cells of; of an intersection, with its parts."""
    columns = _Columns.of(cells)
    places: dict[tuple[str, str], dict[str, npt.NDArray[np.intp]]] = {}
    for key, rows in cells.groupby([*_PAIR, "group_by"], sort=False).indices.items():
        exposure, outcome, group_by = map(str, cast("tuple[str, str, str]", key))
        places.setdefault((exposure, outcome), {})[group_by] = np.asarray(rows, np.intp)
    for exposure, outcome in places:
        own = [name for name in places[exposure, outcome] if name != EVERYBODY[0]]
        levels = dict.fromkeys(((exposure, outcome), (exposure, ""), ("", outcome), ("", "")))
        for group_by in own or [EVERYBODY[0]]:
            named = dict.fromkeys((EVERYBODY[0], group_by, *group_by.split(INTERSECTION)))
            chosen = [np.concatenate([places[level][name] for name in named if name in places[level]] or [_NOTHING])
                      for level in levels if level in places]  # fmt: skip
            yield _Block(exposure, outcome, np.concatenate(chosen), len(chosen[0]), columns, tuple(contained))


@dataclass(frozen=True)
class _Columns:
    """Cells by column, of which a block takes some rows."""

    cells: list[Cell]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    hidden: npt.NDArray[np.bool_]
    small: npt.NDArray[np.bool_]
    parts: list[tuple[str | Cell, ...]]
    digest: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, cells: pd.DataFrame) -> _Columns:
        named = list(cells[list(CELL[2:])].itertuples(index=False, name=None))
        low, high, hidden, small = (cells[name].to_numpy() for name in ("low", "high", "hidden", "small"))
        return cls(named, low, high, hidden, small, cells["parts"].tolist(), cells["digest"].to_numpy())


@dataclass
class _Block:
    """One system: the claims about cells of one grouping, of which the first ``n_own`` are about the pair itself."""

    exposure: str
    outcome: str
    at: npt.NDArray[np.intp]
    n_own: int
    columns: _Columns
    contained: tuple[Within, ...]
    targets: dict[Cell, Weights] = field(default_factory=dict)

    def key(self, *, told: bool) -> bytes:
        """The same for two blocks with the same claims."""
        return np.sort(self.columns.digest[self.at]).tobytes() + repr((told, self.contained)).encode()

    def needs(self, known: Known, *, told: bool) -> bool:
        """Whether it is to be solved: not yet, and if reasons are not believed, only if they contradict the rest."""
        contradicts = told or (self.key(told=True) in known and known[self.key(told=True)] is None)
        return contradicts and self.key(told=told) not in known

    def system(self, threshold: int, *, told: bool) -> System:
        """Its claims as a programme."""
        statements, targets = self._statements(threshold, told=told)
        return statements.system(list(targets.values()))

    def rows(self, known: Known, threshold: int) -> Iterator[dict[str, Any]]:
        """What is known of the hidden cells of the pair, of differences that may be small, and of all determined."""
        _, targets = self._statements(threshold, told=False)
        told = next((found for key in (True, False) if (found := known.get(self.key(told=key))) is not None), None)
        own = {self.columns.cells[row][:3] for row in self.at[: self.n_own]}
        for k, (population, group_by, group, cell) in enumerate(targets):
            low, high, determined = (np.nan, np.nan, False) if told is None else told.of(k)
            small = low < threshold and high >= 1
            if determined or (small if " less " in cell else (population, group_by, group) in own):
                yield dict(zip(COLUMNS, (self.exposure, self.outcome, population, group_by, group, cell, low, high,
                                         determined), strict=True))  # fmt: skip

    def _statements(self, threshold: int, *, told: bool) -> tuple[Statements, dict[Cell, Weights]]:
        statements, hidden, columns = Statements(), dict[Cell, Weights](), self.columns
        for row in self.at:
            cell, low, high = columns.cells[row], columns.low[row], columns.high[row]
            statements.within(cell, low, high)
            if told and columns.small[row]:
                statements.within(cell, 1, threshold - 1)
            if columns.hidden[row]:
                hidden[cell] = {cell: 1.0}
            if columns.parts[row]:
                statements.total(cell, [_whole_cell(part, cell) for part in columns.parts[row]])
        _state_events(statements, hidden)
        _state_totals(statements, [columns.cells[row] for row in self.at if not columns.parts[row]])
        _state_contained(statements, hidden, self.contained)
        return statements, hidden


def _whole_cell(part: str | Cell, whole: Cell) -> Cell:
    """A part of a sum as a cell: a group is one of the sum's own grouping."""
    return (*whole[:2], part, whole[3]) if isinstance(part, str) else part


def _state_events(statements: Statements, hidden: dict[Cell, Weights]) -> None:
    """Those with the event are among all; how many are without it is hidden where the events are."""
    for cell in [cell for cell in statements.limits if cell[3] == "n_events"]:
        people = (*cell[:3], "n")
        if people in statements.limits:
            without = {people: 1.0, cell: -1.0}
            statements.at_least(without, 0.0)
            if cell in hidden:
                hidden[*cell[:3], "without event"] = without


def _state_totals(statements: Statements, cells: Iterable[Cell]) -> None:
    """Groups add up to everybody, and the cells of an intersection to its parts; sums of some groups are no groups."""
    groups: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for population, group_by, group, what in cells:
        groups.setdefault((population, group_by, what), {})[group] = (population, group_by, group, what)
    for (population, group_by, what), of_groups in groups.items():
        if group_by == EVERYBODY[0]:
            continue
        sums = [((population, *EVERYBODY, what), list(of_groups.values()))]
        for k, part in enumerate(group_by.split(INTERSECTION) if INTERSECTION in group_by else ()):
            sums += [
                (whole, [cell for group, cell in of_groups.items() if group.split(INTERSECTION)[k : k + 1] == [label]])
                for label, whole in groups.get((population, part, what), {}).items()
            ]
        for whole, parts in sums:
            if whole in statements.limits and parts:
                statements.total(whole, parts)


def _state_contained(statements: Statements, hidden: dict[Cell, Weights], contained: Iterable[Within]) -> None:
    """People of one population are among those of another; those asked less those at risk are cases, and left out."""
    counts: dict[str, dict[tuple[str, str], Cell]] = {}
    for cell in statements.limits:
        counts.setdefault(f"{cell[0]}|{cell[3]}", {})[cell[1:3]] = cell
    for inner, outer in contained:
        for place, cell in counts.get(inner, {}).items():
            if place in counts.get(outer, {}):
                rest = {counts[outer][place]: 1.0, cell: -1.0}
                statements.at_least(rest, 0.0)
                hidden[outer.split("|")[0], *place, f"{outer.split('|')[1]} less {inner.replace('|', ' ')}"] = rest
    for name in [name for name in counts if name.endswith("|n") and name.split("|")[0].split(", ")[0] in _LEFT_OUT]:
        population = name.removesuffix("|n")
        other = population.replace(population.split(", ")[0], _LEFT_OUT[population.split(", ")[0]], 1)
        for place, asked in counts[name].items():
            at_risk, cases = (
                counts.get(f"{other}|n", {}).get(place),
                counts.get(f"{population}|n_events", {}).get(place),
            )
            if at_risk and cases:
                statements.at_least({asked: 1.0, at_risk: -1.0, cases: -1.0}, 0.0)
                hidden[population, *place, "left out"] = {asked: 1.0, at_risk: -1.0}


def hide_determined(
    released: Mapping[str, pd.DataFrame],
    beside: Mapping[str, pd.DataFrame],
    threshold: int,
    known: Known | None = None,
    contained: Sequence[Within] = CONTAINED,
    figures: pd.DataFrame | None = None,
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Tables in which nothing is determined any more, not even beside tables that were published before.

    Of a pair and grouping with a determined cell all counts and numbers of the groups are hidden, and if that does not
    do, those of everybody.

    Args:
        released: tables as they have passed the gate one by one.
        beside: those that are published already and stay as they are.
        threshold: the smallest number that may be published.
        known: as for :func:`audit`.
        contained: as for :func:`audit`.
        figures: as for :func:`audit`.

    Returns:
        The tables, and what :func:`audit` says of them.
    """
    tables, known = dict(released), {} if known is None else known
    found = audit({**beside, **tables}, threshold, known, contained, figures)
    for widest in (False, True):
        wrong = found[found["determined"].astype(bool)]
        if wrong.empty:
            break
        tables = {name: _without(table, wrong, everybody=widest) for name, table in tables.items()}
        again = {name: table[_meets(table, wrong)] for name, table in {**beside, **tables}.items()}
        rest = found[~_is_of_pairs(found, wrong)]
        changed = audit(again, threshold, known, contained, figures)
        changed = changed[_is_of_pairs(changed, wrong)]
        found = pd.concat([part for part in (rest, changed) if len(part)] or [found[:0]], ignore_index=True)
    return tables, found


def _meets(table: pd.DataFrame, wrong: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """``(n,)`` whether a row has a part in what is known of an exposure and outcome of ``wrong``."""
    if not set(_PAIR) <= set(table):
        return np.ones(len(table), bool)
    parts = [wrong[_PAIR], *(wrong[_PAIR].assign(**{name: ""}) for name in _PAIR)]
    everything = pd.concat([*parts, pd.DataFrame([dict.fromkeys(_PAIR, "")])])
    return _is_of_pairs(table, everything)


def _is_of_pairs(table: pd.DataFrame, wrong: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """``(n,)`` whether a row is about an exposure and outcome of ``wrong``."""
    return pd.MultiIndex.from_frame(table[_PAIR]).isin(pd.MultiIndex.from_frame(wrong[_PAIR].drop_duplicates()))


def _without(table: pd.DataFrame, wrong: pd.DataFrame, *, everybody: bool) -> pd.DataFrame:
    """``table`` without the numbers of the pairs and groupings of ``wrong``."""
    keys = [*_PAIR, "group_by"]
    if not set(keys) <= set(table) or "years" in table:
        return table
    named = wrong[keys].drop_duplicates()
    if everybody:
        named = pd.concat([named, named.assign(group_by=EVERYBODY[0])])
    rows = pd.MultiIndex.from_frame(table[keys]).isin(pd.MultiIndex.from_frame(named))
    return hide(table, np.asarray(rows, bool), np.full(len(table), "secondary", object))
