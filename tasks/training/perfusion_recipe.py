"""The training recipe of the perfusion networks: simulated first passes alone, replaced as the training goes on.

Series ``i`` depends only on the seed and ``i``: a training that resumes simulates the pool of its step again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmr_models.aif.detection import aif_input, aif_target
from cmr_models.nets import build
from cmr_models.perfusion.segmentation import heart_crop
from cmr_models.simulate.perfusion.training import aif_training_series, myocardial_training_series
from cmr_models.training.schedules import cosine_with_warmup
from cmr_models.zoo import ModelCard
from tasks.training import loop
from tasks.training.cards import make_card
from tasks.training.perfusion_settings import PerfusionTraining

_SIMULATED_MARGIN = 1.17
_WARMUP_STEPS = 40
_LOG_EVERY = 20

Example = tuple[Tensor, Tensor]
"""Input (channel, size, size) in half precision and labels (size, size) of a series."""


def train_perfusion(settings: PerfusionTraining, output: Path) -> Path:
    """Train as :func:`tasks.training.loop.train`, which says what is left in ``output``."""
    return loop.train(PerfusionRecipe(settings), output)


class PerfusionRecipe:
    """A :class:`tasks.training.loop.Recipe`: what is saved is the running mean of the weights."""

    stopped = False

    def __init__(self, settings: PerfusionTraining) -> None:
        self.settings = settings
        self.device = loop.choose_device(settings.device, settings.seed)
        self.network, self.mean = self._build(), self._build().eval().requires_grad_(False)
        self.mean.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.loop = loop.LoopSettings(
            steps=settings.steps, log_every=_LOG_EVERY, checkpoint_every_s=settings.checkpoint_every_s,
            mean_decay=settings.mean_decay,
        )  # fmt: skip
        self.pool: deque[Example] = deque(maxlen=settings.pool)

    def identity(self) -> str:
        """The settings as text, as checkpoints of version 0.1 have them; without the device."""
        return repr(self.settings)

    def learning_rate(self, step: int) -> float:
        """Half a cosine down to 0 at ``horizon``, with a warm-up."""
        settings = self.settings
        return cosine_with_warmup(
            step, peak=settings.learning_rate, warmup_steps=_WARMUP_STEPS,
            total_steps=settings.horizon or settings.steps,
        )  # fmt: skip

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """The loss of a batch of the pool."""
        settings = self.settings
        self._fill_pool(step)
        rng = np.random.default_rng([settings.seed, 11, step])
        images, targets = draw_batch(rng, self.pool, settings)
        images = images.to(self.device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.network(images).float()
        weight = torch.tensor(settings.class_weight[: settings.n_classes], device=self.device)
        return {"loss": perfusion_loss(logits, targets.to(self.device), weight)}

    def measure(self, losses: Sequence[loop.Losses]) -> Mapping[str, float]:
        """The loss of the last step."""
        return losses[-1]

    def state(self) -> Mapping[str, Any]:
        """The running mean."""
        return {"mean": self.mean.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the running mean."""
        self.mean.load_state_dict(state["mean"])

    def result(self) -> nn.Module:
        """The running mean."""
        return self.mean

    def card(self) -> ModelCard:
        """What the network has seen."""
        settings = self.settings
        n_series = settings.pool + settings.steps * settings.fresh
        seen = f"{n_series} simulated first passes (cmr_models.simulate.perfusion.training, seed {settings.seed})"
        return make_card(
            settings, config=self._config(), pixel_mm=settings.pixel_mm, size=settings.size, training_data=(seen,)
        )

    def _build(self) -> nn.Module:
        network = build(self.settings.kind, **self._config()).to(self.device)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _config(self) -> dict[str, Any]:
        settings = self.settings
        return {**settings.config, "in_channels": settings.bins + 1, "n_classes": settings.n_classes}

    def _fill_pool(self, step: int) -> None:
        """Every step replaces the oldest ``fresh`` series; the first one after a resume simulates the whole pool."""
        settings = self.settings
        last = settings.pool + step * settings.fresh
        n_new = min(settings.fresh, settings.pool) if self.pool else settings.pool
        self.pool.extend(simulate_example(settings, i) for i in range(last - n_new, last))


def simulate_example(settings: PerfusionTraining, i: int) -> Example:
    """Series ``i`` as the network sees it, and its labels."""
    rng = np.random.default_rng([settings.seed, 7, i])
    if settings.task == "aif_detect":
        series, mask = aif_training_series(rng)
        return aif_input(series.images[0], settings.bins, settings.size).half(), aif_target(mask, settings.size)
    side = int(settings.size * _SIMULATED_MARGIN)
    series, label = myocardial_training_series(rng, settings.pixel_mm, side)
    return _crop(rng, series.images[0], series.time_s, label, settings)


def draw_batch(rng: np.random.Generator, pool: Sequence[Example], settings: PerfusionTraining) -> tuple[Tensor, Tensor]:
    """Random examples of the pool, mirrored, transposed, and with varied gain: images (B, channel, size, size)
    and labels (B, size, size).
    """
    images, targets = zip(*(pool[int(i)] for i in rng.integers(0, len(pool), settings.batch)), strict=True)
    image, target = torch.stack(images).float(), torch.stack(targets)
    if settings.n_classes == 2:
        target = torch.where(target == 1, 1, 0)
    axes = [axis for axis in (-2, -1) if rng.random() < 0.5]
    image, target = image.flip(axes), target.flip(axes)
    if rng.random() < 0.5:
        image, target = image.transpose(-2, -1), target.transpose(-2, -1)
    gain = torch.from_numpy(np.exp(rng.normal(0, 0.15, (len(image), 1, 1, 1)))).float()
    return image * gain, target


def perfusion_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Half weighted cross-entropy, half minus the log of the soft overlap (intersection over union).

    Args:
        logits: (B, class, row, col).
        target: (B, row, col) labels.
        weight: (class,) of cross-entropy.

    Reference: Xue et al., Magnetic Resonance in Medicine 2020;84:2788 (arXiv 1910.07122).
    """
    entropy = F.cross_entropy(logits, target, weight)
    truth = F.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2).float()
    probability = logits.softmax(1)
    both = (probability * truth).sum((0, 2, 3))
    either = (probability + truth - probability * truth).sum((0, 2, 3))
    return 0.5 * entropy - 0.5 * torch.log((both + 1) / (either + 1)).mean()


def _crop(
    rng: np.random.Generator,
    images: npt.NDArray[np.float32],
    time_s: npt.NDArray[np.float64],
    label: npt.NDArray[np.uint8],
    settings: PerfusionTraining,
) -> Example:
    """The crop around the heart as at inference, but its middle is off by up to 12 pixels."""
    dt_s = float(np.diff(time_s).mean())
    off = rng.integers(-12, 13, 2)
    image, corner = heart_crop(images, dt_s, settings.bins, settings.size, (int(off[0]), int(off[1])))
    padded = np.pad(label, settings.size)
    top, left = corner[0] + settings.size, corner[1] + settings.size
    target = padded[top : top + settings.size, left : left + settings.size]
    return image.half(), torch.from_numpy(np.ascontiguousarray(target)).long()
