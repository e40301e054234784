"""Settings of the training of CineMA's networks and their baselines, pretraining included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cmr_models.training.cinema_augmentation import SampleAugmentation
from tasks.training.recipes import MACHINE

FAMILIES = ("segmentation", "classification", "regression", "landmark_heatmap", "landmark_coordinate", "pretrain")


@dataclass(frozen=True)
class FinetuningSettings:
    """Everything that decides the weights, given the data.

    Attributes:
        task: of the model's card: "segment_sax", "classification_cvd", "regression_ef", "landmark_heatmap",
            "landmark_coordinate", "pretrain".
        name: of the model.
        kind: of :func:`cmr_models.nets.build`.
        config: its settings, without ``out_chans`` and ``views``.
        pixel_mm: of the network's input.
        views: that the network takes.
        classes: names of the outputs: labels with background first, classes, or landmarks.
        seed: of weights, order, augmentation and the subset that ``proportion`` takes.
        proportion: share of the training samples that is used, for data-efficiency experiments.
        steps: of the optimiser.
        batch: samples of a step, over all processes.
        learning_rate: peak.
        minimum_rate: at the end.
        warmup_steps: of the linear warm-up.
        weight_decay: of matrices; vectors have none.
        layer_decay: applied only where pretrained weights begin.
        clip: largest norm of the gradient.
        evaluate_every: steps between validations.
        patience: validations without an improvement of ``min_delta`` before it stops; 0 never stops.
        min_delta: of the validation measure.
        low_precision: bfloat16 where the device has it.
        device: "auto", "cpu", "cuda".
        threads: of torch; 0 leaves them.
        tensorboard: whether the figures go to TensorBoard too (``pip install cmr-cohort[tensorboard]``).
        augmentation: ranges.
    """

    task: str
    name: str = "finetuned"
    kind: str = "ConvViT"
    config: Mapping[str, Any] = field(default_factory=dict)
    pixel_mm: float = 1.0
    views: tuple[str, ...] = ("sax",)
    classes: tuple[str, ...] = ()
    seed: int = 0
    proportion: float = 1.0
    steps: int = 1000
    batch: int = 16
    learning_rate: float = 1e-3
    minimum_rate: float = 1e-5
    warmup_steps: int = 50
    weight_decay: float = 0.05
    layer_decay: float = 0.75
    clip: float = 5.0
    evaluate_every: int = 100
    patience: int = 5
    min_delta: float = 1e-4
    low_precision: bool = True
    device: str = field(default="auto", metadata=MACHINE)
    threads: int = field(default=0, metadata=MACHINE)
    tensorboard: bool = field(default=False, metadata=MACHINE)
    augmentation: SampleAugmentation = field(default_factory=SampleAugmentation)

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"unknown task {self.task!r}")
        if not self.pixel_mm > 0:
            raise ValueError(f"pixel_mm must be positive, got {self.pixel_mm}")
        if not 0 < self.proportion <= 1:
            raise ValueError(f"data.proportion must lie in (0, 1], got {self.proportion}")
        if self.evaluate_every < 1 or self.batch < 1:
            raise ValueError(f"evaluate_every and batch must be at least 1, got {self.evaluate_every}, {self.batch}")

    @property
    def family(self) -> str:
        """What kind of output is learned.

        Raises:
            ValueError: for a task that belongs to none.
        """
        if self.task.startswith("segment"):
            return "segmentation"
        known = [family for family in FAMILIES if self.task.startswith(family)]
        if not known:
            raise ValueError(f"unknown task {self.task!r}; it must begin with segment_ or one of {FAMILIES[1:]}")
        return known[0]
