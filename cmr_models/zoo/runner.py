"""The runner of a trained network: the network, its card, its device and its precision."""

from __future__ import annotations

import functools
import os
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cmr_models.zoo import library
from cmr_models.zoo.model_card import ModelCard

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class NetworkRunner:
    """A trained network with a device and a precision; a subclass moves the network there, in its own memory layout.

    By default it computes in bfloat16 where the device multiplies it in hardware (AVX-512 BF16 or AMX on a CPU,
    any recent GPU) and in float32 elsewhere; ``precision`` says which.

    Attributes:
        card: the model's card.
        device: where it runs.
        precision: ``torch.bfloat16`` or ``torch.float32``.
    """

    TASK: ClassVar[str | None] = None
    """The task of a model where the caller names none."""

    def __init__(self, network: nn.Module, card: ModelCard, device: str = "auto", precision: str = "auto") -> None:
        self.card = card
        self.device = torch.device(chosen_device(device))
        self.precision = chosen_precision(self.device, precision)
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] = "default",
        task: str | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> Self:
        """The runner of a model of :func:`cmr_models.zoo.load`; errors as there."""
        network, card = library.load(model, task or cls.TASK)
        return cls(network, card, device, precision)


class LabelsAlone(ABC):
    """For runners of segmentation networks of which it is not known how their outputs tell what they do not know."""

    @abstractmethod
    def labels(
        self, outputs: npt.NDArray[Any], position: Any, shape: tuple[int, int, int, int]
    ) -> npt.NDArray[np.uint8]:
        """As :meth:`cmr_models.segmentation.protocol.SegmentationRunner.labels`."""

    def labels_and_certainty(
        self, outputs: npt.NDArray[Any], position: Any, shape: tuple[int, int, int, int]
    ) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[Any]]]:
        """The labels, and nothing else."""
        return self.labels(outputs, position, shape), {}


def chosen_device(device: str) -> str:
    """``device``, or for "auto" the GPU if there is one."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def chosen_precision(device: torch.device, precision: str) -> torch.dtype:
    """The named precision; for "auto" bfloat16 where the device multiplies it in hardware.

    Raises:
        ValueError: for an unknown name.
    """
    if precision != "auto":
        if precision not in _PRECISIONS:
            raise ValueError(f"precision must be auto or one of {sorted(_PRECISIONS)}, got {precision!r}")
        return _PRECISIONS[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = device.type == "cpu" and "avx512_bf16" in _cpu_features()
    return torch.bfloat16 if fast else torch.float32


@functools.cache
def _cpu_features() -> frozenset[str]:
    found = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return frozenset({"avx512_bf16"} if found else ())
