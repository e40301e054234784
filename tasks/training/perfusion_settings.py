"""Settings of the training of the perfusion networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.training.recipes import MACHINE

TASKS = ("aif_detect", "perfusion_segment")


@dataclass(frozen=True)
class PerfusionTraining:
    """Everything that decides the weights.

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
        device: "auto", "cpu", "cuda".
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
    device: str = field(default="auto", repr=False, metadata=MACHINE)  # repr: see identity of the recipe

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"unknown task {self.task!r}; tasks are {TASKS}")
