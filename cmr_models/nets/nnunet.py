"""The networks of nnU-Net v2: a plain and a residual U-Net, in two or three dimensions, and an ensemble of folds.

Layers have the names of ``dynamic_network_architectures`` 0.4 (Isensee et al., Nature Methods 2021 and MICCAI 2024),
without the second name that each layer has there. Every axis has its own kernels and strides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

_CONV: Mapping[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP: Mapping[int, type[nn.ConvTranspose2d | nn.ConvTranspose3d]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL: Mapping[int, type[nn.AvgPool2d | nn.AvgPool3d]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
_NORM: Mapping[tuple[str, int], type[nn.Module]] = {
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
}
_NONLINEAR: Mapping[str, type[nn.LeakyReLU | nn.ReLU]] = {"leaky_relu": nn.LeakyReLU, "relu": nn.ReLU}


@dataclass(frozen=True, kw_only=True)
class NnUNetConfig:
    """Settings of :class:`NnUNet`, one entry a stage, finest first; strides and kernels have one number an axis.

    Attributes:
        n_dims: 2 or 3.
        n_classes: output channels.
        features: channels of each stage.
        kernels: kernel sizes of each stage.
        strides: stride at the door of each stage.
        n_blocks: convolutions of each stage of the encoder; residual blocks if ``residual``.
        n_decoder: convolutions of each stage of the decoder, coarsest first.
        residual: residual encoder.
        in_channels: images that the network takes.
        bias: whether convolutions have one.
        norm: "instance" or "batch".
        norm_eps: added to the variance.
        norm_affine: whether normalisation has weights.
        nonlinear: "leaky_relu" or "relu".
        n_members: networks of the ensemble, one a fold.
    """

    n_dims: int
    n_classes: int
    features: Sequence[int]
    kernels: Sequence[Sequence[int]]
    strides: Sequence[Sequence[int]]
    n_blocks: Sequence[int]
    n_decoder: Sequence[int]
    residual: bool = False
    in_channels: int = 1
    bias: bool = True
    norm: str = "instance"
    norm_eps: float = 1e-5
    norm_affine: bool = True
    nonlinear: str = "leaky_relu"
    n_members: int = field(default=1)

    def __post_init__(self) -> None:
        lengths = [len(part) for part in (self.features, self.kernels, self.strides, self.n_blocks)]
        if self.n_dims not in _CONV or len(set(lengths)) > 1 or len(self.n_decoder) != lengths[0] - 1:
            raise ValueError(
                f"{self.n_dims} axes and stages {lengths}, {len(self.n_decoder)} of the decoder, do not fit"
            )
        if any(len(sizes) != self.n_dims for sizes in (*self.kernels, *self.strides)):
            raise ValueError(f"kernels and strides need {self.n_dims} numbers a stage")
        numbers = [
            self.n_classes,
            self.n_members,
            *self.features,
            *(n for row in (*self.kernels, *self.strides) for n in row),
        ]
        if min(numbers) < 1:
            raise ValueError("classes, members, features, kernels and strides must be positive")
        if (self.norm, self.n_dims) not in _NORM or self.nonlinear not in _NONLINEAR:
            raise ValueError(f"unknown normalisation {self.norm!r} or nonlinearity {self.nonlinear!r}")


class NnUNet(nn.Module):
    """The networks of all folds of one plan."""

    def __init__(self, config: NnUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(Member(config) for _ in range(config.n_members))

    def forward(self, x: Tensor) -> Tensor:
        """Mean logits of the members, (B, C, [Z,] Y, X) to (B, class, [Z,] Y, X); axes are multiples of all strides."""
        return torch.stack([member(x) for member in self.members]).mean(0)


class Member(nn.Module):
    """One U-Net: ``encoder`` and ``decoder``."""

    def __init__(self, config: NnUNetConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, [Z,] Y, X) to logits (B, class, [Z,] Y, X)."""
        return self.decoder(self.encoder(x))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """From the image to the maps of every stage."""

    def __init__(self, config: NnUNetConfig) -> None:
        super().__init__()
        n_in = config.in_channels
        if config.residual:
            self.stem = Convolutions(config, 1, n_in, config.features[0], config.kernels[0])
            n_in = config.features[0]
        stages: list[nn.Module] = []
        for n_out, kernel, stride, n_blocks in zip(
            config.features, config.kernels, config.strides, config.n_blocks, strict=True
        ):
            part = (ResidualBlocks if config.residual else Convolutions)(config, n_blocks, n_in, n_out, kernel, stride)
            stages.append(part if config.residual else nn.Sequential(part))
            n_in = n_out
        self.stages = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The outputs of the stages, finest first."""
        x = self.stem(x) if hasattr(self, "stem") else x
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class Decoder(nn.Module):
    """From the coarsest map to logits, the mirrored stage's output appended at every step."""

    def __init__(self, config: NnUNetConfig) -> None:
        super().__init__()
        up, stages = [], []
        for i, n_blocks in enumerate(config.n_decoder):
            coarse, fine = config.features[-1 - i], config.features[-2 - i]
            stride = tuple(config.strides[-1 - i])
            up.append(_UP[config.n_dims](coarse, fine, stride, stride, bias=config.bias))  # type: ignore[arg-type]
            stages.append(Convolutions(config, n_blocks, 2 * fine, fine, config.kernels[-2 - i]))
        self.transpconvs = nn.ModuleList(up)
        self.stages = nn.ModuleList(stages)
        self.read_out = _CONV[config.n_dims](config.features[0], config.n_classes, 1)

    def forward(self, outputs: list[Tensor]) -> Tensor:
        """What :class:`Encoder` returns to logits."""
        *skips, x = outputs
        for up, stage in zip(self.transpconvs, self.stages, strict=True):
            x = stage(torch.cat((up(x), skips.pop()), 1))
        return self.read_out(x)  # type: ignore[no-any-return]


