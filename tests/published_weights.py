"""A folder with the layout of the published CineMA repository, with tiny random weights."""

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from cmr_models.nets import build

SAX_SIZE, LAX_SIZE = [32, 32, 4], [32, 32]
TOKENS: dict[str, Any] = {
    "size": "tiny",
    "enc_conv_chans": [8, 16],
    "enc_conv_n_blocks": 1,
    "sax_size": SAX_SIZE,
    "lax_size": LAX_SIZE,
}
_INNER = {
    "size": "tiny",
    "enc_patch_size": [4, 4, 1],
    "enc_scale_factor": [2, 2, 1],
    "enc_conv_chans": [8, 16],
    "enc_conv_n_blocks": 1,
    "drop_path": 0.1,
}
_DATA = {"sax": {"patch_size": SAX_SIZE, "in_chans": 1}, "lax": {"patch_size": LAX_SIZE, "in_chans": 1}}
_DECODER: dict[str, Any] = {
    "dec_chans": [4, 8, 16, 8, 8],
    "dec_patch_size": [2, 2, 1],
    "dec_scale_factor": [2, 2, 1],
    "dropout": 0.1,
}


def write_repository(folder: Path) -> Path:
    """Write one model for every task, and one of them with two seeds; returns ``folder``."""
    write_pretrained(folder)
    write_segmenter(folder, "acdc_sax", "sax", seeds=(0, 1))
    write_segmenter(folder, "mnms2_lax_4c", "lax_4c")
    write_classifier(folder, "classification_cvd", "acdc_sax", "pathology", ["DCM", "HCM", "MINF", "NOR", "RV"])
    write_regressor(folder, "regression_ef", "acdc_sax", "ef", 27.7, 10.85)
    for view in ("lax_2c", "lax_4c"):
        write_landmarks(folder, "landmark_heatmap", view)
        write_landmarks(folder, "landmark_coordinate", view)
    return folder


def write_pretrained(folder: Path) -> Path:
    inner = {
        "size": "tiny",
        "patch_size": [4, 4, 1],
        "scale_factor": [2, 2, 1],
        "enc_conv_chans": [8, 16],
        "enc_conv_n_blocks": 1,
    }
    net = build("CineMA", views=["sax", "lax_2c", "lax_3c", "lax_4c"], **TOKENS)
    return _write(folder / "pretrained" / "cinema.safetensors", net, {"model": inner, "data": _DATA})


def write_segmenter(folder: Path, name: str, view: str, seeds: tuple[int, ...] = (0,)) -> Path:
    config = {
        "model": {"views": view, "out_chans": 4, "convunetr": {**_INNER, **_DECODER}},
        "data": _DATA,
        "grad_ckpt": True,
    }
    for seed in seeds:
        torch.manual_seed(seed)
        net = build("ConvUNetR", views=[view], out_chans=4, **TOKENS, **_DECODER)
        torch.nn.init.normal_(net.pred_head_dict[view].weight)
        torch.nn.init.zeros_(net.pred_head_dict[view].bias)  # so that every class occurs
        _write(folder / "finetuned" / "segmentation" / name / f"{name}_{seed}.safetensors", net, config)
    return folder / "finetuned" / "segmentation" / name


def write_classifier(folder: Path, task: str, name: str, column: str, classes: list[str]) -> Path:
    data = {**_DATA, "class_column": column, column: classes}
    config = {"model": {"views": "sax", "n_frames": 2, "convvit": _INNER}, "data": data}
    net = build("ConvViT", views=["sax"], out_chans=len(classes), n_frames=2, **TOKENS)
    return _write(folder / "finetuned" / task / name / f"{name}_0.safetensors", net, config)


def write_regressor(folder: Path, task: str, name: str, column: str, mean: float, sd: float) -> Path:
    data = {**_DATA, "regression_column": column, column: {"mean": mean, "std": sd}}
    config = {"model": {"views": "sax", "n_frames": 2, "convvit": _INNER}, "data": data}
    net = build("ConvViT", views=["sax"], out_chans=1, n_frames=2, **TOKENS)
    return _write(folder / "finetuned" / task / name / f"{name}_0.safetensors", net, config)


def write_landmarks(folder: Path, task: str, view: str) -> Path:
    file = folder / "finetuned" / task / view / f"{view}_0.safetensors"
    if task == "landmark_heatmap":
        net = build("ConvUNetR", views=[view], out_chans=3, **TOKENS, **_DECODER)
        model: dict[str, Any] = {"views": view, "out_chans": 3, "convunetr": {**_INNER, **_DECODER}}
    else:
        net = build("ConvViT", views=[view], out_chans=6, n_frames=1, **TOKENS)
        model = {"views": view, "out_chans": 6, "n_frames": 1, "convvit": _INNER}
    return _write(file, net, {"model": model, "data": {"lax": _DATA["lax"]}})


def _write(file: Path, net: torch.nn.Module, config: dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, file)
    (file.parent / "config.yaml").write_text(yaml.safe_dump(config))
    return file.parent
