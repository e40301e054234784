"""Simulated stress acquisitions with known truth, as like a real one as its residuals say: for benchmarks/perfusion.py.

A short-axis ring around a blood pool, a right ventricle before it, and tissue around. Flow, blood volume, permeability,
interstitium and delay vary between hearts and, correlated in space, within one. Images are taken once a beat with
jitter and brought to the 0.5 s grid as the scanner's software does; noise is alike in neighbouring pixels, as the
residuals of the real rest scan are (correlation 0.7 to 0.8 at one pixel, 0.6 at one frame, 8 to 12 % of the peak).
Ranges: Kellman et al. 2017, doi:10.1186/s12968-017-0355-5 (input); the working ranges of muscle of
``cmr_models.perfusion.kinetics.btex_fit.Settings`` (volumes); Brown et al. 2018 (flow).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter, shift

from cmr_models.perfusion.kinetics import btex
from cmr_models.simulate.perfusion.curves import blood_curves, draw_bolus

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DT_S = 0.5
SECONDS = 30.0
_FINE_S = 0.05
_SIDE, _INNER = 40, 8.0
_THREE_OF_ALL = (-1.2247, 0.0, 1.2247)  # standard deviations: three equal shares with mean 0 and variance 1


@dataclass(frozen=True)
class Heart:
    """One acquisition: image (row, col, frame), aif (frame,), truths (row, col) by name, the ring, its interior."""

    image: Floats
    aif: Floats
    truth: dict[str, Floats]
    ring: Mask
    interior: Mask
    sector: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mismatch:
    """What a real acquisition has and the model does not know of.

    Attributes:
        wall_px: thickness of the wall.
        blood_ml_g: range of the muscle's blood volume.
        dispersion_s: most time constant of the exponential between the input's site and the tissue.
        blur_px: standard deviation of the point spread, which mixes blood of the pools into the wall.
        motion_px: standard deviation of what motion correction leaves, in each frame.
        flows: spread (in the logarithm) of the flows that one pixel holds.
        clipped_mmol_l: the input is cut at this concentration.
        aif_factor: by which the input is read too low throughout.
        aif_early_s: the input is timed this much too early.
        baseline: of the wall's peak, the step between frames before the bolus and those after.
        seconds: length of the acquisition.
    """

    wall_px: float = 6.0
    blood_ml_g: tuple[float, float] = (0.06, 0.12)
    dispersion_s: float = 0.3
    blur_px: float = 0.0
    motion_px: float = 0.0
    flows: float = 0.0
    clipped_mmol_l: float = float("inf")
    aif_factor: float = 1.0
    aif_early_s: float = 0.0
    baseline: float = 0.0
    seconds: float = SECONDS


def heart(
    rng: np.random.Generator,
    *,
    snr: float,
    smooth: bool = True,
    ideal: bool = False,
    aif: tuple[Floats, Floats] | None = None,
    mismatch: Mismatch | None = None,
) -> Heart:
    """Draw one.

    Args:
        rng: the chance.
        snr: peak of the tissue over the standard deviation of noise.
        smooth: noise alike in neighbouring pixels and frames; else white.
        ideal: a frame every 0.5 s, and no dispersion between the input's site and the tissue.
        aif: times and blood concentrations of a real input; simulated if None.
        mismatch: what else the model does not know of.
    """
    wrong = mismatch or Mismatch()
    radius, angle = _polar()
    outer = _INNER + wrong.wall_px
    ring = (radius >= _INNER) & (radius <= outer)
    truth = _drawn(rng, radius, angle, wrong)
    fine_s = np.arange(0, SECONDS + 2, _FINE_S)
    blood, right = _blood(rng, fine_s, aif)
    dispersion_s = 0.0 if ideal else rng.uniform(0.0, wrong.dispersion_s)
    clean = _images(dispersion_s, truth, radius, blood, right, wrong)
    beats = np.arange(0, SECONDS, DT_S) if ideal else _beats(rng)
    image, sampled = _acquired(rng, clean, blood, beats, snr, smooth, ring, wrong)
    interior = (radius >= _INNER + 1) & (radius <= outer - 1)
    truth["delay_s"] += dispersion_s  # what a pure delay comes to on average
    return Heart(image, sampled, truth, ring, interior, (np.degrees(angle) % 360 // 60).astype(np.int64))


def _polar() -> tuple[Floats, Floats]:
    row, col = np.indices((_SIDE, _SIDE)) - (_SIDE - 1) / 2
    return np.hypot(row, col), np.arctan2(row, col)


def _field(rng: np.random.Generator, width: float) -> Floats:
    """Unit variance, correlated over ``width`` pixels."""
    drawn = gaussian_filter(rng.normal(size=(_SIDE, _SIDE)), width, mode="wrap")
    return np.asarray(drawn / drawn.std())


def _drawn(rng: np.random.Generator, radius: Floats, angle: Floats, wrong: Mismatch) -> dict[str, Floats]:
    depth = np.clip((radius - _INNER) / wrong.wall_px, 0, 1)
    centre = rng.uniform(-np.pi, np.pi)
    width = rng.uniform(0.5, 1.0) * (rng.random() < 0.5)
    apart = np.abs(np.angle(np.exp(1j * (angle - centre))))
    lack = 1 / (1 + np.exp((apart - width) / 0.12)) if width else np.zeros_like(radius)
    flow = rng.uniform(1.6, 4.2) * np.exp(0.12 * _field(rng, 2.5))
    flow *= 1 + rng.uniform(-0.08, 0.12) * (2 * depth - 1)
    flow *= 1 - lack * rng.uniform(0.4, 0.75)
    blood = rng.uniform(*wrong.blood_ml_g)
    delay = rng.uniform(0.0, 1.0) + 0.2 * _field(rng, 3.0) + lack * rng.uniform(0, 0.6)
    return {
        "mbf_ml_min_g": flow,
        "vb_ml_g": blood * np.exp(0.12 * _field(rng, 1.5)),
        "ps_ml_min_g": rng.uniform(0.7, 1.5) * np.exp(0.2 * _field(rng, 2.0)),
        "visf_ml_g": rng.uniform(0.16, 0.28) * np.exp(0.12 * _field(rng, 2.0)),
        "delay_s": np.clip(delay, 0, 2),
    }


def _blood(rng: np.random.Generator, fine_s: Floats, aif: tuple[Floats, Floats] | None) -> tuple[Floats, Floats]:
    """Left and right ventricle on the fine grid, mmol/L."""
    if aif is not None:
        left = CubicSpline(*aif, extrapolate=False)(fine_s)
        left = np.where(np.isnan(left), aif[1][-1], left)
    else:
        curves = blood_curves(draw_bolus(rng, stress=True, latest_s=5.0), SECONDS + 4)
        left = CubicSpline(np.arange(curves["lv"].size) * 0.5, curves["lv"])(fine_s)
    lead = round(4.0 / _FINE_S)
    return left, np.concatenate([left[lead:], np.full(lead, left[-1])]) * 1.2


def _images(
    dispersion_s: float, truth: dict[str, Floats], radius: Floats, blood: Floats, right: Floats, wrong: Mismatch
) -> Floats:
    """(row, col, fine time) without noise; borders of the ring hold some blood, or some of what lies outside."""
    kernel = np.exp(-np.arange(0, 4, _FINE_S) / max(dispersion_s, 1e-3))
    spread = np.convolve(blood, kernel / kernel.sum())[: blood.size]
    outer, flows = _INNER + wrong.wall_px, wrong.flows
    near = (radius >= _INNER - 1) & (radius <= outer + 1)
    muscle = np.zeros((*radius.shape, blood.size), np.float32)
    parts = {
        name: truth[key][near]
        for name, key in (
            ("mbf", "mbf_ml_min_g"),
            ("vb", "vb_ml_g"),
            ("ps", "ps_ml_min_g"),
            ("visf", "visf_ml_g"),
            ("delay_s", "delay_s"),
        )
    }
    for step in _THREE_OF_ALL if flows else (0.0,):
        share = 1 / 3 if flows else 1.0
        mbf = parts["mbf"] * np.exp(flows * step - flows**2 / 2)
        muscle[near] += share * _coarse_tissue(spread, parts | {"mbf": mbf})
    pool = np.clip(_INNER + 0.5 - radius, 0, 1)[..., None]
    outside = np.clip(radius - outer + 0.5, 0, 1)[..., None]
    row, col = np.indices(radius.shape)
    lung = 0.08 * np.convolve(right, np.ones(60) / 60)[: right.size]
    other = np.where(((col < 9) & (np.abs(row - 20) < 9))[..., None], right, lung)
    return np.asarray((1 - pool - outside) * muscle + pool * blood + outside * other, np.float64)


def _coarse_tissue(blood: Floats, parts: dict[str, Any]) -> Floats:
    """Tissue on the fine grid, computed every 0.25 s with the library's steps within."""
    every = round(0.25 / _FINE_S)
    curves = btex.tissue(blood[::every], 0.25, **parts)
    times = np.arange(curves.shape[-1]) * every
    return np.asarray(CubicSpline(times, curves, axis=-1)(np.arange(blood.size)), np.float64)


