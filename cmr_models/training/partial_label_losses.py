"""Losses for partial labels: each pixel says which classes are possible, one of them or several.

The possible classes of a pixel are a bit set: bit ``c`` is set where class ``c`` may be true. A fully labelled pixel
has one bit, an unlabelled one has all; an image with only the left ventricle drawn has ``{LV}`` inside the contour and
everything else outside.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def possible_classes(labels: Tensor) -> Tensor:
    """Bit sets ``(...)`` int64 of fully labelled pixels ``labels (...)``: exactly one class each."""
    return torch.ones_like(labels, dtype=torch.int64) << labels.to(torch.int64)


def partial_cross_entropy(logits: Tensor, possible: Tensor) -> Tensor:
    """Mean of ``-log sum of the probabilities of the possible classes``.

    Args:
        logits: ``(batch, class, row, col)``.
        possible: ``(batch, row, col)`` bit sets, none empty.

    Returns:
        A scalar; with one class a pixel it is the cross-entropy, with all of them 0.

    Raises:
        ValueError: if shapes disagree or a pixel has no possible class.
    """
    allowed = _allowed(logits, possible)
    log_probability = F.log_softmax(logits.float(), dim=1)
    return -torch.logsumexp(log_probability.masked_fill(~allowed, -torch.inf), dim=1).mean()


def partial_dice(logits: Tensor, possible: Tensor, smooth: float = 5.0) -> Tensor:
    """One minus the soft Dice overlap, mean over the structures of all images, counting only the pixels that decide.

    A pixel decides class ``c`` if ``c`` is its only possible class (it is ``c``) or is impossible (it is not). A class
    that no pixel of an image is known to be does not count there, and background, class 0, never does. Small structures
    count as much as large ones: each image has its own overlap.

    Args:
        logits: ``(batch, class, row, col)``.
        possible: ``(batch, row, col)`` bit sets.
        smooth: pixels added to numerator and denominator, so that tiny structures do not make it jump.

    Returns:
        A scalar; 0 if nothing counts.
    """
    allowed = _allowed(logits, possible)
    probability = F.softmax(logits.float(), dim=1)
    certain = (allowed.sum(dim=1, keepdim=True) == 1) & allowed  # (B, C, H, W)
    decided = certain | ~allowed
    overlap = (probability * certain).sum((2, 3))
    total = (probability * decided).sum((2, 3)) + certain.sum((2, 3))
    loss = 1 - (2 * overlap + smooth) / (total + smooth)
    counted = certain.any(dim=3).any(dim=2)
    counted[:, 0] = False
    return (loss * counted).sum() / counted.sum().clamp(min=1)


def narrow(possible: Tensor, probability: Tensor, confidence: float) -> Tensor:
    """Reduce bit sets with several classes to the one that a teacher gives with confidence.

    Args:
        possible: ``(batch, row, col)`` bit sets.
        probability: ``(batch, class, row, col)`` of the teacher.
        confidence: the best class must have more than this part of the probability of all possible classes.

    Returns:
        Bit sets of the same shape: subsets of ``possible``.
    """
    within = probability * _allowed(probability, possible)
    best, winner = within.max(dim=1)
    confident = best > confidence * within.sum(dim=1)
    return torch.where(confident, torch.ones_like(possible) << winner, possible)


def _allowed(logits: Tensor, possible: Tensor) -> Tensor:
    if logits.ndim != 4 or possible.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"possible classes must have the shape (batch, row, col) of the logits {tuple(logits.shape)}, "
            f"got {tuple(possible.shape)}"
        )
    bits = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1)
    allowed: Tensor = ((possible.unsqueeze(1) >> bits) & 1).bool()
    if not bool(allowed.any(dim=1).all()):
        raise ValueError("a pixel has no possible class; set every bit where nothing is known")
    return allowed
