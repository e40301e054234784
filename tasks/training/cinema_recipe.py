"""The training loop of CineMA's networks: pretraining and every task, on one process or several.

A step depends only on the settings, the data and its number: order, augmentation, masks and dropout are drawn anew from
seed and step, so that a killed run which resumes from its checkpoint ends where an uninterrupted one does, and one
process sees the batches that several share.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cmr_models.nets import build
from cmr_models.training import cinema_augmentation as augmentation
from cmr_models.training.layer_decay import parameter_groups
from cmr_models.training.schedules import learning_rate
from cmr_models.zoo import ModelCard, save, transfer
from cmr_models.zoo.runner import chosen_device
from tasks.training.checkpoints import append_metrics, drop_metrics_after, load_checkpoint, save_checkpoint
from tasks.training.cinema_objectives import answered, loss_of, network_config, score
from tasks.training.cinema_settings import FinetuningSettings
from tasks.training.tensorboard_log import open_board


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


def finetune(
    settings: FinetuningSettings,
    training: Samples,
    validation: Samples | None,
    output: Path,
    *,
    init: Mapping[str, Tensor] | None = None,
    data: tuple[str, ...] = (),
) -> Path:
    """Train a network; resume if ``output`` holds a checkpoint of the same settings.

    Args:
        settings: what to train, how long.
        training: to learn from.
        validation: what early stopping watches; None trains to the end.
        output: folder for ``checkpoint.pt``, ``metrics.csv``, ``model.safetensors`` and ``card.toml``.
        init: pretrained weights to begin with.
        data: what the card says of the training data.

    Returns:
        ``output``, a folder that :func:`cmr_models.zoo.load` reads: the best weights on the validation samples, or the
        last where there are none.

    Raises:
        ValueError: if there is nothing to learn from, or ``output`` holds a checkpoint of other settings.
    """
    if not len(training):
        raise ValueError("there is no training sample; give a table with studies that are in the cohort")
    run = _Run(settings, training, output, init)
    run.resume()
    run.open_board()
    while run.step < settings.steps and not run.stopped:
        run.advance()
        if run.step % settings.evaluate_every == 0 or run.step == settings.steps:
            run.look(validation)
    if run.is_first:
        run.network.load_state_dict(run.best)
        save(output, run.network, _card(settings, run, data), half=False)
    return output


def kept_indices(n: int, proportion: float, seed: int) -> npt.NDArray[np.intp]:
    """The random part of ``n`` samples that ``proportion`` keeps, at least one; a smaller part lies in a larger."""
    order = np.random.default_rng([seed, 77]).permutation(n)
    return np.sort(order[: max(1, round(n * proportion))])


class _Run:
    """The state of a training: network, optimiser, step, best weights so far."""

    def __init__(
        self, settings: FinetuningSettings, training: Samples, output: Path, init: Mapping[str, Tensor] | None
    ) -> None:
        output.mkdir(parents=True, exist_ok=True)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self.settings, self.training, self.output = settings, training, output
        self.rank, self.n_processes = _join_processes()
        self.device = torch.device(chosen_device(settings.device))
        self.kept = kept_indices(len(training), settings.proportion, settings.seed)
        first = training.sample(int(self.kept[0]), np.random.default_rng(0))
        self.config = network_config(settings, len(next(iter(first.images.values()))))
        self.network = build(settings.kind, **self.config)
        self.scaling = {"mean": 0.0, "sd": 1.0}
        if settings.family == "regression":
            self.scaling = _standardisation(training, self.kept)
        if init is not None:
            _begin_with(self.network, init)
        self.network.to(self.device)
        self.begun = init is not None
        self.optimiser = self._new_optimiser(init is not None)
        self.parallel: nn.Module = self.network
        if self.n_processes > 1:
            # dropped paths and unused read-outs leave some parameters without a gradient
            self.parallel = nn.parallel.DistributedDataParallel(self.network, find_unused_parameters=True)
        self.step, self.stale, self.best_score = 0, 0, -math.inf
        self.best = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self.losses: list[float] = []
        self.board: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    @property
    def stopped(self) -> bool:
        """Whether the validation measure has not improved for too long."""
        return self.settings.patience > 0 and self.stale >= self.settings.patience

    def advance(self) -> None:
        """One step of gradient descent."""
        settings = self.settings
        rate = learning_rate(
            self.step, peak=settings.learning_rate, floor=settings.minimum_rate,
            warmup_steps=min(settings.warmup_steps, settings.steps - 1), total_steps=settings.steps,
        )  # fmt: skip
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["lr_scale"]
        images, target = self._batch()
        torch.manual_seed(_seed(settings.seed, self.step, self.rank))  # dropout and dropped paths
        self.parallel.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.low_precision):
            loss = loss_of(self.parallel, settings, images, target, _seed(settings.seed, self.step, 1000 + self.rank))
        if not torch.isfinite(loss):
            raise ValueError(f"the loss is {float(loss)} at step {self.step}; lower learning_rate or check the images")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self.optimiser.step()
        self.losses.append(float(loss.detach()))
        self.step += 1

    def look(self, validation: Samples | None) -> None:
        """Measure the validation samples, keep the best weights, log and checkpoint."""
        found = math.nan
        if validation is not None and self.settings.family != "pretrain":
            answers, target = predicted(self.network, self.settings, validation, self.scaling)
            found = score(self.settings.family, answers, target)
        if (
            validation is None
            or self.settings.family == "pretrain"
            or found > self.best_score + self.settings.min_delta
        ):
            self.best = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
            self.best_score, self.stale = found, 0
        else:
            self.stale += 1
        if self.is_first:
            self._log({"loss": float(np.mean(self.losses)), "validation": found})
            self._checkpoint()
        self.losses = []

    def resume(self) -> None:
        """Take up the checkpoint, if there is one."""
        state = load_checkpoint(self.output, self._identity(), self.device)
        if state is not None:
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.best, self.best_score = state["best"], state["best_score"]
            self.step, self.stale = state["step"], state["stale"]
        if self.is_first:
            drop_metrics_after(self.output, self.step)

    def open_board(self) -> None:
        """Begin to write for TensorBoard, if the settings ask for it."""
        if self.settings.tensorboard and self.is_first:
            self.board = open_board(self.output / "tensorboard", self.step)

    def _identity(self) -> dict[str, Any]:
        return self.settings.identity() | {"begun": self.begun, "samples": len(self.training)}

    def _batch(self) -> tuple[dict[str, Tensor], Tensor]:
        """This process's share of the step's samples."""
        share = slice(self.rank, None, self.n_processes)
        order = _order(self.kept, self.step, self.settings.batch, self.settings.seed)[share]
        places = range(self.settings.batch)[share]
        drawn = [self._augmented(int(i), place) for i, place in zip(order, places, strict=True)]
        images = {view: torch.stack([one[0][view] for one in drawn]).to(self.device) for view in drawn[0][0]}
        return images, torch.stack([one[1] for one in drawn]).to(self.device)

    def _augmented(self, index: int, place: int) -> tuple[dict[str, Tensor], Tensor]:
        rng = np.random.default_rng([self.settings.seed, self.step, place])
        sample = self.training.sample(index, rng)
        drawn = augmentation.drawn_sample(rng, self.settings.augmentation)
        images = {view: augmentation.augmented(torch.from_numpy(i), drawn) for view, i in sample.images.items()}
        target = torch.from_numpy(np.asarray(sample.target))
        if self.settings.family == "segmentation":
            target = augmentation.moved_labels(target, drawn)
        elif self.settings.family.startswith("landmark"):
            plane = images[self.settings.views[0]].shape[1:3]
            target = augmentation.moved_points(target, drawn, (int(plane[0]), int(plane[1])))
        elif self.settings.family == "regression":
            target = (target - self.scaling["mean"]) / self.scaling["sd"]
        return images, target

    def _new_optimiser(self, begun: bool) -> torch.optim.AdamW:
        settings = self.settings
        depth = sum(name.endswith(".norm1.weight") for name in self.network.state_dict() if "encoder.blocks." in name)
        groups = parameter_groups(
            self.network, weight_decay=settings.weight_decay, depth=depth,
            layer_decay=settings.layer_decay if begun else 1.0,
        )  # fmt: skip
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95))

    def _log(self, measured: Mapping[str, float]) -> None:
        row = {"step": self.step, "rate": self.optimiser.param_groups[-1]["lr"], **measured}
        append_metrics(self.output, row)
        if self.board is not None:
            for name, value in row.items():
                self.board.add_scalar(name, value, self.step)
            self.board.flush()

    def _checkpoint(self) -> None:
        state = {
            "network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(), "best": self.best,
            "best_score": self.best_score, "step": self.step, "stale": self.stale,
        }  # fmt: skip
        save_checkpoint(self.output, state, self._identity())


def predicted(
    network: nn.Module, settings: FinetuningSettings, samples: Samples, scaling: Mapping[str, float]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Answers and targets of all samples, values in their own unit; the network is left in evaluation mode."""
    network.eval()
    device = next(network.parameters()).device
    answers, targets = [], []
    with torch.inference_mode():
        for index in range(len(samples)):
            images, target = samples.sample(index, np.random.default_rng(index))
            placed = {view: torch.from_numpy(image)[None].to(device) for view, image in images.items()}
            answers.append(answered(network, settings, placed)[0])
            targets.append(target)
    found = np.stack(answers)
    return (found * scaling["sd"] + scaling["mean"] if settings.family == "regression" else found), np.stack(targets)


