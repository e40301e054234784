"""Batches for CineMA's networks: which samples a step sees, and how each is augmented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmr_models.training import cinema_augmentation as augmentation
from tasks.training.cinema_settings import FinetuningSettings


class Sample(NamedTuple):
    """``images``: view to (C, x, y[, z]) in 0..1; ``target``: see :mod:`tasks.training.cinema_objectives`."""

    images: Mapping[str, npt.NDArray[np.float32]]
    target: npt.NDArray[Any]


class Samples(Protocol):
    """Samples that are read when asked for."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """One sample; ``rng`` chooses what is left to chance, such as the frame."""
        ...


class Batches:
    """The batches of a training, or the part of each that one of several processes sees.

    Attributes:
        kept: indices of the samples that ``proportion`` of the settings keeps.
        scaling: mean and sd of the target of a regression.
        n_frames: channels of an image.
    """

    def __init__(
        self, settings: FinetuningSettings, samples: Samples, device: torch.device, rank: int, n_processes: int
    ) -> None:
        self.settings, self.samples, self.device = settings, samples, device
        self.part = slice(rank, None, n_processes)
        self.kept = kept_indices(len(samples), settings.proportion, settings.seed)
        first = samples.sample(int(self.kept[0]), np.random.default_rng(0))
        self.n_frames = len(next(iter(first.images.values())))
        regression = settings.family == "regression"
        self.scaling = target_scaling(samples, self.kept) if regression else {"mean": 0.0, "sd": 1.0}

    def draw(self, step: int) -> tuple[dict[str, Tensor], Tensor]:
        """Images by view, (B, C, x, y[, z]), and targets of ``step``."""
        order = batch_order(self.kept, step, self.settings.batch, self.settings.seed)[self.part]
        places = range(self.settings.batch)[self.part]
        drawn = [self._augment(step, int(i), place) for i, place in zip(order, places, strict=True)]
        images = {view: torch.stack([one[0][view] for one in drawn]).to(self.device) for view in drawn[0][0]}
        return images, torch.stack([one[1] for one in drawn]).to(self.device)

    def _augment(self, step: int, index: int, place: int) -> tuple[dict[str, Tensor], Tensor]:
        settings = self.settings
        rng = np.random.default_rng([settings.seed, step, place])
        sample = self.samples.sample(index, rng)
        change = augmentation.draw_change(rng, settings.augmentation)
        images = {view: augmentation.augment(torch.from_numpy(i), change) for view, i in sample.images.items()}
        target = torch.from_numpy(np.asarray(sample.target))
        if settings.family == "segmentation":
            target = augmentation.move_labels(target, change)
        elif settings.family.startswith("landmark"):
            plane = images[settings.views[0]].shape[1:3]
            target = augmentation.move_points(target, change, (int(plane[0]), int(plane[1])))
        elif settings.family == "regression":
            target = (target - self.scaling["mean"]) / self.scaling["sd"]
        return images, target


def kept_indices(n: int, proportion: float, seed: int) -> npt.NDArray[np.intp]:
    """The random part of ``n`` samples that ``proportion`` keeps, at least one; a smaller part lies in a larger."""
    order = np.random.default_rng([seed, 77]).permutation(n)
    return np.sort(order[: max(1, round(n * proportion))])


def batch_order(kept: npt.NDArray[np.intp], step: int, batch: int, seed: int) -> npt.NDArray[np.intp]:
    """The samples of a step: every epoch is a permutation of its own, and no sample is left out at its end."""
    places = np.arange(step * batch, (step + 1) * batch)
    epochs = {e: np.random.default_rng([seed, 78, e]).permutation(kept) for e in np.unique(places // len(kept))}
    return np.array([epochs[place // len(kept)][place % len(kept)] for place in places])


def target_scaling(samples: Samples, kept: npt.NDArray[np.intp]) -> dict[str, float]:
    """Mean and standard deviation of the targets of the ``kept`` samples; sd 1 where all are equal."""
    values = [float(samples.sample(int(i), np.random.default_rng(0)).target) for i in kept]
    return {"mean": float(np.mean(values)), "sd": float(np.std(values)) or 1.0}
