"""The look-up table of a sequence: from signal ratio back to concentration."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cmr_models.perfusion.signal.gadolinium import Relaxation, Sequence, signal

Floats = npt.NDArray[np.float64]

_STEP_MMOL_L = 0.01
_LOWEST_SHARE = 0.9  # of the concentration at which R1 would vanish: noise below zero keeps its sign


@lru_cache(maxsize=32)
def table(sequence: Sequence, relaxation: Relaxation, highest_mmol_l: float) -> tuple[Floats, Floats]:
    """Concentrations (m,) and their signal ratios (m,), as far as the ratio rises.

    Args:
        sequence: of the readout.
        relaxation: of the tissue.
        highest_mmol_l: end of the table; 10 for myocardium and 20 for blood are the reference's.

    Raises:
        ValueError: ``highest_mmol_l`` is not positive.
    """
    if not highest_mmol_l > 0:
        raise ValueError(f"highest_mmol_l is {highest_mmol_l}; it must be positive, for example 10")
    lowest = -_LOWEST_SHARE / (relaxation.t1_s * relaxation.r1)
    c = np.arange(lowest, highest_mmol_l + _STEP_MMOL_L / 2, _STEP_MMOL_L)
    ratio = signal(c, sequence, relaxation)
    falling = np.flatnonzero(np.diff(ratio) <= 0)
    end = int(falling[0]) + 1 if falling.size else c.size
    return c[:end], ratio[:end]


def concentration(
    ratio: npt.ArrayLike, sequence: Sequence, relaxation: Relaxation, *, highest_mmol_l: float = 10.0
) -> Floats:
    """Concentration of gadolinium at a signal ratio, by linear interpolation of the table.

    Args:
        ratio: saturation-recovery signal over proton-density signal, any shape.
        sequence: of the readout.
        relaxation: of the tissue.
        highest_mmol_l: end of the table.

    Returns:
        mmol/L in the shape of ``ratio``, held at the ends of the table; NaN stays NaN. ``in_range`` tells which
        values are not held.
    """
    c, known = table(sequence, relaxation, highest_mmol_l)
    values = np.asarray(ratio, np.float64)
    return np.where(np.isnan(values), np.nan, np.interp(values, known, c))


def in_range(
    ratio: npt.ArrayLike, sequence: Sequence, relaxation: Relaxation, *, highest_mmol_l: float = 10.0
) -> npt.NDArray[np.bool_]:
    """True where a signal ratio lies within the table."""
    known = table(sequence, relaxation, highest_mmol_l)[1]
    values = np.asarray(ratio, np.float64)
    return np.asarray((values >= known[0]) & (values <= known[-1]))


def divide_by_proton_density(series: npt.ArrayLike, proton_density: npt.ArrayLike) -> Floats:
    """Series over its proton-density image, pixel by pixel.

    Args:
        series: (row, col, frame) signal.
        proton_density: (row, col) image, or (row, col, frame) to be averaged.

    Returns:
        (row, col, frame); NaN where the proton density is under 2 % of its 99th percentile, as in air.

    Raises:
        ValueError: the shapes disagree, or there is no proton-density signal at all.
    """
    values, density = np.asarray(series, np.float64), np.asarray(proton_density, np.float64)
    density = density.mean(-1) if density.ndim == 3 else density
    if values.ndim != 3 or density.shape != values.shape[:2]:
        raise ValueError(
            f"series has shape {values.shape}, proton density {density.shape}; rows and columns must agree"
        )
    full = float(np.percentile(density, 99)) if density.size else 0.0
    if not full > 0:
        raise ValueError("the proton-density images hold no signal; without them signal cannot become mmol/L")
    floor = 0.02 * full
    return np.asarray(values / np.where(density > floor, density, np.nan)[..., None], np.float64)