def _beats(rng: np.random.Generator) -> Floats:
    """Times of the frames: heart rates of 70 to 110 a minute, 3 % jitter."""
    rr = rng.uniform(0.55, 0.85)
    beats = np.cumsum(rr * rng.normal(1, 0.03, int(SECONDS / rr) + 3))
    return np.asarray(beats[beats < SECONDS + 1])


def _acquired(
    rng: np.random.Generator,
    clean: Floats,
    blood: Floats,
    beats: Floats,
    snr: float,
    smooth: bool,
    ring: Mask,
    wrong: Mismatch,
) -> tuple[Floats, Floats]:
    """Images and input at the beats, with noise, brought to the grid."""
    grid = np.arange(np.ceil(beats[0] / DT_S) * DT_S, beats[-1] + 1e-6, DT_S)
    at = np.round(beats / _FINE_S).astype(int)
    level = np.median(clean[ring].max(-1)) / snr
    frames = _blurred(clean[..., at], wrong)
    image = CubicSpline(beats, frames, axis=-1)(grid)
    noise = rng.normal(size=image.shape)
    if smooth:
        drawn = gaussian_filter(rng.normal(size=(*ring.shape, beats.size)), (1.1, 0.9, 0))
        noise = CubicSpline(beats, drawn, axis=-1)(grid)
    image = image + level * noise / noise.std()
    aif = CubicSpline(beats, blood[at] + rng.normal(0, blood.max() / 150, beats.size))(grid)
    return _read(image, aif, grid, level * snr, wrong)


