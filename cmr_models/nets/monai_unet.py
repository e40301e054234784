"""The networks "UNet" and "AttentionUnet" of MONAI: strided convolutions down, transposed ones up.

After Kerfoot et al. 2018 (doi:10.1007/978-3-030-12029-0_40) and Oktay et al. 2018 (arXiv:1804.03999); modules have
the names of MONAI 1.6.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cmr_models.nets.monai_layers import (
    Beside,
    LayerSettings,
    convolution,
    nonlinearity,
    normalisation,
    transposed_convolution,
)


@dataclass(frozen=True, kw_only=True)
class MonaiUNetConfig(LayerSettings):
    """Settings of :class:`MonaiUNet`.

    Attributes:
        channels: of each level, finest first.
        strides: from each level to the next, one number an axis.
        kernel: of the convolutions.
        up_kernel: of the transposed ones.
        n_residual: convolutions of each residual unit; 0 for plain convolutions.
        ordering: order of normalisation (N), dropout (D) and nonlinearity (A).
    """

    channels: Sequence[int]
    strides: Sequence[Sequence[int]]
    kernel: Sequence[int]
    up_kernel: Sequence[int]
    n_residual: int = 0
    ordering: str = "NDA"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_levels(self.channels, self.strides)
        if any(size % 2 == 0 for size in (*self.kernel, *self.up_kernel)):
            raise ValueError(f"kernels must have odd sizes, got {list(self.kernel)} and {list(self.up_kernel)}")


class MonaiUNet(nn.Module):
    """A U-Net, plain or of residual units."""

    def __init__(self, config: MonaiUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.model = self._level(config.in_channels, config.n_classes, 0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, [X,] Y, Z) to logits (B, class, ...); axes are multiples of the product of their strides."""
        return self.model(x)  # type: ignore[no-any-return]

    def _level(self, n_in: int, n_out: int, level: int) -> nn.Sequential:
        """Down to ``level`` + 1, what lies below beside it, and up again."""
        config = self.config
        here, stride, is_top = config.channels[level], config.strides[level], level == 0
        is_last = level == len(config.channels) - 2
        lowest = config.channels[level + 1]
        below = self._down(here, lowest, None) if is_last else self._level(here, here, level + 1)
        n_below = here + lowest if is_last else 2 * here
        return nn.Sequential(self._down(n_in, here, stride), Beside(below), self._up(n_below, n_out, stride, is_top))

    def _down(self, n_in: int, n_out: int, stride: Sequence[int] | None) -> nn.Module:
        config = self.config
        if config.n_residual:
            return ResidualUnit(config, n_in, n_out, stride, config.n_residual)
        return convolution(config, n_in, n_out, config.kernel, stride, ordering=config.ordering)

    def _up(self, n_in: int, n_out: int, stride: Sequence[int], is_top: bool) -> nn.Module:
        config = self.config
        is_plain = is_top and not config.n_residual
        ordering = "" if is_plain else config.ordering
        up = transposed_convolution(config, n_in, n_out, config.up_kernel, stride, ordering)
        if not config.n_residual:
            return up
        return nn.Sequential(up, ResidualUnit(config, n_out, n_out, None, 1, last_is_plain=is_top))


