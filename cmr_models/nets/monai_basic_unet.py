"""The networks "BasicUNet" and "BasicUNetPlusPlus" of MONAI: five levels, max-pooling down.

After Falk et al. 2019 (doi:10.1038/s41592-018-0261-2) and Zhou et al. 2018 (doi:10.48550/arXiv.1807.10165); modules
have the names of MONAI 1.6.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cmr_models.nets.monai_layers import CONV, POOL, LayerSettings, as_large_as, convolution, doubling

_LEVELS = 5


@dataclass(frozen=True, kw_only=True)
class MonaiBasicUNetConfig(LayerSettings):
    """Settings of :class:`MonaiBasicUNet` and :class:`MonaiBasicUNetPlusPlus`.

    Attributes:
        features: channels of the five levels, finest first, and of the last map.
        upsample: "deconv" or "nontrainable".
    """

    features: Sequence[int]
    upsample: str = "deconv"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.features) != _LEVELS + 1:
            raise ValueError(f"features must be six numbers, got {list(self.features)}")


class MonaiBasicUNet(nn.Module):
    """A U-Net of five levels with two convolutions each."""

    def __init__(self, config: MonaiBasicUNetConfig) -> None:
        super().__init__()
        f = config.features
        self.conv_0 = two_convolutions(config, config.in_channels, f[0])
        for level in range(1, _LEVELS):
            self.add_module(f"down_{level}", down(config, f[level - 1], f[level]))
        for level in range(_LEVELS - 1, 0, -1):
            n_out = f[level - 1] if level > 1 else f[_LEVELS]
            self.add_module(f"upcat_{level}", UpAndAppend(config, f[level], f[level - 1], n_out, halves=level > 1))
        self.final_conv = CONV[config.n_dims](f[_LEVELS], config.n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to logits (B, class, ...); axes have at least 16 voxels."""
        maps = [self.conv_0(x)]
        for level in range(1, _LEVELS):
            maps.append(self.get_submodule(f"down_{level}")(maps[-1]))
        up = maps.pop()
        for level in range(_LEVELS - 1, 0, -1):
            up = self.get_submodule(f"upcat_{level}")(up, maps.pop())
        return self.final_conv(up)  # type: ignore[no-any-return]


class MonaiBasicUNetPlusPlus(nn.Module):
    """The nested U-Net: every level is brought up to every finer one. The last of its four outputs is given."""

    def __init__(self, config: MonaiBasicUNetConfig) -> None:
        super().__init__()
        f = config.features
        self.conv_0_0 = two_convolutions(config, config.in_channels, f[0])
        for level in range(1, _LEVELS):
            self.add_module(f"conv_{level}_0", down(config, f[level - 1], f[level]))
        for step in range(1, _LEVELS):
            for level in range(_LEVELS - step):
                n_out = f[_LEVELS] if step == _LEVELS - 1 else f[level]
                self.add_module(
                    f"upcat_{level}_{step}",
                    UpAndAppend(config, f[level + 1], f[level] * step, n_out, halves=level > 0),
                )
        for step in range(1, _LEVELS):
            n_in = f[_LEVELS] if step == _LEVELS - 1 else f[0]
            self.add_module(f"final_conv_0_{step}", CONV[config.n_dims](n_in, config.n_classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to logits (B, class, ...); axes have at least 16 voxels."""
        maps: list[list[Tensor]] = []
        for level in range(_LEVELS):
            maps.append([self.get_submodule(f"conv_{level}_0")(maps[-1][0] if maps else x)])
            for step in range(1, level + 1):
                fine = level - step
                up = self.get_submodule(f"upcat_{fine}_{step}")
                maps[fine].append(up(maps[fine + 1][step - 1], torch.cat(maps[fine], 1)))
        return self.get_submodule(f"final_conv_0_{_LEVELS - 1}")(maps[0][-1])  # type: ignore[no-any-return]


class UpAndAppend(nn.Module):
    """The coarser map doubled, appended to the finer one, and two convolutions."""

    def __init__(self, config: MonaiBasicUNetConfig, n_coarse: int, n_fine: int, n_out: int, *, halves: bool) -> None:
        super().__init__()
        n_up = n_coarse // 2 if halves else n_coarse
        self.upsample = doubling(config, n_coarse, n_up, config.upsample, align_corners=True)
        self.convs = two_convolutions(config, n_fine + n_up, n_out)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Two maps to one of the shape of the finer one."""
        return self.convs(torch.cat((fine, as_large_as(self.upsample(coarse), fine)), 1))  # type: ignore[no-any-return]


def two_convolutions(config: MonaiBasicUNetConfig, n_in: int, n_out: int) -> nn.Sequential:
    """Two convolutions of size 3."""
    kernel = (3,) * config.n_dims
    return nn.Sequential(
        OrderedDict(
            conv_0=convolution(config, n_in, n_out, kernel, ordering="NDA"),
            conv_1=convolution(config, n_out, n_out, kernel, ordering="NDA"),
        )
    )


def down(config: MonaiBasicUNetConfig, n_in: int, n_out: int) -> nn.Sequential:
    """Half as many voxels along each axis, and two convolutions."""
    return nn.Sequential(OrderedDict(max_pooling=POOL[config.n_dims](2), convs=two_convolutions(config, n_in, n_out)))
