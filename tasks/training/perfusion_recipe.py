"""The training recipe of the perfusion networks: simulated first passes alone, drawn anew as the training goes.

Series ``i`` depends only on the seed and ``i``, and step ``s`` only on the settings and ``s``: a killed training that
resumes from its checkpoint draws the same pool again and ends where an uninterrupted one does.
"""

from __future__ import annotations

import math
import time
import tomllib
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
from cmr_models.zoo import ModelCard, save
from tasks.training.checkpoints import load_checkpoint, save_checkpoint
from tasks.training.recipes import check_known, plain, tuples

TASKS = ("aif_detect", "perfusion_segment")
_SIMULATED_MARGIN = 1.17


@dataclass(frozen=True)
class PerfusionTraining:
    """A recipe.

    Attributes:
        task: aif_detect or perfusion_segment.
        name: of the model.
        seed: of everything that is drawn.
        kind: of the network, a key of :data:`cmr_models.nets.KINDS`.
        config: its settings, but for channels and classes.
        bins: frames of the network's input.
        size: rows and columns of the network's input.
        pixel_mm: of the network's input; 0 where the field of view is what is scaled.
        n_classes: with 2, RV is background (aif_detect only).
        pool: series held in memory.
        fresh: series that are replaced each step.
        batch: series a step.
        steps: of gradient descent.
        learning_rate: its highest value, after a warm-up; half a cosine down to zero follows.
        horizon: steps at which that cosine would reach zero, when training ends before it; 0 for ``steps``.
        weight_decay: of AdamW.
        mean_decay: of the running mean of the weights that is saved.
        class_weight: of cross-entropy, background first.
        checkpoint_every_s: seconds.
    """

    task: str
    name: str = "default"
    seed: int = 1
    kind: str = "unet2d"
    config: Mapping[str, Any] = field(default_factory=dict)
    bins: int = 40
    size: int = 64
    pixel_mm: float = 0.0
    n_classes: int = 3
    pool: int = 320
    fresh: int = 6
    batch: int = 32
    steps: int = 600
    learning_rate: float = 3e-3
    horizon: int = 0
    weight_decay: float = 1e-3
    mean_decay: float = 0.98
    class_weight: tuple[float, ...] = (1.0, 3.0, 2.0)
    checkpoint_every_s: float = 60.0


def read_perfusion_recipe(file: Path, **changes: Any) -> PerfusionTraining:
    """A recipe from TOML, with changes.

    Raises:
        ValueError: for unknown entries or an unknown task.
    """
    values = tomllib.loads(file.read_text()) | changes
    check_known(values, PerfusionTraining, file.name)
    if values.get("task") not in TASKS:
        raise ValueError(f"{file.name}: unknown task {values.get('task')!r}; tasks are {TASKS}")
    return PerfusionTraining(**tuples(values))


def train_perfusion(settings: PerfusionTraining, output: Path) -> Path:
    """Train; resume if ``output`` holds a checkpoint of the same settings; a folder for ``zoo.load`` is left.

    Raises:
        ValueError: if ``output`` holds a checkpoint of other settings.
    """
    output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    network, mean = _network(settings), _network(settings).eval().requires_grad_(False)
    mean.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    parts = {"network": network, "mean": mean, "optimiser": optimiser}
    step = _resumed(output, parts, settings)
    pool = _filled(settings, step)
    saved_at = time.monotonic()
    while step < settings.steps:
        loss = _advance(network, optimiser, pool, settings, step)
        step += 1
        _follow(mean, network, min(settings.mean_decay, step / (step + 10)))
        pool.extend(_example(settings, i) for i in _drawn_at(settings, step))
        if step % 20 == 0 or step == settings.steps:
            with (output / "metrics.csv").open("a") as log:
                log.write(f"{step},{loss:.5g}\n")
        if time.monotonic() - saved_at > settings.checkpoint_every_s:
            _checkpoint(output, parts, settings, step)
            saved_at = time.monotonic()
    _checkpoint(output, parts, settings, step)
    save(output, mean, _card(settings))
    return output


def _example(settings: PerfusionTraining, i: int) -> tuple[Tensor, Tensor]:
    """Input (channel, size, size) in half precision and target (size, size) of series ``i``."""
    rng = np.random.default_rng([settings.seed, 7, i])
    if settings.task == "aif_detect":
        series, mask = aif_training_series(rng)
        return aif_input(series.images[0], settings.bins, settings.size).half(), aif_target(mask, settings.size)
    side = int(settings.size * _SIMULATED_MARGIN)
    series, label = myocardial_training_series(rng, settings.pixel_mm, side)
    return _cropped(rng, series.images[0], series.time_s, label, settings)


