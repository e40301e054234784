"""What single people add to a sum of squared deviations, and whether one value dominates it.

Who knows about what the SD of a group should be takes the sum of squared deviations of the others from the published
one, and what is left is the extreme value's. By the prior-posterior rule with p = 15 % and q = 30 % a cell is unsafe if
somebody who knows the others' part within q can tell a value within p. Of a share w of the sum of squares that is the
case if ``q (1 - w) + 2 / n < 2 p w``, where 2 / n is what the published step of the SD leaves open, so if
``w > 1 / 2 + 10 / (3 n)``. Nor may a single value make more than three quarters in a small group: (1, 75) dominance.

Reference:
    Hundepool et al. 2012, Statistical Disclosure Control, section 4.2 (10.1002/9781118348239); Brandt et al. 2010,
    Guidelines for the checking of output based on microdata research (ESSnet SDC): dominance of 50 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_P, _Q, _MOST = 0.15, 0.30, 0.75


@dataclass(frozen=True)
class Contributions:
    """What people add to the sum of squared deviations from the median of their group.

    Attributes:
        n: people.
        total: the sum.
        largest: the largest of its parts.
    """

    n: int = 0
    total: float = 0.0
    largest: float = 0.0

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Contributions:
        """Of the values of a group; NaN is left out."""
        known = np.asarray(values, np.float64)
        known = known[np.isfinite(known)]
        if not len(known):
            return cls()
        parts = (known - np.median(known)) ** 2
        return cls(len(known), float(parts.sum()), float(parts.max()))

    def __add__(self, other: Contributions) -> Contributions:
        """Of two groups, each about its own median."""
        return Contributions(self.n + other.n, self.total + other.total, max(self.largest, other.largest))

    @property
    def is_dominated(self) -> bool:
        """Whether the largest part is too great a share of the sum."""
        limit = min(_MOST, (_Q + 2 / max(self.n, 1)) / (2 * _P + _Q))
        return self.largest > limit * self.total
