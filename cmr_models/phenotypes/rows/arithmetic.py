"""The small functions that rows of several organs share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cmr_models.phenotypes.phenotype import Value
from cmr_models.reasons import Missing


def keep(value: float) -> Value:
    """The measurement itself."""
    return value


def take_frame(curve: npt.NDArray[np.float64], frame: int) -> Value:
    """The value of ``curve (frame,)`` in one frame."""
    return float(curve[int(frame)])


def subtract(larger: float, smaller: float) -> Value:
    """``larger`` less ``smaller``."""
    return larger - smaller


def percent_of(part: float, whole: float) -> Value:
    """``part`` in per cent of ``whole``; missing if there is no whole."""
    return 100.0 * part / whole if whole > 0 else Missing("undefined")


def divide(numerator: float, denominator: float) -> Value:
    """The quotient; missing if the denominator is not positive."""
    return numerator / denominator if denominator > 0 else Missing("undefined")