def _blurred(frames: Floats, wrong: Mismatch) -> Floats:
    """Point spread, and what motion correction leaves; by chances of their own, so that all else stays alike."""
    if wrong.blur_px:
        frames = gaussian_filter(frames, (wrong.blur_px, wrong.blur_px, 0), mode="nearest")
    if wrong.motion_px:
        moved = np.random.default_rng(frames.shape[-1]).normal(0, wrong.motion_px, (frames.shape[-1], 2))
        each = [shift(frames[..., n], by, order=1, mode="nearest") for n, by in enumerate(moved)]
        frames = np.stack(each, axis=-1)
    return frames


def _read(image: Floats, aif: Floats, grid: Floats, peak: float, wrong: Mismatch) -> tuple[Floats, Floats]:
    """Images and input as they are read: the input clipped, scaled and mistimed, the baseline wrong, the end cut."""
    aif = np.minimum(aif, wrong.clipped_mmol_l) * wrong.aif_factor
    aif = np.interp(grid + wrong.aif_early_s, grid, aif)
    if wrong.baseline:
        before = int(np.argmax(aif > aif.max() / 10)) - 2
        image = image.copy()
        image[..., :before] += wrong.baseline * peak
    kept = grid < wrong.seconds
    return image[..., kept], np.asarray(aif[kept])
