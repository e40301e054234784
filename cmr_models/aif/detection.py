"""The ventricles' blood in an arterial-input series: by the network, or by a rule that needs none.

Reference: Xue et al., Automated detection of left ventricle in arterial input function images for inline perfusion
mapping using deep learning, MRM 2020;84:2788 (arXiv 1910.07122).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from cmr_models.aif.network_input import (
    LAST_FRAME,
    channels,
    check_series,
    class_weights,
    pad_or_cut,
    resize,
    undo_pad_or_cut,
)
from cmr_models.aif.series_runner import shared_runner

Mask = npt.NDArray[np.uint8]
METHODS = ("network", "rule")

# Series whose longer side is in this range are padded, not resampled, on the network's grid of 64.
_NATIVE_SIDES = (52, 64)


def detect(
    series: npt.ArrayLike,
    *,
    method: str = "network",
    model: str = "default",
    n_classes: int = 3,
    device: str = "auto",
) -> Mask:
    """Find the blood of the left and the right ventricle.

    Args:
        series: (row, col, frame) magnitudes of the first echo, at least 12 frames; 30 to 170 were tried.
        method: "network", or "rule" for temporal features without a network; the choice is the caller's, neither
            stands in for the other.
        model: "default" for the network that ships with the package, or a folder made by training.
        n_classes: 3, or 2 for background and LV alone. The two are the three with the RV taken for background, whatever
            the method: a network that never learned the RV mistakes it for the LV more often (0.82 against 0.87 Dice
            in the paper), so none ships. A recipe with ``n_classes = 2`` trains one.
        device: of torch, for the network; "auto" is the GPU if there is one.

    Returns:
        (row, col) uint8: 0 background, 1 LV, 2 RV. All zero, or without LV, if none was found; a network of two
        classes never finds RV.

    Raises:
        ValueError: if ``series`` is not such a series, or ``method`` is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known are {METHODS}")
    if n_classes not in (2, 3):
        raise ValueError(f"n_classes is {n_classes}; it must be 2 or 3")
    values = check_series(series)
    mask = _by_rule(values) if method == "rule" else _by_network(values, model, device)
    return mask if n_classes == 3 else np.asarray(mask == 1, np.uint8)


def aif_input(series: npt.NDArray[np.float32], bins: int, size: int) -> Tensor:
    """The network's input ``(bins + 1, size, size)`` for ``series (row, col, frame)``."""
    image = channels(series[..., :LAST_FRAME], bins)
    return pad_or_cut(resize(image, *_grid(series.shape[0], series.shape[1], size)), size)


def aif_target(mask: Mask, size: int) -> Tensor:
    """``mask (row, col)`` on the network's grid, ``(size, size)`` int64."""
    shares = torch.stack([torch.from_numpy(mask == k).float() for k in (1, 2)])
    shares = pad_or_cut(resize(shares, *_grid(mask.shape[0], mask.shape[1], size)), size)
    return torch.where(shares.amax(0) > 0.5, shares.argmax(0) + 1, 0)


def _grid(rows: int, cols: int, size: int) -> tuple[int, int]:
    """Rows and columns on the network's grid, the field of view kept."""
    longer = max(rows, cols)
    if _NATIVE_SIDES[0] * size <= 64 * longer <= _NATIVE_SIDES[1] * size:
        return rows, cols
    scale = size / longer
    return max(1, round(rows * scale)), max(1, round(cols * scale))


def _by_network(series: npt.NDArray[np.float32], model: str, device: str) -> Mask:
    runner = shared_runner(model, "aif_detect", device)
    rows, cols = series.shape[:2]
    probability = runner.probabilities(aif_input(series, runner.bins, runner.card.size))
    probability = resize(undo_pad_or_cut(probability, *_grid(rows, cols, runner.card.size)), rows, cols)
    probability = probability / class_weights(runner.card)[:, None, None]
    winner = probability.argmax(0).numpy()
    mask = np.zeros((rows, cols), np.uint8)
    for chamber in range(probability.shape[0] - 1, 0, -1):
        mask[_likeliest_part(winner == chamber, probability[chamber].numpy())] = chamber
    return mask


def _likeliest_part(found: npt.NDArray[np.bool_], probability: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """The connected part with the most probability."""
    parts, n = ndimage.label(found)
    if n <= 1:
        return found
    weights = ndimage.sum_labels(probability, parts, np.arange(1, n + 1))
    return np.asarray(parts == 1 + int(np.argmax(weights)), np.bool_)


def _by_rule(series: npt.NDArray[np.float32]) -> Mask:
    """The two largest blobs that enhance strongest; the one that peaks first is the right ventricle."""
    smooth = ndimage.gaussian_filter(series[..., :LAST_FRAME], (0.7, 0.7, 1.0))
    rise = smooth - np.quantile(smooth, 0.1, axis=2, keepdims=True)
    peak = rise.max(2)
    fall = peak - np.median(rise[..., -max(3, rise.shape[2] // 5) :], axis=2)
    strong = fall > 0.45 * np.quantile(fall, 0.985)
    at = _centre_of_mass_frame(rise)
    split = _two_groups(at[strong])
    blobs = [_largest(strong & early) for early in (at <= split, at > split)]
    mask = np.zeros(series.shape[:2], np.uint8)
    mask[blobs[0]], mask[blobs[1]] = 2, 1
    return mask


def _centre_of_mass_frame(rise: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Frame of each pixel's first pass: the mean of frames above half its peak, weighted by the rise."""
    weight = np.where(rise > 0.5 * rise.max(2, keepdims=True), rise, 0)
    return np.asarray((weight * np.arange(rise.shape[2])).sum(2) / np.maximum(weight.sum(2), 1e-12), np.float64)


def _two_groups(values: npt.NDArray[np.float64]) -> float:
    """Otsu's threshold: the cut that leaves the least variance within the two groups."""
    ordered = np.sort(values)
    if ordered.size < 4:
        return float(np.median(ordered)) if ordered.size else 0.0
    n = np.arange(1, ordered.size)
    left = np.cumsum(ordered)[:-1]
    between = n * (ordered.size - n) * (left / n - (ordered.sum() - left) / (ordered.size - n)) ** 2
    cut = int(np.argmax(between))
    return float((ordered[cut] + ordered[cut + 1]) / 2)


def _largest(found: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return _likeliest_part(found, np.ones(found.shape, np.float32))
