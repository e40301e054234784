"""Augmentation of a training sample on the network's grid: parameters drawn first, then applied.

Reference: Fu et al., Communications Medicine 2026, each operation with a chance of a half: gamma, noise, rotation,
translation, scale, one hole. The published pretraining ignores its configured rotation, translation and scale (only a
zoom of 0.9 to 1.1 is ever drawn); here the ranges that are given are the ranges that are drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class SampleAugmentation:
    """Ranges; a range of zero switches an operation off.

    Attributes:
        chance: of each operation.
        gamma: lowest and highest exponent.
        noise_sd: of Gaussian noise on intensities in 0..1, at most.
        rotation_deg: in the plane, either way.
        translation: share of the image's width and height, either way (60 of 192 px as published).
        scale: share, either way.
        hole: share of the width of the one square hole, two slices deep (40 of 192 px as published).
    """

    chance: float = 0.5
    gamma: tuple[float, float] = (0.5, 1.5)
    noise_sd: float = 0.1
    rotation_deg: float = 180.0
    translation: float = 60 / 192
    scale: float = 0.2
    hole: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.chance <= 1 or not 0 <= self.scale < 1 or not 0 <= self.hole < 1:
            raise ValueError(f"chance, scale and hole are shares of 1, got {self.chance}, {self.scale}, {self.hole}")
        if not 0 < self.gamma[0] <= self.gamma[1]:
            raise ValueError(f"gamma must be a rising range above 0, got {self.gamma}")


@dataclass(frozen=True)
class SampleChange:
    """What the augmentation does to one sample; the defaults change nothing.

    ``hole`` is where the hole lies along x, y, z, from 0 to 1; ``hole_share`` is its width, as a part of the image.
    """

    gamma: float = 1.0
    noise_sd: float = 0.0
    noise_seed: int = 0
    rotation_deg: float = 0.0
    translation: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    hole: tuple[float, float, float] | None = None
    hole_share: float = 0.0


def draw_change(rng: np.random.Generator, ranges: SampleAugmentation) -> SampleChange:
    """The change of one sample: each operation with its chance, each parameter in its range."""
    use = rng.random(6) < ranges.chance
    gamma, noise, turn = rng.uniform(*ranges.gamma), rng.uniform(0, ranges.noise_sd), rng.uniform(-1, 1)
    shift, scale, hole = rng.uniform(-1, 1, 2), rng.uniform(-1, 1), rng.random(3)
    seed = int(rng.integers(2**31))
    return SampleChange(
        gamma=float(gamma) if use[0] else 1.0,
        noise_sd=float(noise) if use[1] else 0.0,
        noise_seed=seed,
        rotation_deg=float(turn) * ranges.rotation_deg if use[2] else 0.0,
        translation=(float(shift[0]) * ranges.translation, float(shift[1]) * ranges.translation)
        if use[3]
        else (0.0, 0.0),
        scale=1 + float(scale) * ranges.scale if use[4] else 1.0,
        hole=(float(hole[0]), float(hole[1]), float(hole[2])) if use[5] and ranges.hole else None,
        hole_share=ranges.hole,
    )


def augment(image: Tensor, change: SampleChange) -> Tensor:
    """``(C, x, y[, z])`` in 0..1 with the change applied, again from 0 to 1."""
    image = image.clamp(0, 1) ** change.gamma
    if change.noise_sd:
        generator = torch.Generator().manual_seed(change.noise_seed)
        image = image + change.noise_sd * torch.randn(image.shape, generator=generator)
    moved = move_image(_rescale(image), change)
    return _cut_hole(moved, change) if change.hole is not None else moved


def move_image(image: Tensor, change: SampleChange, mode: str = "bilinear") -> Tensor:
    """``(C, x, y[, z])`` turned, scaled and shifted in the plane; zero where nothing was imaged."""
    if change.rotation_deg == 0 and change.scale == 1 and change.translation == (0.0, 0.0):
        return image
    planes = image.flatten(3).movedim(-1, 1).flatten(0, 1)[None] if image.ndim == 4 else image[None]
    matrix, shift = _to_source(change, image.shape[1], image.shape[2])
    theta = torch.cat([matrix, shift[:, None]], 1)[None]
    # grid_sample speaks of the last axis first, so that (y, x) of an array (x, y) is its (x, y)
    grid = F.affine_grid(theta, [1, 1, image.shape[1], image.shape[2]], align_corners=False)
    sampled = F.grid_sample(planes, grid, mode=mode, padding_mode="zeros", align_corners=False)[0]
    return sampled.unflatten(0, (image.shape[0], image.shape[3])).movedim(1, -1) if image.ndim == 4 else sampled  # type: ignore[no-untyped-call]


def move_labels(labels: Tensor, change: SampleChange) -> Tensor:
    """Labels ``(x, y[, z])`` moved with their image; 0 where nothing was imaged."""
    return move_image(labels[None].float(), change, "nearest")[0].to(labels.dtype)


def move_points(points_px: Tensor, change: SampleChange, size: tuple[int, int]) -> Tensor:
    """Points ``(landmark, 2)`` (x, y) in pixels moved with their image."""
    matrix, shift = _to_source(change, *size)
    extent = torch.tensor([size[1], size[0]], dtype=torch.float32)
    source = (2 * points_px.flip(-1).float() + 1) / extent - 1  # (y, x), -1 to 1 edge to edge
    target = torch.linalg.solve(matrix, (source - shift).T).T
    moved: Tensor = ((target + 1) * extent / 2 - 0.5).flip(-1)
    return moved


def _to_source(change: SampleChange, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Matrix and shift from where a pixel is afterwards to where it was, both in (y, x) from -1 to 1."""
    angle = math.radians(change.rotation_deg)
    cos, sin = math.cos(angle) / change.scale, math.sin(angle) / change.scale
    stretch = width / height
    matrix = torch.tensor([[cos, -sin * stretch], [sin / stretch, cos]], dtype=torch.float32)
    moved = torch.tensor([2 * change.translation[1], 2 * change.translation[0]])
    return matrix, -matrix @ moved


def _cut_hole(image: Tensor, change: SampleChange) -> Tensor:
    assert change.hole is not None
    place = [slice(None)]
    for axis, (n, share) in enumerate(zip(image.shape[1:], change.hole, strict=False)):
        width = max(1, round(change.hole_share * n)) if axis < 2 else min(2, n)
        start = int(share * (n - width + 1))
        place.append(slice(start, start + width))
    image = image.clone()
    image[tuple(place)] = 0
    return image


def _rescale(image: Tensor) -> Tensor:
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else torch.zeros_like(image)
