"""The card of the network that a training leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cmr_models.zoo import ModelCard
from tasks.training.recipes import identity

if TYPE_CHECKING:
    from tasks.training.cinema_settings import FinetuningSettings
    from tasks.training.perfusion_settings import PerfusionTraining
    from tasks.training.segmentation_settings import TrainingSettings

LICENCE = "Apache-2.0"


def make_card(
    settings: TrainingSettings | FinetuningSettings | PerfusionTraining,
    *,
    config: Mapping[str, Any],
    pixel_mm: float,
    size: int,
    training_data: tuple[str, ...],
    **more: Any,
) -> ModelCard:
    """The card of a network trained with ``settings``.

    Args:
        settings: name, task, kind, and all that decided the weights.
        config: of :func:`cmr_models.nets.build`.
        pixel_mm: of the network's input.
        size: rows and columns of the network's input.
        training_data: what it was trained on.
        **more: further entries of :class:`cmr_models.zoo.ModelCard`.
    """
    return ModelCard(
        name=settings.name, task=settings.task, kind=settings.kind, config=config, pixel_mm=pixel_mm, size=size,
        training_data=training_data, training_settings=identity(settings), **{"licence": LICENCE, **more},
    )  # fmt: skip
