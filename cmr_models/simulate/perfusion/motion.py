"""Breathing during a first pass: displacement of the heart in each frame, and the displaced images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

Floats = npt.NDArray[np.float64]


def breathing_mm(rng: np.random.Generator, time_s: Floats, amplitude_mm: float) -> Floats:
    """Draw the shift of each frame, ``(frame, 2)`` in mm by row and column: a breath-hold with drift, then breathing.

    ``amplitude_mm`` is the largest distance from the mean position. The mean shift is zero.
    """
    period, phase = rng.uniform(3.0, 6.0), rng.uniform(0, 2 * np.pi)
    held = rng.uniform(0, 0.6) * time_s[-1] if rng.random() < 0.6 else 0.0
    free = 0.5 + 0.5 * np.sin(2 * np.pi * (time_s - held) / period + phase)
    drift = rng.uniform(-0.3, 0.3) * time_s / max(held, 1.0)
    path = np.where(time_s < held, drift, free) + rng.normal(0, 0.03, time_s.size)
    path -= path.mean()
    direction = rng.uniform(0, 2 * np.pi)
    path *= amplitude_mm / max(float(np.abs(path).max()), 1e-9)
    return np.asarray(path[:, None] * np.array([np.sin(direction), np.cos(direction)]), np.float64)


def displace(images: npt.NDArray[np.float32], shift_px: Floats, weight: Floats) -> npt.NDArray[np.float32]:
    """Displace each frame of ``images (frame, row, col)`` by ``weight (row, col)`` times its shift (bilinear)."""
    rows, cols = np.nonzero(weight.max(1) > 0)[0], np.nonzero(weight.max(0) > 0)[0]
    part = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    grid = np.stack(np.meshgrid(np.arange(rows[0], rows[-1] + 1), np.arange(cols[0], cols[-1] + 1), indexing="ij"))
    out = images.copy()
    for frame, shift in enumerate(shift_px):
        at = (grid - weight[part] * shift[:, None, None]).astype(np.float32)
        map_coordinates(images[frame], at, out[frame][part], order=1, mode="nearest")
    return out
