"""ResNet: the convolutional baseline of the CineMA paper for classes and scalars (He et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmr_models.nets.vit import run, run_in_float32

LAYERS: Mapping[int, tuple[int, ...]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


@dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """Settings of :class:`ResNet`; frames (end-diastole first) are channels of the input."""

    out_chans: int
    depth: int = 50
    in_chans: int = 1
    layer_inplanes: Sequence[int] = (64, 128, 256, 512)
    grad_ckpt: bool = False

    def __post_init__(self) -> None:
        if self.depth not in LAYERS:
            raise ValueError(f"depth must be one of {sorted(LAYERS)}, got {self.depth}")
        if len(self.layer_inplanes) != 4:
            raise ValueError(f"layer_inplanes needs 4 entries, got {tuple(self.layer_inplanes)}")


class Basic(nn.Module):
    """Two 3 x 3 (x 3) convolutions beside a shortcut: depths 18 and 34."""

    expansion = 1

    def __init__(self, n_in: int, n_mid: int, stride: int, n_dims: int) -> None:
        super().__init__()
        self.conv1 = _conv(n_dims, n_in, n_mid, 3, stride)
        self.bn1 = _norm(n_dims, n_mid)
        self.conv2 = _conv(n_dims, n_mid, n_mid, 3)
        self.bn2 = _norm(n_dims, n_mid)
        self.downsample = _shortcut(n_in, n_mid, stride, n_dims)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y[, Z]) to (B, C', X/s, Y/s[, Z/s])."""
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = self.bn2(self.conv2(inner))
        return F.relu(inner + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (x 3), 1 x 1 convolutions beside a shortcut: depth 50 and above."""

    expansion = 4

    def __init__(self, n_in: int, n_mid: int, stride: int, n_dims: int) -> None:
        super().__init__()
        n_out = n_mid * self.expansion
        self.conv1 = _conv(n_dims, n_in, n_mid, 1)
        self.bn1 = _norm(n_dims, n_mid)
        self.conv2 = _conv(n_dims, n_mid, n_mid, 3, stride)
        self.bn2 = _norm(n_dims, n_mid)
        self.conv3 = _conv(n_dims, n_mid, n_out, 1)
        self.bn3 = _norm(n_dims, n_out)
        self.downsample = _shortcut(n_in, n_out, stride, n_dims)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y[, Z]) to (B, 4 C', X/s, Y/s[, Z/s])."""
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = F.relu(self.bn2(self.conv2(inner)))
        inner = self.bn3(self.conv3(inner))
        return F.relu(inner + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """The image of one view to one vector. Every stride is 2 along every axis, slices included."""

    def __init__(self, config: ResNetConfig, n_dims: int) -> None:
        super().__init__()
        self.config = config
        self.n_dims = n_dims
        planes = tuple(config.layer_inplanes)
        block = Basic if config.depth < 50 else Bottleneck
        self.conv1 = _conv(n_dims, config.in_chans, planes[0], 7, 2)
        self.bn1 = _norm(n_dims, planes[0])
        widths = (planes[0], *(p * block.expansion for p in planes))
        layers: list[nn.Sequential] = []
        for n_in, n_mid, n_blocks in zip(widths, planes, LAYERS[config.depth], strict=False):
            first = block(n_in, n_mid, 2 if layers else 1, n_dims)
            rest = [block(n_mid * block.expansion, n_mid, 1, n_dims) for _ in range(n_blocks - 1)]
            layers.append(nn.Sequential(first, *rest))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.fc = nn.Linear(widths[-1], config.out_chans)
        self.apply(_init_weights)

    def forward(self, images: Mapping[str, Tensor]) -> Tensor:
        """Logits or standardised values.

        Args:
            images: one view to (B, C, X, Y[, Z]), scaled to 0..1.

        Returns:
            (B, out_chans).

        Raises:
            ValueError: more than one view, or a wrong number of axes or channels.
        """
        x = self._only_image(images)
        x = F.relu(self.bn1(self.conv1(x)))
        pool = F.max_pool3d if self.n_dims == 3 else F.max_pool2d
        x = pool(x, 3, stride=2, padding=1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = run(layer, x, save_memory=self.config.grad_ckpt)
        return run_in_float32(self.fc, x.flatten(2).mean(2))

    def _only_image(self, images: Mapping[str, Tensor]) -> Tensor:
        if len(images) != 1:
            raise ValueError(f"ResNet takes exactly one view, got {sorted(images)}")
        view, image = next(iter(images.items()))
        if image.ndim != 2 + self.n_dims or image.shape[1] != self.config.in_chans or 0 in image.shape:
            wanted = f"(batch, {self.config.in_chans}, {self.n_dims} axes)"
            raise ValueError(f"{view} must be {wanted}, got {tuple(image.shape)}")
        if not image.is_floating_point():
            raise ValueError(f"{view} must be floating point, scaled to 0..1, got {image.dtype}")
        return image


class ShallowConv3d(nn.Conv3d):
    """A convolution that is computed in float32 where a stride leaves one slice on a CPU.

    There, in bfloat16, oneDNN (PyTorch 2.13) reads beyond its input and returns what lies there in memory.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z) as ``torch.nn.Conv3d``, in the type of ``x``."""
        (kernel, stride, padding) = (int(sizes[-1]) for sizes in (self.kernel_size, self.stride, self.padding))
        if x.device.type != "cpu" or stride == 1 or (x.shape[-1] + 2 * padding - kernel) // stride > 0:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            bias = None if self.bias is None else self.bias.float()
            exact = F.conv3d(x.float(), self.weight.float(), bias, self.stride, (padding,) * 3, self.dilation)
        return exact.to(x.dtype)


def _conv(n_dims: int, n_in: int, n_out: int, kernel: int, stride: int = 1) -> nn.Conv2d | nn.Conv3d:
    kind: type[nn.Conv2d] | type[nn.Conv3d] = ShallowConv3d if n_dims == 3 else nn.Conv2d
    return kind(n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=False)


def _norm(n_dims: int, n_chans: int) -> nn.BatchNorm2d | nn.BatchNorm3d:
    return nn.BatchNorm3d(n_chans) if n_dims == 3 else nn.BatchNorm2d(n_chans)


def _shortcut(n_in: int, n_out: int, stride: int, n_dims: int) -> nn.Sequential | None:
    if n_in == n_out and stride == 1:
        return None
    return nn.Sequential(_conv(n_dims, n_in, n_out, 1, stride), _norm(n_dims, n_out))


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