def _cropped(
    rng: np.random.Generator,
    images: npt.NDArray[np.float32],
    time_s: npt.NDArray[np.float64],
    label: npt.NDArray[np.uint8],
    settings: PerfusionTraining,
) -> tuple[Tensor, Tensor]:
    """As at inference, but the crop's middle is off by up to 12 pixels."""
    dt_s = float(np.diff(time_s).mean())
    off = rng.integers(-12, 13, 2)
    image, corner = heart_crop(images, dt_s, settings.bins, settings.size, (int(off[0]), int(off[1])))
    padded = np.pad(label, settings.size)
    top, left = corner[0] + settings.size, corner[1] + settings.size
    target = padded[top : top + settings.size, left : left + settings.size]
    return image.half(), torch.from_numpy(np.ascontiguousarray(target)).long()


def _drawn_at(settings: PerfusionTraining, step: int) -> range:
    """Numbers of the series that step ``step`` adds to the pool."""
    first = settings.pool + (step - 1) * settings.fresh
    return range(first, first + settings.fresh)


def _filled(settings: PerfusionTraining, step: int) -> deque[tuple[Tensor, Tensor]]:
    last = settings.pool + step * settings.fresh
    return deque((_example(settings, i) for i in range(last - settings.pool, last)), maxlen=settings.pool)


def _advance(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    pool: deque[tuple[Tensor, Tensor]],
    settings: PerfusionTraining,
    step: int,
) -> float:
    rng = np.random.default_rng([settings.seed, 11, step])
    images, targets = _batch(rng, pool, settings)
    share = _share(settings, step)
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * share
    network.train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images).float()
    loss = _loss(logits, targets, torch.tensor(settings.class_weight[: settings.n_classes]))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return float(loss.detach())


def _share(settings: PerfusionTraining, step: int) -> float:
    """Of the highest learning rate: warm-up, then half a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / (settings.horizon or settings.steps))))
    return min(1.0, (step + 1) / 40) * cosine


def _batch(
    rng: np.random.Generator, pool: deque[tuple[Tensor, Tensor]], settings: PerfusionTraining
) -> tuple[Tensor, Tensor]:
    """Random members, flipped, transposed, and shifted in gain and noise."""
    images, targets = zip(*(pool[int(i)] for i in rng.integers(0, len(pool), settings.batch)), strict=True)
    image, target = torch.stack(images).float(), torch.stack(targets)
    if settings.n_classes == 2:
        target = torch.where(target == 1, 1, 0)
    axes = [axis for axis in (-2, -1) if rng.random() < 0.5]
    image, target = image.flip(axes), target.flip(axes)
    if rng.random() < 0.5:
        image, target = image.transpose(-2, -1), target.transpose(-2, -1)
    gain = torch.from_numpy(np.exp(rng.normal(0, 0.15, (len(image), 1, 1, 1)))).float()
    return (image * gain).contiguous(memory_format=torch.channels_last), target


def _loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Half weighted cross-entropy, half minus the log of the soft overlap, after the reference's training."""
    entropy = F.cross_entropy(logits, target, weight)
    truth = F.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2).float()
    share = logits.softmax(1)
    both, either = (share * truth).sum((0, 2, 3)), (share + truth - share * truth).sum((0, 2, 3))
    return 0.5 * entropy - 0.5 * torch.log((both + 1) / (either + 1)).mean()


def _network(settings: PerfusionTraining) -> nn.Module:
    return build(settings.kind, **_config(settings)).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _config(settings: PerfusionTraining) -> dict[str, Any]:
    return {**settings.config, "in_channels": settings.bins + 1, "n_classes": settings.n_classes}


def _follow(mean: nn.Module, network: nn.Module, decay: float) -> None:
    with torch.no_grad():
        now = network.state_dict()
        for name, value in mean.state_dict().items():
            value.lerp_(now[name], 1 - decay) if value.is_floating_point() else value.copy_(now[name])


def _checkpoint(output: Path, parts: Mapping[str, Any], settings: PerfusionTraining, step: int) -> None:
    state = {key: part.state_dict() for key, part in parts.items()}
    save_checkpoint(output, state | {"step": step}, repr(settings))


def _resumed(output: Path, parts: Mapping[str, Any], settings: PerfusionTraining) -> int:
    """The step to go on from; the state of ``parts`` is restored."""
    state = load_checkpoint(output, repr(settings))
    if state is None:
        return 0
    for key, part in parts.items():
        part.load_state_dict(state[key])
    return int(state["step"])


def _card(settings: PerfusionTraining) -> ModelCard:
    seen = settings.pool + settings.steps * settings.fresh
    return ModelCard(
        name=settings.name,
        task=settings.task,
        kind=settings.kind,
        config=_config(settings),
        pixel_mm=settings.pixel_mm,
        size=settings.size,
        training_data=(
            f"{seen} simulated first passes (cmr_models.simulate.perfusion.training, seed {settings.seed})",
        ),
        training_settings=plain(asdict(settings)),
        licence="Apache-2.0",
    )
