"""The learning rate over a training: a linear warm-up, and half a cosine down to a floor."""

from __future__ import annotations

import math


def cosine_after_warmup(step: int, *, peak: float, floor: float, warmup_steps: int, total_steps: int) -> float:
    """The rate of optimiser step ``step``, counted from 0; the cosine begins where the warm-up ends.

    Args:
        step: 0 .. ``total_steps``.
        peak: reached at the end of the warm-up.
        floor: reached at ``total_steps``.
        warmup_steps: steps of the warm-up; step 0 has the rate 0 if there is one.
        total_steps: steps of the whole training.

    Raises:
        ValueError: if the warm-up is not shorter than the training, or ``step`` is outside it.

    Reference: Fu et al., Communications Medicine 2026: set at every iteration, not every epoch.
    """
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"the warm-up of {warmup_steps} steps must be shorter than the training of {total_steps}")
    if not 0 <= step <= total_steps:
        raise ValueError(f"step {step} is outside the training of {total_steps} steps")
    if step < warmup_steps:
        return peak * step / warmup_steps
    return floor + (peak - floor) * _half_cosine((step - warmup_steps) / (total_steps - warmup_steps))


def cosine_with_warmup(step: int, *, peak: float, warmup_steps: int, total_steps: int) -> float:
    """The rate of optimiser step ``step``, counted from 0; the cosine begins at step 0, the warm-up multiplies it.

    Args:
        step: from 0.
        peak: the rate without warm-up at step 0.
        warmup_steps: steps of the warm-up, of which the first has the factor 1 / ``warmup_steps``; 0 for none.
        total_steps: where the rate reaches 0; it stays there.
    """
    warmup = min(1.0, (step + 1) / max(1, warmup_steps))
    return peak * (warmup * _half_cosine(min(1.0, step / max(1, total_steps))))


def _half_cosine(done: float) -> float:
    """From 1 where ``done`` is 0 to 0 where it is 1."""
    return 0.5 * (1 + math.cos(math.pi * done))
