"""The learning rate over a training: a linear warm-up from zero, then half a cosine down to a floor."""

from __future__ import annotations

import math


def learning_rate(step: int, *, peak: float, floor: float, warmup_steps: int, total_steps: int) -> float:
    """The rate of optimiser step ``step``, counted from 0.

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
    done = (step - warmup_steps) / (total_steps - warmup_steps)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * done))
