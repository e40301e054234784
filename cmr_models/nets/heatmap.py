"""Where a landmark heatmap peaks: the published whole-pixel rule, and the same without its truncation."""

from __future__ import annotations

import torch
from torch import Tensor

PUBLISHED_BETA = 1000.0


def soft_argmax(heatmaps: Tensor, beta: float = PUBLISHED_BETA) -> Tensor:
    """Sub-pixel peak: the mean position under a softmax of ``beta`` times the heatmap.

    Args:
        heatmaps: (B, landmark, X, Y) in 0..1, that is after the sigmoid.
        beta: sharpness; 1000 as published (Fu et al., Communications Medicine 2026).

    Returns:
        (B, 2 x landmark) pixel coordinates x1, y1, x2, y2, ...

    Raises:
        ValueError: a wrong number of axes or a beta that is not positive.
    """
    if heatmaps.ndim != 4:
        raise ValueError(f"heatmaps must be (batch, landmark, x, y), got {tuple(heatmaps.shape)}")
    if beta <= 0:
        raise ValueError(f"beta must be positive, got {beta}")
    width, height = heatmaps.shape[2:]
    weight = (beta * heatmaps.float()).flatten(2).softmax(-1).unflatten(-1, (width, height))  # type: ignore[no-untyped-call]
    x = (weight.sum(3) * torch.arange(width, device=weight.device)).sum(-1)  # (B, landmark)
    y = (weight.sum(2) * torch.arange(height, device=weight.device)).sum(-1)
    return torch.stack([x, y], dim=-1).flatten(1)


def published_coordinates(heatmaps: Tensor) -> Tensor:
    """:func:`soft_argmax` truncated to whole pixels as published, so up to a pixel low: (B, 2 x landmark) int64."""
    return soft_argmax(heatmaps).long()
