"""Batches of crops for the 2-D segmentation networks, from simulated and real images; and the held-out images."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cmr_models.contracts import LV
from cmr_models.segmentation.crops import standardise
from cmr_models.training.augmentation import Augmentation, crop_images, draw_geometry, vary_scanner
from tasks.training.segmentation_data import (
    ImagePool,
    fold_patients,
    loosen_endocardium,
    real_pool,
    sampling_probability,
    simulated_pool,
)
from tasks.training.segmentation_settings import TrainingSettings

_MOST_HELD_OUT = 48
_UPRIGHT = Augmentation(
    pixel_log_sd=0, coarse_chance=0, shift_sd_mm=0, anywhere_chance=0, small_rotation_sd_deg=0,
    any_rotation_chance=0, mirror_chance=0, shear_sd=0, deformation_sd_mm=0,
)  # fmt: skip


class TrainingImages(NamedTuple):
    """All images of a training; those ``held_out`` are only measured."""

    simulated: ImagePool
    real: ImagePool | None = None
    held_out: ImagePool | None = None


class Batch(NamedTuple):
    """The images of a step, of which the last ``n_real`` are real.

    Attributes:
        crops: (n, 1, size, size), varied and standardised.
        clean: (n, 1, size, size), the same without variation of the intensity: what a teacher sees.
        possible: (n, size, size), bit sets of possible classes.
    """

    crops: Tensor
    clean: Tensor
    possible: Tensor
    n_real: int


def read_images(settings: TrainingSettings, simulated_cache: Path) -> TrainingImages:
    """The images that the settings name; simulated ones are made in ``simulated_cache`` if they are not there yet."""
    view = settings.task.removeprefix("segment_")
    simulated = simulated_pool(
        simulated_cache, view, settings.n_simulated, settings.simulation_seed, settings.simulation_workers
    )
    if settings.loose_endocardium:
        simulated = loosen_endocardium(simulated)
    return TrainingImages(simulated, *split_real_images(settings))


def split_real_images(settings: TrainingSettings) -> tuple[ImagePool | None, ImagePool | None]:
    """The real images to train on, and those of the patients of the fold that is held out."""
    if not settings.real:
        return None, None
    pool = real_pool(Path(settings.real), settings.real_pixel_mm)
    out = fold_patients(pool.patient, settings.fold, settings.n_folds) if settings.fold >= 0 else set()
    held_out = np.array([name in out for name in pool.patient])
    excluded = np.array([name in settings.real_excluded for name in pool.patient])
    return pool.select(~held_out & ~excluded), pool.select(held_out) if out else None


def draw_batch(rng: np.random.Generator, settings: TrainingSettings, images: TrainingImages, step: int) -> Batch:
    """The batch of ``step``: simulated images alone at first, then a part of real ones."""
    mixed = images.real is not None and step >= settings.simulated_steps
    n_real = round(settings.batch * settings.real_share) if mixed else 0
    parts = [(images.simulated, settings.batch - n_real)]
    if images.real is not None and n_real:
        parts.append((images.real, n_real))
    drawn = [draw_crops(rng, settings, pool, n) for pool, n in parts]
    clean, possible = (torch.cat(tensors) for tensors in zip(*drawn, strict=True))
    strength = np.repeat([1.0, settings.real_strength], [settings.batch - n_real, n_real])
    crops = vary_scanner(rng, settings.augmentation, clean, strength)
    return Batch(crops, standardise(clean), possible, n_real)


def draw_crops(rng: np.random.Generator, settings: TrainingSettings, pool: ImagePool, n: int) -> tuple[Tensor, Tensor]:
    """Crops (n, 1, size, size) with random geometry, and their possible classes (n, size, size)."""
    emphasis = settings.small_pool_emphasis if pool.is_real else 0.0
    chosen = rng.choice(len(pool), n, p=sampling_probability(pool, emphasis) if emphasis else None)
    variation = settings.augmentation.scale(settings.real_strength) if pool.is_real else settings.augmentation
    geometry = draw_geometry(rng, variation, pool.heart_px[chosen], pool.pixel_mm[chosen], pool.images.shape[1:])
    crops = crop_images(torch.from_numpy(pool.images[chosen, None]), geometry, settings.size)
    bits = torch.from_numpy(pool.possible[chosen, None].astype(np.float32))
    return crops, crop_images(bits, geometry, settings.size, "nearest")[:, 0].long().clamp(min=1)


def held_out_crops(held_out: ImagePool, size: int) -> tuple[Tensor, Tensor]:
    """At most 48 images, upright around the heart: standardised crops (n, 1, size, size), and where the left
    ventricle is drawn (n, size, size).
    """
    chosen = np.linspace(0, len(held_out) - 1, min(_MOST_HELD_OUT, len(held_out))).astype(int)
    geometry = draw_geometry(
        np.random.default_rng(0), _UPRIGHT, held_out.heart_px[chosen], held_out.pixel_mm[chosen],
        held_out.images.shape[1:],
    )  # fmt: skip
    crops = crop_images(torch.from_numpy(held_out.images[chosen, None]), geometry, size)
    lv = torch.from_numpy((held_out.possible[chosen, None] == 1 << LV).astype(np.float32))
    return standardise(crops), crop_images(lv, geometry, size)[:, 0] > 0.5


def lv_dice(labels: Tensor, truth: Tensor) -> float:
    """Mean Dice overlap of the left ventricle over images, ``labels`` and ``truth`` (n, row, col).

    It only watches a training; the benchmark measures the whole segmentation.
    """
    lv = labels == LV
    overlap = 2 * (lv & truth).sum((1, 2)) / (lv.sum((1, 2)) + truth.sum((1, 2))).clamp(min=1)
    return float(overlap.float().mean())
