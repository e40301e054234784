"""Foot, peak, first pass and area of an arterial input curve, and the gates that it must pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

Floats = npt.NDArray[np.float64]

FEATURES = ("foot_s", "peak_s", "first_pass_s", "peak_value", "auc")

_SMOOTHING_S = 0.8  # 1.6 samples of 0.5 s, the finest scale of the reference's detector
_VALLEY_SMOOTHING_S = 2.0  # 4 samples, its second scale
_FEWEST_FRAMES = 8
_PEAK_OVER_NOISE = 3.0
_PEAK_RANGE_MMOL_L = (1.0, 10.0)


def features(curve: npt.ArrayLike, dt_s: float) -> dict[str, float]:
    """Features of an arterial input curve, as the scanner's AIF detection is judged by.

    Args:
        curve: (frame,) concentration in mmol/L, or any signal that rises with it; evenly spaced in time.
        dt_s: seconds between frames.

    Returns:
        ``foot_s``, arrival: where the tangent of the steepest rise meets the baseline; ``peak_s``; ``first_pass_s``,
        from the foot to the valley before recirculation; ``peak_value`` above baseline; ``auc``, area above baseline
        from foot to valley (unit of the curve x s). Times count from the first frame. All NaN where there is no bolus.

    Raises:
        ValueError: the curve is not one finite row of at least 8 frames, or ``dt_s`` is not positive.

    Reference:
        Xue et al. 2020, doi:10.1002/mrm.28291 (the five features).
    """
    curve = check_curve(curve, dt_s)
    peak = _peak_index(curve, dt_s)
    foot = _foot_frame(curve, peak, dt_s)
    if np.isnan(foot):
        return dict.fromkeys(FEATURES, float("nan"))
    rise = curve - _baseline(curve, foot)
    valley = _valley_frame(rise, peak, dt_s)
    at_peak, value = _vertex(rise, peak)
    return {
        "foot_s": foot * dt_s,
        "peak_s": at_peak * dt_s,
        "first_pass_s": (valley - foot) * dt_s,
        "peak_value": value,
        "auc": _area(rise, foot, valley) * dt_s,
    }


def failed_gates(curve: npt.ArrayLike, dt_s: float) -> tuple[str, ...]:
    """Why an arterial input in mmol/L is not to be trusted: codes of ``cmr_models.reasons``; empty if it is.

    Args:
        curve: (frame,) blood concentration in mmol/L.
        dt_s: seconds between frames.

    Raises:
        ValueError: as :func:`features`.
    """
    curve = check_curve(curve, dt_s)
    found = features(curve, dt_s)
    if np.isnan(found["foot_s"]):
        return ("aif_no_bolus",)
    before = curve[: max(2, int(found["foot_s"] / dt_s))]
    low, high = _PEAK_RANGE_MMOL_L
    gates = {
        "aif_noisy": found["peak_value"] <= _PEAK_OVER_NOISE * float(np.std(before)),
        "aif_peak_low": found["peak_value"] < low,
        "aif_peak_high": found["peak_value"] > high,
    }
    return tuple(code for code, failed in gates.items() if failed)


def foot_index(curve: npt.ArrayLike, dt_s: float) -> int:
    """Index of the last frame before the bolus arrives; ValueError where there is none."""
    foot_s = features(curve, dt_s)["foot_s"]
    if np.isnan(foot_s):
        raise ValueError("aif_no_bolus: no bolus was found in the arterial input; look at the curve, or give `foot`")
    return int(foot_s / dt_s)


def check_curve(curve: npt.ArrayLike, dt_s: float) -> Floats:
    """The curve as float64, or a ValueError that says what is wrong with it."""
    values = np.asarray(curve, np.float64)
    if values.ndim != 1 or values.size < _FEWEST_FRAMES:
        raise ValueError(
            f"the curve has shape {values.shape}; it must be (frame,) with at least {_FEWEST_FRAMES} frames"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"{int((~np.isfinite(values)).sum())} frames of the curve are not finite; interpolate or drop them"
        )
    if not (np.isfinite(dt_s) and dt_s > 0):
        raise ValueError(f"dt_s is {dt_s}; the frame interval must be a positive number of seconds")
    return values


def _peak_index(curve: Floats, dt_s: float) -> int:
    """The highest sample next to the maximum of the smoothed curve: one spike does not make a peak."""
    around = int(np.argmax(gaussian_filter1d(curve, _SMOOTHING_S / dt_s, mode="nearest")))
    first, reach = max(0, around - 2), around + 3
    return first + int(np.argmax(curve[first:reach]))


def _foot_frame(curve: Floats, peak: int, dt_s: float) -> float:
    """Frame, with fraction, where the steepest tangent of the rise meets the baseline; NaN without a bolus."""
    smooth = gaussian_filter1d(curve, _SMOOTHING_S / 2 / dt_s, mode="nearest")
    slope = np.gradient(smooth)
    steepest = int(np.argmax(slope[: peak + 1]))
    before = curve[: max(2, steepest - round(2 / dt_s))]
    lowest = float(np.median(before))
    noise = max(float(np.std(before)), _noise(curve))
    peak_height = gaussian_filter1d(curve, _SMOOTHING_S / dt_s, mode="nearest")[peak] - lowest
    if peak < 2 or slope[steepest] <= 0 or peak_height <= _PEAK_OVER_NOISE * noise:
        return float("nan")
    return float(max(0.0, steepest - (smooth[steepest] - lowest) / slope[steepest]))


def _noise(curve: Floats) -> float:
    """Standard deviation of the noise from the median size of second differences, blind to slow changes."""
    return float(np.median(np.abs(np.diff(curve, 2))) / 0.6745 / np.sqrt(6))


def _baseline(curve: Floats, foot: float) -> float:
    return float(np.mean(curve[: max(1, int(foot))]))


def _valley_frame(rise: Floats, peak: int, dt_s: float) -> int:
    """The first minimum after the peak of the smoothed curve, refined on the curve; the last frame if it only falls."""
    smooth = gaussian_filter1d(rise, _VALLEY_SMOOTHING_S / dt_s, mode="nearest")
    after = smooth[peak:]
    turns = np.flatnonzero((np.diff(after) >= 0) & (after[:-1] < 0.5 * after[0]))
    return peak + (int(turns[0]) if turns.size else after.size - 1)


def _vertex(rise: Floats, peak: int) -> tuple[float, float]:
    """Frame and height of the parabola through the peak and its neighbours."""
    if not 0 < peak < rise.size - 1:
        return float(peak), float(rise[peak])
    before, top, after = rise[peak - 1 : peak + 2]
    bend = before - 2 * top + after
    if bend >= 0:
        return float(peak), float(top)
    shift = float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))
    return peak + shift, float(top - 0.25 * (before - after) * shift)


def _area(rise: Floats, foot: float, valley: int) -> float:
    """Trapezoid from the foot, where the curve is at its baseline, to the valley."""
    frames = np.arange(int(foot) + 1, valley + 1, dtype=float)
    x = np.concatenate([[foot], frames])
    y = np.concatenate([[0.0], rise[int(foot) + 1 : valley + 1]])
    return float(np.trapezoid(y, x))
