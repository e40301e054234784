"""Square crops at a fixed pixel size with standardised intensity, for a network; and the way back to the image."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_CLIP_SD = 3.0


@dataclass(frozen=True)
class CropWindow:
    """Position of the crops of a stack, the same for all its frames and slices.

    ``centre_px`` is (row, col) in the image; ``step_px`` the image pixels from one crop pixel to the next,
    (row, col); ``slice_mm`` the distance of the slices, None if unknown.
    """

    centre_px: tuple[float, float]
    step_px: tuple[float, float]
    size: int
    slice_mm: float | None = None

    def judged(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """``(frame, slice)``: True where the crop shows anything; a crop of an image with contrast is taken to."""
        return np.ones(shape[:2], bool)

    def parameters(self) -> dict[str, Any]:
        """Plain values, kept beside what was computed with them."""
        return {"centre_px": self.centre_px, "step_px": self.step_px, "size": self.size}


def standardise(images: Tensor) -> Tensor:
    """Images ``(batch, channel, row, col)`` with mean 0 and standard deviation 1 each.

    Values are clipped at 3 standard deviations and standardised again, so that bright fat near a coil does not set
    the scale. A constant image becomes zeros.
    """
    clipped = _scale(images.float()).clamp(-_CLIP_SD, _CLIP_SD)
    return _scale(clipped)


def crop(images: Tensor, window: CropWindow) -> Tensor:
    """Crops ``(batch, size, size)`` of ``images (batch, row, col)``; zero outside the image.

    Linear interpolation, averaged over the crop pixel where that is the larger one.
    """
    rows = _sampling_matrix(images.shape[1], window.centre_px[0], window.step_px[0], window.size)
    cols = _sampling_matrix(images.shape[2], window.centre_px[1], window.step_px[1], window.size)
    row, col = _support(rows), _support(cols)
    left, right = rows[:, row].copy(), cols[:, col].T.copy()
    return torch.from_numpy(left).to(images) @ images[:, row, col] @ torch.from_numpy(right).to(images)


def image_region(window: CropWindow, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of the image whose centres lie inside the crop."""
    first, last = zip(*map(_extent, window.centre_px, window.step_px, itertools.repeat(window.size)), strict=True)
    row, col = (
        slice(max(0, int(np.ceil(a))), max(0, min(n, int(np.floor(b)) + 1)))
        for a, b, n in zip(first, last, shape, strict=True)
    )
    return row, col


def resample_to_image(crops: Tensor, window: CropWindow, region: tuple[slice, slice]) -> Tensor:
    """Crops ``(..., size, size)`` interpolated linearly at the image pixels of ``region``."""
    rows, cols = (
        _interpolation_matrix(part, centre, step, window.size)
        for part, centre, step in zip(region, window.centre_px, window.step_px, strict=True)
    )
    return torch.from_numpy(rows).to(crops) @ crops @ torch.from_numpy(cols.T.copy()).to(crops)


def _scale(images: Tensor) -> Tensor:
    mean = images.mean(dim=(-2, -1), keepdim=True)
    sd = images.std(dim=(-2, -1), keepdim=True, correction=0)
    return (images - mean) / torch.where(sd > 1e-6 * (1 + mean.abs()), sd, torch.inf)


def _extent(centre: float, step: float, size: int) -> tuple[float, float]:
    half = step * (size - 1) / 2
    return centre - half, centre + half


def _sampling_matrix(n: int, centre: float, step: float, size: int) -> npt.NDArray[np.float32]:
    """``(size, n)`` weights of a triangle filter as wide as the larger of the two pixels."""
    positions = centre + step * (np.arange(size) - (size - 1) / 2)
    width = max(1.0, step)
    weights = np.clip(1 - np.abs(positions[:, None] - np.arange(n)[None]) / width, 0, None)
    inside = (positions > -0.5 - 0.5 * step) & (positions < n - 0.5 + 0.5 * step)
    total = np.maximum(weights.sum(1, keepdims=True), 1e-9)
    return np.asarray(weights / total * inside[:, None], np.float32)


def _support(weights: npt.NDArray[np.float32]) -> slice:
    """The columns from the first to the last that has any weight; at least one."""
    used = np.flatnonzero(weights.any(axis=0))
    return slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1)


def _interpolation_matrix(part: slice, centre: float, step: float, size: int) -> npt.NDArray[np.float32]:
    """``(pixels of part, size)`` weights of linear interpolation between crop pixels."""
    positions = (np.arange(part.start, part.stop) - centre) / step + (size - 1) / 2
    weights = np.clip(1 - np.abs(positions[:, None] - np.arange(size)[None]), 0, None)
    return np.asarray(weights, np.float32)
