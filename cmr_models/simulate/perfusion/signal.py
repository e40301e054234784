"""Signal of a contrast agent concentration: saturation recovery with a FLASH or SSFP readout, and proton density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# mmol/L to 1/s at 1.5 T; relaxation times before contrast in ms (MATLAB reference of Kellman & Xue, matlab_mrrecon).
R1_PER_MMOL, R2_PER_MMOL = 5.565, 5.78
BLOOD_T1_MS, BLOOD_T2_MS = 1700.0, 220.0
MYOCARDIUM_T1_MS, MYOCARDIUM_T2_MS = 1100.0, 45.0
# T2* of blood falls to about 10 ms at the peak of the bolus (Kellman et al., JCMR 2017;19:43).
R2STAR_PER_MMOL, R2STAR_BLOOD = 18.0, 10.0


@dataclass(frozen=True)
class Readout:
    """One sequence; :data:`AIF`, :data:`MYOCARDIUM_FLASH` and :data:`MYOCARDIUM_SSFP` are the dual-sequence protocol.

    Attributes:
        kind: FLASH or SSFP.
        tr_ms: time between pulses.
        saturation_ms: time from the saturation to the first pulse; infinity for proton density.
        pulses: number of pulses up to the centre of k-space.
        flip_deg: flip angle.
        echo_ms: echo times.
    """

    kind: Literal["flash", "ssfp"] = "flash"
    tr_ms: float = 2.12
    saturation_ms: float = 5.0
    pulses: int = 9
    flip_deg: float = 5.0
    echo_ms: tuple[float, ...] = (0.76, 1.76)

    @property
    def proton_density(self) -> Readout:
        """The sequence of the proton-density frames: no saturation, a low flip angle."""
        flip = 5.0 if self.kind == "flash" else 8.0
        return Readout("flash", self.tr_ms, np.inf, self.pulses, flip, self.echo_ms)


RUN_UP = 5
"""Pulses before a balanced readout; 3 to 5 are usual (Kellman et al. 2017)."""

AIF = Readout()
MYOCARDIUM_FLASH = Readout("flash", 2.43, 37.6, 18, 14.0, (1.1,))
MYOCARDIUM_SSFP = Readout("ssfp", 2.43, 37.6, 18, 50.0, (1.1,))


def signal(readout: Readout, concentration: npt.ArrayLike, t1_ms: npt.ArrayLike, t2_ms: npt.ArrayLike) -> Floats:
    """Transverse magnetisation at the centre of k-space, per unit of equilibrium magnetisation, before T2* decay.

    Args:
        readout: the sequence.
        concentration: contrast agent, mmol/L, any shape.
        t1_ms: T1 before contrast; broadcast against ``concentration``, as is ``t2_ms``.
        t2_ms: T2 before contrast.
    """
    contrast = np.asarray(concentration, np.float64)
    rate1 = 1 / np.asarray(t1_ms, np.float64) + R1_PER_MMOL * contrast / 1000
    if readout.kind == "flash":
        return _flash(readout, rate1)
    rate2 = 1 / np.asarray(t2_ms, np.float64) + R2_PER_MMOL * contrast / 1000
    return _ssfp(readout, rate1, rate2)


def echo_decay(concentration: npt.ArrayLike, echo_ms: float, r2star: npt.ArrayLike = R2STAR_BLOOD) -> Floats:
    """T2* decay exp(-TE R2*), with R2* linear in the concentration."""
    rate = np.asarray(r2star, np.float64) + R2STAR_PER_MMOL * np.asarray(concentration, np.float64)
    return np.asarray(np.exp(-echo_ms / 1000 * rate), np.float64)


def _saturation_recovery(readout: Readout, rate1: Floats) -> Floats:
    if np.isinf(readout.saturation_ms):
        return np.ones_like(rate1)
    return np.asarray(1 - np.exp(-readout.saturation_ms * rate1), np.float64)


def _flash(readout: Readout, rate1: Floats) -> Floats:
    """Closed form of M' = M cos(a) E1 + 1 - E1, which approaches its steady state as (cos(a) E1)^n."""
    angle, recovery = np.deg2rad(readout.flip_deg), np.exp(-readout.tr_ms * rate1)
    kept = np.cos(angle) * recovery
    steady = (1 - recovery) / (1 - kept)
    now = steady + (_saturation_recovery(readout, rate1) - steady) * kept**readout.pulses
    return np.asarray(now * np.sin(angle), np.float64)


def _ssfp(readout: Readout, rate1: Floats, rate2: Floats) -> Floats:
    """On-resonance Bloch recursion with alternating phase; :data:`RUN_UP` pulses ramp up to the flip angle."""
    e1, e2 = np.exp(-readout.tr_ms * rate1), np.exp(-readout.tr_ms * rate2)
    along, across = _saturation_recovery(readout, rate1), np.zeros_like(rate1)
    echo = across
    for k in range(1, RUN_UP + readout.pulses + 2):
        angle = np.deg2rad(readout.flip_deg) * min(1.0, k / (RUN_UP + 1))
        across, along = (
            np.sin(angle) * along - np.cos(angle) * across,
            np.cos(angle) * along + np.sin(angle) * across,
        )
        echo = np.sqrt(e2) * across
        across, along = e2 * across, 1 - e1 * (1 - along)
    return np.asarray(np.abs(echo), np.float64)
