"""The network "DynUNet" of MONAI: a U-Net with its own kernel and stride at every level, as nnU-Net plans them.

After Isensee et al., Nature Methods 2021; modules have the names of MONAI 1.6, each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cmr_models.nets.monai_layers import LayerSettings, convolution, nonlinearity, normalisation

_UP = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


@dataclass(frozen=True, kw_only=True)
class MonaiDynUNetConfig(LayerSettings):
    """Settings of :class:`MonaiDynUNet`, one entry a level, finest first.

    Attributes:
        features: channels.
        kernels: kernel sizes, one number an axis.
        strides: stride at the door of each level.
        up_kernels: kernel and stride of the transposed convolutions, one entry less.
        residual: residual blocks on the way down.
        up_bias: whether transposed convolutions have a bias.
    """

    features: Sequence[int]
    kernels: Sequence[Sequence[int]]
    strides: Sequence[Sequence[int]]
    up_kernels: Sequence[Sequence[int]]
    residual: bool = False
    up_bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        n = len(self.features)
        if n < 2 or (len(self.kernels), len(self.strides), len(self.up_kernels)) != (n, n, n - 1):
            raise ValueError(
                f"{n} levels need as many kernels and strides and one upsampling less, got "
                f"{len(self.kernels)}, {len(self.strides)} and {len(self.up_kernels)}"
            )


class MonaiDynUNet(nn.Module):
    """The U-Net without the outputs of its coarser levels, which are for training alone."""

    def __init__(self, config: MonaiDynUNetConfig) -> None:
        super().__init__()
        f, block = config.features, ResidualBlock if config.residual else Block
        n_in = (config.in_channels, *f[:-1])
        levels = [block(config, n_in[i], f[i], config.kernels[i], config.strides[i]) for i in range(len(f))]
        self.input_block = levels[0]
        self.downsamples = nn.ModuleList(levels[1:-1])
        self.bottleneck = levels[-1]
        self.upsamples = nn.ModuleList(
            Up(config, f[i + 1], f[i], config.kernels[i + 1], config.up_kernels[i]) for i in reversed(range(len(f) - 1))
        )
        self.output_block = nn.Module()
        self.output_block.conv = convolution(config, f[0], config.n_classes, (1,) * config.n_dims, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to logits (B, class, ...); axes are multiples of the product of their strides."""
        skips = []
        for level in (self.input_block, *self.downsamples):
            x = level(x)
            skips.append(x)
        x = self.bottleneck(x)
        for up in self.upsamples:
            x = up(x, skips.pop())
        return self.output_block.conv(x)  # type: ignore[operator, no-any-return]


class Block(nn.Module):
    """Two convolutions, the first with the stride."""

    def __init__(
        self, config: MonaiDynUNetConfig, n_in: int, n_out: int, kernel: Sequence[int], stride: Sequence[int]
    ) -> None:
        super().__init__()
        one = (1,) * config.n_dims
        self.conv1 = _convolution(config, n_in, n_out, kernel, stride)
        self.conv2 = _convolution(config, n_out, n_out, kernel, one)
        self.lrelu = nonlinearity(config)
        self.norm1 = normalisation(config, n_out)
        self.norm2 = normalisation(config, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C', ...)."""
        inner = self.lrelu(self.norm1(self.conv1(x)))
        return self.lrelu(self.norm2(self.conv2(inner)))  # type: ignore[no-any-return]


class ResidualBlock(Block):
    """Two convolutions beside what went in, or a convolution of size 1 where its shape changes."""

    def __init__(
        self, config: MonaiDynUNetConfig, n_in: int, n_out: int, kernel: Sequence[int], stride: Sequence[int]
    ) -> None:
        super().__init__(config, n_in, n_out, kernel, stride)
        self.changes = n_in != n_out or any(n != 1 for n in stride)
        if self.changes:
            self.conv3 = _convolution(config, n_in, n_out, (1,) * config.n_dims, stride)
            self.norm3 = normalisation(config, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C', ...)."""
        inner = self.norm2(self.conv2(self.lrelu(self.norm1(self.conv1(x)))))
        beside = self.norm3(self.conv3(x)) if self.changes else x
        return self.lrelu(inner + beside)  # type: ignore[no-any-return]


class Up(nn.Module):
    """A transposed convolution, the map of this level appended, and two convolutions."""

    def __init__(
        self, config: MonaiDynUNetConfig, n_in: int, n_out: int, kernel: Sequence[int], up_kernel: Sequence[int]
    ) -> None:
        super().__init__()
        size = config.each_axis(up_kernel, "an upsampling kernel")
        self.transp_conv = nn.Module()
        self.transp_conv.conv = _UP[config.n_dims](n_in, n_out, size, size, bias=config.up_bias)  # type: ignore[arg-type]
        self.conv_block = Block(config, 2 * n_out, n_out, kernel, (1,) * config.n_dims)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """The coarser and the finer map to one of the shape of the finer one."""
        return self.conv_block(torch.cat((self.transp_conv.conv(x), skip), 1))  # type: ignore[operator, no-any-return]


def _convolution(
    config: MonaiDynUNetConfig, n_in: int, n_out: int, kernel: Sequence[int], stride: Sequence[int]
) -> nn.Sequential:
    """A convolution without bias that divides the number of voxels by the stride."""
    padding = [(k - s + 1) // 2 for k, s in zip(kernel, stride, strict=True)]
    if min(padding) < 0:
        raise ValueError(f"a kernel {list(kernel)} is too small for the stride {list(stride)}")
    return convolution(config, n_in, n_out, kernel, stride, padding=padding, bias=False)
