"""End-diastole and end-systole, found from the volume curve of the left ventricle."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# From so many frames on, the noise of single frames can be distinguished from the cycle.
MIN_FRAMES_SMOOTHED = 10
# Gaussian of one fortieth of the cycle: 1.25 frames of 50.
_SMOOTHING_CYCLES = 0.025
# R-wave gating puts end-diastole at either end of the cine: its first fifth or its last three tenths.
_ED_EARLIEST, _ED_LATEST = 0.2, 0.7
# Volumes within half a per cent are a tie; the frame nearest to the R wave wins it.
_ED_TIE = 0.005
# Beyond this excess, a maximum elsewhere wins: the cine did not start at the R wave.
_ED_EXCESS = 1.10


class CardiacCycle(NamedTuple):
    """The two frames (from 0). ``es_frame`` is None when there is only one usable frame."""

    ed_frame: int
    es_frame: int | None
    ed_at_cycle_start: bool


def find_cycle(lv_ml: npt.ArrayLike) -> CardiacCycle:
    """End-diastole and end-systole of one heart cycle.

    The curve is smoothed around the cycle (running median of three frames against single failures, then a
    narrow Gaussian); masked frames take no part and are never chosen. End-systole is the minimum.
    End-diastole is the maximum near the start or the end of the cine, unless the volume elsewhere is more
    than a tenth larger. Cines of fewer than ten frames are not smoothed, and any frame may be end-diastole.

    Args:
        lv_ml: ``(frame,)`` volume, or any quantity in proportion; NaN where masked.

    Returns:
        The frames. A single usable frame is end-diastole.

    Raises:
        ValueError: if every frame is NaN.
    """
    volume_ml = np.asarray(lv_ml, np.float64)
    usable = np.flatnonzero(np.isfinite(volume_ml))
    if not usable.size:
        raise ValueError(f"the volume curve has {volume_ml.size} frames, all of them masked; nothing can be found")
    if usable.size == 1:
        return CardiacCycle(int(usable[0]), None, True)
    smooth = smooth_cycle(volume_ml) if volume_ml.size >= MIN_FRAMES_SMOOTHED else volume_ml
    es_frame = int(np.nanargmin(smooth))
    anywhere = int(np.nanargmax(smooth))
    if volume_ml.size < MIN_FRAMES_SMOOTHED:
        return CardiacCycle(anywhere, es_frame, True)
    near_r_wave = _near_r_wave(smooth)
    if near_r_wave is None or smooth[anywhere] > _ED_EXCESS * smooth[near_r_wave]:
        return CardiacCycle(anywhere, es_frame, False)
    return CardiacCycle(near_r_wave, es_frame, True)


def smooth_cycle(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """``values (frame,)`` smoothed around the cycle; NaN stays NaN and does not leak into its neighbours."""
    curve = np.asarray(values, np.float64)
    usable = np.isfinite(curve)
    triples = np.stack([np.roll(curve, shift) for shift in (-1, 0, 1)])
    triples[:, ~usable] = 0.0
    steady = np.nanmedian(triples, axis=0)
    kernel = _circular_gaussian(curve.size)
    weight = kernel @ usable
    smooth = (kernel @ np.where(usable, steady, 0.0)) / np.where(weight > 0, weight, 1.0)
    return np.where(usable, smooth, np.nan)


def _circular_gaussian(n_frames: int) -> npt.NDArray[np.float64]:
    frame = np.arange(n_frames)
    apart = np.abs(frame[:, None] - frame[None, :])
    apart = np.minimum(apart, n_frames - apart)
    kernel: npt.NDArray[np.float64] = np.exp(-0.5 * (apart / (_SMOOTHING_CYCLES * n_frames)) ** 2)
    return kernel


def _near_r_wave(smooth: npt.NDArray[np.float64]) -> int | None:
    phase = np.arange(smooth.size) / smooth.size
    candidates = np.where((phase < _ED_EARLIEST) | (phase >= _ED_LATEST), smooth, np.nan)
    if not np.isfinite(candidates).any():
        return None
    as_large = candidates >= (1 - _ED_TIE) * np.nanmax(candidates)
    return int(np.argmin(np.where(as_large, np.minimum(phase, 1 - phase), np.inf)))
