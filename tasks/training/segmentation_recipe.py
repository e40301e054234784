"""The training recipe: simulated hearts first, then real images with partial labels beside them, under a
mean teacher.

A step depends only on the settings and its number, so a killed run that resumes from its checkpoint ends
where an
uninterrupted one does. What a teacher (the running mean of the weights) is sure of fills the unlabelled
classes of real images.

Reference: Tarvainen & Valpola, Mean teachers are better role models, NeurIPS 2017.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cmr_models.nets import build
from cmr_models.nets.efficient_unet2d import load_encoder
from cmr_models.segmentation.crops import standardise
from cmr_models.training.augmentation import Augmentation, drawn_views, rescanned, viewed
from cmr_models.training.partial_label_losses import narrowed, partial_cross_entropy, partial_dice
from cmr_models.zoo import ModelCard, card, save
from tasks.training.checkpoints import append_metrics, drop_metrics_after, load_checkpoint, save_checkpoint
from tasks.training.published_encoder import efficientnet_lite0
from tasks.training.segmentation_data import (
    ImagePool,
    endocardium_loosened,
    fold_patients,
    real_pool,
    simulated_pool,
    small_pools_first,
)
from tasks.training.segmentation_settings import TrainingSettings, checked, identity, read_settings

__all__ = ["TrainingSettings", "read_settings", "train"]

_VIEW_OF_TASK = {"segment_sax": "sax", "segment_lax_4c": "lax_4c"}
_CLASSES_OF_TASK = {"segment_sax": 4, "segment_lax_4c": 6}


def train(settings: TrainingSettings, output: Path) -> Path:
    """Train a network; resume if ``output`` holds a checkpoint of the same settings.

    Args:
        settings: what to train, on what, how long.
        output: folder for ``checkpoint.pt``, ``metrics.csv``, and at the end ``model.safetensors`` and
            ``card.toml``.

    Returns:
        ``output``, a folder that :func:`cmr_models.zoo.load` reads.

    Raises:
        ValueError: if ``output`` holds a checkpoint of other settings, or the settings contradict each other.
    """
    checked(settings)
    output.mkdir(parents=True, exist_ok=True)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    simulated = simulated_pool(
        Path(settings.simulated_cache or output / "simulated"),
        _VIEW_OF_TASK[settings.task],
        settings.n_simulated,
        settings.simulation_seed,
        settings.simulation_workers,
    )
    if settings.loose_endocardium:
        simulated = endocardium_loosened(simulated)
    real, held_out = _real_images(settings)
    run = _Run(settings, output)
    run.resume()
    while run.step < settings.steps:
        measured = run.advance(simulated, real)
        if run.step % settings.log_every == 0 or run.step == settings.steps:
            run.log(measured | _checked(run, held_out))
        run.checkpoint_if_due()
    run.checkpoint()
    save(output, run.result(), _card(settings, simulated, real, held_out))
    return output


class _Run:
    """The state of a training: network, teacher, optimiser, step."""

    def __init__(self, settings: TrainingSettings, output: Path) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.output, self.step = settings, output, 0
        self.device = torch.device(_device(settings.device))
        self.network = self._new_network()
        self.teacher = self._new_network().requires_grad_(False).eval()
        if settings.encoder:
            load_encoder(self.network, efficientnet_lite0())
        if settings.start_from:
            self.network.load_state_dict(_weights_of(Path(settings.start_from)))
        self.teacher.load_state_dict(self.network.state_dict())
        begun = copy.deepcopy(self.teacher)
        self.guides = {"mean": [self.teacher], "begun": [begun], "both": [self.teacher, begun]}[settings.teacher]
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.saved_at = time.monotonic()

    def advance(self, simulated: ImagePool, real: ImagePool | None) -> dict[str, float]:
        """One step of gradient descent; returns its losses."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, self.step])
        crops, clean, possible, n_real = self._batch(rng, simulated, real)
        if n_real and self.step >= settings.teacher_from:
            named = torch.stack([self._named(guide, clean[-n_real:]) for guide in self.guides]).mean(0)
            possible[-n_real:] = narrowed(possible[-n_real:], named, settings.teacher_confidence)
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * _rate(self.step, settings)
        self.network.train()
        with self._precision():
            logits = self.network(crops)
        entropy, overlap = partial_cross_entropy(logits, possible), _dice_of_parts(logits, possible, n_real)
        self.optimiser.zero_grad(set_to_none=True)
        (entropy + overlap).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        _follow(self.teacher, self.network, min(settings.mean_decay, self.step / (self.step + 10)))
        return {"cross_entropy": float(entropy.detach()), "dice_loss": float(overlap.detach())}

    def predicted(self, crops: Tensor) -> Tensor:
        """Labels ``(n, row, col)`` of the teacher for standardised ``crops (n, 1, row, col)``."""
        return self._named(self.teacher, crops.to(self.device)).argmax(1).cpu()

    def result(self) -> nn.Module:
        """The teacher, part of the way back to the weights that the training began with."""
        settings = self.settings
        if settings.start_share:
            begun = self._new_network()
            begun.load_state_dict(_weights_of(Path(settings.start_from)))
            _follow(self.teacher, begun, 1 - settings.start_share)
        return self.teacher

    def log(self, measured: Mapping[str, float]) -> None:
        """Append a row to ``metrics.csv``."""
        append_metrics(self.output, {"step": self.step, **measured})

    def checkpoint_if_due(self) -> None:
        """Write a checkpoint if the last one is old enough."""
        if time.monotonic() - self.saved_at >= self.settings.checkpoint_every_s:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Publish the state under one name."""
        state = {key: getattr(self, key).state_dict() for key in ("network", "teacher", "optimiser")}
        save_checkpoint(self.output, state | {"step": self.step}, identity(self.settings))
        self.saved_at = time.monotonic()

    def resume(self) -> None:
        """Take up the checkpoint, if there is one."""
        state = load_checkpoint(self.output, identity(self.settings), self.device)
        if state is not None:
            for key in ("network", "teacher", "optimiser"):
                getattr(self, key).load_state_dict(state[key])
            self.step = int(state["step"])
        drop_metrics_after(self.output, self.step)

    def _batch(
        self, rng: np.random.Generator, simulated: ImagePool, real: ImagePool | None
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        settings = self.settings
        mixed = real is not None and self.step >= settings.simulated_steps
        n_real = round(settings.batch * settings.real_share) if mixed else 0
        parts = [(simulated, settings.batch - n_real)] + ([(real, n_real)] if real is not None and n_real else [])
        drawn = [_drawn(rng, settings, pool, n) for pool, n in parts]
        clean, possible = (torch.cat(tensors) for tensors in zip(*drawn, strict=True))
        strength = np.repeat([1.0, settings.real_strength], [settings.batch - n_real, n_real])
        crops = rescanned(rng, settings.augmentation, clean, strength)
        return self._placed(crops), self._placed(standardise(clean)), possible.to(self.device), n_real

    def _placed(self, crops: Tensor) -> Tensor:
        return crops.to(self.device).contiguous(memory_format=torch.channels_last)

    def _named(self, network: nn.Module, crops: Tensor) -> Tensor:
        """Class probabilities."""
        with torch.no_grad(), self._precision():
            return torch.softmax(network(crops).float(), dim=1)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.low_precision)

    def _new_network(self) -> nn.Module:
        n_classes = _CLASSES_OF_TASK[self.settings.task]
        network = build(self.settings.kind, **{**self.settings.config, "n_classes": n_classes})
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _drawn(rng: np.random.Generator, settings: TrainingSettings, pool: ImagePool, n: int) -> tuple[Tensor, Tensor]:
    """Crops ``(n, 1, size, size)`` and their possible classes ``(n, size, size)``, seen with random
    geometry.
    """
    emphasis = settings.small_pool_emphasis if pool.is_real else 0.0
    chosen = rng.choice(len(pool), n, p=small_pools_first(pool, emphasis) if emphasis else None)
    variation = settings.augmentation.scaled(settings.real_strength) if pool.is_real else settings.augmentation
    views = drawn_views(rng, variation, pool.heart_px[chosen], pool.pixel_mm[chosen], pool.images.shape[1:])
    crops = viewed(torch.from_numpy(pool.images[chosen, None]), views, settings.size)
    bits = viewed(torch.from_numpy(pool.possible[chosen, None].astype(np.float32)), views, settings.size, "nearest")
    return crops, bits[:, 0].long().clamp(min=1)


def _dice_of_parts(logits: Tensor, possible: Tensor, n_real: int) -> Tensor:
    """Dice loss of simulated and of real images apart, so that guessed classes do not blur exact ones."""
    if not n_real:
        return partial_dice(logits, possible)
    n = len(logits) - n_real
    parts = partial_dice(logits[n:], possible[n:]), partial_dice(logits[:n], possible[:n]) if n else None
    return parts[0] if parts[1] is None else (parts[0] + parts[1]) / 2


def _checked(run: _Run, held_out: ImagePool | None) -> dict[str, float]:
    """LV Dice on at most 48 held-out images, seen upright around the heart; the benchmark measures the
    whole way.
    """
    if held_out is None:
        return {}
    chosen = np.linspace(0, len(held_out) - 1, min(48, len(held_out))).astype(int)
    still = Augmentation(
        pixel_log_sd=0, coarse_chance=0, shift_sd_mm=0, anywhere_chance=0, small_rotation_sd_deg=0,
        any_rotation_chance=0, mirror_chance=0, shear_sd=0, deformation_sd_mm=0,
    )  # fmt: skip
    views = drawn_views(
        np.random.default_rng(0),
        still,
        held_out.heart_px[chosen],
        held_out.pixel_mm[chosen],
        held_out.images.shape[1:],
    )
    crops = standardise(viewed(torch.from_numpy(held_out.images[chosen, None]), views, run.settings.size))
    truth = viewed(
        torch.from_numpy((held_out.possible[chosen, None] == 8).astype(np.float32)), views, run.settings.size
    )
    lv, drawn = run.predicted(crops) == 3, truth[:, 0] > 0.5
    overlap = 2 * (lv & drawn).sum((1, 2)) / (lv.sum((1, 2)) + drawn.sum((1, 2))).clamp(min=1)
    return {"held_out_lv_dice": float(overlap.float().mean())}


def _real_images(settings: TrainingSettings) -> tuple[ImagePool | None, ImagePool | None]:
    if not settings.real:
        return None, None
    pool = real_pool(Path(settings.real), settings.real_pixel_mm)
    out = fold_patients(pool.patient, settings.fold, settings.n_folds) if settings.fold >= 0 else set()
    held_out = np.array([name in out for name in pool.patient])
    excluded = np.array([name in settings.real_excluded for name in pool.patient])
    return pool.of(~held_out & ~excluded), pool.of(held_out) if out else None


def _card(
    settings: TrainingSettings, simulated: ImagePool, real: ImagePool | None, held_out: ImagePool | None
) -> ModelCard:
    data = [
        f"{len(simulated)} simulated {_VIEW_OF_TASK[settings.task]} images "
        f"(cmr_models.simulate, seed {settings.simulation_seed})"
    ]
    if real is not None:
        patients = len(set(real.patient))
        data.append(
            f"{len(real)} real images of {patients} patients, {settings.real_name or 'left-ventricular pool drawn'}"
        )
    if settings.encoder:
        data.append("encoder begun with EfficientNet-Lite0, trained on ImageNet (Apache-2.0)")
    if settings.start_from:
        begun = card(settings.start_from, settings.task)
        data.append(f"begun with the weights {begun.digest[:12]}, trained on: {'; '.join(begun.training_data)}")
    if held_out is not None:
        data.append(f"held out: {', '.join(sorted(set(held_out.patient)))}")
    return ModelCard(
        name=settings.name,
        task=settings.task,
        kind=settings.kind,
        config={**settings.config, "n_classes": _CLASSES_OF_TASK[settings.task]},
        pixel_mm=settings.augmentation.pixel_mm,
        size=settings.size,
        training_data=tuple(data),
        training_settings=identity(settings),
        licence="Apache-2.0",
    )


def _rate(step: int, settings: TrainingSettings) -> float:
    """Share of the learning rate: linear warm-up, then half a cosine down to zero."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    return warm * 0.5 * (1 + math.cos(math.pi * step / max(1, settings.steps)))


def _follow(teacher: nn.Module, network: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for mean, now in zip(_tensors(teacher), _tensors(network), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()


def _weights_of(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return {key: value.float() for key, value in load_file(folder / "model.safetensors").items()}


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
