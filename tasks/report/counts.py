"""Counts on the page to publish: a small one is hidden, and all are rounded where exact ones would tell it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from cmr_models.analysis.disclosure.coarsening import lie_close
from cmr_models.analysis.disclosure.masking import hidden_counts, round_counts


@dataclass(frozen=True)
class Counts:
    """How counts are shown.

    Attributes:
        minimum: the smallest count that may be shown; 1 or less shows all.
        rounded: whether counts are shown as multiples of it.
        withheld: parts of the page of which no count is shown, as all that is published would tell one.
    """

    minimum: int
    rounded: bool = False
    withheld: frozenset[str] = frozenset()

    @classmethod
    def of(cls, counts: Iterable[float], minimum: int, *, rounded: bool = False) -> Counts:
        """Rounded if asked for, or if one of ``counts``, or what two of them differ by, is small."""
        return cls(minimum, minimum > 1 and (rounded or lie_close([0.0, *counts], minimum)))

    def round(self, count: float) -> int:
        """A count of many people, as it is shown."""
        return int(round_counts(count, self.minimum)) if self.rounded else int(count)

    def text(self, count: float) -> str:
        """A count that may be small, as text."""
        return f"< {self.minimum}" if 0 < count < self.minimum else f"{self.round(count):,}"

    def texts(self, counts: Mapping[str, float], *, alone: bool = True) -> dict[str, str]:
        """Counts that add up to a number that is shown: small ones are hidden, and what would give them away.

        Args:
            counts: by name.
            alone: whether nothing but the counts is shown of them: then a single small one among rounded ones is hidden
                by their rounding, and these need not be hidden. The difference of two is any of nine numbers.
        """
        small = [name for name, n in counts.items() if 0 < n < self.minimum]
        if self.minimum < 2 or not small or (alone and self.rounded and len(small) == 1):
            return {name: self.text(n) for name, n in counts.items()}
        hidden = hidden_counts(counts, self.minimum)
        words = {"small_cell": f"< {self.minimum}", "secondary": "not shown"}
        return {name: words[hidden[name]] if name in hidden else f"{self.round(n):,}" for name, n in counts.items()}


def are_rounded(estimates: Mapping[str, pd.DataFrame]) -> bool:
    """Whether the counts of the published estimates are rounded: then those beside them are."""
    bases = [table["rounded_to"].max() for table in estimates.values() if "rounded_to" in table and len(table)]
    return any(base > 1 for base in bases if not math.isnan(base))
