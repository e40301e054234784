"""The settings of a training: everything that decides the weights, and how to run it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cmr_models.training.augmentation import Augmentation
from tasks.training.recipes import check_known, plain, tuples

_MACHINE = frozenset(
    (
        "real",
        "simulated_cache",
        "simulation_workers",
        "start_from",
        "device",
        "threads",
        "log_every",
        "checkpoint_every_s",
    )
)


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides the weights.

    ``real`` is a folder as :func:`tasks.training.segmentation_data.real_pool` reads it, or empty. ``fold`` in 0 ..
    ``n_folds`` - 1 holds those patients out; -1 trains on all. ``start_from`` is a folder of an earlier run: its
    weights begin. ``start_share`` of them is kept in the result, ``start_share * begun + (1 - start_share) *
    trained``, which holds what the new images do not show (Wortsman et al. 2022, Robust fine-tuning of zero-shot
    models, arXiv 2109.01903). ``real_excluded`` names patients to leave out, as their drawings are wrong.
    ``loose_endocardium``: see :func:`tasks.training.segmentation_data.endocardium_loosened`; ``small_pool_emphasis``,
    of real images: :func:`tasks.training.segmentation_data.small_pools_first`. ``real_strength``: how strongly real
    images are varied, relative to ``augmentation``, which simulated ones need. ``teacher``: what names the classes
    that real drawings leave open, the running mean of the weights, those that the training began with, or the mean
    answer of both, which a running mean that drifts does not decide alone. ``encoder``: published weights that an
    "efficient_unet2d" begins with (:mod:`tasks.training.published_encoder`); none if empty.
    """

    task: Literal["segment_sax", "segment_lax_4c"] = "segment_sax"
    name: str = "default"
    seed: int = 1
    kind: str = "unet2d"
    config: Mapping[str, Any] = field(default_factory=dict)
    encoder: Literal["", "efficientnet-lite0"] = ""
    size: int = 128
    n_simulated: int = 3000
    simulation_seed: int = 1
    simulated_cache: str = ""
    simulation_workers: int = 2
    real: str = ""
    real_name: str = ""
    real_pixel_mm: float = 1.32
    real_excluded: tuple[str, ...] = ()
    fold: int = -1
    n_folds: int = 5
    start_from: str = ""
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
    device: str = "auto"
    low_precision: bool = True
    threads: int = 0
    log_every: int = 25
    checkpoint_every_s: float = 60.0
    augmentation: Augmentation = field(default_factory=Augmentation)


def read_settings(file: Path, **changes: Any) -> TrainingSettings:
    """Settings from a TOML file; ``changes`` go over it.

    Raises:
        ValueError: for a key that is no setting.
    """
    values: dict[str, Any] = tomllib.loads(file.read_text()) | changes
    augmentation = values.pop("augmentation", {})
    check_known(values, TrainingSettings, file.name)
    check_known(augmentation, Augmentation, file.name)
    return TrainingSettings(**tuples(values), augmentation=Augmentation(**tuples(augmentation)))


def checked(settings: TrainingSettings) -> TrainingSettings:
    """The settings, if they make sense together.

    Raises:
        ValueError: if a share of nothing is to be kept, or a share is none; if an encoder does not suit the network.
    """
    for name in ("start_share", "real_share"):
        if not 0 <= getattr(settings, name) <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {getattr(settings, name)}")
    if settings.start_share and not settings.start_from:
        raise ValueError("start_share keeps a part of the weights of start_from (`--init`), which is not given")
    if settings.encoder and (settings.kind != "efficient_unet2d" or settings.start_from):
        raise ValueError("published encoder weights are for a new 'efficient_unet2d', without start_from (`--init`)")
    if settings.teacher != "mean" and not settings.start_from:
        raise ValueError("the teacher is to be start_from (`--init`), which is not given")
    return settings


def identity(settings: TrainingSettings) -> dict[str, Any]:
    """The settings that decide the weights as plain values: no paths, no machine."""
    return {key: value for key, value in plain(asdict(settings)).items() if key not in _MACHINE}
