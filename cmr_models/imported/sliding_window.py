"""nnU-Net's sliding window: overlapping patches, mirrored, weighted by a Gaussian.

As ``nnUNetPredictor`` of nnunetv2 2.8, down to the half precision in which it adds up the patches, so that labels are
those of its own predictor (Isensee et al., Nature Methods 2021).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

_STEP = 0.5
_SIGMA = 1 / 8
_LARGEST_WEIGHT = 10

Forward = Callable[[Tensor], Tensor]


def slide(volume: Tensor, forward: Forward, patch: Sequence[int], mirror_axes: Sequence[int], n_classes: int) -> Tensor:
    """Logits of a volume.

    Args:
        volume: ``(channel, a, b, c)``; a patch of two axes slides over every ``a``.
        forward: ``(1, channel, *patch)`` to logits ``(1, class, *patch)`` in float32 on the CPU.
        patch: voxels of the window.
        mirror_axes: axes of the patch along which it is also seen mirrored.
        n_classes: channels of the logits.

    Returns:
        ``(class, a, b, c)`` in half precision.
    """
    padded, inner = _pad(volume, patch)
    weights = gaussian(tuple(patch))
    logits = torch.zeros((n_classes, *padded.shape[1:]), dtype=torch.half)
    total = torch.zeros(padded.shape[1:], dtype=torch.half)
    for place in _places(padded.shape[1:], patch):
        seen = padded[(slice(None), *place)][None].contiguous()
        logits[(slice(None), *place)] += _mirrored(seen, forward, mirror_axes)[0] * weights
        total[place] += weights
    return (logits / total)[(slice(None), *inner)]


def window_starts(n: int, patch: int) -> list[int]:
    """First voxel of each window along an axis of ``n`` voxels: evenly spread, at most half a window apart."""
    n_steps = math.ceil((n - patch) / (patch * _STEP)) + 1
    return [round((n - patch) / (n_steps - 1) * i) for i in range(n_steps)] if n_steps > 1 else [0]


@functools.lru_cache(maxsize=8)
def gaussian(patch: tuple[int, ...]) -> Tensor:
    """Weights of a window, 10 in the middle voxel, a standard deviation of an eighth of it, nowhere zero."""
    weights = np.zeros(patch)
    weights[tuple(n // 2 for n in patch)] = 1
    weights = ndimage.gaussian_filter(weights, [n * _SIGMA for n in patch], 0, mode="constant")
    halved = torch.from_numpy(weights / (weights.max() / _LARGEST_WEIGHT)).half()
    return halved.clamp_min(halved[halved > 0].min().item())


def _mirrored(seen: Tensor, forward: Forward, mirror_axes: Sequence[int]) -> Tensor:
    """The mean of the logits over all mirror images of a patch."""
    axes = [axis + 2 for axis in mirror_axes]
    total = forward(seen)
    flips = [flip for n in range(1, len(axes) + 1) for flip in itertools.combinations(axes, n)]
    for flip in flips:
        total = total + forward(seen.flip(flip)).flip(flip)
    return total / (len(flips) + 1)


def _places(shape: Sequence[int], patch: Sequence[int]) -> Iterator[tuple[int | slice, ...]]:
    starts = [window_starts(n, size) for n, size in zip(shape[-len(patch) :], patch, strict=True)]
    flat = [(i,) for i in range(shape[0])] if len(patch) == 2 else [()]
    for first in flat:
        for start in itertools.product(*starts):
            yield (*first, *(slice(s, s + size) for s, size in zip(start, patch, strict=True)))


def _pad(volume: Tensor, patch: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """The volume with zeros around it where it is smaller than the patch, and where the volume lies in it."""
    lacking = [0] * (3 - len(patch)) + [
        max(0, size - n) for size, n in zip(patch, volume.shape[-len(patch) :], strict=True)
    ]
    before = [n // 2 for n in lacking]
    inner = tuple(slice(b, b + n) for b, n in zip(before, volume.shape[1:], strict=True))
    around = [(b, n - b) for b, n in zip(before, lacking, strict=True)]
    return F.pad(volume, [n for pair in reversed(around) for n in pair]), inner
