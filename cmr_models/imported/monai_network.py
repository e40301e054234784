"""From the ``network_def`` of a MONAI bundle to the settings of our network; nothing named there is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cmr_models.nets.monai_layers import ACTS, UPSAMPLING

_OWNER = re.compile(r"(?:monai\.networks\.nets\.(?:\w+\.)?)?(\w+)")
_LETTERS = re.compile("[^a-z0-9]")
_FORMAL = ("spatial_dims", "in_channels", "out_channels")
_WITHOUT_EFFECT = ("dropout", "dropout_prob", "dimensions", "_desc_", "_requires_", "_disabled_")
_NORM_ARGUMENTS = {"affine", "eps", "num_groups", "num_channels", "momentum", "track_running_stats"}
_ACT_ARGUMENTS = {"inplace", "negative_slope", "alpha", "num_parameters", "init"}
_SLOPES = {"leakyrelu": ("negative_slope", 0.01), "elu": ("alpha", 1.0)}
_AFFINE_BY_DEFAULT = {"instance": False, "batch": True, "group": True, "": False}

Arguments = Mapping[str, Any]


def monai_network(definition: Arguments, where: str) -> tuple[str, dict[str, Any], tuple[int, ...]]:
    """Kind and settings of our network (:func:`cmr_models.nets.build`), and what each axis must be a multiple of.

    Args:
        definition: ``network_def`` with plain values.
        where: the file, for messages.

    Raises:
        ValueError: if the network is not among those that are known, or has parts that are not supported.
    """
    target = str(definition["_target_"])
    found = _OWNER.fullmatch(target)
    name = _LETTERS.sub("", found[1].lower()) if found else ""
    if name not in _NETWORKS:
        raise ValueError(f"{where} has the network {target}, whose code would have to run; known are {_KNOWN}")
    kind, read, defaults = _NETWORKS[name]
    given = {key: value for key, value in definition.items() if key != "_target_" and key not in _WITHOUT_EFFECT}
    given = {"spatial_dims": definition["dimensions"], **given} if "dimensions" in definition else given
    unknown = sorted(set(given) - set(defaults) - set(_FORMAL))
    if unknown:
        raise ValueError(f"{where} has a network with {', '.join(unknown)}, which is not supported")
    arguments = {**defaults, **given}
    n_dims = int(arguments["spatial_dims"])
    settings = read(arguments, n_dims, where)
    common = {"n_dims": n_dims, "n_classes": int(arguments["out_channels"]), "in_channels": _images(arguments, where)}
    multiples = tuple(settings.pop("multiples"))
    return kind, {**common, **settings}, multiples


def _unet(arguments: Arguments, n_dims: int, where: str) -> dict[str, Any]:
    n_down = len(arguments["channels"]) - 1
    strides = [_axes(stride, n_dims) for stride in arguments["strides"][:n_down]]
    return {
        "channels": [int(n) for n in arguments["channels"]],
        "strides": strides,
        "kernel": _axes(arguments["kernel_size"], n_dims),
        "up_kernel": _axes(arguments["up_kernel_size"], n_dims),
        "n_residual": int(arguments["num_res_units"]),
        "ordering": str(arguments["adn_ordering"]).upper(),
        "bias": bool(arguments["bias"]),
        "multiples": _products(strides, n_dims),
        **_layers(arguments["norm"], arguments["act"], where),
    }


def _attention_unet(arguments: Arguments, n_dims: int, where: str) -> dict[str, Any]:
    strides = [_axes(stride, n_dims) for stride in arguments["strides"][: len(arguments["channels"]) - 1]]
    return {
        "channels": [int(n) for n in arguments["channels"]],
        "strides": strides,
        "kernel": _axes(arguments["kernel_size"], n_dims),
        "up_kernel": _axes(arguments["up_kernel_size"], n_dims),
        "multiples": _products(strides, n_dims),
    }


def _basic_unet(arguments: Arguments, n_dims: int, where: str) -> dict[str, Any]:
    if arguments.get("deep_supervision"):
        raise ValueError(f"{where} has a network with deep_supervision, which is not supported")
    return {
        "features": [int(n) for n in arguments["features"]],
        "bias": bool(arguments["bias"]),
        "upsample": _upsampling(arguments["upsample"], where),
        "multiples": [1] * n_dims,  # odd numbers of voxels are made good within the network
        **_layers(arguments["norm"], arguments["act"], where),
    }


def _dynunet(arguments: Arguments, n_dims: int, where: str) -> dict[str, Any]:
    strides = [_axes(stride, n_dims) for stride in arguments["strides"]]
    widest = 320 if n_dims == 3 else 512
    features = arguments["filters"] or [min(2 ** (5 + i), widest) for i in range(len(strides))]
    return {
        "features": [int(n) for n in features[: len(strides)]],
        "kernels": [_axes(kernel, n_dims) for kernel in arguments["kernel_size"]],
        "strides": strides,
        "up_kernels": [_axes(kernel, n_dims) for kernel in arguments["upsample_kernel_size"]],
        "residual": bool(arguments["res_block"]),
        "up_bias": bool(arguments["trans_bias"]),
        "multiples": _products(strides, n_dims),
        **_layers(arguments["norm_name"], arguments["act_name"], where),
    }


def _segresnet(arguments: Arguments, n_dims: int, where: str) -> dict[str, Any]:
    if not arguments["use_conv_final"]:
        raise ValueError(f"{where} has a network without its last convolution, which is not supported")
    norm = arguments["norm"]
    if arguments["norm_name"]:
        norm = [arguments["norm_name"], {"num_groups": arguments["num_groups"]}]
    return {
        "features": int(arguments["init_filters"]),
        "blocks_down": [int(n) for n in arguments["blocks_down"]],
        "blocks_up": [int(n) for n in arguments["blocks_up"]],
        "upsample": _upsampling(arguments["upsample_mode"], where),
        "multiples": [2 ** (len(arguments["blocks_down"]) - 1)] * n_dims,
        **_layers(norm, arguments["act"], where),
    }


def _layers(norm: Any, act: Any, where: str) -> dict[str, Any]:
    """Normalisation and nonlinearity: each a name, or a name and its arguments."""
    norm_name, norm_args = _named(norm)
    act_name, act_args = _named(act)
    unsupported = [
        *([f"norm {norm_name}"] if norm_name not in _AFFINE_BY_DEFAULT else []),
        *([f"act {act_name}"] if act_name and act_name not in ACTS else []),
        *sorted(set(norm_args) - _NORM_ARGUMENTS),
        *sorted(set(act_args) - _ACT_ARGUMENTS),
        *(["num_parameters"] if act_args.get("num_parameters", 1) != 1 else []),
        *(["track_running_stats"] if norm_name == "instance" and norm_args.get("track_running_stats") else []),
    ]
    if unsupported:
        raise ValueError(f"{where} has a network with {', '.join(unsupported)}, which is not supported")
    slope, usual = _SLOPES.get(act_name, ("", 0.0))
    return {
        "norm": norm_name,
        "norm_affine": bool(norm_args.get("affine", _AFFINE_BY_DEFAULT[norm_name])),
        "norm_eps": float(norm_args.get("eps", 1e-5)),
        "norm_groups": int(norm_args.get("num_groups", 1)),
        "act": act_name,
        "act_slope": float(act_args.get(slope, usual)),
    }


def _named(value: Any) -> tuple[str, Mapping[str, Any]]:
    parts = value if isinstance(value, list | tuple) else [value]
    name = _LETTERS.sub("", str(parts[0] or "").lower())
    return name, (parts[1] if len(parts) > 1 else {})


def _upsampling(mode: Any, where: str) -> str:
    if str(mode) not in UPSAMPLING:
        raise ValueError(f"{where} has a network with the upsampling {mode}, which is not supported")
    return str(mode)


def _images(arguments: Arguments, where: str) -> int:
    if int(arguments["in_channels"]) != 1:
        raise ValueError(f"{where} has a network of {arguments['in_channels']} images a case; only one is supported")
    return 1


def _axes(value: Any, n_dims: int) -> list[int]:
    return [int(n) for n in (value if isinstance(value, list | tuple) else [value] * n_dims)]


def _products(strides: list[list[int]], n_dims: int) -> list[int]:
    """The product of the strides along each axis, of which its length must be a multiple."""
    products = [1] * n_dims
    for stride in strides:
        products = [a * b for a, b in zip(products, stride, strict=True)]
    return products


_BASIC: Arguments = {
    "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "features": [32, 32, 64, 128, 256, 32],
    "act": ["leakyrelu", {"negative_slope": 0.1}], "norm": ["instance", {"affine": True}], "bias": True,
    "upsample": "deconv",
}  # fmt: skip
_SEGRESNET: Arguments = {
    "spatial_dims": 3, "init_filters": 8, "in_channels": 1, "out_channels": 2, "act": "relu",
    "norm": ["group", {"num_groups": 8}], "norm_name": "", "num_groups": 8, "use_conv_final": True,
    "blocks_down": [1, 2, 2, 4], "blocks_up": [1, 1, 1], "upsample_mode": "nontrainable",
}  # fmt: skip
_UNET: Arguments = {
    "kernel_size": 3, "up_kernel_size": 3, "num_res_units": 0, "act": "prelu", "norm": "instance", "bias": True,
    "adn_ordering": "NDA", "channels": None, "strides": None,
}  # fmt: skip
_DYNUNET: Arguments = {
    "kernel_size": None, "strides": None, "upsample_kernel_size": None, "filters": None,
    "norm_name": ["instance", {"affine": True}], "act_name": ["leakyrelu", {"negative_slope": 0.01}],
    "deep_supervision": False, "deep_supr_num": 1, "res_block": False, "trans_bias": False,
}  # fmt: skip
_ATTENTION: Arguments = {"kernel_size": 3, "up_kernel_size": 3, "channels": None, "strides": None}
_NETWORKS: Mapping[str, tuple[str, Callable[[Arguments, int, str], dict[str, Any]], Arguments]] = {
    "unet": ("MonaiUNet", _unet, _UNET),
    "attentionunet": ("MonaiAttentionUNet", _attention_unet, _ATTENTION),
    "basicunet": ("MonaiBasicUNet", _basic_unet, _BASIC),
    "basicunetplusplus": ("MonaiBasicUNetPlusPlus", _basic_unet, {**_BASIC, "deep_supervision": False}),
    "dynunet": ("MonaiDynUNet", _dynunet, _DYNUNET),
    "segresnet": ("MonaiSegResNet", _segresnet, _SEGRESNET),
}
"""MONAI's name without case -> our kind, the reader of its arguments, and those with MONAI 1.6's defaults."""
_KNOWN = "UNet, AttentionUnet, BasicUNet, BasicUNetPlusPlus, DynUNet, SegResNet"
