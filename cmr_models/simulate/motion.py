"""Filling of the chambers over the heart cycle, as a fraction of the stroke volume."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

FloatArray = npt.NDArray[np.float64]


def systole_fraction(heart_rate_bpm: float) -> float:
    """Fraction of the RR interval up to end-systole. At a higher heart rate, systole shortens less than diastole.

    Reference: Weissler 1968, electromechanical systole 546 - 2.1 bpm (men), less the 200 ms or so of delay.
    """
    rr_ms = 60000 / heart_rate_bpm
    return float(np.clip((546 - 2.1 * heart_rate_bpm - 65) / rr_ms, 0.30, 0.46))


def ventricle_fill(phase: npt.ArrayLike, heart_rate_bpm: float, early_fraction: float = 0.72) -> FloatArray:
    """Filling of a ventricle: 1 at end-diastole (phase 0), 0 at end-systole.

    Args:
        phase: fraction of the RR interval, any shape.
        heart_rate_bpm: determines the phase of end-systole.
        early_fraction: fraction of the stroke volume that flows back before the atrium contracts.

    Returns:
        Fraction in [0, 1], same shape. The minimum lasts for 5 % of the cycle, as in isovolumic relaxation, so
        that every cine of at least 20 frames has a frame at the minimum.
    """
    curve = _ventricle_curve(round(heart_rate_bpm, 1), round(early_fraction, 3))
    return np.clip(np.asarray(curve(np.mod(phase, 1.0)), np.float64), 0.0, 1.0)


def atrium_fill(phase: npt.ArrayLike, heart_rate_bpm: float, early_fraction: float = 0.72) -> FloatArray:
    """Filling of an atrium: 0 at ventricular end-diastole (smallest atrium), 1 at ventricular end-systole."""
    end = systole_fraction(heart_rate_bpm)
    knots = [0.0, 0.5 * end, end, end + 0.03, end + 0.16, end + 0.24, 0.86, 0.97, 1.0]
    after = 1 - 0.75 * early_fraction
    values = [0.0, 0.6, 0.99, 1.0, after + 0.08, after, after + 0.04, 0.02, 0.0]
    curve = PchipInterpolator(knots, values)
    return np.clip(np.asarray(curve(np.mod(phase, 1.0)), np.float64), 0.0, 1.0)


@lru_cache(maxsize=256)
def _ventricle_curve(heart_rate_bpm: float, early_fraction: float) -> PchipInterpolator:
    end = systole_fraction(heart_rate_bpm)
    knots = [0.0, 0.05, 0.5 * end, end - 0.025, end + 0.025, end + 0.17, end + 0.24, 0.86, 0.96, 1.0]
    values = [
        1.0,
        0.985,
        0.44,
        0.0,
        0.0,
        0.85 * early_fraction,
        0.97 * early_fraction,
        early_fraction,
        0.98,
        1.0,
    ]
    return PchipInterpolator(knots, values)
