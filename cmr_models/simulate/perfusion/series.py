"""First-pass perfusion with known truth: the dual sequence of Kellman and Xue, at rest or at stress.

Anatomy, bolus and kinetics of a patient are drawn once. The series of the arterial input (low resolution, short
saturation delay, two echoes) and the myocardial series of each slice show the same blood at the same heart beats.

Reference: Kellman et al., Myocardial perfusion cardiovascular magnetic resonance: optimized dual sequence and
reconstruction for quantification, JCMR 2017;19:43.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from cmr_models.simulate.perfusion.curves import GRID_S, Bolus, blood_curves, draw_bolus, organ_curve
from cmr_models.simulate.perfusion.motion import breathing_mm, displace
from cmr_models.simulate.perfusion.scene import LEVELS, Anatomy, Scene, draw_anatomy, render_scene
from cmr_models.simulate.perfusion.signal import (
    AIF,
    BLOOD_T1_MS,
    BLOOD_T2_MS,
    MYOCARDIUM_SSFP,
    MYOCARDIUM_T1_MS,
    MYOCARDIUM_T2_MS,
    Readout,
    echo_decay,
    signal,
)
from cmr_models.simulate.perfusion.tissue import Tissue, draw_tissue, tissue_curves

Floats = npt.NDArray[np.float64]

# T1 and T2 in ms at 1.5 T, and proton density relative to blood (Stanisz et al., MRM 2005;54:507; fat: de Bazelaire
# et al., Radiology 2004;230:652).
_STILL: Mapping[str, tuple[float, float, float]] = {"fat": (300.0, 80.0, 0.9), "muscle": (1000.0, 45.0, 0.8)}
_ORGANS: Mapping[str, tuple[float, float, float]] = {"liver": (580.0, 46.0, 0.8), "spleen": (1050.0, 75.0, 0.85)}


@dataclass(frozen=True)
class Acquisition:
    """A sequence, its grid and its imperfections.

    Attributes:
        readout: the sequence.
        rows: number of rows of the image.
        cols: number of columns of the image.
        pixel_mm: size of the square pixels.
        snr: peak signal of blood in the left ventricle over the noise of one channel of the complex image.
        blur_px: standard deviation of the point spread function.
        coil: 0 for a uniform coil sensitivity, 1 for that of a surface coil.
        pd_frames: number of proton-density frames before the series.
    """

    readout: Readout
    rows: int
    cols: int
    pixel_mm: float
    snr: float = 25.0
    blur_px: float = 0.5
    coil: float = 0.6
    pd_frames: int = 3


# Ratio of peak to noise: at least 90 in two real series of the arterial input, and 29 in wall pixels of the published
# rest sample (benchmarks/perfusion.py, "noise"), in mmol/L above baseline. With 60 for blood, the signal of the wall
# has 25, which is 10 to 20 in mmol/L.
AIF_SERIES = Acquisition(AIF, 64, 52, 5.6, snr=90.0)
MYOCARDIAL_SERIES = Acquisition(MYOCARDIUM_SSFP, 144, 144, 1.9, snr=60.0)


@dataclass(frozen=True)
class SimulatedSeries:
    """One series and its truth.

    Attributes:
        images: (echo, row, col, frame) float32 magnitude.
        proton_density: (row, col, frame) float32.
        time_s: (frame,) since the first frame.
        scene: truth at the mean position of breathing.
        shift_mm: (frame, 2) displacement of the heart, by row and column.
        acquisition: sequence and grid.
    """

    images: npt.NDArray[np.float32]
    proton_density: npt.NDArray[np.float32]
    time_s: Floats
    scene: Scene
    shift_mm: Floats
    acquisition: Acquisition


@dataclass(frozen=True)
class Patient:
    """What does not depend on the sequence: contrast in blood and tissue every :data:`GRID_S` seconds, and frame times.

    Attributes:
        blood: mmol/L in each compartment; ``lv`` is the arterial input.
        tissue: kinetic parameters by segment and layer.
        tissue_mmol: (16, 2, time) mmol/L.
        organs: mmol/L in liver, spleen and muscle.
        time_s: (frame,) times of the frames.
        bolus: timing of the injection.
    """

    blood: Mapping[str, Floats]
    tissue: Tissue
    tissue_mmol: Floats
    organs: Mapping[str, Floats]
    time_s: Floats
    bolus: Bolus


@dataclass(frozen=True)
class SimulatedScan:
    """The dual-sequence acquisition of one patient: the input series, and a myocardial series for each level."""

    patient: Patient
    aif: SimulatedSeries
    myocardium: Mapping[str, SimulatedSeries]


def simulated_scan(
    rng: np.random.Generator,
    *,
    stress: bool,
    territory: str | None = None,
    frames: int = 60,
    breathing: float = 4.0,
    aif: Acquisition = AIF_SERIES,
    myocardium: Acquisition = MYOCARDIAL_SERIES,
    levels: tuple[str, ...] = LEVELS,
) -> SimulatedScan:
    """Simulate a dual-sequence first pass.

    Args:
        rng: source of all randomness.
        stress: vasodilator stress, or else rest.
        territory: coronary artery whose segments are ischaemic, "LAD", "RCA" or "LCx"; None for none.
        frames: number of heart beats.
        breathing: largest displacement of the heart from its mean position, mm.
        aif: acquisition of the input series.
        myocardium: acquisition of the myocardial series.
        levels: slices, from "base", "mid", "apex".

    Raises:
        ValueError: for fewer than 20 frames, an unknown level or an unknown territory.
    """
    unknown = [level for level in levels if level not in LEVELS]
    if unknown:
        raise ValueError(f"unknown levels {unknown}; known are {LEVELS}")
    patient = draw_patient(rng, frames, stress=stress, territory=territory)
    mid = draw_anatomy(rng, "mid", any_orientation=False)
    shift = breathing_mm(rng, patient.time_s, breathing)
    series = {}
    for level in levels:
        own = draw_anatomy(rng, level, any_orientation=False)
        anatomy = replace(own, centre_mm=mid.centre_mm, rotation_rad=mid.rotation_rad, body_mm=mid.body_mm)
        series[level] = acquire(rng, patient, _render(anatomy, myocardium), myocardium, shift)
    return SimulatedScan(patient, acquire(rng, patient, _render(mid, aif), aif, shift), series)


def draw_patient(rng: np.random.Generator, frames: int, *, stress: bool, territory: str | None = None) -> Patient:
    """Draw blood, tissue and heart beats of one injection; arguments as in :func:`simulated_scan`."""
    if frames < 20:
        raise ValueError(f"a first pass needs at least 20 frames, got {frames}")
    time_s = _beats(rng, frames, stress=stress)
    bolus = draw_bolus(rng, stress=stress, latest_s=max(4.0, min(0.5 * time_s[-1] - 8, 45.0)))
    blood = blood_curves(bolus, time_s[-1] + 1)
    tissue = draw_tissue(rng, stress=stress, territory=territory)
    organs = {
        "liver": organ_curve(blood["aorta"], rng.uniform(6, 14), rng.uniform(15, 50), rng.uniform(0.15, 0.4)),
        "spleen": organ_curve(blood["aorta"], rng.uniform(1, 4), rng.uniform(5, 15), rng.uniform(0.25, 0.5)),
        "muscle": organ_curve(blood["aorta"], rng.uniform(2, 6), rng.uniform(20, 60), rng.uniform(0.03, 0.1)),
    }
    return Patient(blood, tissue, tissue_curves(tissue, blood["lv"]), organs, time_s, bolus)


def acquire(
    rng: np.random.Generator, patient: Patient, scene: Scene, acquisition: Acquisition, shift_mm: Floats
) -> SimulatedSeries:
    """Acquire a series of a scene; the arguments are attributes of :class:`SimulatedSeries`."""
    share, concentration, t1, t2, density = _compartments(patient, scene)
    readout = acquisition.readout
    magnetisation = density[:, None] * signal(readout, concentration, t1[:, None], t2[:, None])
    coil = _coil_profile(rng, acquisition)
    noise = _noise_sd(patient, acquisition)
    shift_px = shift_mm / acquisition.pixel_mm
    echoes = [
        _make_images(
            rng, share, magnetisation * _decay(readout, concentration, echo), scene, shift_px, coil, noise, acquisition
        )
        for echo in readout.echo_ms
    ]
    before = density * signal(readout.proton_density, 0.0, t1, t2) * echo_decay(0.0, readout.echo_ms[0])
    quiet = np.repeat(before[:, None], acquisition.pd_frames, axis=1)
    pd = _make_images(
        rng, share, quiet, scene, np.tile(shift_px[:1], (acquisition.pd_frames, 1)), coil, noise, acquisition
    )
    return SimulatedSeries(np.stack(echoes), pd, patient.time_s - patient.time_s[0], scene, shift_mm, acquisition)


def _decay(readout: Readout, concentration: Floats, echo_ms: float) -> Floats:
    """T2* decay at the echo. A balanced readout refocuses it, and its signal already includes the T2 decay."""
    return np.ones_like(concentration) if readout.kind == "ssfp" else echo_decay(concentration, echo_ms)


def _render(anatomy: Anatomy, acquisition: Acquisition) -> Scene:
    return render_scene(anatomy, acquisition.rows, acquisition.cols, acquisition.pixel_mm)


def _beats(rng: np.random.Generator, frames: int, *, stress: bool) -> Floats:
    """Draw the times of the frames: one in each heart beat, with jitter and a few missed triggers."""
    cycle = rng.uniform(0.5, 0.85) if stress else rng.uniform(0.6, 1.15)
    jitter = rng.normal(1, rng.uniform(0.01, 0.07), frames)
    missed = 1 + (rng.random(frames) < rng.choice([0.0, 0.02]))
    return np.asarray(np.cumsum(cycle * np.clip(jitter, 0.7, 1.4) * missed), np.float64)


def _compartments(patient: Patient, scene: Scene) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Fractions (k, row, col), concentrations (k, frame), T1, T2 and proton density (k,) of the ``k`` tissues."""
    frames = np.arange(patient.blood["lv"].size) * GRID_S
    rows: list[tuple[Floats, Floats, tuple[float, float, float]]] = []
    for name, share in scene.share.items():
        if name == "myocardium":
            continue
        rest = _STILL.get(name) or _ORGANS.get(name) or (BLOOD_T1_MS, BLOOD_T2_MS, 1.0)
        curve = patient.blood.get(name, patient.organs.get(name, np.zeros_like(frames)))
        rows.append((share, curve, rest))
    wall, layer = scene.share["myocardium"], (scene.depth > 0.5).astype(int)
    for segment in np.unique(scene.segment[wall > 0]):
        for half in (0, 1):
            share = np.where((scene.segment == segment) & (layer == half), wall, 0.0)
            rows.append((share, patient.tissue_mmol[segment - 1, half], (MYOCARDIUM_T1_MS, MYOCARDIUM_T2_MS, 0.85)))
    curves = np.stack([np.interp(patient.time_s, frames, curve) for _, curve, _ in rows])
    t1, t2, density = np.array([rest for _, _, rest in rows]).T
    return np.stack([share for share, _, _ in rows]), curves, t1, t2, density


