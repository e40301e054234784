"""Quality of classification: accuracy, F1, MCC, area under the curve, sensitivity at fixed specificity and reverse."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]


def confusion(predicted: Ints, true: Ints, n_classes: int) -> npt.NDArray[np.int64]:
    """Confusion matrix: counts ``(true class, predicted class)``.

    Raises:
        ValueError: if lengths differ, or a class is outside 0 to ``n_classes`` - 1.
    """
    both = np.stack([true, predicted])  # raises for unequal lengths
    if both.size and (both.min() < 0 or both.max() >= n_classes):
        raise ValueError(f"classes must lie in 0..{n_classes - 1}, got {both.min()} to {both.max()}")
    table = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(table, (true, predicted), 1)
    return table


def accuracy(table: npt.NDArray[np.int64]) -> float:
    """Proportion of people in the right class, which is also the micro-averaged F1; NaN without people."""
    return float(np.trace(table) / table.sum()) if table.sum() else float("nan")


def macro_f1(table: npt.NDArray[np.int64]) -> float:
    """Mean F1 of the classes that occur in truth or prediction; NaN without people."""
    total = table.sum(0) + table.sum(1)
    occurring = total > 0
    return float((2 * np.diag(table)[occurring] / total[occurring]).mean()) if occurring.any() else float("nan")


def matthews(table: npt.NDArray[np.int64]) -> float:
    """Matthews correlation coefficient of any number of classes; NaN where truth or prediction has one class only.

    Reference: Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, 2004.
    """
    counts = table.astype(np.float64)
    n, true, predicted = counts.sum(), counts.sum(1), counts.sum(0)
    spread = (n**2 - (predicted**2).sum()) * (n**2 - (true**2).sum())
    return float((np.trace(counts) * n - true @ predicted) / np.sqrt(spread)) if spread > 0 else float("nan")


def area_under_curve(score: Floats, is_case: npt.NDArray[np.bool_]) -> float:
    """Proportion of pairs of case and control that ``score`` orders correctly, ties half; NaN without both."""
    cases = int(is_case.sum())
    controls = len(is_case) - cases
    if not cases or not controls:
        return float("nan")
    return float((rankdata(score)[is_case].sum() - cases * (cases + 1) / 2) / (cases * controls))


def macro_area(probabilities: Floats, true: Ints) -> float:
    """Mean area under the curve of each class against the others; NaN if no class has both cases and controls."""
    areas = [area_under_curve(probabilities[:, k], true == k) for k in range(probabilities.shape[1])]
    known = [area for area in areas if np.isfinite(area)]
    return float(np.mean(known)) if known else float("nan")


def sensitivity_at_specificity(score: Floats, is_case: npt.NDArray[np.bool_], specificity: float) -> float:
    """The highest sensitivity of thresholds with at least ``specificity``; NaN without cases or controls."""
    found, spared = _thresholds(score, is_case)
    return float(found[spared >= specificity].max()) if found.size else float("nan")


def specificity_at_sensitivity(score: Floats, is_case: npt.NDArray[np.bool_], sensitivity: float) -> float:
    """The highest specificity of thresholds with at least ``sensitivity``; NaN without cases or controls."""
    found, spared = _thresholds(score, is_case)
    return float(spared[found >= sensitivity].max()) if found.size else float("nan")


def _thresholds(score: Floats, is_case: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Sensitivity and specificity of "score >= t" for every distinct score t, and for a threshold above all scores."""
    cases, controls = np.sort(score[is_case]), np.sort(score[~is_case])
    if not cases.size or not controls.size:
        return np.empty(0), np.empty(0)
    cuts = np.append(np.unique(score), np.inf)
    found = 1 - np.searchsorted(cases, cuts, side="left") / cases.size
    return found, np.searchsorted(controls, cuts, side="left") / controls.size
