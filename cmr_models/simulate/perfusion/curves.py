"""Contrast agent in the blood during a first pass: right heart, lungs, left heart, recirculation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

GRID_S = 0.5


@dataclass(frozen=True)
class Bolus:
    """Timing and dispersion of one injection.

    Attributes:
        arrival_s: when contrast reaches the right ventricle.
        injection_s: time constant of the bolus in the right heart (gamma variate).
        shape: exponent of the gamma variate.
        lung_s: mean transit time from the right to the left ventricle.
        lung_sd_s: standard deviation of the transit time.
        peak: concentration at the peak of the first pass in the left ventricle, mmol/L of blood.
        recirculation: fraction of the bolus that recirculates.
        recirculation_s: mean time of recirculation.
        tail: concentration after complete mixing, as a fraction of the peak.
    """

    arrival_s: float
    injection_s: float
    shape: float
    lung_s: float
    lung_sd_s: float
    peak: float
    recirculation: float
    recirculation_s: float
    tail: float


def draw_bolus(rng: np.random.Generator, *, stress: bool, latest_s: float) -> Bolus:
    """Draw a bolus that reaches the right ventricle no later than ``latest_s``.

    Peaks of 3.5 +- 1.2 (stress) and 4.4 +- 1.2 mmol/L (rest): Kellman et al., JCMR 2017;19:43. The left ventricle
    follows the right by 3 to 9 s, sooner at stress.
    """
    pace = 0.75 if stress else 1.0
    return Bolus(
        arrival_s=float(rng.uniform(min(3.0, 0.5 * latest_s), latest_s)),
        injection_s=float(rng.uniform(0.7, 2.2)),
        shape=float(rng.uniform(1.3, 3.0)),
        lung_s=float(pace * rng.uniform(4.0, 11.0)),
        lung_sd_s=float(pace * rng.uniform(1.0, 2.6)),
        peak=float(np.clip(rng.normal(3.5 if stress else 4.4, 1.2), 1.5, 9.0)),
        recirculation=float(rng.uniform(0.1, 0.35)),
        recirculation_s=float(pace * rng.uniform(13.0, 26.0)),
        tail=float(rng.uniform(0.08, 0.25)),
    )


def blood_curves(bolus: Bolus, seconds: float) -> Mapping[str, Floats]:
    """Blood concentrations in mmol/L every :data:`GRID_S` seconds, by compartment.

    Returns:
        ``rv``, ``lv``, and ``atrium_right``, ``lung``, ``atrium_left``, ``aorta``, which lead or follow them.
    """
    time_s = grid_s(int(np.ceil(seconds / GRID_S)) + 1)
    right = _gamma_variate(time_s - bolus.arrival_s, bolus.shape, bolus.injection_s)
    left = _disperse(right, bolus.lung_s, bolus.lung_sd_s, time_s)
    scale = bolus.peak / left.max()
    again = _disperse(left, bolus.recirculation_s, 0.35 * bolus.recirculation_s, time_s)
    mixed = bolus.tail * bolus.peak * _accumulate(left, time_s)

    def add_recirculation(first_pass: Floats, later_s: float) -> Floats:
        again_later = bolus.recirculation * _delay(again, later_s, time_s)
        return np.asarray(scale * (first_pass + again_later) + _delay(mixed, later_s, time_s), np.float64)

    return {
        "rv": add_recirculation(right, -0.6 * bolus.lung_s),
        "lv": add_recirculation(left, 0.0),
        "atrium_right": add_recirculation(_delay(right, -1.0, time_s), -bolus.lung_s),
        "lung": add_recirculation(
            _disperse(right, 0.5 * bolus.lung_s, 0.7 * bolus.lung_sd_s, time_s), -0.5 * bolus.lung_s
        ),
        "atrium_left": add_recirculation(_delay(left, -1.0, time_s), -1.0),
        "aorta": add_recirculation(_disperse(left, 1.2, 0.5, time_s), 1.2),
    }


def grid_s(n: int) -> Floats:
    """Times of the first ``n`` samples."""
    return np.asarray(np.arange(n) * GRID_S, np.float64)


def organ_curve(aorta: Floats, delay_s: float, mean_s: float, volume: float) -> Floats:
    """Concentration in an organ that behaves as one compartment."""
    time_s = grid_s(aorta.size)
    filled = np.asarray(np.convolve(aorta, _decay(time_s, mean_s))[: aorta.size], np.float64)
    return np.asarray(volume * _delay(filled, delay_s, time_s), np.float64)


def _gamma_variate(since_s: Floats, shape: float, scale_s: float) -> Floats:
    """Gamma variate with a peak of 1 at ``shape * scale_s`` (Thompson et al., Circ Res 1964;14:502)."""
    x = np.maximum(since_s, 0) / (shape * scale_s)
    return np.asarray(x**shape * np.exp(shape * (1 - x)), np.float64)


def _disperse(curve: Floats, mean_s: float, sd_s: float, time_s: Floats) -> Floats:
    """The curve after a transit whose times are gamma distributed with this mean and SD."""
    order = (mean_s / sd_s) ** 2
    density = _gamma_variate(time_s, max(order - 1, 0.01), mean_s / order)
    return np.asarray(np.convolve(curve, density / density.sum())[: curve.size], np.float64)


def _accumulate(left: Floats, time_s: Floats) -> Floats:
    """Fraction of the bolus that has passed and is still in the blood; kidneys and interstitium remove it slowly."""
    filled = np.cumsum(left) / left.sum()
    since = np.maximum(time_s - time_s[int(np.argmax(left))], 0)
    return np.asarray(filled * np.exp(-since / 300.0), np.float64)


def _delay(curve: Floats, delay_s: float, time_s: Floats) -> Floats:
    return np.asarray(np.interp(time_s - delay_s, time_s, curve, left=0.0), np.float64)


def _decay(time_s: Floats, mean_s: float) -> Floats:
    density = np.exp(-time_s / mean_s)
    return np.asarray(density / density.sum(), np.float64)
