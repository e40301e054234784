"""Losses of the fine-tuning tasks.

Reference: Fu et al., Communications Medicine 2026: soft Dice without background and cross-entropy for labels, Dice and
binary cross-entropy for heatmaps, label smoothing for classes, and for coordinates the wing loss (Feng et al., CVPR
2018) on the points and on each point less the mean of the others.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LABEL_SMOOTHING = 0.1
WING_WIDTH_PX, WING_CURVATURE_PX = 10.0, 2.0


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Soft Dice loss of all classes but 0, plus cross-entropy; ``logits (B, class, ...)``, ``labels (B, ...)``."""
    probability = logits.float().softmax(1)
    truth = F.one_hot(labels.long(), logits.shape[1]).movedim(-1, 1).float()
    return _dice(probability[:, 1:], truth[:, 1:]) + F.cross_entropy(logits.float(), labels.long())


def heatmap_loss(logits: Tensor, heatmaps: Tensor) -> Tensor:
    """Soft Dice loss and binary cross-entropy of ``(B, landmark, x, y)`` logits and targets in 0..1."""
    return _dice(logits.float().sigmoid(), heatmaps) + F.binary_cross_entropy_with_logits(logits.float(), heatmaps)


def classification_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy with label smoothing of ``(B, class)`` logits and ``(B,)`` classes."""
    return F.cross_entropy(logits.float(), classes.long(), label_smoothing=LABEL_SMOOTHING)


def coordinate_loss(points_px: Tensor, truth_px: Tensor) -> Tensor:
    """Wing loss of ``(B, landmark, 2)`` points in pixels, and of each one less the mean of the others."""
    return wing(points_px - truth_px) + wing(_from_others(points_px) - _from_others(truth_px))


def wing(error_px: Tensor) -> Tensor:
    """Mean wing loss: logarithmic for small errors, linear from ``WING_WIDTH_PX`` on, continuous between."""
    size = error_px.float().abs()
    offset = WING_WIDTH_PX * (1 - math.log(1 + WING_WIDTH_PX / WING_CURVATURE_PX))
    near = WING_WIDTH_PX * torch.log1p(size / WING_CURVATURE_PX)
    return torch.where(size < WING_WIDTH_PX, near, size - offset).mean()


def gaussian_heatmaps(points_px: Tensor, size: tuple[int, int], sigma_px: float = 3.0) -> Tensor:
    """Targets ``(B, landmark, x, y)`` with the peak 1 at ``points_px (B, landmark, 2)``."""
    x = torch.arange(size[0], device=points_px.device)[:, None]
    y = torch.arange(size[1], device=points_px.device)[None]
    squared = (x - points_px[..., 0, None, None]) ** 2 + (y - points_px[..., 1, None, None]) ** 2
    return torch.exp(-squared / (2 * sigma_px**2))


def _from_others(points: Tensor) -> Tensor:
    n = points.shape[1]
    return points - (points.sum(1, keepdim=True) - points) / max(1, n - 1)


def _dice(probability: Tensor, truth: Tensor, smooth: float = 1e-5) -> Tensor:
    """Mean over images and channels; a structure absent from both counts as found."""
    overlap, total = (probability * truth).flatten(2).sum(-1), (probability + truth).flatten(2).sum(-1)
    return (1 - (2 * overlap + smooth) / (total + smooth)).mean()
