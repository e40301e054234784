"""First-pass curves with known truth, finer in time than the frames: for the tests of perfusion and their benchmark."""

import numpy as np
import numpy.typing as npt

from cmr_models.perfusion.kinetics import btex

Floats = npt.NDArray[np.float64]

DT_S = 0.5
FRAMES = 60


def stress_input(time_s: Floats) -> Floats:
    """Arterial input of a stress scan, mmol/L: first pass, recirculation, tail; arrival at 9 s, peak 3.3 mmol/L."""

    def bolus(arrival: float, to_peak: float) -> Floats:
        x = np.clip(time_s - arrival, 0, None) / to_peak
        return np.asarray(x**3 * np.exp(3 * (1 - x)))

    tail = 0.6 * (1 - np.exp(-np.clip(time_s - 12, 0, None) / 8)) * np.exp(-np.clip(time_s - 12, 0, None) / 120)
    return np.asarray(3.3 * bolus(9.0, 3.3) + 0.55 * bolus(17.0, 6.0) + tail)


def frame_times() -> Floats:
    return np.arange(FRAMES) * DT_S


def tissue_curves(mbf: npt.ArrayLike, *, vb=0.095, ps=0.9, visf=0.22, delay_s=0.5, fine: int = 10) -> Floats:  # type: ignore[no-untyped-def]
    """(..., frame) tissue curves of BTEX, convolved ``fine`` times finer than the frames."""
    time_s = np.arange(FRAMES * fine) * DT_S / fine
    curves = btex.tissue(stress_input(time_s), DT_S / fine, mbf=mbf, vb=vb, ps=ps, visf=visf, delay_s=delay_s)
    return curves[..., ::fine]


def noisy(curves: Floats, snr: float, rng: np.random.Generator) -> Floats:
    """With white noise of standard deviation peak / ``snr``."""
    return curves + rng.normal(size=curves.shape) * curves.max(-1, keepdims=True) / snr
