"""The default 2-D network: a residual U-Net whose trunk works at half resolution, so that it is quick on a
CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class UNet2dConfig:
    """Settings of :class:`UNet2d`. ``widths`` are the channels at 1/2, 1/4, 1/8 ... of the input
    resolution.
    """

    in_channels: int = 1
    n_classes: int = 4
    widths: tuple[int, ...] = (16, 32, 64, 128, 192)
    blocks: tuple[int, ...] = (1, 1, 2, 2, 2)
    head_width: int = 8

    @property
    def stride(self) -> int:
        """Rows and columns of the input must be multiples of this."""
        return int(2 ** len(self.widths))


class UNet2d(nn.Module):
    """Images ``(batch, channel, row, col)`` to logits ``(batch, class, row, col)``.

    The first convolution halves the resolution; the last stage shuffles channels back to pixels and refines
    them
    beside the image itself, so that edges come from full resolution at little cost.
    """

    def __init__(self, config: UNet2dConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.stem = conv_block(config.in_channels, widths[0], kernel=5, stride=2)
        self.encoder = nn.ModuleList(
            nn.Sequential(*[Residual(width) for _ in range(n_blocks)])
            for width, n_blocks in zip(widths, config.blocks, strict=True)
        )
        self.down = nn.ModuleList(conv_block(a, b, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(conv_block(b, a, kernel=1) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(Residual(width) for width in widths[:-1])
        self.to_pixels = nn.Conv2d(widths[0], 4 * config.head_width, 1)
        self.refine = conv_block(config.head_width + config.in_channels, config.head_width)
        self.classify = nn.Conv2d(config.head_width, config.n_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits at the resolution of ``image``; see the class."""
        check_image(image, self.config.in_channels, self.config.stride)
        x = self.stem(image)  # (B, W0, H/2, W/2)
        skips: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = stage(x)
            if level < len(self.down):
                skips.append(x)
                x = self.down[level](x)
        for level in reversed(range(len(skips))):
            x = F.interpolate(self.up[level](x), scale_factor=2.0, mode="nearest")
            x = self.decoder[level](x + skips[level])
        x = F.pixel_shuffle(self.to_pixels(x), 2)  # (B, head, H, W)
        x = self.refine(torch.cat([x, image.to(x.dtype)], dim=1))
        logits: Tensor = self.classify(x)
        return logits


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv_block(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        return F.relu(x + self.second(self.first(x)))


def conv_block(n_in: int, n_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution, batch normalisation and rectifier."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    )


def check_image(image: Tensor, in_channels: int, stride: int) -> None:
    """Raise ValueError for an image that a network of these channels and this stride cannot take."""
    if image.ndim != 4 or image.shape[1] != in_channels:
        raise ValueError(
            f"the network needs (batch, {in_channels}, row, col), got {tuple(image.shape)}; add or select channels"
        )
    if image.shape[2] % stride or image.shape[3] % stride:
        raise ValueError(f"rows and columns must be multiples of {stride}, got {tuple(image.shape[2:])}; pad")
