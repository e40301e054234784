"""Simulate a cine view of a heart: planes, frames, scanner effects, labels and landmarks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.fft
import xarray as xr
from scipy.ndimage import gaussian_filter

from cmr_models import contracts
from cmr_models.simulate.anatomy import ANGLES, HEIGHTS, Heart, HeartState, tilt_mm
from cmr_models.simulate.body import Body
from cmr_models.simulate.planes import Planes, heart_pose, lax_plane, sax_planes
from cmr_models.simulate.scene import Scene
from cmr_models.simulate.settings import ImagingSettings

FloatArray = npt.NDArray[np.float64]
Stack = npt.NDArray[np.float32]

LABELLED_VIEWS = ("sax", "lax_2c", "lax_3c", "lax_4c")
LANDMARKS = (
    "apex",
    "mitral_anterior",
    "mitral_inferior",
    "mitral_septal",
    "mitral_lateral",
    "rv_insert_anterior",
    "rv_insert_inferior",
)


def heart_states(heart: Heart, n_frames: int) -> list[HeartState]:
    """The heart at each frame of a cine, starting at end-diastole."""
    return [heart.state(frame / n_frames) for frame in range(n_frames)]


def simulate_view(
    heart: Heart,
    view: str,
    settings: ImagingSettings,
    rng: np.random.Generator,
    states: list[HeartState] | None = None,
) -> xr.Dataset:
    """One cine view of a heart.

    Args:
        heart: the heart.
        view: "sax", "lax_2c", "lax_3c" or "lax_4c".
        settings: the scanner.
        rng: random numbers for the planning and the noise. The body depends on the heart alone.
        states: from :func:`heart_states`, to share between views.

    Returns:
        :func:`cmr_models.contracts.cine_view` with three more variables: ``labels (frame, slice, row, col)`` uint8,
        exact at the middle of the slice; ``landmark_mm (frame, landmark, xyz)`` in patient coordinates; and
        ``true_ml (frame, chamber)``, the volumes.

    Raises:
        ValueError: for an unknown view.
    """
    if view not in LABELLED_VIEWS:
        raise ValueError(f"view must be one of {LABELLED_VIEWS}, got {view!r}")
    planes = sax_planes(heart, settings, rng) if view == "sax" else lax_plane(heart, view, settings, rng)
    phases = np.arange(settings.n_frames) / settings.n_frames
    states = states or heart_states(heart, settings.n_frames)
    signal, labels = _slices(heart, planes, states, view, settings, rng)
    dataset = contracts.cine_view(
        quantise(signal, settings.scale),
        time_ms=phases * 60000 / heart.traits.heart_rate_bpm,
        pixel_mm=(settings.pixel_mm, settings.pixel_mm),
        position_mm=planes.position_mm,
        row_dir=planes.row_dir,
        col_dir=planes.col_dir,
        slice_mm=settings.slice_mm if view == "sax" else float("nan"),
        thickness_mm=planes.thickness_mm,
        heart_rate_bpm=heart.traits.heart_rate_bpm,
        view=view,
    )
    dataset["labels"] = (("frame", "slice", "row", "col"), labels)
    dataset["landmark_mm"] = (
        ("frame", "landmark", "xyz"),
        np.stack([landmarks_mm(heart, s) for s in states]),
    )
    volumes = [heart.volumes_ml(state.phase) for state in states]
    dataset["true_ml"] = (("frame", "chamber"), np.array([list(v.values()) for v in volumes]))
    return dataset.assign_coords(landmark=list(LANDMARKS), chamber=list(volumes[0]))


def _slices(
    heart: Heart,
    planes: Planes,
    states: list[HeartState],
    view: str,
    settings: ImagingSettings,
    rng: np.random.Generator,
) -> tuple[Stack, npt.NDArray[np.uint8]]:
    """``(frame, slice, row, col)`` signal and labels."""
    body = Body(heart, np.random.default_rng(heart.seed))
    shape = (len(states), len(planes.position_mm), *planes.shape)
    signal, labels = np.empty(shape, np.float32), np.empty(shape, np.uint8)
    for k in range(shape[1]):
        points = planes.points(k)
        moved = points + breath_shift_mm(settings, rng)
        scene = Scene(
            heart, body, moved, planes.normal[k], planes.thickness_mm, planes.pixel_mm, settings.contrast,
            settings.sub_planes, rng,
        )  # fmt: skip
        signal[:, k] = acquire([scene.draw(state) for state in states], points, settings, rng)
        for t, state in enumerate(states):
            labels[t, k] = scene.labels(state, view)
    return signal, labels


def breath_shift_mm(settings: ImagingSettings, rng: np.random.Generator) -> FloatArray:
    """Draw how far the heart lies from its planned position in a breath-hold (mm); mostly up or down."""
    return np.asarray(rng.normal(0, settings.breath_shift_mm, 3) * np.array([0.3, 0.5, 1.0]))


def acquire(
    drawn: list[tuple[Stack, Stack]],
    points_mm: FloatArray,
    settings: ImagingSettings,
    rng: np.random.Generator,
) -> Stack:
    """Magnitude images ``(frame, row, col)`` with blur, coil sensitivity, banding, ghosts and noise.

    Args:
        drawn: water and fat signal of each frame.
        points_mm: ``(row, col, 3)`` patient coordinates of the pixels.
        settings: the scanner.
        rng: source of the noise.
    """
    phase = settings.contrast.fat_phase
    frames = np.stack([water + np.float32(phase) * fat for water, fat in drawn])
    frames = _point_spread(frames, settings)
    if abs(phase) < 0.999:
        quadrature = np.stack([np.float32(np.sqrt(1 - phase**2)) * fat for _, fat in drawn])
        frames = np.hypot(frames, _point_spread(quadrature, settings))
    else:
        np.abs(frames, out=frames)
    frames *= _field(points_mm, settings, rng)
    if settings.ghosting > 0 and len(frames) > 1:
        _add_ghosts(frames, settings.ghosting, int(rng.integers(2, 4)))
    _add_noise(frames, settings.noise, rng)
    if settings.circular_field:
        frames *= _circle(frames.shape[1:], rng)
    return frames


def _add_ghosts(frames: Stack, strength: float, fold: int) -> None:
    """Add a faint copy of what moves, shifted by 1 / ``fold`` of the field along the phase-encoding axis."""
    moving = frames - frames.mean(axis=0)
    moving *= np.float32(4 * strength)
    shift = frames.shape[1] // fold
    frames[:, shift:] += moving[:, :-shift]
    frames[:, :shift] += moving[:, -shift:]


def _add_noise(frames: Stack, sd: float, rng: np.random.Generator) -> None:
    """Add Rician noise: the magnitude of a complex signal with normal noise in both parts."""
    noise = rng.standard_normal(frames.shape, dtype=np.float32)
    noise *= np.float32(sd)
    frames += noise
    rng.standard_normal(out=noise, dtype=np.float32)
    noise *= np.float32(sd)
    np.hypot(frames, noise, out=frames)


def quantise(signal: Stack, scale: float) -> npt.NDArray[np.uint16]:
    """Scale and round to 12 bits, as the scanner stores images."""
    return np.asarray(np.minimum(signal * np.float32(scale) + np.float32(0.5), np.float32(4095)).astype(np.uint16))


def _point_spread(frames: Stack, settings: ImagingSettings) -> Stack:
    blurred: Stack = gaussian_filter(frames, (0, settings.blur_px, settings.blur_px), truncate=3.0)
    if settings.acquired_fraction >= 1:
        return blurred
    return zero_fill(blurred, settings.acquired_fraction)


def zero_fill(frames: Stack, fraction: float) -> Stack:
    """Keep the central ``fraction`` of each axis of k-space and set the rest to 0, which causes ringing."""
    spectrum = scipy.fft.rfft2(frames, axes=(-2, -1))
    rows = np.abs(scipy.fft.fftfreq(frames.shape[-2])) * 2
    cols = np.abs(scipy.fft.rfftfreq(frames.shape[-1])) * 2
    keep = np.clip((fraction - rows) / 0.1 + 0.5, 0, 1)[:, None] * np.clip((fraction - cols) / 0.1 + 0.5, 0, 1)
    return np.asarray(
        scipy.fft.irfft2(spectrum * keep.astype(np.float32), s=frames.shape[-2:], axes=(-2, -1)), np.float32
    )


def _field(points_mm: FloatArray, settings: ImagingSettings, rng: np.random.Generator) -> Stack:
    """Coil sensitivity (higher near the chest wall) times off-resonance banding, ``(row, col)``."""
    coil = np.array([0.25, -1.0, 0.0]) + rng.normal(0, 0.35, 3)
    deep = (points_mm - np.array([20.0, -40.0, 0.0])) @ (coil / np.linalg.norm(coil)) / 100
    gain = np.exp(np.clip(settings.bias * deep, -2.0, 1.4))
    if settings.off_resonance > 0:
        gain = gain * _banding(points_mm, settings.off_resonance, rng)
    return np.asarray(gain.astype(np.float32))


def _banding(points_mm: FloatArray, depth: float, rng: np.random.Generator) -> FloatArray:
    """Dark bSSFP bands where the phase per TR is near pi; shimming keeps most of the heart free of them."""
    centred = (points_mm - np.array([30.0, -30.0, 0.0])) / 100
    slope, curve = rng.normal(0, 0.5, 3), rng.normal(0, 0.6, 3)
    phase = centred @ slope + (centred**2) @ curve
    return np.asarray(1 - depth * np.exp(-0.5 * ((np.abs(phase) - 1.6) / 0.14) ** 2))


def _circle(shape: tuple[int, ...], rng: np.random.Generator) -> Stack:
    rows, cols = np.arange(shape[-2])[:, None], np.arange(shape[-1])[None]
    radius = min(shape[-2:]) / 2 * rng.uniform(0.93, 1.05)
    return np.asarray((np.hypot(rows - shape[-2] / 2, cols - shape[-1] / 2) < radius).astype(np.float32))


def landmarks_mm(heart: Heart, state: HeartState) -> FloatArray:
    """Landmarks ``(landmark, 3)`` in patient coordinates, in the order of :data:`LANDMARKS`.

    At the RV insertions the RV meets the epicardium of the LV at mid-ventricle.
    """
    z = state.base_z_mm
    first = int(np.searchsorted(HEIGHTS, 0.0))
    ring = [_ring_point(state.endo[first], angle, z) for angle in (-np.pi / 2, np.pi / 2, 0.0, np.pi)]
    apex = np.array([0.0, 0.0, heart.apex_z_mm])
    inserts = [_on_epicardium(state, angle) for angle in insertion_angles(state)]
    points = np.stack([apex, *ring, *inserts])
    points[:, 2] += tilt_mm(points[:, 0], points[:, 1], heart.traits.base_tilt)
    return heart_pose(heart.traits).to_patient(points)


def insertion_angles(state: HeartState, height: float = 0.4) -> tuple[float, float]:
    """Angles (rad) at which the RV meets the LV at a height: the anterior (negative) and the inferior (positive)."""
    row = int(np.argmin(np.abs(HEIGHTS - height)))
    angles = np.angle(np.exp(1j * ANGLES))[state.rv[row] > state.inner[row]]
    return float(angles.min()), float(angles.max())


def _ring_point(radius: npt.NDArray[np.float32], angle: float, z: float) -> FloatArray:
    r = float(radius[round(angle / (2 * np.pi) * len(ANGLES)) % len(ANGLES)])
    return np.array([r * np.cos(angle), r * np.sin(angle), z])


def _on_epicardium(state: HeartState, angle: float, height: float = 0.4) -> FloatArray:
    row = int(np.argmin(np.abs(HEIGHTS - height)))
    return _ring_point(state.epi[row], angle, state.base_z_mm + height * state.length_mm)
