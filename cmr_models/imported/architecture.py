"""From the architecture in nnU-Net's ``plans.json`` to the settings of our network; nothing named there is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CLASSES = {"PlainConvUNet": False, "ResidualEncoderUNet": True}
"""Name of nnU-Net's class -> whether its encoder is residual."""
_NORMS = {"InstanceNorm2d": "instance", "InstanceNorm3d": "instance", "BatchNorm2d": "batch", "BatchNorm3d": "batch"}
_NONLINEAR = {"LeakyReLU": "leaky_relu", "ReLU": "relu"}
_SLOPE = 0.01


def network_config(settings: Mapping[str, Any], n_classes: int, n_members: int, where: str) -> dict[str, Any]:
    """Settings of the network "nnUNet" (:class:`cmr_models.nets.nnunet.NnUNetConfig`).

    Args:
        settings: one configuration of ``plans.json``, of any version of nnU-Net v2.
        n_classes: labels, with the background.
        n_members: folds.
        where: the file, for messages.

    Raises:
        ValueError: if the architecture is not one of nnU-Net's two, or has parts that are not supported.
        KeyError: if an entry is missing.
    """
    name, kwargs = _architecture(settings)
    if name not in _CLASSES:
        raise ValueError(
            f"{where} has the network {name}, whose code would have to run; known are {', '.join(_CLASSES)}"
        )
    norm, nonlinear = (str(kwargs[key]).rpartition(".")[2] for key in ("norm_op", "nonlin"))
    norm_kwargs, nonlinear_kwargs = kwargs.get("norm_op_kwargs") or {}, kwargs.get("nonlin_kwargs") or {}
    unsupported = [
        *([f"norm_op {norm}"] if norm not in _NORMS else []),
        *([f"nonlin {nonlinear}"] if nonlinear not in _NONLINEAR else []),
        *(["dropout"] if kwargs.get("dropout_op") else []),
        *(["negative_slope"] if nonlinear_kwargs.get("negative_slope", _SLOPE) != _SLOPE else []),
        *(key for key in ("nonlin_first", "stem_channels", "bottleneck_channels", "block") if kwargs.get(key)),
    ]
    if unsupported:
        raise ValueError(f"{where} has a network with {', '.join(unsupported)}, which is not supported")
    return _config(kwargs, _CLASSES[name], n_classes, n_members) | {
        "norm": _NORMS[norm],
        "norm_eps": float(norm_kwargs.get("eps", 1e-5)),
        "norm_affine": bool(norm_kwargs.get("affine", norm.startswith("Batch"))),
        "nonlinear": _NONLINEAR[nonlinear],
    }


def _config(kwargs: Mapping[str, Any], residual: bool, n_classes: int, n_members: int) -> dict[str, Any]:
    n_dims = {"Conv2d": 2, "Conv3d": 3}[str(kwargs["conv_op"]).rpartition(".")[2]]
    n_stages = int(kwargs["n_stages"])
    return {
        "n_dims": n_dims,
        "n_classes": n_classes,
        "features": _each(kwargs["features_per_stage"], n_stages),
        "kernels": [_each(kernel, n_dims) for kernel in _list(kwargs["kernel_sizes"], n_stages)],
        "strides": [_each(stride, n_dims) for stride in _list(kwargs["strides"], n_stages)],
        "n_blocks": _each(kwargs["n_blocks_per_stage" if residual else "n_conv_per_stage"], n_stages),
        "n_decoder": _each(kwargs["n_conv_per_stage_decoder"], n_stages - 1),
        "residual": residual,
        "bias": bool(kwargs.get("conv_bias", False)),
        "n_members": n_members,
    }


def _architecture(settings: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Class and settings; those of plans before nnU-Net 2.5, which had no entry for them, are put together."""
    if "architecture" in settings:
        about = settings["architecture"]
        return str(about["network_class_name"]).rpartition(".")[2], about["arch_kwargs"]
    name, encoder = str(settings["UNet_class_name"]), settings["n_conv_per_stage_encoder"]
    n_dims = len(settings["patch_size"])
    most = int(settings["unet_max_num_features"])
    return name, {
        "n_stages": len(encoder),
        "features_per_stage": [min(int(settings["UNet_base_num_features"]) * 2**i, most) for i in range(len(encoder))],
        "conv_op": f"Conv{n_dims}d",
        "kernel_sizes": settings["conv_kernel_sizes"],
        "strides": settings["pool_op_kernel_sizes"],
        "n_conv_per_stage": encoder,
        "n_blocks_per_stage": encoder,
        "n_conv_per_stage_decoder": settings["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": f"InstanceNorm{n_dims}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "LeakyReLU",
    }


def _list(value: Any, n: int) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * n


def _each(value: Any, n: int) -> list[int]:
    return [int(item) for item in _list(value, n)]
