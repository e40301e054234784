"""Single random perfusion series for training; anatomy, orientation, bolus and sequence are drawn for each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cmr_models.simulate.perfusion.motion import breathing_mm
from cmr_models.simulate.perfusion.scene import LEVELS, Scene, draw_anatomy, render_scene
from cmr_models.simulate.perfusion.series import Acquisition, SimulatedSeries, acquire, draw_patient
from cmr_models.simulate.perfusion.signal import AIF, MYOCARDIUM_FLASH, MYOCARDIUM_SSFP, Readout
from cmr_models.simulate.perfusion.tissue import TERRITORIES

# Smallest fraction of blood in a pixel of the mask. In published examples, readers draw masks well inside the
# chambers: 25 to 74 pixels.
BLOOD_SHARE = 0.7


def aif_training_series(rng: np.random.Generator) -> tuple[SimulatedSeries, npt.NDArray[np.uint8]]:
    """Draw a series of the arterial input and its mask: 0 background, 1 LV, 2 RV."""
    rows = int(rng.choice([48, 56, 64, 64, 64, 80, 96]))
    cols = int(rows * rng.uniform(0.68, 1.0)) if rng.random() < 0.5 else rows
    rows, cols = (rows, cols) if rng.random() < 0.7 else (cols, rows)
    pixel = rng.uniform(280, 400) / max(rows, cols)
    readout = Readout(
        "flash", rng.uniform(1.6, 2.6), rng.uniform(3, 14), int(rng.integers(5, 16)), rng.uniform(4, 12), (0.7,)
    )
    acquisition = Acquisition(
        readout if rng.random() < 0.8 else AIF,
        rows,
        cols,
        pixel,
        snr=float(np.exp(rng.uniform(np.log(9), np.log(90)))),
        blur_px=float(rng.uniform(0.2, 0.85)),
        coil=float(rng.uniform(0, 2.2)),
        pd_frames=1,
    )
    series = _draw_series(
        rng, acquisition, str(rng.choice(LEVELS, p=(0.55, 0.35, 0.1))), rng.uniform(0, 8), int(rng.integers(30, 171))
    )
    return series, aif_mask(series.scene)


def aif_mask(scene: Scene) -> npt.NDArray[np.uint8]:
    """Mask of pixels that are mostly blood of a chamber: 1 LV, 2 RV."""
    mask = np.zeros(scene.label.shape, np.uint8)
    mask[scene.share["rv"] > BLOOD_SHARE] = 2
    mask[(scene.share["lv"] > BLOOD_SHARE) & (scene.label == 3)] = 1
    return mask


def myocardial_training_series(
    rng: np.random.Generator, pixel_mm: float, size: int
) -> tuple[SimulatedSeries, npt.NDArray[np.uint8]]:
    """Draw a motion-corrected myocardial series on a given grid, and its labels: 1 RV, 2 myocardium, 3 LV."""
    kind = rng.random()
    flip = float(rng.uniform(8, 20)) if kind < 0.5 else float(rng.uniform(35, 65))
    template = MYOCARDIUM_FLASH if kind < 0.5 else MYOCARDIUM_SSFP
    readout = Readout(
        template.kind, rng.uniform(2.0, 3.2), rng.uniform(15, 110), int(rng.integers(10, 35)), flip, (1.1,)
    )
    acquisition = Acquisition(
        readout,
        size,
        size,
        pixel_mm,
        snr=float(np.exp(rng.uniform(np.log(12), np.log(90)))),
        blur_px=float(rng.uniform(0.2, 0.75)),
        coil=float(rng.uniform(0, 1.8)),
        pd_frames=1,
    )
    residual = float(rng.choice([0.0, 0.7, 1.5]))
    series = _draw_series(rng, acquisition, str(rng.choice(LEVELS)), residual, int(rng.integers(35, 91)))
    return series, series.scene.label


def _draw_series(
    rng: np.random.Generator, acquisition: Acquisition, level: str, breathing: float, frames: int
) -> SimulatedSeries:
    stress = bool(rng.random() < 0.5)
    territory = str(rng.choice(list(TERRITORIES))) if rng.random() < 0.4 else None
    patient = draw_patient(rng, frames, stress=stress, territory=territory)
    scene = render_scene(draw_anatomy(rng, level), acquisition.rows, acquisition.cols, acquisition.pixel_mm)
    return acquire(rng, patient, scene, acquisition, breathing_mm(rng, patient.time_s, breathing))
