"""Settings of the training of the 2-D segmentation networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cmr_models.contracts import VIEW_LABELS
from cmr_models.training.augmentation import Augmentation
from tasks.training.recipes import MACHINE

TASKS = ("segment_sax", "segment_lax", "segment_lax_2c", "segment_lax_3c", "segment_lax_4c")
VIEWS_OF_TASK: Mapping[str, tuple[str, ...]] = {
    "segment_lax": ("lax_4c", "lax_2c", "lax_3c"),
    **{task: (task.removeprefix("segment_"),) for task in TASKS if task != "segment_lax"},
}
"""The views that a network sees; "segment_lax" is one network for every long-axis view."""


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides the weights, and where and how to run.

    Attributes:
        task: segment_sax; segment_lax, a network for every long-axis view; or segment_lax_2c, segment_lax_3c or
            segment_lax_4c for one alone.
        name: of the model.
        seed: of everything that is drawn.
        kind: of the network, a key of :data:`cmr_models.nets.KINDS`.
        config: its settings, but for the classes.
        encoder: published weights that an "efficient_unet2d" begins with (:mod:`tasks.training.published_encoder`);
            none if empty.
        size: rows and columns of a crop.
        n_simulated: simulated images.
        simulated_slices: neighbouring slices of each simulated heart; with more than one they are patients of a
            hospital, see :func:`tasks.training.segmentation_data.simulated_pool`.
        simulation_seed: of them.
        simulated_cache: folder that keeps them; in the output if empty.
        simulation_workers: processes that make them.
        real: folder as :func:`tasks.training.segmentation_data.real_pool` reads it; none if empty.
        real_name: how the card calls it.
        real_pixel_mm: pixel size of its images.
        real_phases: of each slice, as its file names count them, see
            :func:`tasks.training.segmentation_data.real_pool`; 0 if they do not.
        real_excluded: patients to leave out, as their drawings are wrong.
        drawn: folder of volumes with every structure drawn (:mod:`tasks.training.drawn_volumes`); none if empty.
        drawn_name: how the card calls them.
        drawn_licence: of the weights that have seen them.
        drawn_share: part of a batch that is of them.
        drawn_strength: how strongly they are varied, relative to ``augmentation``.
        drawn_end_weight: how often those at an end of a ventricle are drawn, relative to the others.
        crossed: folder of a cohort with segmented short axes, whose long-axis images they label where the planes cross
            (:mod:`tasks.training.crossed_studies`); none if empty. They are drawn as real images are.
        crossed_model: whose labels of the short axis to believe.
        crossed_name: how the card calls them.
        alone_chance: of an image of a network that looks at three slices to come without those before and after it.
        fold: in 0 .. ``n_folds`` - 1, the patients to hold out, of ``drawn`` where it is given, else of ``real``; -1
            trains on all.
        n_folds: of the cross-validation.
        start_from: folder of an earlier run, whose weights begin; none if empty.
        start_share: the result is ``start_share * begun + (1 - start_share) * trained``, which keeps what the new
            images do not show (Wortsman et al. 2022, Robust fine-tuning of zero-shot models, arXiv 2109.01903).
        steps: of the optimiser.
        simulated_steps: first steps with simulated images only.
        teacher: what fills in the classes that real drawings leave open: the running mean of the weights ("mean"), the
            weights that the training began with ("begun"), or the mean output of both, which is less sensitive to a
            running mean that drifts.
        teacher_from: first step with a teacher.
        teacher_confidence: of the best class, see :func:`cmr_models.training.partial_label_losses.narrow`.
        batch: images of a step.
        loose_endocardium: see :func:`tasks.training.segmentation_data.loosen_endocardium`.
        small_pool_emphasis: of real images, see :func:`tasks.training.segmentation_data.sampling_probability`.
        real_share: part of a batch that is real.
        real_strength: how strongly real images are varied, relative to ``augmentation``, which simulated ones need.
        learning_rate: peak, after a warm-up; half a cosine down to zero.
        weight_decay: of AdamW.
        warmup_steps: of the linear warm-up.
        mean_decay: of the running mean of the weights that is saved.
        device: "auto", "cpu", "cuda".
        low_precision: bfloat16 where the device has it.
        threads: of torch; 0 leaves them.
        log_every: steps between rows of metrics.
        checkpoint_every_s: seconds between checkpoints.
        class_weights: of the card, see :class:`cmr_models.zoo.ModelCard`.
        augmentation: how strongly to vary the images.
    """

    task: Literal["segment_sax", "segment_lax", "segment_lax_2c", "segment_lax_3c", "segment_lax_4c"] = "segment_sax"
    name: str = "default"
    seed: int = 1
    kind: str = "unet2d"
    config: Mapping[str, Any] = field(default_factory=dict)
    encoder: Literal["", "efficientnet-lite0"] = ""
    size: int = 128
    n_simulated: int = 3000
    simulated_slices: int = 1
    simulation_seed: int = 1
    simulated_cache: str = field(default="", metadata=MACHINE)
    simulation_workers: int = field(default=2, metadata=MACHINE)
    real: str = field(default="", metadata=MACHINE)
    real_name: str = ""
    real_pixel_mm: float = 1.32
    real_phases: int = 0
    real_excluded: tuple[str, ...] = ()
    drawn: str = field(default="", metadata=MACHINE)
    drawn_name: str = ""
    drawn_licence: str = ""
    drawn_share: float = 0.5
    drawn_strength: float = 1.0
    drawn_end_weight: float = 1.0
    crossed: str = field(default="", metadata=MACHINE)
    crossed_model: str = "default"
    crossed_name: str = ""
    alone_chance: float = 0.3
    fold: int = -1
    n_folds: int = 5
    start_from: str = field(default="", metadata=MACHINE)
    start_share: float = 0.0
    steps: int = 4000
    simulated_steps: int = 1500
    teacher: Literal["mean", "begun", "both"] = "mean"
    teacher_from: int = 500
    teacher_confidence: float = 0.8
    batch: int = 16
    loose_endocardium: bool = False
    small_pool_emphasis: float = 0.0
    real_share: float = 0.5
    real_strength: float = 1.0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    warmup_steps: int = 100
    mean_decay: float = 0.995
    device: str = field(default="auto", metadata=MACHINE)
    low_precision: bool = True
    threads: int = field(default=0, metadata=MACHINE)
    log_every: int = field(default=25, metadata=MACHINE)
    checkpoint_every_s: float = field(default=60.0, metadata=MACHINE)
    class_weights: Mapping[str, float] = field(default_factory=dict)
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def views(self) -> tuple[str, ...]:
        """The views that the network sees."""
        return VIEWS_OF_TASK[self.task]

    @property
    def n_classes(self) -> int:
        """Of the network: background and every code up to the largest that one of its views shows."""
        return 1 + max(max(VIEW_LABELS[view]) for view in self.views)

    @property
    def channels(self) -> int:
        """Slices that the network looks at: 1, or 3 with the one before and the one after."""
        return int(self.config.get("in_channels", 1))

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"unknown task {self.task!r}; tasks are {TASKS}")
        if self.drawn and not (self.drawn_name and self.drawn_licence):
            raise ValueError("give drawn_name and drawn_licence: who uses the weights must know what they have seen")
        if self.crossed and (self.real or self.task == "segment_sax" or not self.crossed_name):
            raise ValueError("crossed is for a long-axis network without real; give crossed_name too, for its card")
        for name in ("start_share", "real_share", "drawn_share", "alone_chance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if not self.start_from:
            self._check_start()
        if self.simulated_slices < 1 or 50 % self.simulated_slices:
            raise ValueError(f"simulated_slices must divide 50, got {self.simulated_slices}")
        if self.simulated_slices > 1 and self.task != "segment_sax":
            raise ValueError("simulated_slices are of short-axis stacks; a long-axis view is a single image")
        if self.encoder and (self.kind != "efficient_unet2d" or self.start_from):
            raise ValueError(
                "published encoder weights are for a new 'efficient_unet2d', without start_from (`--init`)"
            )

    def _check_start(self) -> None:
        if self.start_share:
            raise ValueError("start_share keeps a part of the weights of start_from; give them (`--init`)")
        if self.teacher != "mean":
            raise ValueError(f"the teacher {self.teacher!r} is the network start_from; give it (`--init`)")
