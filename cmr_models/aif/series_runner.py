"""The runner of a network that takes the frames of a perfusion series as channels of one image."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from cmr_models.zoo import ModelCard
from cmr_models.zoo.runner import NetworkRunner


class SeriesRunner(NetworkRunner):
    """A network of :mod:`cmr_models.aif` or :mod:`cmr_models.perfusion`, one series at a time.

    It computes in float32 unless told otherwise: it takes a small part of the time of a perfusion study, and labels
    at the border of a chamber then do not depend on the device.
    """

    def __init__(self, network: nn.Module, card: ModelCard, device: str = "auto", precision: str = "fp32") -> None:
        super().__init__(network, card, device, precision)
        self.network.to(self.device, self.precision, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def bins(self) -> int:
        """Into how many intervals the frames are pooled; one more channel is the still image."""
        return int(self.card.config["in_channels"]) - 1

    def probabilities(self, image: Tensor) -> Tensor:
        """Class probabilities ``(class, row, col)`` of ``image (channel, row, col)``, float32, on the CPU."""
        with torch.inference_mode():
            batch = image[None].to(self.device, self.precision).contiguous(memory_format=torch.channels_last)
            return torch.softmax(self.network(batch).float(), dim=1)[0].cpu()


@functools.lru_cache(maxsize=4)
def shared_runner(model: str, task: str, device: str) -> SeriesRunner:
    """The runner of a model in float32, loaded once in a process; errors as :func:`cmr_models.zoo.load`."""
    return SeriesRunner.load(model, task, device, precision="fp32")
