"""Signal of a saturation-recovery sequence to concentration of gadolinium, by a look-up table of the sequence.

The myocardial and arterial images are divided by proton-density images of the same readout with a low flip angle and no
saturation: coil sensitivity and proton density cancel, and the ratio depends on concentration alone.

Reference:
    Kellman et al. 2017, doi:10.1186/s12968-017-0355-5 (dual sequence, look-up table); Cernicanu and Axel 2006,
    doi:10.1016/j.acra.2006.02.014 (the FLASH recursion).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Relaxation:
    """Relaxation without contrast (T1, T2 in s) and relaxivities (L/mmol/s): 1/T = 1/T0 + r c."""

    t1_s: float
    t2_s: float
    r1: float
    r2: float

    def rates(self, mmol_l: npt.ArrayLike) -> tuple[Floats, Floats]:
        """R1 and R2 in 1/s at a concentration, any shape."""
        c = np.asarray(mmol_l, np.float64)
        return 1 / self.t1_s + self.r1 * c, 1 / self.t2_s + self.r2 * c


BLOOD = {1.5: Relaxation(1.70, 0.220, 5.565, 5.78), 3.0: Relaxation(2.00, 0.250, 4.919, 5.913)}
MYOCARDIUM = {1.5: Relaxation(1.10, 0.045, 5.565, 5.78), 3.0: Relaxation(1.30, 0.045, 4.919, 5.913)}
"""By field strength in T; the values of the reference implementation (gadobutrol)."""


@dataclass(frozen=True)
class Sequence:
    """A saturation-recovery readout.

    Attributes:
        readout: ``flash`` (spoiled) or ``ssfp`` (balanced).
        tr_ms: between pulses.
        td_ms: from the saturation to the first pulse.
        flip_deg: of the readout.
        lines: phase-encoding lines of the full image.
        acceleration: one line of how many is acquired; the centre is line floor(lines / acceleration / 2).
        pd_flip_deg: of the proton-density images.
        run_up: pulses before the first acquired line, rising linearly to the flip angle (ssfp).
        saturation: fraction of the magnetisation that the saturation leaves nothing of; 1 is perfect.
    """

    readout: Literal["flash", "ssfp"] = "flash"
    tr_ms: float = 2.43
    td_ms: float = 37.6
    flip_deg: float = 14.0
    lines: int = 111
    acceleration: int = 3
    pd_flip_deg: float = 5.0
    run_up: int = 0
    saturation: float = 1.0

    def __post_init__(self) -> None:
        if self.readout not in ("flash", "ssfp"):
            raise ValueError(f"readout is {self.readout!r}; it must be 'flash' or 'ssfp'")
        if min(self.tr_ms, self.lines, self.acceleration, self.flip_deg, self.pd_flip_deg) <= 0 or self.td_ms < 0:
            raise ValueError(f"{self}: times, angles, lines and acceleration must be positive")
        if not 0 <= self.saturation <= 1:
            raise ValueError(f"saturation is {self.saturation}; it must be a fraction from 0 to 1")

    @property
    def centre(self) -> int:
        """Pulses before the one that fills the centre of k-space."""
        return self.lines // self.acceleration // 2


MYOCARDIAL_FLASH = Sequence()
MYOCARDIAL_SSFP = Sequence("ssfp", tr_ms=2.8, td_ms=60.0, flip_deg=50.0, pd_flip_deg=8.0, run_up=5)
ARTERIAL_FLASH = Sequence(tr_ms=2.12, td_ms=5.0, flip_deg=5.0, lines=36, acceleration=2)


def signal(mmol_l: npt.ArrayLike, sequence: Sequence, relaxation: Relaxation) -> Floats:
    """Signal at a concentration over the proton-density signal without contrast.

    Args:
        mmol_l: concentration, any shape.
        sequence: of the readout.
        relaxation: of the tissue.

    Returns:
        The ratio, in the shape of ``mmol_l``.
    """
    c = np.asarray(mmol_l, np.float64)
    return _centre_signal(c, sequence, relaxation, saturated=True) / proton_density(sequence, relaxation)


def proton_density(sequence: Sequence, relaxation: Relaxation) -> float:
    """Signal of the proton-density image without contrast, per unit of equilibrium magnetisation."""
    unsaturated = replace(sequence, flip_deg=sequence.pd_flip_deg)
    return float(_centre_signal(np.zeros(()), unsaturated, relaxation, saturated=False))


def _centre_signal(c: Floats, sequence: Sequence, relaxation: Relaxation, *, saturated: bool) -> Floats:
    """Transverse magnetisation at the centre of k-space, for unit equilibrium magnetisation."""
    r1, r2 = relaxation.rates(c)
    left = (1 - sequence.saturation) if saturated else 1.0
    recovered = 1 - (1 - left) * np.exp(-r1 * sequence.td_ms / 1e3)
    if sequence.readout == "flash":
        return _flash(recovered, r1, sequence)
    return _ssfp(recovered, r1, r2, sequence)


def _flash(longitudinal: Floats, r1: Floats, sequence: Sequence) -> Floats:
    """Spoiled readout: each pulse leaves cos(flip) along the field, then recovery for TR."""
    flip, e1 = np.deg2rad(sequence.flip_deg), np.exp(-r1 * sequence.tr_ms / 1e3)
    kept = np.cos(flip) * e1
    steady = (1 - e1) / (1 - kept)
    return np.asarray((steady + (longitudinal - steady) * kept**sequence.centre) * np.sin(flip), np.float64)


def _ssfp(longitudinal: Floats, r1: Floats, r2: Floats, sequence: Sequence) -> Floats:
    """Balanced readout on resonance by the Bloch equations: alternating pulses, echo at half TR."""
    e1, e2 = np.exp(-r1 * sequence.tr_ms / 1e3), np.exp(-r2 * sequence.tr_ms / 1e3)
    along, across = np.asarray(longitudinal, np.float64), np.zeros_like(longitudinal)
    flips = np.deg2rad(sequence.flip_deg) * np.minimum(
        1, np.arange(1, sequence.run_up + sequence.centre + 2) / (sequence.run_up + 1)
    )
    for flip in flips:
        # in the frame that alternates with the pulses, the transverse part changes sign from one to the next
        across, along = -across * np.cos(flip) + along * np.sin(flip), across * np.sin(flip) + along * np.cos(flip)
        echo = across * np.sqrt(e2)
        across, along = across * e2, 1 + (along - 1) * e1
    return np.asarray(np.abs(echo), np.float64)