class ResidualUnit(nn.Module):
    """Convolutions, the first with the stride, added to what went in, or to a convolution of it."""

    def __init__(
        self,
        config: MonaiUNetConfig,
        n_in: int,
        n_out: int,
        stride: Sequence[int] | None,
        n_units: int,
        *,
        last_is_plain: bool = False,
    ) -> None:
        super().__init__()
        units: OrderedDict[str, nn.Module] = OrderedDict()
        for i in range(n_units):
            ordering = "" if last_is_plain and i == n_units - 1 else config.ordering
            units[f"unit{i}"] = convolution(
                config, n_out if i else n_in, n_out, config.kernel, None if i else stride, ordering=ordering
            )
        self.conv = nn.Sequential(units)
        strides = any(n != 1 for n in stride or ())
        kernel = config.kernel if strides else (1,) * config.n_dims
        beside = convolution(config, n_in, n_out, kernel, stride)
        self.residual: nn.Module = beside[0] if strides or n_in != n_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C', ...)."""
        return self.conv(x) + self.residual(x)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class MonaiAttentionUNetConfig(LayerSettings):
    """Settings of :class:`MonaiAttentionUNet`; attributes as in :class:`MonaiUNetConfig`."""

    channels: Sequence[int]
    strides: Sequence[Sequence[int]]
    kernel: Sequence[int]
    up_kernel: Sequence[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_levels(self.channels, self.strides)


class MonaiAttentionUNet(nn.Module):
    """A U-Net whose finer maps are weighted by the coarser ones before they are appended."""

    def __init__(self, config: MonaiAttentionUNetConfig) -> None:
        super().__init__()
        first = config.channels[0]
        self.model = nn.Sequential(
            TwoConvolutions(config, config.in_channels, first, None),
            AttentionLevel(config, 0),
            convolution(config, first, config.n_classes, (1,) * config.n_dims),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to logits (B, class, ...); axes are multiples of the product of their strides."""
        return self.model(x)  # type: ignore[no-any-return]


class AttentionLevel(nn.Module):
    """What lies below, brought back up, decides what of this level passes."""

    def __init__(self, config: MonaiAttentionUNetConfig, level: int) -> None:
        super().__init__()
        here, below, stride = config.channels[level], config.channels[level + 1], config.strides[level]
        by_batch = replace(config, norm="batch", norm_affine=True, act="relu")
        by_instance = replace(config, norm="instance", norm_affine=False, act="prelu")
        self.attention = AttentionGate(by_batch, here)
        self.upconv = nn.Module()
        self.upconv.up = transposed_convolution(by_batch, below, here, config.up_kernel, stride, "NDA")
        self.merge = convolution(by_instance, 2 * here, here, (3,) * config.n_dims, ordering="NDA")
        down = TwoConvolutions(config, here, below, stride)
        is_last = level == len(config.channels) - 2
        self.submodule = down if is_last else nn.Sequential(down, AttentionLevel(config, level + 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same shape."""
        below = self.upconv.up(self.submodule(x))  # type: ignore[operator]
        return self.merge(torch.cat((self.attention(below, x), below), 1))  # type: ignore[no-any-return]


class AttentionGate(nn.Module):
    """A map times weights of 0 to 1, one a voxel, from itself and the map below."""

    def __init__(self, layers: LayerSettings, n_channels: int) -> None:
        super().__init__()
        one, n_inner = (1,) * layers.n_dims, n_channels // 2
        self.W_g = nn.Sequential(convolution(layers, n_channels, n_inner, one), normalisation(layers, n_inner))
        self.W_x = nn.Sequential(convolution(layers, n_channels, n_inner, one), normalisation(layers, n_inner))
        self.psi = nn.Sequential(convolution(layers, n_inner, 1, one), normalisation(layers, 1), nn.Sigmoid())
        self.relu = nonlinearity(layers)

    def forward(self, below: Tensor, x: Tensor) -> Tensor:
        """Two maps of one shape to the second one, weighted."""
        return x * self.psi(self.relu(self.W_g(below) + self.W_x(x)))  # type: ignore[no-any-return]


class TwoConvolutions(nn.Module):
    """Two convolutions with batch normalisation and ReLU, the first with the stride."""

    def __init__(self, config: MonaiAttentionUNetConfig, n_in: int, n_out: int, stride: Sequence[int] | None) -> None:
        super().__init__()
        layers = replace(config, norm="batch", norm_affine=True, act="relu")
        self.conv = nn.Sequential(
            convolution(layers, n_in, n_out, config.kernel, stride, ordering="NDA"),
            convolution(layers, n_out, n_out, config.kernel, ordering="NDA"),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C', ...)."""
        return self.conv(x)  # type: ignore[no-any-return]


def _check_levels(channels: Sequence[int], strides: Sequence[Sequence[int]]) -> None:
    if len(channels) < 2 or len(strides) != len(channels) - 1:
        raise ValueError(f"{len(channels)} levels need {max(len(channels) - 1, 1)} strides, got {len(strides)}")
