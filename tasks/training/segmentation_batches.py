"""Batches of crops for the 2-D segmentation networks, from simulated and real images; and the held-out images."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmr_models.contracts import LV
from cmr_models.segmentation.crops import standardise
from cmr_models.training.augmentation import Augmentation, crop_images, draw_geometry, vary_scanner
from tasks.training.crossed_studies import crossed_pool
from tasks.training.drawn_volumes import drawn_pool
from tasks.training.segmentation_data import (
    ImagePool,
    fold_patients,
    joined,
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
    drawn: ImagePool | None = None
    held_out: ImagePool | None = None


class Batch(NamedTuple):
    """The images of a step, of which the last ``n_real`` are real.

    Attributes:
        crops: (n, channel, size, size), varied and standardised; three channels are a slice between its neighbours.
        clean: (n, channel, size, size), the same without variation of the intensity: what a teacher sees.
        possible: (n, size, size), bit sets of possible classes.
    """

    crops: Tensor
    clean: Tensor
    possible: Tensor
    n_real: int


def read_images(settings: TrainingSettings, simulated_cache: Path) -> TrainingImages:
    """The images that the settings name; simulated ones are made in ``simulated_cache`` if they are not there yet."""
    n_views = len(settings.views)
    simulated = joined(
        simulated_pool(
            simulated_cache, view, settings.n_simulated // n_views, settings.simulation_seed,
            settings.simulation_workers, settings.simulated_slices,
        )
        for view in settings.views
    )  # fmt: skip
    if settings.loose_endocardium:
        simulated = loosen_endocardium(simulated)
    return TrainingImages(simulated, *read_real_images(settings))


def read_real_images(settings: TrainingSettings) -> tuple[ImagePool | None, ImagePool | None, ImagePool | None]:
    """The images of ``real`` (or ``crossed``) and ``drawn`` to train on, and those of the fold that is held out."""
    real = _read_partly_labelled(settings)
    drawn = drawn_pool(Path(settings.drawn)) if settings.drawn else None
    judged = drawn or real
    out = fold_patients(judged.patient, settings.fold, settings.n_folds) if judged and settings.fold >= 0 else set()
    held_out = _of(judged, out) if judged and out else None
    return _without(real, {*settings.real_excluded, *out}), _without(drawn, out), held_out


def _read_partly_labelled(settings: TrainingSettings) -> ImagePool | None:
    if settings.crossed:
        return crossed_pool(Path(settings.crossed), settings.crossed_model, settings.views)
    return real_pool(Path(settings.real), settings.real_pixel_mm, settings.real_phases) if settings.real else None


def _of(pool: ImagePool, patients: set[str]) -> ImagePool:
    return pool.select(np.array([name in patients for name in pool.patient]))


def _without(pool: ImagePool | None, patients: set[str]) -> ImagePool | None:
    return _of(pool, set(pool.patient) - patients) if pool else None


def draw_batch(rng: np.random.Generator, settings: TrainingSettings, images: TrainingImages, step: int) -> Batch:
    """The batch of ``step``: simulated images alone at first, then a part of real ones, partly drawn ones last."""
    is_mixed = step >= settings.simulated_steps
    n_real = round(settings.batch * settings.real_share) if is_mixed and images.real is not None else 0
    n_drawn = round(settings.batch * settings.drawn_share) if is_mixed and images.drawn is not None else 0
    counts = [settings.batch - n_real - n_drawn, n_drawn, n_real]
    pools = zip((images.simulated, images.drawn, images.real), counts, strict=True)
    strengths = (1.0, settings.drawn_strength, settings.real_strength)
    end_weights = (1.0, settings.drawn_end_weight, 1.0)
    parts = [
        draw_crops(rng, settings, pool, n, strength, end_weight)
        for (pool, n), strength, end_weight in zip(pools, strengths, end_weights, strict=True)
        if pool is not None and n
    ]
    clean, possible = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    strength = np.repeat(strengths, counts)
    crops = vary_scanner(rng, settings.augmentation, clean, strength)
    return Batch(crops, standardise(clean), possible, n_real)


def draw_crops(
    rng: np.random.Generator,
    settings: TrainingSettings,
    pool: ImagePool,
    n: int,
    strength: float = 1.0,
    end_weight: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Crops (n, channel, size, size) with random geometry, varied with ``strength`` relative to the settings, and their
    possible classes (n, size, size); ``end_weight`` as in :func:`.segmentation_data.sampling_probability`.
    """
    emphasis = settings.small_pool_emphasis if pool.is_real else 0.0
    even = emphasis == 0 and end_weight == 1
    chosen = rng.choice(len(pool), n, p=None if even else sampling_probability(pool, emphasis, end_weight))
    variation = settings.augmentation.scale(strength)
    geometry = draw_geometry(rng, variation, pool.heart_px[chosen], pool.pixel_mm[chosen], pool.images.shape[1:])
    stacks = _stacks(rng, settings, pool, chosen)
    crops = crop_images(torch.from_numpy(stacks), geometry, settings.size)
    bits = torch.from_numpy(pool.possible[chosen, None].astype(np.float32))
    return crops, crop_images(bits, geometry, settings.size, "nearest")[:, 0].long().clamp(min=1)


def _stacks(
    rng: np.random.Generator, settings: TrainingSettings, pool: ImagePool, chosen: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """(n, channel, row, col); neighbours in either order, as a stack may begin at the base or at the apex."""
    if settings.channels == 1:
        return pool.images[chosen, None]
    stacks = pool.stacks(chosen, rng.random(len(chosen)) < settings.alone_chance)
    turned = rng.random(len(chosen)) < 0.5
    stacks[turned] = stacks[turned, ::-1]
    return stacks


def held_out_crops(held_out: ImagePool, size: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    """At most 48 images, upright around the heart: standardised crops (n, channel, size, size), and where the left
    ventricle is drawn (n, size, size).
    """
    chosen = np.linspace(0, len(held_out) - 1, min(_MOST_HELD_OUT, len(held_out))).astype(int)
    geometry = draw_geometry(
        np.random.default_rng(0), _UPRIGHT, held_out.heart_px[chosen], held_out.pixel_mm[chosen],
        held_out.images.shape[1:],
    )  # fmt: skip
    stacks = held_out.stacks(chosen, np.zeros(len(chosen), bool))
    crops = crop_images(torch.from_numpy(stacks if channels == 3 else stacks[:, 1:2]), geometry, size)
    lv = torch.from_numpy((held_out.possible[chosen, None] == 1 << LV).astype(np.float32))
    return standardise(crops), crop_images(lv, geometry, size)[:, 0] > 0.5


def lv_dice(labels: Tensor, truth: Tensor) -> float:
    """Mean Dice overlap of the left ventricle over images, ``labels`` and ``truth`` (n, row, col).

    It only watches a training; the benchmark measures the whole segmentation.
    """
    lv = labels == LV
    overlap = 2 * (lv & truth).sum((1, 2)) / (lv.sum((1, 2)) + truth.sum((1, 2))).clamp(min=1)
    return float(overlap.float().mean())
