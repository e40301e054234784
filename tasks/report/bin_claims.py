"""What the bins of the figure of distributions say: each of them counts people, whom one can subtract from others.

The bins that are drawn are sums of elementary bins, whose edges do not depend on the values. So the elementary bins of
a sex are cells, which add up to its people, those of all sexes to everybody, and what two groups have in the same bins
differs by the people of the other sexes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.claims import EVERYBODY
from cmr_models.estimates.groups import INTERSECTION
from tasks.report.counts import Counts
from tasks.report.distributions import SHOWN, Spread, bin_edges, drawn_bins, sexes_of

BY_BIN = f"sex{INTERSECTION}bin"
Row = dict[str, Any]
_Runs = dict[str, list[tuple[int, int]]]
"""Group -> the first elementary bin, and the one after the last, of every bin that is drawn."""


def bins_drawn(measured: pd.DataFrame, counts: Counts) -> Iterator[Row]:
    """The people of every bin that is drawn, as ``n``, with the elementary bins of which it is the sum."""
    for name in (name for name in SHOWN if name in measured):
        drawn = drawn_bins(measured, name, counts)
        for group, runs in _runs(name, drawn).items():
            for run, n in zip(runs, drawn[group].held, strict=True):
                yield _sum_of(name, group, run, _sexes(measured, group)) | {"text": f"{n:.0f}"}


def bins_relate(measured: pd.DataFrame, counts: Counts) -> Iterator[Row]:
    """Claims about the elementary bins of phenotypes of which any bin is drawn.

    A bin is complete with the elementary one that brings it to the minimum: those before it hold fewer. Where all
    people are drawn beside some of the sexes, the others are what is left in the bins that both have.
    """
    for name in (name for name in SHOWN if name in measured):
        runs = _runs(name, drawn_bins(measured, name, counts))
        sexes = _sexes(measured, EVERYBODY[1]) if runs else ()
        for sex in sexes:
            for k in range(len(bin_edges(name)) - 1):
                yield _cell(name, f"{sex}{INTERSECTION}{k}") | {"hidden": True}
        for group, own in runs.items():
            for first, end in own[:-1]:
                if end - first > 1:
                    yield _sum_of(name, group, (first, end - 1), _sexes(measured, group)) | {"high": counts.minimum - 1}
        if EVERYBODY[1] in runs and len(runs) > 1:
            others = tuple(sex for sex in sexes if sex not in runs)
            yield from (_sum_of(name, "others", run, others) | {"hidden": True} for run in _common(runs))


def _sexes(measured: pd.DataFrame, group: str) -> tuple[str, ...]:
    """The sexes that a group of the figure takes in."""
    return sexes_of(measured) if group == EVERYBODY[1] else (group,)


def _runs(name: str, drawn: dict[str, Spread]) -> _Runs:
    edges = bin_edges(name)
    found = {group: np.searchsorted(edges, spread.edges - 1e-9).tolist() for group, spread in drawn.items()}
    return {group: list(pairwise(places)) for group, places in found.items()}


def _common(runs: _Runs) -> list[tuple[int, int]]:
    """The shortest runs of elementary bins that all groups' bins make up."""
    shared = set.intersection(*({place for run in own for place in run} for own in runs.values()))
    return list(pairwise(sorted(shared)))


def _cell(name: str, group: str) -> Row:
    about = {"exposure": name, "population": "described", "group_by": BY_BIN, "group": group}
    return about | {"low": 0.0, "high": np.inf}


def _sum_of(name: str, group: str, run: tuple[int, int], sexes: Sequence[str]) -> Row:
    parts = tuple(f"{sex}{INTERSECTION}{k}" for sex in sexes for k in range(*run))
    return _cell(name, f"{group}: bins {run[0]} to {run[1] - 1}") | {"parts": parts}
