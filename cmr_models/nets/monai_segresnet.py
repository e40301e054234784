"""The network "SegResNet" of MONAI: residual blocks with normalisation first, sums in place of appended maps.

After Myronenko 2018 (arXiv:1810.11654) without its autoencoder; modules have the names of MONAI 1.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from cmr_models.nets.monai_layers import LayerSettings, convolution, doubling, nonlinearity, normalisation


@dataclass(frozen=True, kw_only=True)
class MonaiSegResNetConfig(LayerSettings):
    """Settings of :class:`MonaiSegResNet`.

    Attributes:
        features: channels of the finest level; twice as many at each coarser one.
        blocks_down: residual blocks of each level on the way down, finest first.
        blocks_up: of each level on the way up, coarsest first.
        upsample: "deconv" or "nontrainable".
    """

    features: int
    blocks_down: Sequence[int]
    blocks_up: Sequence[int]
    upsample: str = "nontrainable"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.blocks_down or len(self.blocks_up) != len(self.blocks_down) - 1 or not self.norm or not self.act:
            raise ValueError(
                f"blocks {list(self.blocks_down)} down and {list(self.blocks_up)} up must differ by one level, and a "
                "normalisation and a nonlinearity are needed"
            )


class MonaiSegResNet(nn.Module):
    """The residual encoder and decoder."""

    def __init__(self, config: MonaiSegResNetConfig) -> None:
        super().__init__()
        n_dims, n_levels = config.n_dims, len(config.blocks_down)
        three, one = (3,) * n_dims, (1,) * n_dims
        n = [config.features * 2**level for level in range(n_levels)]
        self.convInit = convolution(config, config.in_channels, n[0], three, bias=False)
        self.down_layers = nn.ModuleList(
            nn.Sequential(
                convolution(config, n[i - 1], n[i], three, (2,) * n_dims, bias=False) if i else nn.Identity(),
                *(ResidualBlock(config, n[i]) for _ in range(n_blocks)),
            )
            for i, n_blocks in enumerate(config.blocks_down)
        )
        fine = n[-2::-1]
        self.up_layers = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(config, channels) for _ in range(n_blocks)))
            for channels, n_blocks in zip(fine, config.blocks_up, strict=True)
        )
        self.up_samples = nn.ModuleList(
            nn.Sequential(
                convolution(config, 2 * channels, channels, one, bias=False),
                doubling(config, channels, channels, config.upsample, align_corners=False),
            )
            for channels in fine
        )
        self.act_mod = nonlinearity(config)
        self.conv_final = nn.Sequential(
            normalisation(config, n[0]), self.act_mod, convolution(config, n[0], config.n_classes, one, bias=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to logits (B, class, ...); axes are multiples of 2 to the number of levels less one."""
        x = self.convInit(x)
        maps = []
        for down in self.down_layers:
            x = down(x)
            maps.append(x)
        maps.pop()
        for up, blocks in zip(self.up_samples, self.up_layers, strict=True):
            x = blocks(up(x) + maps.pop())
        return self.conv_final(x)  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """Twice normalisation, nonlinearity and convolution, added to what went in."""

    def __init__(self, config: MonaiSegResNetConfig, n_channels: int) -> None:
        super().__init__()
        kernel = (3,) * config.n_dims
        self.norm1 = normalisation(config, n_channels)
        self.norm2 = normalisation(config, n_channels)
        self.act = nonlinearity(config)
        self.conv1 = convolution(config, n_channels, n_channels, kernel, bias=False)
        self.conv2 = convolution(config, n_channels, n_channels, kernel, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same shape."""
        inner = self.conv1(self.act(self.norm1(x)))
        return x + self.conv2(self.act(self.norm2(inner)))  # type: ignore[no-any-return]
