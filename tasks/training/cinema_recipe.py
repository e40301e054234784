"""The training recipe of CineMA's networks: pretraining and every task, on one process or several.

Order, augmentation, masks and dropout of a step are drawn from the seed and the number of the step, so that one
process sees the batches that several divide among them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cmr_models.nets import build
from cmr_models.training.layer_decay import parameter_groups
from cmr_models.training.schedules import cosine_after_warmup
from cmr_models.zoo import ModelCard, transfer
from tasks.training import loop
from tasks.training.cards import make_card
from tasks.training.cinema_batches import Batches, Samples
from tasks.training.cinema_objectives import batch_loss, network_config, predict_samples, score
from tasks.training.cinema_settings import FinetuningSettings
from tasks.training.recipes import identity


def finetune(
    settings: FinetuningSettings,
    training: Samples,
    validation: Samples | None,
    output: Path,
    *,
    init: Mapping[str, Tensor] | None = None,
    data: tuple[str, ...] = (),
) -> Path:
    """Train a network as :func:`tasks.training.loop.train`, which says what is left in ``output``.

    Args:
        settings: what to train, how long.
        training: to learn from.
        validation: what early stopping watches; None trains to the end.
        output: folder of weights, card, metrics and checkpoint.
        init: pretrained weights to begin with.
        data: what the card says of the training data.

    Returns:
        ``output``. Its weights are the best on the validation samples, or the last where there are none.

    Raises:
        ValueError: if there is nothing to learn from, or ``output`` holds a checkpoint of other settings.
    """
    if not len(training):
        raise ValueError("there is no training sample; give a table with studies that are in the cohort")
    return loop.train(CinemaRecipe(settings, training, validation, init=init, data=data), output)


class CinemaRecipe:
    """A :class:`tasks.training.loop.Recipe`: what is saved are the best weights on the validation samples."""

    mean = None

    def __init__(
        self,
        settings: FinetuningSettings,
        training: Samples,
        validation: Samples | None,
        *,
        init: Mapping[str, Tensor] | None = None,
        data: tuple[str, ...] = (),
    ) -> None:
        self.settings, self.validation, self.data, self.begun = settings, validation, data, init is not None
        device = loop.choose_device(settings.device, settings.seed, settings.threads)
        self.rank, n_processes = _join_processes()
        self.batches = Batches(settings, training, device, self.rank, n_processes)
        self.config = network_config(settings, self.batches.n_frames)
        self.network = build(settings.kind, **self.config)
        if init is not None:
            _begin_with(self.network, init)
        self.network.to(device)
        self.optimiser = self._build_optimiser()
        self.parallel: nn.Module = self.network
        if n_processes > 1:
            # dropped paths and unused read-outs leave some parameters without a gradient
            self.parallel = nn.parallel.DistributedDataParallel(self.network, find_unused_parameters=True)
        self.stale, self.best_score = 0, -math.inf
        self.best = _copy_weights(self.network)
        self.loop = loop.LoopSettings(
            steps=settings.steps, log_every=settings.evaluate_every, clip=settings.clip, half=False,
            tensorboard=settings.tensorboard, writes=self.rank == 0,
        )  # fmt: skip

    @property
    def stopped(self) -> bool:
        """Whether the validation measure has not improved for too long."""
        return self.settings.patience > 0 and self.stale >= self.settings.patience

    def identity(self) -> dict[str, Any]:
        """The settings that decide the weights, and what else does."""
        return identity(self.settings) | {"begun": self.begun, "samples": len(self.batches.samples)}

    def learning_rate(self, step: int) -> float:
        """A warm-up, then half a cosine down to ``minimum_rate``."""
        settings = self.settings
        return cosine_after_warmup(
            step, peak=settings.learning_rate, floor=settings.minimum_rate,
            warmup_steps=min(settings.warmup_steps, settings.steps - 1), total_steps=settings.steps,
        )  # fmt: skip

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """The task's loss of this process's part of the batch."""
        settings = self.settings
        images, target = self.batches.draw(step)
        torch.manual_seed(_seed(settings.seed, step, self.rank))  # dropout and dropped paths
        with torch.autocast(self.batches.device.type, torch.bfloat16, enabled=settings.low_precision):
            mask_seed = _seed(settings.seed, step, 1000 + self.rank)
            return {"loss": batch_loss(self.parallel, settings, images, target, mask_seed)}

    def measure(self, losses: Sequence[loop.Losses]) -> Mapping[str, float]:
        """Rate, mean loss and validation measure; the weights are kept if they are the best so far."""
        return {
            "rate": self.optimiser.param_groups[-1]["lr"],
            "loss": float(np.mean([step["loss"] for step in losses])),
            "validation": self.validate(),
        }

    def validate(self) -> float:
        """The measure of the validation samples, NaN without; keeps the weights if they are the best so far."""
        settings, measured = self.settings, math.nan
        watched = self.validation is not None and settings.family != "pretrain"
        if self.validation is not None and watched:
            outputs, target = predict_samples(self.network, settings, self.validation, self.batches.scaling)
            measured = score(settings.family, outputs, target)
        if not watched or measured > self.best_score + settings.min_delta:
            self.best, self.best_score, self.stale = _copy_weights(self.network), measured, 0
        else:
            self.stale += 1
        return measured

    def state(self) -> Mapping[str, Any]:
        """The best weights so far, and how long they have been the best."""
        return {"best": self.best, "best_score": self.best_score, "stale": self.stale}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the best weights."""
        self.best, self.best_score, self.stale = state["best"], state["best_score"], state["stale"]

    def result(self) -> nn.Module:
        """The network with the best weights."""
        self.network.load_state_dict(self.best)
        return self.network

    def card(self) -> ModelCard:
        """What the network has seen, and how well it did on the validation samples."""
        settings, batches = self.settings, self.batches
        used = f"{len(batches.kept)} of {len(batches.samples)} training samples"
        size = settings.config.get("sax_size" if settings.views[0] == "sax" else "lax_size", (256,))[0]
        return make_card(
            settings, config=self.config, pixel_mm=settings.pixel_mm, size=int(size),
            training_data=(used, *self.data), preprocessing="cinema", views=settings.views, classes=settings.classes,
            evaluation={"validation": self.best_score} if math.isfinite(self.best_score) else {},
            target=batches.scaling if settings.family == "regression" else {},
        )  # fmt: skip

    def _build_optimiser(self) -> torch.optim.AdamW:
        settings = self.settings
        depth = sum(name.endswith(".norm1.weight") for name in self.network.state_dict() if "encoder.blocks." in name)
        groups = parameter_groups(
            self.network, weight_decay=settings.weight_decay, depth=depth,
            layer_decay=settings.layer_decay if self.begun else 1.0,
        )  # fmt: skip
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95))


def _copy_weights(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def _begin_with(network: nn.Module, init: Mapping[str, Tensor]) -> None:
    """Load all weights where they fit as they are (a training that goes on), else those of the published rules."""
    state = network.state_dict()
    if set(state) == set(init) and all(state[key].shape == init[key].shape for key in state):
        network.load_state_dict(dict(init))
    else:
        transfer(init, network)


def _join_processes() -> tuple[int, int]:
    """Rank and number of processes, as torchrun says; joins the group if there are several."""
    import torch.distributed as dist

    n = int(os.environ.get("WORLD_SIZE", "1"))
    if n > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        with suppress(KeyError):
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return int(os.environ.get("RANK", "0")), n


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
