"""Layers that the networks of MONAI bundles share: convolution, normalisation, nonlinearity, upsampling.

Modules have the names of MONAI 1.6 (Cardoso et al., arXiv:2211.02701), so that its weights fit as they are. Dropout,
which does nothing after the training and has no weights, is left out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONV: Mapping[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP: Mapping[int, type[nn.ConvTranspose2d | nn.ConvTranspose3d]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOL: Mapping[int, type[nn.MaxPool2d | nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_INSTANCE: Mapping[int, type[nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_BATCH: Mapping[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_LINEAR: Mapping[int, str] = {2: "bilinear", 3: "trilinear"}

NORMS = ("instance", "batch", "group", "")
ACTS: Mapping[str, Callable[[float], nn.Module]] = {
    "prelu": lambda _: nn.PReLU(),
    "relu": lambda _: nn.ReLU(),
    "leakyrelu": lambda slope: nn.LeakyReLU(slope),
    "elu": lambda slope: nn.ELU(slope),
    "gelu": lambda _: nn.GELU(),
    "swish": lambda _: nn.SiLU(),
    "mish": lambda _: nn.Mish(),
    "sigmoid": lambda _: nn.Sigmoid(),
    "tanh": lambda _: nn.Tanh(),
}
"""Name of a nonlinearity -> the layer, from its slope."""
UPSAMPLING = ("deconv", "nontrainable")


@dataclass(frozen=True, kw_only=True)
class LayerSettings:
    """What all layers of a network share.

    Attributes:
        n_dims: 2 or 3.
        n_classes: output channels.
        in_channels: images that the network takes.
        norm: "instance", "batch", "group" or "" for none.
        norm_affine: whether normalisation has weights; that by batch always has.
        norm_eps: added to the variance.
        norm_groups: of "group".
        act: a key of :data:`ACTS`, or "" for none.
        act_slope: of "leakyrelu" and "elu".
        bias: whether convolutions have one.
    """

    n_dims: int
    n_classes: int
    in_channels: int = 1
    norm: str = "instance"
    norm_affine: bool = False
    norm_eps: float = 1e-5
    norm_groups: int = 1
    act: str = "prelu"
    act_slope: float = 0.01
    bias: bool = True

    def __post_init__(self) -> None:
        if self.n_dims not in CONV:
            raise ValueError(f"a network has 2 or 3 axes, not {self.n_dims}")
        if self.norm not in NORMS or (self.act and self.act not in ACTS):
            raise ValueError(f"unknown normalisation {self.norm!r} or nonlinearity {self.act!r}")

    def each_axis(self, sizes: Sequence[int], what: str) -> tuple[int, ...]:
        """``sizes``, one an axis.

        Raises:
            ValueError: if there are more or fewer, or one is not positive.
        """
        if len(sizes) != self.n_dims or min(sizes) < 1:
            raise ValueError(f"{what} needs {self.n_dims} positive numbers, got {list(sizes)}")
        return tuple(sizes)


def normalisation(layers: LayerSettings, n_channels: int) -> nn.Module:
    """The normalisation of the settings."""
    if layers.norm == "group":
        return nn.GroupNorm(layers.norm_groups, n_channels, layers.norm_eps, layers.norm_affine)
    kinds: Mapping[int, Any] = _INSTANCE if layers.norm == "instance" else _BATCH
    module: nn.Module = kinds[layers.n_dims](n_channels, eps=layers.norm_eps, affine=layers.norm_affine)
    return module


def nonlinearity(layers: LayerSettings) -> nn.Module:
    """The nonlinearity of the settings."""
    return ACTS[layers.act](layers.act_slope)


def convolution(
    layers: LayerSettings,
    n_in: int,
    n_out: int,
    kernel: Sequence[int],
    stride: Sequence[int] | None = None,
    *,
    padding: Sequence[int] | None = None,
    bias: bool | None = None,
    ordering: str = "",
) -> nn.Sequential:
    """``conv``, and ``adn`` with what ``ordering`` names: N normalisation, A nonlinearity (D dropout)."""
    conv: Any = CONV[layers.n_dims]
    _check_channels(n_in, n_out)
    kernel = layers.each_axis(kernel, "a kernel")
    around = [(n - 1) // 2 for n in kernel] if padding is None else padding
    made = conv(
        n_in, n_out, kernel, layers.each_axis(stride or (1,) * layers.n_dims, "a stride"), tuple(around),
        bias=layers.bias if bias is None else bias,
    )  # fmt: skip
    return _with_adn(layers, made, n_out, ordering)


def transposed_convolution(
    layers: LayerSettings, n_in: int, n_out: int, kernel: Sequence[int], stride: Sequence[int], ordering: str = ""
) -> nn.Sequential:
    """As :func:`convolution`, to ``stride`` times as many voxels."""
    up: Any = _UP[layers.n_dims]
    _check_channels(n_in, n_out)
    kernel, stride = layers.each_axis(kernel, "a kernel"), layers.each_axis(stride, "a stride")
    around, more = tuple((n - 1) // 2 for n in kernel), tuple(n - 1 for n in stride)
    return _with_adn(layers, up(n_in, n_out, kernel, stride, around, more, bias=layers.bias), n_out, ordering)


def _check_channels(n_in: int, n_out: int) -> None:
    if min(n_in, n_out) < 1:
        raise ValueError(f"a convolution from {n_in} to {n_out} channels is none")


def _with_adn(layers: LayerSettings, conv: nn.Module, n_out: int, ordering: str) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for letter in ordering:
        if letter == "N" and layers.norm:
            parts["N"] = normalisation(layers, n_out)
        if letter == "A" and layers.act:
            parts["A"] = nonlinearity(layers)
    modules = OrderedDict(conv=conv)
    if parts:
        modules["adn"] = nn.Sequential(parts)
    return nn.Sequential(modules)


def doubling(layers: LayerSettings, n_in: int, n_out: int, mode: str, *, align_corners: bool) -> nn.Sequential:
    """Twice as many voxels along each axis: by a transposed convolution ("deconv"), or linearly ("nontrainable").

    The latter has a convolution of size 1 before it where channels change.
    """
    if mode == "deconv":
        up: Any = _UP[layers.n_dims]
        return nn.Sequential(OrderedDict(deconv=up(n_in, n_out, 2, 2)))
    if mode != "nontrainable":
        raise ValueError(f"unknown upsampling {mode!r}; known are {', '.join(UPSAMPLING)}")
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if n_in != n_out:
        parts["preconv"] = CONV[layers.n_dims](n_in, n_out, 1)
    parts["upsample_non_trainable"] = nn.Upsample(
        scale_factor=2, mode=_LINEAR[layers.n_dims], align_corners=align_corners
    )
    return nn.Sequential(parts)


def as_large_as(x: Tensor, other: Tensor) -> Tensor:
    """``x`` with its last voxels repeated where ``other`` has one more, as pooling of an odd number leaves it."""
    lacking = [int(a != b) for a, b in zip(other.shape[2:], x.shape[2:], strict=True)]
    return F.pad(x, [n for more in reversed(lacking) for n in (0, more)], "replicate") if any(lacking) else x


class Beside(nn.Module):
    """What went in and what ``submodule`` makes of it, one after the other."""

    def __init__(self, submodule: nn.Module) -> None:
        super().__init__()
        self.submodule = submodule

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to (B, C + C', ...)."""
        return torch.cat((x, self.submodule(x)), 1)
