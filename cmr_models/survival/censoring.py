"""The chance of still being uncensored: the Kaplan-Meier curve of censoring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CensoringCurve:
    """Constant between the distinct times ``(k,)`` of a censoring; ``survival (k,)`` just after each."""

    time: Floats
    survival: Floats

    def before(self, times: npt.ArrayLike) -> Floats:
        """Chance of being uncensored just before ``times``."""
        return self._at(times, "left")

    def at(self, times: npt.ArrayLike) -> Floats:
        """Chance of being uncensored at ``times`` and beyond."""
        return self._at(times, "right")

    def _at(self, times: npt.ArrayLike, side: str) -> Floats:
        position = np.searchsorted(self.time, np.asarray(times, np.float64), side)  # type: ignore[call-overload]
        return np.asarray(np.concatenate([[1.0], self.survival])[position], np.float64)


def censoring_curve(times: Floats, events: npt.NDArray[np.bool_]) -> CensoringCurve:
    """Estimate it; at ties deaths precede censorings, so they are not at risk of being censored then."""
    distinct, left = np.unique(times[~events], return_counts=True)
    dead = np.sort(times[events])
    at_risk = len(times) - np.searchsorted(np.sort(times), distinct, "left")
    at_risk = at_risk - (np.searchsorted(dead, distinct, "right") - np.searchsorted(dead, distinct, "left"))
    return CensoringCurve(distinct, np.asarray(np.cumprod(1 - left / at_risk), np.float64))
