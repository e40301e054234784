"""The running mean of a network's weights over a training.

Reference: Tarvainen & Valpola, Mean teachers are better role models, NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def update_mean(mean: nn.Module, network: nn.Module, decay: float) -> None:
    """Replace the weights of ``mean`` by ``decay`` times themselves plus 1 - ``decay`` times those of ``network``.

    Integer buffers (counts of batches) are copied.

    Raises:
        ValueError: if the two networks do not have the same number of weights.
    """
    with torch.no_grad():
        for old, new in zip(_tensors(mean), _tensors(network), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - decay)
            else:
                old.copy_(new)


def decay_at(step: int, decay: float) -> float:
    """The decay after ``step`` steps: short at first, so that the random initial weights are soon forgotten."""
    return min(decay, step / (step + 10))


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()