class Convolutions(nn.Module):
    """Convolutions one after another, the first with the stride of the stage."""

    def __init__(
        self,
        config: NnUNetConfig,
        n_blocks: int,
        n_in: int,
        n_out: int,
        kernel: Sequence[int],
        stride: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            Convolution(config, n_in, n_out, kernel, stride),
            *(Convolution(config, n_out, n_out, kernel) for _ in range(n_blocks - 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C', ...)."""
        return self.convs(x)  # type: ignore[no-any-return]


class Convolution(nn.Module):
    """Convolution, normalisation, and unless it is the ``last`` of a residual block, the nonlinearity."""

    def __init__(
        self,
        config: NnUNetConfig,
        n_in: int,
        n_out: int,
        kernel: Sequence[int],
        stride: Sequence[int] | None = None,
        *,
        bias: bool | None = None,
        last: bool = False,
    ) -> None:
        super().__init__()
        padding = tuple((n - 1) // 2 for n in kernel)
        self.conv = _CONV[config.n_dims](
            n_in,
            n_out,
            tuple(kernel),  # type: ignore[arg-type]
            tuple(stride or (1,) * config.n_dims),  # type: ignore[arg-type]
            padding,  # type: ignore[arg-type]
            bias=config.bias if bias is None else bias,
        )
        norm: Any = _NORM[config.norm, config.n_dims]
        self.norm = norm(n_out, eps=config.norm_eps, affine=config.norm_affine)
        self.nonlinear = nn.Identity() if last else _NONLINEAR[config.nonlinear]()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C', ...)."""
        return self.nonlinear(self.norm(self.conv(x)))  # type: ignore[no-any-return]


class ResidualBlocks(nn.Module):
    """Residual blocks one after another, the first with the stride of the stage."""

    def __init__(
        self, config: NnUNetConfig, n_blocks: int, n_in: int, n_out: int, kernel: Sequence[int], stride: Sequence[int]
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            ResidualBlock(config, n_in, n_out, kernel, stride),
            *(ResidualBlock(config, n_out, n_out, kernel, (1,) * config.n_dims) for _ in range(n_blocks - 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C', ...)."""
        return self.blocks(x)  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """Two convolutions beside the mean over the stride and, where channels change, a 1 x 1 convolution (ResNet-D)."""

    def __init__(
        self, config: NnUNetConfig, n_in: int, n_out: int, kernel: Sequence[int], stride: Sequence[int]
    ) -> None:
        super().__init__()
        self.conv1 = Convolution(config, n_in, n_out, kernel, stride)
        self.conv2 = Convolution(config, n_out, n_out, kernel, last=True)
        beside: list[nn.Module] = []
        if any(n != 1 for n in stride):
            beside.append(_POOL[config.n_dims](tuple(stride), tuple(stride)))  # type: ignore[arg-type]
        if n_in != n_out:
            beside.append(Convolution(config, n_in, n_out, (1,) * config.n_dims, bias=False, last=True))
        self.skip = nn.Sequential(*beside)
        self.nonlinear = _NONLINEAR[config.nonlinear]()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C', ...)."""
        return self.nonlinear(self.conv2(self.conv1(x)) + self.skip(x))  # type: ignore[no-any-return]
