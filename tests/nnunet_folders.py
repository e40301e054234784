"""A small folder as nnU-Net v2 writes it, with random weights; ``oracles/nnunet_reference.py`` makes a real one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmr_models.imported.architecture import network_config
from cmr_models.nets import build

LABELS = {"background": 0, "LV cavity": 1, "LV_myo": 2, "RV": 3}


def settings_2d(**changes: Any) -> dict[str, Any]:
    """A configuration of ``plans.json``."""
    stages = 3
    arch = {
        "n_stages": stages,
        "features_per_stage": [4, 8, 8],
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": [[3, 3]] * stages,
        "strides": [[1, 1], [2, 2], [2, 2]],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return {
        "preprocessor_name": "DefaultPreprocessor",
        "patch_size": [32, 32],
        "spacing": [2.0, 2.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
        "architecture": {"network_class_name": "a.b.PlainConvUNet", "arch_kwargs": arch},
        **changes,
    }


def write_folder(
    folder: Path,
    *,
    n_folds: int = 2,
    labels: Mapping[str, Any] = LABELS,
    licence: str = "CC0-1.0",
    data_set: str = "Dataset007_SAX",
    settings: Mapping[str, Any] | None = None,
    mirror_axes: tuple[int, ...] | None = (0, 1),
) -> Path:
    """The folder, with folds of the seeds 0, 1 ... and the double names that nnU-Net's layers have."""
    settings = settings or settings_2d()
    folder.mkdir(parents=True)
    plans = {
        "dataset_name": data_set,
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO",
        "configurations": {"2d": settings},
    }
    about = {"channel_names": {"0": "MRI"}, "labels": dict(labels), "numTraining": 12, "licence": licence}
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(about))
    known = {**settings, "architecture": {**settings["architecture"], "network_class_name": "PlainConvUNet"}}
    for fold in range(n_folds):
        (folder / f"fold_{fold}").mkdir()
        checkpoint = {
            "network_weights": _weights(known, len(labels), fold),
            "init_args": {"configuration": "2d", "plans": plans, "fold": fold, "device": torch.device("cpu")},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": mirror_axes,
            "logging": {"mean_fg_dice": [np.float64(0.5)], "ema": np.float32(0.25)},
            "_best_ema": np.float64(0.125),
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def _weights(settings: Mapping[str, Any], n_classes: int, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    state = build("nnUNet", **network_config(settings, n_classes, 1, "here")).state_dict()
    theirs: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix("members.0.").replace("decoder.read_out.", "decoder.seg_layers.1.")
        theirs[name] = value
        if ".conv." in name:
            theirs[name.replace(".conv.", ".all_modules.0.")] = value
        if name.startswith("encoder."):
            theirs[f"decoder.{name}"] = value
    theirs["decoder.seg_layers.0.weight"] = torch.zeros(n_classes, 8, 1, 1)
    theirs["decoder.seg_layers.0.bias"] = torch.zeros(n_classes)
    return theirs
