"""The loop of every training: gradient steps, running mean of the weights, validation, metrics, checkpoint, resume.

A step of a recipe must depend only on its settings, its data and the number of the step. Then a training that was
killed and resumes from its checkpoint ends where an uninterrupted one does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cmr_models.training.running_mean import decay_at, update_mean
from cmr_models.zoo import ModelCard, save
from cmr_models.zoo.runner import chosen_device
from tasks.training.checkpoints import append_metrics, drop_metrics_after, load_checkpoint, save_checkpoint
from tasks.training.tensorboard_log import open_board

Losses = Mapping[str, float]


@dataclass(frozen=True)
class LoopSettings:
    """How long a training is, and what it leaves on the way.

    Attributes:
        steps: of the optimiser.
        log_every: steps between rows of ``metrics.csv``; the last step has one too.
        checkpoint_every_s: seconds between checkpoints, and one at the end; None for one with every row of metrics.
        clip: largest norm of the gradient.
        mean_decay: of the running mean of the weights, if the recipe has one.
        half: whether convolution kernels are saved in half precision.
        tensorboard: whether the metrics go to TensorBoard too.
        writes: whether this process writes; one of several does.
    """

    steps: int
    log_every: int
    checkpoint_every_s: float | None = None
    clip: float = 5.0
    mean_decay: float = 0.0
    half: bool = True
    tensorboard: bool = False
    writes: bool = True


class Recipe(Protocol):
    """What a training adds to the loop: its network, its data and losses, what it measures and what it leaves."""

    @property
    def network(self) -> nn.Module:
        """The network that learns."""
        ...

    @property
    def mean(self) -> nn.Module | None:
        """The network that holds the running mean of the weights, if there is one."""
        ...

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """Its groups may have a factor ``lr_scale`` of the learning rate."""
        ...

    @property
    def loop(self) -> LoopSettings:
        """How long the training is."""
        ...

    @property
    def stopped(self) -> bool:
        """Whether the training ends early."""
        ...

    def identity(self) -> Any:
        """All that decides the weights, as plain values; a checkpoint of another identity is refused."""
        ...

    def learning_rate(self, step: int) -> float:
        """The rate of ``step``, counted from 0."""
        ...

    def losses(self, step: int) -> Mapping[str, Tensor]:
        """The losses of the batch of ``step``; their sum is minimised."""
        ...

    def measure(self, losses: Sequence[Losses]) -> Mapping[str, float]:
        """A row of metrics from the losses of the steps since the last row, and from a validation if there is one."""
        ...

    def state(self) -> Mapping[str, Any]:
        """What a checkpoint holds besides network, optimiser and step."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        ...

    def result(self) -> nn.Module:
        """The network to save."""
        ...

    def card(self) -> ModelCard:
        """The card of the saved network."""
        ...


def choose_device(device: str, seed: int, threads: int = 0) -> torch.device:
    """Seed torch and set its number of threads (0 leaves it); the device, where "auto" is the GPU if there is one."""
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    return torch.device(chosen_device(device))


def train(recipe: Recipe, output: Path) -> Path:
    """Train, or resume where the checkpoint of ``output`` was made; save the network with its card.

    Args:
        recipe: what to train.
        output: folder for ``checkpoint.pt``, ``metrics.csv``, ``model.safetensors`` and ``card.toml``.

    Returns:
        ``output``, a folder that :func:`cmr_models.zoo.load` reads.

    Raises:
        ValueError: if ``output`` holds a checkpoint of other settings, or the loss is not finite.
    """
    output.mkdir(parents=True, exist_ok=True)
    run = _Run(recipe, output)
    run.resume()
    while run.step < recipe.loop.steps and not recipe.stopped:
        run.advance()
    run.finish()
    if recipe.loop.writes:
        network = recipe.result()
        save(output, network, recipe.card(), half=recipe.loop.half)
    return output


class _Run:
    """The state of a training in progress."""

    def __init__(self, recipe: Recipe, output: Path) -> None:
        self.recipe, self.settings, self.output = recipe, recipe.loop, output
        self.step = 0
        self.losses: list[Losses] = []
        self.saved_at = time.monotonic()
        self.board: Any = None

    def resume(self) -> None:
        """Take over the checkpoint, if there is one, and open TensorBoard, if the settings ask for it."""
        recipe = self.recipe
        device = next(recipe.network.parameters()).device
        state = load_checkpoint(self.output, recipe.identity(), device)
        if state is not None:
            recipe.network.load_state_dict(state["network"])
            recipe.optimiser.load_state_dict(state["optimiser"])
            recipe.restore(state)
            self.step = int(state["step"])
        if self.settings.writes:
            drop_metrics_after(self.output, self.step)
            if self.settings.tensorboard:
                self.board = open_board(self.output / "tensorboard", self.step)

    def advance(self) -> None:
        """One step, then metrics and a checkpoint if they are due."""
        self.losses.append(take_step(self.recipe, self.step))
        self.step += 1
        logged = self.step % self.settings.log_every == 0 or self.step == self.settings.steps
        if logged:
            self._log()
        interval_s = self.settings.checkpoint_every_s
        if logged if interval_s is None else time.monotonic() - self.saved_at >= interval_s:
            self._checkpoint()

    def finish(self) -> None:
        """Checkpoint the last step, where the clock decides and not the metrics."""
        if self.settings.checkpoint_every_s is not None:
            self._checkpoint()

    def _log(self) -> None:
        row = {"step": self.step, **self.recipe.measure(self.losses)}
        self.losses = []
        if not self.settings.writes:
            return
        append_metrics(self.output, row)
        if self.board is not None:
            for name, value in row.items():
                self.board.add_scalar(name, value, self.step)
            self.board.flush()

    def _checkpoint(self) -> None:
        recipe = self.recipe
        if self.settings.writes:
            state = {"network": recipe.network.state_dict(), "optimiser": recipe.optimiser.state_dict()}
            save_checkpoint(self.output, {**state, "step": self.step, **recipe.state()}, recipe.identity())
        self.saved_at = time.monotonic()


def take_step(recipe: Recipe, step: int) -> Losses:
    """One step of gradient descent, and of the running mean of the weights; the losses of its batch.

    Raises:
        ValueError: if the loss is not finite.
    """
    rate = recipe.learning_rate(step)
    for group in recipe.optimiser.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
    recipe.network.train()
    losses = recipe.losses(step)
    total = torch.stack(list(losses.values())).sum()
    if not torch.isfinite(total):
        raise ValueError(f"the loss is {total.item()} at step {step}; lower learning_rate or check the images")
    recipe.optimiser.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_(recipe.network.parameters(), recipe.loop.clip)
    recipe.optimiser.step()
    if recipe.mean is not None:
        update_mean(recipe.mean, recipe.network, decay_at(step + 1, recipe.loop.mean_decay))
    return {name: float(loss.detach()) for name, loss in losses.items()}
