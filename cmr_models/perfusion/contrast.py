"""From the signal of a perfusion view to contrast agent in mmol/L, with what its headers say of the sequence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from cmr_models.perfusion.signal.gadolinium import (
    ARTERIAL_FLASH,
    BLOOD,
    MYOCARDIAL_FLASH,
    MYOCARDIAL_SSFP,
    MYOCARDIUM,
    Relaxation,
    Sequence,
    proton_density,
    signal,
)
from cmr_models.perfusion.signal.lookup import concentration
from cmr_models.perfusion.signal.t2star import correct_t2star

Attributes = Mapping[str, Any]
Mask = npt.NDArray[np.bool_]

_SMOOTH_ECHOES_FRAMES = 1.0
_BLOOD_TO_MMOL_L, _TISSUE_TO_MMOL_L = 20.0, 10.0  # ends of the reference's tables
_STRONG_FIELD_T = 2.0
_LONGEST_TR_MS = 12.0
_GAUSS_PER_TESLA = 10_000.0
_FEWEST_PIXELS = 8
_AROUND_PEAK = 4  # frames
_BASELINE_SHARE = 0.05  # pixels whose baseline is lower than this share of the brightest are air


class Contrast(NamedTuple):
    """mmol/L, frames last; and reason codes of what had to be assumed."""

    values: npt.NDArray[np.float64]
    limits: frozenset[str]


def blood_contrast(
    first_echo: npt.NDArray[np.float32],
    second_echo: npt.NDArray[np.float32] | None,
    density: npt.NDArray[np.float32] | None,
    attributes: Attributes,
    second_attributes: Attributes,
    mask: Mask,
    *,
    is_input_series: bool,
) -> Contrast:
    """Arterial input: the mean over ``mask`` of signal over proton density, corrected for T2*, as concentration.

    Args:
        first_echo: ``(row, col, frame)``.
        second_echo: the same at the later echo; no T2* correction without it.
        density: ``(row, col)`` mean proton-density image; the baseline of the signal stands in where it is None.
        attributes: of the view of the first echo.
        second_attributes: of the second.
        mask: ``(row, col)`` pixels of the left ventricle's blood.
        is_input_series: whether the sequence is the input's own, with its short saturation delay.

    Raises:
        ValueError: if ``mask`` is of another shape.
    """
    if mask.shape != first_echo.shape[:2]:
        raise ValueError(f"the input's mask is {mask.shape}, its series {first_echo.shape[:2]}; use one grid")
    sequence, limits = sequence_of(attributes, is_input_series=is_input_series, density=density is not None)
    blood = _at_field(BLOOD, attributes)
    mask = brighter_half(first_echo, density, mask)
    curve = _mean_ratio(first_echo, density, mask)
    echoes = [float(a.get("echo_time_ms", math.nan)) for a in (attributes, second_attributes)]
    if second_echo is not None and 0 <= echoes[0] < echoes[1]:
        late = _mean_ratio(second_echo, density, mask)
        curve = correct_t2star(curve, late, echoes[0], echoes[1], smooth_frames=_SMOOTH_ECHOES_FRAMES)
    ratio = curve if density is not None else _over_baseline(curve, sequence, blood)
    ratio = ratio * _density_readout(sequence, blood)
    return Contrast(concentration(ratio, sequence, blood, highest_mmol_l=_BLOOD_TO_MMOL_L), limits)


def brighter_half(series: npt.NDArray[np.float32], density: npt.NDArray[np.float32] | None, mask: Mask) -> Mask:
    """The half of the mask that is brightest while the bolus passes: pixels at its border are mixed with wall.

    Args:
        series: ``(row, col, frame)``.
        density: ``(row, col)`` to divide by, if there is one.
        mask: ``(row, col)``; it stays whole where half of it would be under 8 pixels.

    Reference: the non-network path of the reference implementation averages the same half.
    """
    if mask.sum() < 2 * _FEWEST_PIXELS:
        return mask
    ratio = _ratio(series, density, mask)
    peak = int(np.argmax(gaussian_filter1d(ratio.mean(axis=0), 1.5)))
    bright = ratio[:, max(0, peak - _AROUND_PEAK) : peak + _AROUND_PEAK + 1].mean(axis=1)
    kept = np.zeros_like(mask)
    kept[mask] = bright >= np.median(bright)
    return kept


def tissue_contrast(
    series: npt.NDArray[np.float32],
    density: npt.NDArray[np.float32] | None,
    attributes: Attributes,
    baseline_frames: int,
) -> Contrast:
    """Concentration in the wall.

    Args:
        series: ``(slice, row, col, frame)``.
        density: ``(slice, row, col)`` mean proton-density image; the baseline stands in where it is None.
        attributes: of the view.
        baseline_frames: frames before contrast arrives.
    """
    sequence, limits = sequence_of(attributes, is_input_series=False, density=density is not None)
    wall = _at_field(MYOCARDIUM, attributes)
    if density is None:
        baseline = series[..., :baseline_frames].mean(axis=-1, dtype=np.float64)
        ratio = _divide(series, baseline) * float(signal(0.0, sequence, wall))
    else:
        ratio = _divide(series, density) * _density_readout(sequence, wall)
    return Contrast(concentration(ratio, sequence, wall, highest_mmol_l=_TISSUE_TO_MMOL_L), limits)


def sequence_of(attributes: Attributes, *, is_input_series: bool, density: bool) -> tuple[Sequence, frozenset[str]]:
    """The sequence that a view's headers describe, and reason codes of what had to be assumed.

    Saturation delay, flip angle and TR are the headers'. Standard headers do not hold lines and acceleration; those
    of the protocol are taken. So are a delay that is missing and a TR that is not that of a single pulse, with a reason
    code.

    Reference: Kellman et al. 2017, doi:10.1186/s12968-017-0355-5 (the protocol).
    """
    is_ssfp = "tfi" in str(attributes.get("sequence_name", "")) or float(attributes.get("flip_angle_deg", 0)) > 35
    protocol = ARTERIAL_FLASH if is_input_series else MYOCARDIAL_SSFP if is_ssfp else MYOCARDIAL_FLASH
    stated = {
        "td_ms": float(attributes.get("inversion_ms", math.nan)),
        "flip_deg": float(attributes.get("flip_angle_deg", math.nan)),
        "tr_ms": float(attributes.get("repetition_time_ms", math.nan)),
    }
    known: dict[str, Any] = {name: value for name, value in stated.items() if math.isfinite(value) and value > 0}
    if known.get("tr_ms", 0.0) > _LONGEST_TR_MS:
        del known["tr_ms"]  # of a whole beat or shot, not between pulses
    limits = {"sequence_assumed"} if len(known) < len(stated) else set[str]()
    return replace(protocol, **known), frozenset(limits | (set() if density else {"perfusion_no_pd"}))


def _density_readout(sequence: Sequence, relaxation: Relaxation) -> float:
    """From a ratio over a spoiled proton-density image to one over an image of the sequence's own readout.

    The protocol reads proton density with a spoiled readout whatever the series has.
    """
    spoiled = replace(sequence, readout="flash")
    return proton_density(spoiled, relaxation) / proton_density(sequence, relaxation)


def _at_field(table: Mapping[float, Relaxation], attributes: Attributes) -> Relaxation:
    field_t = float(attributes.get("field_strength_t", 1.5))
    field_t = field_t / _GAUSS_PER_TESLA if field_t > 100 else field_t  # some scanners write gauss
    return table[3.0 if field_t > _STRONG_FIELD_T else 1.5]


def _mean_ratio(
    series: npt.NDArray[np.float32], density: npt.NDArray[np.float32] | None, mask: Mask
) -> npt.NDArray[np.float64]:
    return np.asarray(_ratio(series, density, mask).mean(axis=0))


def _ratio(
    series: npt.NDArray[np.float32], density: npt.NDArray[np.float32] | None, mask: Mask
) -> npt.NDArray[np.float64]:
    """``(pixel, frame)`` signal over proton density."""
    signals = series[mask].astype(np.float64)
    if density is None:
        return signals
    return np.asarray(signals / np.maximum(density[mask].astype(np.float64), np.finfo(np.float32).tiny)[:, None])


def _over_baseline(curve: npt.NDArray[np.float64], sequence: Sequence, blood: Relaxation) -> npt.NDArray[np.float64]:
    """Ratio of a curve without proton density: its baseline, the lower decile, is blood without contrast."""
    baseline = max(float(np.quantile(curve, 0.1)), float(np.finfo(np.float32).tiny))
    own = float(signal(0.0, sequence, blood)) / _density_readout(sequence, blood)
    return np.asarray(curve / baseline * own)


def _divide(series: npt.NDArray[np.float32], divisor: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    floor = max(_BASELINE_SHARE * float(np.quantile(divisor, 0.99)), float(np.finfo(np.float32).tiny))
    return np.asarray(series / np.maximum(divisor, floor)[..., None], np.float64)
