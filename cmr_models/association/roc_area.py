"""The area under the ROC curve with its interval, and the difference of two on the same people."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from cmr_models.estimates import NotEstimableError, minus_log10_p
from cmr_models.estimates.design_matrix import numbers

Floats = npt.NDArray[np.float64]

_Z95 = float(stats.norm.ppf(0.975))


class Area(NamedTuple):
    """An area under the curve, its standard error and 95 % interval (within 0 to 1).

    An area of 0 or 1 has neither: the scores at hand say nothing of how far the next one could be off.
    """

    auc: float
    se: float
    ci_low: float
    ci_high: float


class Difference(NamedTuple):
    """First area minus second, on the same people; two-sided test of no difference."""

    difference: float
    se: float
    ci_low: float
    ci_high: float
    z: float
    p: float
    minus_log10_p: float


class DeLong(NamedTuple):
    """Areas of one or two scores; ``b`` and ``paired`` are None for one."""

    a: Area
    b: Area | None
    paired: Difference | None
    n_cases: int
    n_controls: int

    @property
    def auc(self) -> float:
        """Area of the first score."""
        return self.a.auc

    @property
    def se(self) -> float:
        """Standard error of the area of the first score."""
        return self.a.se

    @property
    def ci_low(self) -> float:
        """Lower limit of the area of the first score."""
        return self.a.ci_low

    @property
    def ci_high(self) -> float:
        """Upper limit of the area of the first score."""
        return self.a.ci_high


def delong(y: npt.ArrayLike, score_a: npt.ArrayLike, score_b: npt.ArrayLike | None = None) -> DeLong:
    """Area under the ROC curve of one score, or of two with their difference, in O(n log n).

    Args:
        y: ``(n,)`` 1 for a case, 0 for a control.
        score_a: ``(n,)``; higher for cases.
        score_b: ``(n,)`` on the same people, compared with ``score_a``.

    Raises:
        ValueError: lengths differ, scores are not finite, an outcome that is not 0 or 1.
        NotEstimableError: fewer than two cases or two controls.

    Reference:
        DeLong, DeLong & Clarke-Pearson 1988, 10.2307/2531595; by midranks, Sun & Xu 2014,
        10.1109/LSP.2014.2337313.
    """
    cases = numbers(y, "y")
    scores = [numbers(score, "scores") for score in (score_a, score_b) if score is not None]
    if cases.ndim != 1 or any(score.shape != cases.shape for score in scores):
        raise ValueError(f"y and scores must be vectors of one length, got {cases.shape}, {scores[0].shape}")
    if not np.isin(cases, (0, 1)).all() or not all(np.isfinite(score).all() for score in scores):
        raise ValueError("y must be 0 or 1 and scores finite; drop rows with missing values first")
    positive = cases == 1
    n_cases, n_controls = int(positive.sum()), int((~positive).sum())
    if n_cases < 2:
        raise NotEstimableError("too_few_cases", f"{n_cases} cases; an interval needs two")
    if n_controls < 2:
        raise NotEstimableError("too_few_controls", f"{n_controls} controls; an interval needs two")
    placements = [_placements(score, positive) for score in scores]
    of_cases, of_controls = (np.array([both[k] for both in placements]) for k in (0, 1))
    covariance = np.atleast_2d(np.cov(of_cases)) / n_cases + np.atleast_2d(np.cov(of_controls)) / n_controls
    aucs = of_cases.mean(axis=1)
    areas = [_area(float(auc), float(variance)) for auc, variance in zip(aucs, np.diag(covariance), strict=True)]
    if len(areas) == 1:
        return DeLong(areas[0], None, None, n_cases, n_controls)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return DeLong(areas[0], areas[1], _difference(float(aucs[0] - aucs[1]), variance), n_cases, n_controls)


def _placements(score: Floats, positive: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Share of controls under each case, and of cases over each control; ties count one half."""
    of_all = stats.rankdata(score)
    n_cases, n_controls = positive.sum(), (~positive).sum()
    under = (of_all[positive] - stats.rankdata(score[positive])) / n_controls
    over = 1 - (of_all[~positive] - stats.rankdata(score[~positive])) / n_cases
    return np.asarray(under, np.float64), np.asarray(over, np.float64)


def _area(auc: float, variance: float) -> Area:
    if auc in (0.0, 1.0):
        return Area(auc, float("nan"), float("nan"), float("nan"))
    se = float(np.sqrt(max(variance, 0.0)))
    return Area(auc, se, max(0.0, auc - _Z95 * se), min(1.0, auc + _Z95 * se))


def _difference(difference: float, variance: float) -> Difference:
    # Two scores that rank everybody alike have no variance but that of rounding.
    se = float(np.sqrt(variance)) if variance > 1e-18 else 0.0
    if se == 0:
        z, p, evidence = (0.0, 1.0, 0.0) if abs(difference) < 1e-12 else (float("nan"),) * 3
        return Difference(difference, se, difference, difference, z, p, evidence)
    z = difference / se
    p, evidence = float(2 * stats.norm.sf(abs(z))), float(minus_log10_p(z))
    return Difference(difference, se, difference - _Z95 * se, difference + _Z95 * se, z, p, evidence)
