"""UNet: the convolutional baseline of the CineMA paper for labels and heatmaps, 2-D or 3-D."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from cmr_models.nets.vit import conv, run, run_in_float32


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Settings of :class:`UNet`; ``chans`` are the channels from full resolution down."""

    n_dims: int
    out_chans: int
    in_chans: int = 1
    chans: Sequence[int] = (32, 64, 128, 256, 512)
    patch_size: Sequence[int] = (2, 2, 1)
    scale_factor: Sequence[int] = (2, 2, 1)
    n_blocks: int = 2
    dropout: float = 0.1
    grad_ckpt: bool = False

    def __post_init__(self) -> None:
        if self.n_dims not in (2, 3):
            raise ValueError(f"n_dims must be 2 or 3, got {self.n_dims}")
        if len(self.patch_size) < self.n_dims or len(self.scale_factor) < self.n_dims:
            got = f"{tuple(self.patch_size)}, {tuple(self.scale_factor)}"
            raise ValueError(f"strides need {self.n_dims} entries, got {got}")

    @property
    def strides(self) -> list[tuple[int, ...]]:
        """Stride of each step down: the patch size first, then the scale factor."""
        first, later = tuple(self.patch_size)[: self.n_dims], tuple(self.scale_factor)[: self.n_dims]
        return [first, *[later] * (len(self.chans) - 2)]


class ResidualConv(nn.Module):
    """Instance norm (no parameters), GELU, 3 x 3 (x 3) convolution, twice, beside an identity."""

    def __init__(self, n_chans: int, config: UNetConfig) -> None:
        super().__init__()
        self.conv1 = conv(config.n_dims, n_chans, n_chans, 3, padding=1)
        self.conv2 = conv(config.n_dims, n_chans, n_chans, 3, padding=1)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y[, Z]) to the same shape."""
        inner = self.conv1(F.gelu(F.instance_norm(x, eps=1e-6)))
        return x + self.conv2(self.dropout(F.gelu(F.instance_norm(inner, eps=1e-6))))  # type: ignore[no-any-return]


class InConv(nn.Module):
    """The 3 x 3 (x 3) convolution at the door, instance norm, GELU."""

    def __init__(self, n_in: int, n_out: int, n_dims: int) -> None:
        super().__init__()
        self.conv = conv(n_dims, n_in, n_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y[, Z]) to (B, C', X, Y[, Z])."""
        return F.gelu(F.instance_norm(self.conv(x), eps=1e-6))


class Level(nn.ModuleDict):
    """Residual blocks ``conv`` at one resolution, then the step ``down`` or ``up`` to the next, if any."""

    def __init__(self, n_chans: int, config: UNetConfig, **to_next: nn.Module) -> None:
        blocks = nn.ModuleList(ResidualConv(n_chans, config) for _ in range(config.n_blocks))
        super().__init__({"conv": blocks, **to_next})


class Down(nn.Module):
    """From the image to the coarsest map."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.grad_ckpt = config.grad_ckpt
        self.in_conv = InConv(config.in_chans, config.chans[0], config.n_dims)
        steps = zip(config.chans[:-1], config.chans[1:], config.strides, strict=True)
        self.blocks = nn.ModuleList(
            Level(fine, config, down=conv(config.n_dims, fine, coarse, stride, stride=stride))
            for fine, coarse, stride in steps
        )
        self.blocks.append(Level(config.chans[-1], config))

    def forward(self, x: Tensor) -> list[Tensor]:
        """The output of the convolution at the door and of every step, finest first."""
        outputs = [self.in_conv(x)]
        for step in _steps(self.blocks):
            outputs.append(run(step, outputs[-1], save_memory=self.grad_ckpt))
        return outputs


class Up(nn.Module):
    """From the coarsest map to full resolution, the mirrored step's output added after every step."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.grad_ckpt = config.grad_ckpt
        # published and in every weight file, but not used in the forward pass
        self.in_conv = InConv(config.chans[-1], config.chans[0], config.n_dims)
        steps = list(zip(config.chans[:-1], config.chans[1:], config.strides, strict=True))
        self.blocks = nn.ModuleList(
            Level(coarse, config, up=_up(coarse, fine, stride)) for fine, coarse, stride in reversed(steps)
        )
        self.blocks.append(Level(config.chans[0], config))

    def forward(self, outputs: list[Tensor]) -> Tensor:
        """What :class:`Down` returns to (B, chans[0], X, Y[, Z])."""
        *skips, x = outputs
        for step in _steps(self.blocks):
            x = run(step, x, save_memory=self.grad_ckpt) + skips.pop()
        return x


class UNet(nn.Module):
    """Images of the views given, each on its own, to logits at their resolution."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Down(config)
        self.decoder = Up(config)
        self.out_conv = conv(config.n_dims, config.chans[0], config.out_chans, 1)

    def forward(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Logits.

        Args:
            images: view to (B, C, X, Y[, Z]), scaled to 0..1, each axis a multiple of its total stride.

        Returns:
            View to (B, out_chans, X, Y[, Z]).

        Raises:
            ValueError: no view, or a wrong number of axes, channels or voxels.
        """
        if not images:
            raise ValueError("need at least one view, got none")
        for view, image in images.items():
            _check(view, image, self.config)
        maps = {view: self.decoder(self.encoder(image)) for view, image in images.items()}
        return {view: run_in_float32(self.out_conv, x) for view, x in maps.items()}


def _steps(levels: nn.ModuleList) -> Iterator[nn.Module]:
    """Every residual block and step between levels, in the order in which they are applied."""
    for level in levels:
        blocks, *to_next = level.children()
        yield from blocks.children()
        yield from to_next


def _up(n_in: int, n_out: int, stride: tuple[int, ...]) -> nn.ConvTranspose2d | nn.ConvTranspose3d:
    kind: type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]
    kind = nn.ConvTranspose3d if len(stride) == 3 else nn.ConvTranspose2d
    return kind(n_in, n_out, stride, stride=stride)  # type: ignore[arg-type]


def _check(view: str, image: Tensor, config: UNetConfig) -> None:
    if image.ndim != 2 + config.n_dims or image.shape[1] != config.in_chans or 0 in image.shape:
        wanted = f"(batch, {config.in_chans}, {config.n_dims} axes)"
        raise ValueError(f"{view} must be {wanted}, got {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(f"{view} must be floating point, scaled to 0..1, got {image.dtype}")
    total = tuple(math.prod(axis) for axis in zip(*config.strides, strict=True))
    if any(n % stride for n, stride in zip(image.shape[2:], total, strict=True)):
        raise ValueError(f"{view} is {tuple(image.shape[2:])}; pad it to multiples of {total}")
