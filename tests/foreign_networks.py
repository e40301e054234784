"""A small MONAI bundle, as its authors would write it, with random weights; no MONAI is needed."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cmr_models.imported.monai_network import monai_network
from cmr_models.nets import build

UNET: Mapping[str, Any] = {
    "_target_": "UNet",
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 4,
    "channels": [4, 8, 8],
    "strides": [2, 2],
    "num_res_units": 1,
}
CHANNELS = {"0": "background", "1": "lv_pool", "2": "myocardium", "3": "rv_pool"}
PREPARING: Sequence[Mapping[str, Any]] = (
    {"_target_": "LoadImaged", "keys": "image", "image_only": False},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "ScaleIntensityd", "keys": "image"},
    {"_target_": "EnsureTyped", "keys": "image", "device": "@device"},
)
ENDING: Sequence[Mapping[str, Any]] = (
    {"_target_": "Activationsd", "keys": "pred", "softmax": True},
    {
        "_target_": "Invertd",
        "keys": "pred",
        "transform": "@preprocessing",
        "orig_keys": "image",
        "nearest_interp": False,
        "to_tensor": True,
    },
    {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
    {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
)
SLICES: Mapping[str, Any] = {"_target_": "SliceInferer", "roi_size": [32, 32], "spatial_dim": 2}


def inference(
    network: Mapping[str, Any] = UNET,
    preparing: Sequence[Mapping[str, Any]] = PREPARING,
    inferer: Mapping[str, Any] | None = SLICES,
    post: Sequence[Mapping[str, Any]] = ENDING,
) -> dict[str, Any]:
    """``configs/inference.json`` of a bundle of the model zoo."""
    content = {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "output_dir": "./output",
        "datalist": "$list(sorted(glob.glob(@bundle_root + '/*.nii*')))",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": list(preparing)},
        "inferer": inferer,
        "postprocessing": {"_target_": "Compose", "transforms": list(post)},
        "evaluating": ["$@evaluator.run()"],
    }
    return copy.deepcopy({key: value for key, value in content.items() if value is not None})


def metadata(**changes: Any) -> dict[str, Any]:
    """``configs/metadata.json`` of a bundle."""
    return {
        "version": "0.3.0",
        "monai_version": "1.5.0",
        "task": "Segments the ventricles in short axis MR images",
        "authors": "A. Person",
        "license": "See license.txt",
        "data_source": "a hospital",
        "network_data_format": {"outputs": {"pred": {"num_channels": 4, "channel_def": CHANNELS}}},
        **changes,
    }


def write_bundle(
    folder: Path,
    config: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
    *,
    state: Mapping[str, Any] | None = None,
    licence: str = "MIT License\n\nCopyright (c) A. Person\n",
) -> Path:
    """The folder, its weights those of seed 0 unless ``state`` gives them."""
    config = config or inference()
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs/inference.json").write_text(json.dumps(config))
    (folder / "configs/metadata.json").write_text(json.dumps(about or metadata()))
    if licence:
        (folder / "license.txt").write_text(licence)
    torch.save(random_state(config["network_def"]) if state is None else state, folder / "models/model.pt")
    return folder


def random_state(network: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Weights of a network, of seed 0."""
    torch.manual_seed(0)
    kind, config, _ = monai_network(network, "here")
    return build(kind, **config).state_dict()
