"""T2* correction of the arterial signal from two echoes: at the bolus' peak T2* is about 10 ms.

Reference:
    Kellman et al. 2017, doi:10.1186/s12968-017-0355-5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

Floats = npt.NDArray[np.float64]


def r2star(
    first: npt.ArrayLike, second: npt.ArrayLike, te1_ms: float, te2_ms: float, *, smooth_frames: float = 0.0
) -> Floats:
    """R2* in 1/s from two echoes: ln(S1 / S2) / (TE2 - TE1), 0 where the second is not the smaller.

    Args:
        first: (..., frame) signal of the first echo.
        second: (..., frame) signal of the second.
        te1_ms: echo time of the first, ms.
        te2_ms: echo time of the second, ms.
        smooth_frames: standard deviation in frames of a smoothing in time, weighted by signal: where there is little
            signal the ratio is noise.

    Raises:
        ValueError: shapes disagree, or the echo times do not increase.
    """
    early, late = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if early.shape != late.shape:
        raise ValueError(f"the echoes have shapes {early.shape} and {late.shape}; they must agree")
    if not 0 <= te1_ms < te2_ms:
        raise ValueError(f"echo times are {te1_ms} and {te2_ms} ms; the second must be later")
    sound = (early > 0) & (late > 0)
    ratio = np.log(np.where(sound, early, 1.0) / np.where(sound, late, 1.0))
    if smooth_frames:
        weight = np.where(sound, early, 0.0)
        total = np.maximum(gaussian_filter1d(weight, smooth_frames), np.finfo(float).tiny)
        ratio = gaussian_filter1d(weight * ratio, smooth_frames) / total
    return np.asarray(np.maximum(ratio, 0) / (te2_ms - te1_ms) * 1e3, np.float64)


def correct_t2star(
    first: npt.ArrayLike, second: npt.ArrayLike, te1_ms: float, te2_ms: float, *, smooth_frames: float = 0.0
) -> Floats:
    """Signal of the first echo as it were at echo time zero; arguments as :func:`r2star`."""
    decay = r2star(first, second, te1_ms, te2_ms, smooth_frames=smooth_frames)
    return np.asarray(np.asarray(first, np.float64) * np.exp(decay * te1_ms / 1e3), np.float64)
