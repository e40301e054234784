"""A network on a whole image, or on overlapping windows whose outputs are averaged, as MONAI's inferers do it.

After ``sliding_window_inference`` of MONAI 1.6: windows at even distances from the first voxel, the last one moved
back inside; weights are equal or Gaussian.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_LEAST_WEIGHT = 1e-3
_MOST_WINDOWS = 100_000

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Windows:
    """What the network sees at a time.

    Attributes:
        size: voxels of the window; an axis is seen whole where that is not positive. Empty for whole images.
        overlap: of neighbouring windows, as a part of their size.
        gaussian: weights fall off from the middle.
        sigma: their standard deviation, as a part of the size.
        replicate: around images that are smaller than the window lie their last voxels, not zeros.
    """

    size: tuple[int, ...] = ()
    overlap: float = 0.25
    gaussian: bool = False
    sigma: float = 0.125
    replicate: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1 or self.sigma <= 0 or not all(-1 <= n <= 4096 for n in self.size):
            raise ValueError(f"windows overlap by 0 to 1 of their size, at most 4096 voxels; got {self}")


def run_windows(image: Tensor, forward: Forward, windows: Windows) -> Tensor:
    """The network's output ``(class, ...)`` of an image ``(1, ...)``."""
    before = tuple(image.shape[1:])
    if not windows.size:
        return _checked(forward(image[None]), before)[0]
    size = tuple(n if n > 0 else whole for n, whole in zip(windows.size, before, strict=True))
    padded, inner = _padded(image, size, "replicate" if windows.replicate else "constant")
    shape = tuple(padded.shape[1:])
    weights = _weights(size, windows.gaussian, windows.sigma)
    starts = [_starts(n, w, windows.overlap) for n, w in zip(shape, size, strict=True)]
    if math.prod(map(len, starts)) > _MOST_WINDOWS:
        raise ValueError(f"an image of {list(before)} voxels has more than {_MOST_WINDOWS} windows of {list(size)}")
    total, sums = torch.zeros(shape), torch.zeros(())
    for start in itertools.product(*starts):
        place = (slice(None), *(slice(s, s + w) for s, w in zip(start, size, strict=True)))
        seen = _checked(forward(padded[place][None].contiguous()), size)[0] * weights
        sums = torch.zeros((len(seen), *shape)) if sums.ndim == 0 else sums
        sums[place] += seen
        total[place[1:]] += weights
    return (sums / total)[(slice(None), *inner)]


def _starts(n: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows along an axis of ``n`` voxels."""
    step = n if n == window else max(int(window * (1 - overlap)), 1)
    count = math.ceil((n - window) / step) + 1
    return [min(i * step, n - window) for i in range(count)]


@functools.lru_cache(maxsize=8)
def _weights(size: tuple[int, ...], gaussian: bool, sigma: float) -> Tensor:
    weights = torch.ones(())
    for n in size:
        places = torch.arange(n, dtype=torch.float32) - (n - 1) / 2
        along = torch.exp(places**2 / (-2 * (n * sigma) ** 2)) if gaussian else torch.ones(n)
        weights = weights[..., None] * along
    return weights.clamp_min(max(float(weights.min()), _LEAST_WEIGHT))


def _padded(image: Tensor, size: Sequence[int], mode: str) -> tuple[Tensor, tuple[slice, ...]]:
    """The image with voxels around it where it is smaller than the window, and where it lies in it."""
    lacking = [max(w - n, 0) for n, w in zip(image.shape[1:], size, strict=True)]
    before = [n // 2 for n in lacking]
    inner = tuple(slice(b, b + n) for b, n in zip(before, image.shape[1:], strict=True))
    around = [(b, n - b) for b, n in zip(before, lacking, strict=True)]
    return F.pad(image[None], [n for pair in reversed(around) for n in pair], mode)[0], inner


def _checked(output: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(output.shape[2:]) != shape:
        raise ValueError(f"the network gives {tuple(output.shape[2:])} voxels for {shape}; it is no segmentation")
    return output