def _order(kept: npt.NDArray[np.intp], step: int, batch: int, seed: int) -> npt.NDArray[np.intp]:
    """The samples of a step: every epoch is a permutation of its own, and no sample is thrown away at its end."""
    places = np.arange(step * batch, (step + 1) * batch)
    epochs = {e: np.random.default_rng([seed, 78, e]).permutation(kept) for e in np.unique(places // len(kept))}
    return np.array([epochs[place // len(kept)][place % len(kept)] for place in places])


def _begin_with(network: nn.Module, init: Mapping[str, Tensor]) -> None:
    """All weights where they fit as they are (a training that goes on), else by the published rules."""
    state = network.state_dict()
    if set(state) == set(init) and all(state[key].shape == init[key].shape for key in state):
        network.load_state_dict(dict(init))
    else:
        transfer(init, network)


def _standardisation(training: Samples, kept: npt.NDArray[np.intp]) -> dict[str, float]:
    values = [float(training.sample(int(i), np.random.default_rng(0)).target) for i in kept]
    return {"mean": float(np.mean(values)), "sd": float(np.std(values)) or 1.0}


def _card(settings: FinetuningSettings, run: _Run, data: tuple[str, ...]) -> ModelCard:
    used = f"{len(run.kept)} of {len(run.training)} training samples"
    evaluation = {"validation": run.best_score} if math.isfinite(run.best_score) else {}
    return ModelCard(
        name=settings.name, task=settings.task, kind=settings.kind, config=run.config,
        pixel_mm=settings.pixel_mm,
        size=int(settings.config.get("sax_size" if settings.views[0] == "sax" else "lax_size", (256,))[0]),
        training_data=(used, *data), training_settings=settings.identity(), evaluation=evaluation,
        licence="Apache-2.0", preprocessing="cinema", views=settings.views, classes=settings.classes,
        target=run.scaling if settings.family == "regression" else {},
    )  # fmt: skip


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
