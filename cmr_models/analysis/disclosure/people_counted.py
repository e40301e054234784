"""Of whom published numbers are: which populations of several publications hold one another, or differ by few.

Whoever attacks a release guesses that the studies of an evaluation are among those of the tables. Where that is so, it
is stated; where two populations differ by few studies, their counts are rounded before it is asked what they tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.claims import CONTAINED, Within, claims_of, part_of

Counted = Mapping[tuple[str, str], frozenset[str]]
"""Population and exposure -> the studies that it counts."""


def nested_claims(claims: pd.DataFrame, counted: Counted) -> pd.DataFrame:
    """Claims that one population is part of another, wherever both have a cell of the same group.

    What :data:`.claims.CONTAINED` says of two populations is not said again.

    Args:
        claims: of all publications together.
        counted: of whom they are.
    """
    people = claims[claims["what"] == "n"].groupby(["population", "exposure"])
    places = {key: set(zip(rows["group_by"], rows["group"], strict=True)) for key, rows in people}
    rows = [
        row
        for inner, outer, exposure in _nested(counted)
        for place in sorted(places.get((inner, exposure), set()) & places.get((outer, exposure), set()))
        for row in part_of((inner, *place, "n"), (outer, *place, "n"), exposure)
    ]
    return claims_of(rows)


def _nested(counted: Counted) -> Iterator[tuple[str, str, str]]:
    """Inner and outer population, and the exposure of both."""
    for (inner, exposure), studies in counted.items():
        for (outer, other), more in counted.items():
            known = Within(f"{inner}|n", f"{outer}|n") in CONTAINED
            if inner != outer and exposure == other and studies and studies <= more and not known:
                yield inner, outer, exposure


def differ_by_few(own: Counted, others: Counted, groups: pd.DataFrame, minimum: int) -> bool:
    """Whether 1 to ``minimum - 1`` studies of any group are in one of two populations of an exposure, and not in both.

    Args:
        own: of a publication that is about to be made.
        others: of those that there are.
        groups: index study, a column of labels for each grouping; studies that are not there belong to no group.
        minimum: the smallest number that may be published.
    """
    for (_, exposure), studies in own.items():
        for (_, other), more in others.items():
            for rest in (studies - more, more - studies) if exposure == other and studies & more else ():
                sizes = [len(rest), *_sizes(groups.reindex(sorted(rest)))]
                if any(0 < size < minimum for size in sizes):
                    return True
    return False


def _sizes(groups: pd.DataFrame) -> list[int]:
    """How many there are of each label of each column."""
    return [int(size) for name in groups for size in groups[name].value_counts(dropna=True)]


def counted_of(table: pd.DataFrame, population: str) -> dict[tuple[str, str], frozenset[str]]:
    """The studies of one population, of every exposure.

    Args:
        table: index study; a boolean column for each exposure.
        population: its name in the claims.
    """
    index = np.asarray(table.index, object)
    return {(population, str(name)): frozenset(index[table[name].to_numpy(bool)]) for name in table}
