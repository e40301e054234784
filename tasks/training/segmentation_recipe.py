"""The training recipe of the 2-D segmentation networks: simulated hearts first, then real images beside them.

Real images have partial labels. The classes that they leave open are filled in by a teacher, where it is confident:
the running mean of the weights, or the network that the training began with.

Reference: Tarvainen & Valpola, Mean teachers are better role models, NeurIPS 2017.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cmr_models.nets import build
from cmr_models.nets.efficient_unet2d import load_encoder
from cmr_models.training.partial_label_losses import narrow, partial_cross_entropy, partial_dice
from cmr_models.training.running_mean import update_mean
from cmr_models.training.schedules import cosine_with_warmup
from cmr_models.zoo import WEIGHTS_FILE, ModelCard, card
from tasks.training import loop
from tasks.training.cards import LICENCE, make_card
from tasks.training.published_encoder import efficientnet_lite0
from tasks.training.recipes import identity
from tasks.training.segmentation_batches import TrainingImages, draw_batch, held_out_crops, lv_dice, read_images
from tasks.training.segmentation_settings import TrainingSettings


def train_segmentation(settings: TrainingSettings, output: Path) -> Path:
    """Train as :func:`tasks.training.loop.train`, which says what is left in ``output``.

    Simulated images are kept in ``output/simulated``, if ``simulated_cache`` names no other folder.
    """
    output.mkdir(parents=True, exist_ok=True)
    images = read_images(settings, Path(settings.simulated_cache or output / "simulated"))
    return loop.train(SegmentationRecipe(settings, images), output)


class SegmentationRecipe:
    """A :class:`tasks.training.loop.Recipe`: what is saved is the running mean of the weights.

    Attributes:
        teachers: the networks whose mean probability fills in what real drawings leave open.
    """

    stopped = False

    def __init__(self, settings: TrainingSettings, images: TrainingImages) -> None:
        self.settings, self.images = settings, images
        self.device = loop.choose_device(settings.device, settings.seed, settings.threads)
        self.network = self._build()
        self.mean = self._build().requires_grad_(False).eval()
        if settings.encoder:
            load_encoder(self.network, efficientnet_lite0())
        if settings.start_from:
            begun_with = _read_weights(Path(settings.start_from))
            self.network.load_state_dict(fitted_start(begun_with, self.network.state_dict()))
        self.mean.load_state_dict(self.network.state_dict())
        begun = copy.deepcopy(self.mean)
        self.teachers = {"mean": [self.mean], "begun": [begun], "both": [self.mean, begun]}[settings.teacher]
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.loop = loop.LoopSettings(
            steps=settings.steps, log_every=settings.log_every, checkpoint_every_s=settings.checkpoint_every_s,
            mean_decay=settings.mean_decay,
        )  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """The settings that decide the weights."""
        return identity(self.settings)

    def learning_rate(self, step: int) -> float:
        """Half a cosine down to 0, with a warm-up."""
        settings = self.settings
        return cosine_with_warmup(
            step, peak=settings.learning_rate, warmup_steps=settings.warmup_steps, total_steps=settings.steps
        )

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """Cross-entropy and Dice loss of a batch of simulated and real images."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, step])
        batch = draw_batch(rng, settings, self.images, step)
        possible, n_real = batch.possible.to(self.device), batch.n_real
        if n_real and step >= settings.teacher_from:
            clean = self._to_device(batch.clean)[-n_real:]
            taught = torch.stack([self._probability(teacher, clean) for teacher in self.teachers]).mean(0)
            possible[-n_real:] = narrow(possible[-n_real:], taught, settings.teacher_confidence)
        with self._precision():
            logits = self.network(self._to_device(batch.crops))
        return {
            "cross_entropy": partial_cross_entropy(logits, possible),
            "dice_loss": _dice_of_parts(logits, possible, n_real),
        }

    def measure(self, losses: Sequence[loop.Losses]) -> Mapping[str, float]:
        """The losses of the last step, and the Dice overlap of the left ventricle in held-out images."""
        if self.images.held_out is None:
            return losses[-1]
        crops, truth = held_out_crops(self.images.held_out, self.settings.size, self.settings.channels)
        return {**losses[-1], "held_out_lv_dice": lv_dice(self.predict(crops), truth)}

    def predict(self, crops: Tensor) -> Tensor:
        """Labels (n, row, col) by the running mean, for standardised ``crops`` (n, 1, row, col)."""
        return self._probability(self.mean, crops.to(self.device)).argmax(1).cpu()

    def state(self) -> Mapping[str, Any]:
        """The running mean."""
        return {"teacher": self.mean.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the running mean."""
        self.mean.load_state_dict(state["teacher"])

    def result(self) -> nn.Module:
        """The running mean, moved by ``start_share`` back to the weights that the training began with."""
        settings = self.settings
        if settings.start_share:
            begun = self._build()
            begun.load_state_dict(_read_weights(Path(settings.start_from)))
            update_mean(self.mean, begun, 1 - settings.start_share)
        return self.mean

    def card(self) -> ModelCard:
        """What the network has seen."""
        settings = self.settings
        return make_card(
            settings, config=self._config(), pixel_mm=settings.augmentation.pixel_mm, size=settings.size,
            training_data=tuple(_describe_data(settings, self.images)), licence=settings.drawn_licence or LICENCE,
            class_weights=settings.class_weights,
        )  # fmt: skip

    def _build(self) -> nn.Module:
        network = build(self.settings.kind, **self._config())
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _config(self) -> dict[str, Any]:
        return {**self.settings.config, "n_classes": self.settings.n_classes}

    def _to_device(self, crops: Tensor) -> Tensor:
        return crops.to(self.device).contiguous(memory_format=torch.channels_last)

    def _probability(self, network: nn.Module, crops: Tensor) -> Tensor:
        """Of each class, (n, class, row, col)."""
        with torch.no_grad(), self._precision():
            return torch.softmax(network(crops).float(), dim=1)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.low_precision)


def _dice_of_parts(logits: Tensor, possible: Tensor, n_real: int) -> Tensor:
    """The Dice loss of simulated images and that of real ones, averaged: guessed classes do not blur exact ones."""
    if not n_real:
        return partial_dice(logits, possible)
    n = len(logits) - n_real
    real = partial_dice(logits[n:], possible[n:])
    return (real + partial_dice(logits[:n], possible[:n])) / 2 if n else real


def _describe_data(settings: TrainingSettings, images: TrainingImages) -> list[str]:
    """What the card says of the training data, one entry a source."""
    views = ", ".join(settings.views)
    data = [f"{len(images.simulated)} simulated {views} images (cmr_models.simulate, seed {settings.simulation_seed})"]
    if images.real is not None:
        patients = len(set(images.real.patient))
        source = settings.crossed_name or settings.real_name or "left-ventricular pool drawn"
        data.append(f"{len(images.real)} real images of {patients} patients, {source}")
    if images.drawn is not None:
        data.append(
            f"{len(images.drawn)} real images of {len(set(images.drawn.patient))} patients, {settings.drawn_name}"
        )
    if settings.encoder:
        data.append("encoder begun with EfficientNet-Lite0, trained on ImageNet (Apache-2.0)")
    if settings.start_from:
        begun = card(settings.start_from)
        data.append(f"begun with the weights {begun.digest[:12]}, trained on: {'; '.join(begun.training_data)}")
    if images.held_out is not None:
        data.append(f"held out: {', '.join(sorted(set(images.held_out.patient)))}")
    return data


def fitted_start(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` of a network of single slices and fewer classes for one that looks at three and knows more.

    It does not look at the neighbours yet, and the weights of the further classes are those of ``wanted``.
    """
    result = dict(state)
    for name, value in state.items():
        if value.ndim == 4 and value.shape[1] == 1 and wanted[name].shape[1] == 3:
            result[name] = nn.functional.pad(value, (0, 0, 0, 0, 1, 1))
        elif value.ndim and value.shape[1:] == wanted[name].shape[1:] and len(value) < len(wanted[name]):
            result[name] = torch.cat([value, wanted[name][len(value) :].to(value)])
    return result


def _read_weights(folder: Path) -> dict[str, Tensor]:
    return {key: value.float() for key, value in load_file(folder / WEIGHTS_FILE).items()}
