"""One of CineMA's networks ready to run: on its device, in its precision and memory layout, with numpy in and out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cmr_models import zoo
from cmr_models.cinema import grid, placement
from cmr_models.cinema.grid import Grid
from cmr_models.nets.convunetr import ConvUNetR, UpPath
from cmr_models.nets.cpu_kernels import use_cpu_kernels
from cmr_models.nets.vit import ChannelNorm
from cmr_models.views.heart_location import HeartCentre
from cmr_models.views.view_images import ViewImages
from cmr_models.zoo.runner import NetworkRunner

_LEAVES = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.LayerNorm)
_FULL_PRECISION = re.compile(r"pred_head_dict\..*|dec_image_conv_block_dict\.\w+\.(conv1|shortcut)")


class CinemaNetwork(NetworkRunner):
    """A network of :mod:`cmr_models.nets` that takes a dict of view to (batch, channel, x, y[, z]).

    In bfloat16 the network is bfloat16 but for the parts of :func:`lower_precision`; convolutions run channels-last.
    On a processor it is faster in a process that keeps the memory that it has freed; the user of this class sets that
    (:func:`cmr_models.zoo.process_memory.keep_freed_memory`).
    """

    def __init__(self, network: nn.Module, card: zoo.ModelCard, device: str = "auto", precision: str = "auto") -> None:
        super().__init__(network, card, device, precision)
        self.network.to(self.device)
        if self.device.type == "cpu":
            use_cpu_kernels(self.network)
        self._casts = card.kind in ("ConvUNetR", "ConvViT", "CineMA")  # the others run under autocast
        if self._casts and self.precision != torch.float32:
            lower_precision(self.network, self.precision, exact_end=self.device.type == "cpu")
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            elif isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def size(self, view: str) -> tuple[int, ...]:
        """The model's input along x, y and, for the short axis, z."""
        if view == "sax":
            return tuple(self.card.config.get("sax_size", (self.card.size, self.card.size, grid.SAX_SIZE[2])))
        return tuple(self.card.config.get("lax_size", (self.card.size, self.card.size)))

    def place(self, view_images: ViewImages) -> tuple[Grid, HeartCentre]:
        """The grid around the heart, and how the heart was found.

        Raises:
            StudyRejected: ``planes_coincide`` if two short-axis planes share a place: the stack has no order.
        """
        return placement.around_heart(view_images, self.size(view_images.view), self.card.pixel_mm)

    def run(
        self, images: Mapping[str, npt.NDArray[np.float32]], method: str = "forward", n_slices: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Outputs in float32 on the CPU, by name; a single tensor is called "out".

        Args:
            images: view to ``(batch, channel, x, y[, z])``.
            method: of the network ("features" of the autoencoder).
            n_slices: ``(batch,)`` short-axis slices that are not padding; if None, padding is a black image.
        """
        inputs = {view: self._to_device(image) for view, image in images.items()}
        autocast = torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=not self._casts and self.precision == torch.bfloat16
        )
        with torch.inference_mode(), autocast:
            run = getattr(self.network, method)
            output: Any = run(inputs) if n_slices is None else run(inputs, n_slices=n_slices)
        named = output if isinstance(output, dict) else {"out": output}
        return {name: value.float().cpu() for name, value in named.items()}

    def _to_device(self, image: npt.NDArray[np.float32]) -> Tensor:
        layout = torch.channels_last_3d if image.ndim == 5 else torch.channels_last
        return torch.from_numpy(image).to(self.device).contiguous(memory_format=layout)


def lower_precision(network: nn.Module, precision: torch.dtype, *, exact_end: bool = False) -> None:
    """Cast a network of CineMA in place, but for the few parts in which rounding moves the logits most.

    Those stay in float32, weights and all: the norms over channels, the read-out, and the layers that see the image at
    full resolution. They are a thousandth of the multiplications, so that nothing is lost where only bfloat16 is fast.
    With ``exact_end`` so does all else at full resolution, for a twelfth of the time on a processor. Of base segmenters
    of random weights (seeds 0, 1 and 2, 11 slices, standard deviation of the logits 0.45 to 0.6) the largest error of a
    logit is 0.010 to 0.011 without and 0.007 to 0.008 with (``python -m benchmarks.inference``).
    """
    exact = _full_resolution(network) if exact_end else set()
    kept: set[nn.Parameter] = set()
    for name, module in network.named_modules():
        if isinstance(module, _LEAVES):
            if isinstance(module, ChannelNorm) or module in exact or _FULL_PRECISION.fullmatch(name):
                kept.update(module.parameters())
            module.register_forward_pre_hook(_to_weights)
    for parameter in set(network.parameters()) - kept:
        parameter.data = parameter.data.to(precision)


def _full_resolution(network: nn.Module) -> set[nn.Module]:
    """The layers of a segmenter's image block and of its decoder's last step."""
    if not isinstance(network, ConvUNetR):
        return set()
    last_steps = [path.blocks[-1] for path in network.modules() if isinstance(path, UpPath)]
    return {layer for end in (network.dec_image_conv_block_dict, *last_steps) for layer in end.modules()}


def _to_weights(module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The inputs of a layer in the precision of its weights."""
    return tuple(x.to(module.weight.dtype) for x in inputs)