def _make_images(
    rng: np.random.Generator,
    share: Floats,
    magnetisation: Floats,
    scene: Scene,
    shift_px: Floats,
    coil: Floats,
    noise: float,
    acquisition: Acquisition,
) -> npt.NDArray[np.float32]:
    """Magnitude images (row, col, frame) with breathing, coil sensitivity, blur and Rician noise."""
    spread = gaussian_filter(share.astype(np.float32), (0, acquisition.blur_px, acquisition.blur_px))
    flat = magnetisation.T.astype(np.float32) @ spread.reshape(len(share), -1)
    images = displace(flat.reshape(-1, *share.shape[1:]), shift_px, scene.heart) * coil.astype(np.float32)
    channels = rng.standard_normal((2, *images.shape), np.float32) * np.float32(noise)
    return np.ascontiguousarray(np.moveaxis(np.sqrt((images + channels[0]) ** 2 + channels[1] ** 2), 0, -1))


def _noise_sd(patient: Patient, acquisition: Acquisition) -> float:
    blood = signal(acquisition.readout, patient.blood["lv"].max(), BLOOD_T1_MS, BLOOD_T2_MS)
    return float(blood) / acquisition.snr


def _coil_profile(rng: np.random.Generator, acquisition: Acquisition) -> Floats:
    """Sensitivity of a few coil elements around the body, relative to the mean; uniform where ``coil`` is 0."""
    rows, cols = acquisition.rows, acquisition.cols
    reach = 0.35 * max(rows, cols)
    profile = np.full((rows, cols), 0.25)
    for angle in rng.uniform(0, 2 * np.pi, 3):
        at = (rows / 2 * (1 + np.sin(angle)), cols / 2 * (1 + np.cos(angle)))
        distance = (np.arange(rows)[:, None] - at[0]) ** 2 + (np.arange(cols)[None, :] - at[1]) ** 2
        profile += rng.uniform(0.4, 1.2) * np.exp(-distance / (2 * reach**2))
    return np.asarray((profile / profile.mean()) ** acquisition.coil, np.float64)
