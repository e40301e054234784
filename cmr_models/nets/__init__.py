"""Networks: one file each, made by :func:`build` from a kind and its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["KINDS", "build"]


def build(kind: str, **config: Any) -> nn.Module:
    """An untrained network.

    Args:
        kind: a key of :data:`KINDS`.
        **config: fields of that network's settings dataclass; lists are read as tuples.

    Raises:
        ValueError: for an unknown kind or setting, or a number that no network of these kinds has.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown network kind {kind!r}; known are {sorted(KINDS)}")
    for name, value in config.items():
        _check_size(name, value)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    try:
        return KINDS[kind](values)
    except TypeError as error:
        raise ValueError(f"network {kind!r} cannot be built with the settings {sorted(config)}: {error}") from error


_LARGEST = 16_384
_MOST_BLOCKS = 256


def _check_size(name: str, value: Any) -> None:
    """Raise ValueError for a number or list beyond reason: a hostile card must not fill the memory."""
    limit = _MOST_BLOCKS if "block" in name or "depth" in name else _LARGEST
    numbers = value if isinstance(value, list | tuple) else [value]
    if len(numbers) > _MOST_BLOCKS:
        raise ValueError(f"the setting {name} has {len(numbers)} entries; at most {_MOST_BLOCKS} make a network")
    for number in numbers:
        if isinstance(number, int | float) and not 0 <= number <= limit:
            raise ValueError(f"the setting {name} is {number}; it must lie in 0 to {limit}")


def _unet2d(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.unet2d import UNet2d, UNet2dConfig

    return UNet2d(UNet2dConfig(**config))


def _efficient_unet2d(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.efficient_unet2d import EfficientUNet2d, EfficientUNet2dConfig

    return EfficientUNet2d(EfficientUNet2dConfig(**config))


def _cinema(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.cinema import CineMA, CineMAConfig

    return CineMA(CineMAConfig(**config))


def _convvit(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.convvit import ConvViT, ConvViTConfig

    return ConvViT(ConvViTConfig(**config))


def _convunetr(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.convunetr import ConvUNetR, ConvUNetRConfig

    return ConvUNetR(ConvUNetRConfig(**config))


def _unet(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.unet import UNet, UNetConfig

    return UNet(UNetConfig(**config))


def _nnunet(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.nnunet import NnUNet, NnUNetConfig

    return NnUNet(NnUNetConfig(**config))


def _monai_unet(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.monai_unet import MonaiUNet, MonaiUNetConfig

    return MonaiUNet(MonaiUNetConfig(**config))


def _monai_attention_unet(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.monai_unet import MonaiAttentionUNet, MonaiAttentionUNetConfig

    return MonaiAttentionUNet(MonaiAttentionUNetConfig(**config))


def _monai_basic_unet(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.monai_basic_unet import MonaiBasicUNet, MonaiBasicUNetConfig

    return MonaiBasicUNet(MonaiBasicUNetConfig(**config))


def _monai_basic_unet_plus_plus(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.monai_basic_unet import MonaiBasicUNetConfig, MonaiBasicUNetPlusPlus

    return MonaiBasicUNetPlusPlus(MonaiBasicUNetConfig(**config))


def _monai_dynunet(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.monai_dynunet import MonaiDynUNet, MonaiDynUNetConfig

    return MonaiDynUNet(MonaiDynUNetConfig(**config))


def _monai_segresnet(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.monai_segresnet import MonaiSegResNet, MonaiSegResNetConfig

    return MonaiSegResNet(MonaiSegResNetConfig(**config))


def _onnx_graph(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.onnx_graph import OnnxGraph, OnnxGraphConfig

    return OnnxGraph(OnnxGraphConfig(**config))


def _resnet2d(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.resnet import ResNet, ResNetConfig

    return ResNet(ResNetConfig(**config), n_dims=2)


def _resnet3d(config: Mapping[str, Any]) -> nn.Module:
    from cmr_models.nets.resnet import ResNet, ResNetConfig

    return ResNet(ResNetConfig(**config), n_dims=3)


KINDS: Mapping[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "unet2d": _unet2d,
    "efficient_unet2d": _efficient_unet2d,
    "CineMA": _cinema,
    "ConvViT": _convvit,
    "ConvUNetR": _convunetr,
    "UNet": _unet,
    "nnUNet": _nnunet,
    "MonaiUNet": _monai_unet,
    "MonaiAttentionUNet": _monai_attention_unet,
    "MonaiBasicUNet": _monai_basic_unet,
    "MonaiBasicUNetPlusPlus": _monai_basic_unet_plus_plus,
    "MonaiDynUNet": _monai_dynunet,
    "MonaiSegResNet": _monai_segresnet,
    "OnnxGraph": _onnx_graph,
    "ResNet2d": _resnet2d,
    "ResNet3d": _resnet3d,
}
