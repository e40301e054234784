"""Agreement of numbers with a reference or with a repeated measurement: errors and variation, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from cmr_models.estimates import Z95

Floats = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A value with its 95 % interval; the interval is NaN where fewer than two pairs are known."""

    value: float
    ci_low: float
    ci_high: float
    n: int


class BlandAltman(NamedTuple):
    """Bias and 95 % limits of agreement of paired values, each with its 95 % interval.

    ``sd`` is that of the differences, ``limit_se`` the standard error of a limit.
    """

    bias: Estimate
    low: Estimate
    high: Estimate
    sd: float
    limit_se: float


def limits_of_agreement(predicted: npt.ArrayLike, reference: npt.ArrayLike) -> BlandAltman:
    """Mean difference and limits of agreement, over pairs in which both values are known; NaN for fewer than two.

    Of n differences with mean d and standard deviation s, the limits are d - 1.96 s and d + 1.96 s. Their standard
    error is s sqrt(1 / n + 1.96^2 / (2 (n - 1))), that of the bias s / sqrt(n); intervals take Student's t on n - 1
    degrees of freedom. The differences are taken as normal.

    Args:
        predicted: ``(study,)``.
        reference: ``(study,)``; the differences are predicted minus reference.

    Reference: Bland & Altman, Lancet 1986, 10.1016/S0140-6736(86)90837-8; Measuring agreement in method comparison
        studies, Stat Methods Med Res 1999, 10.1177/096228029900800204, section 2.
    """
    error = _errors(predicted, reference)
    n = error.size
    if n < 2:
        unknown = Estimate(float("nan"), float("nan"), float("nan"), n)
        return BlandAltman(unknown._replace(value=mean_error(predicted, reference)), unknown, unknown, *unknown[1:3])
    mean, sd = float(error.mean()), float(error.std(ddof=1))
    limit_se = sd * float(np.sqrt(1 / n + Z95**2 / (2 * (n - 1))))
    t = float(stats.t.ppf(0.975, n - 1))

    def estimate(value: float, se: float) -> Estimate:
        return Estimate(value, value - t * se, value + t * se, n)

    return BlandAltman(
        estimate(mean, sd / float(np.sqrt(n))),
        estimate(mean - Z95 * sd, limit_se),
        estimate(mean + Z95 * sd, limit_se),
        sd,
        limit_se,
    )


def mean_absolute_error(predicted: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Mean absolute error over pairs in which both values are known; NaN if there is no such pair."""
    error = _errors(predicted, reference)
    return float(np.abs(error).mean()) if error.size else float("nan")


def root_mean_square_error(predicted: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Root mean square error over pairs in which both values are known; NaN if there is no such pair."""
    error = _errors(predicted, reference)
    return float(np.sqrt((error**2).mean())) if error.size else float("nan")


def mean_error(predicted: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Bias: mean of predicted minus reference over pairs in which both are known; NaN if there is no such pair."""
    error = _errors(predicted, reference)
    return float(error.mean()) if error.size else float("nan")


def coefficient_of_variation_pct(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Within-subject coefficient of variation of two repeated measurements, in per cent.

    It is the root of the mean of ``(difference ** 2 / 2) / mean ** 2``; NaN without a pair.

    Reference: Bland & Altman, Measurement error proportional to the mean, BMJ 1996.
    """
    a, b = _pairs(first, second)
    mean = (a + b) / 2
    if not a.size or (mean == 0).any():
        return float("nan")
    return float(100 * np.sqrt((((a - b) ** 2 / 2) / mean**2).mean()))


def bootstrapped(
    measure: Callable[[Floats, Floats], float],
    predicted: npt.ArrayLike,
    reference: npt.ArrayLike,
    rng: np.random.Generator,
    n_resamples: int = 1000,
) -> Estimate:
    """Bootstrap a measure of pairs in which both values are known; the interval is the percentile interval.

    Args:
        measure: function of predicted and reference values.
        predicted: ``(person,)``.
        reference: ``(person,)``.
        rng: source of the resampling.
        n_resamples: at least 100.

    Raises:
        ValueError: for fewer than 100 resamples, which are too few for a 95 % interval.

    Reference: Efron & Tibshirani, An introduction to the bootstrap, 1993.
    """
    a, b = _pairs(predicted, reference)
    return resampled(lambda people: measure(a[people], b[people]), a.size, rng, n_resamples)


def resampled(
    measure: Callable[[npt.NDArray[np.int64]], float], n: int, rng: np.random.Generator, n_resamples: int = 1000
) -> Estimate:
    """Bootstrap a measure of people: draw them with replacement; the interval is the percentile interval.

    Args:
        measure: function of the indices of people, 0 to ``n`` - 1; resamples in which it is NaN (for example without a
            case) do not count.
        n: number of people.
        rng: source of the resampling.
        n_resamples: at least 100.

    Raises:
        ValueError: as in :func:`bootstrapped`.
    """
    if n_resamples < 100:
        raise ValueError(f"{n_resamples} resamples are too few for a 95 % interval; give at least 100")
    everyone = np.arange(n)
    if n < 2:
        return Estimate(measure(everyone) if n else float("nan"), float("nan"), float("nan"), n)
    again = np.array([measure(people) for people in rng.integers(0, n, (n_resamples, n))])
    known = again[np.isfinite(again)]
    low, high = np.percentile(known, [2.5, 97.5]) if known.size else (float("nan"), float("nan"))
    return Estimate(measure(everyone), float(low), float(high), n)


def landmark_distance_mm(
    predicted_px: npt.ArrayLike, reference_px: npt.ArrayLike, pixel_mm: tuple[float, float]
) -> Floats:
    """Distances ``(..., landmark)`` of points ``(..., landmark, 2)`` (row, col); NaN where either is missing."""
    way = (np.asarray(predicted_px, np.float64) - np.asarray(reference_px, np.float64)) * np.asarray(pixel_mm)
    return np.asarray(np.linalg.norm(way, axis=-1))


def _errors(predicted: npt.ArrayLike, reference: npt.ArrayLike) -> Floats:
    a, b = _pairs(predicted, reference)
    return a - b


def _pairs(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"need two arrays of numbers of the same length, got shapes {a.shape} and {b.shape}")
    known = np.isfinite(a) & np.isfinite(b)
    return a[known], b[known]
