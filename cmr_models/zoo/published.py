"""Published CineMA weights: which files of a folder laid out like the hub repository are which model.

    pretrained/cinema.safetensors, config.yaml
    finetuned/<task>/<data>_<view>/<data>_<view>_<seed>.safetensors, config.yaml

Reference: Fu et al., Communications Medicine 2026; https://huggingface.co/mathpluscode/CineMA (MIT).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cmr_models.contracts import LABEL_NAMES
from cmr_models.contracts.foreign import faults_as, read_text
from cmr_models.zoo.model_card import ModelCard

HUB_REPOSITORY = "mathpluscode/CineMA"
CONFIG_FILE = "config.yaml"

_COHORT = "UK Biobank"  # what the autoencoder was pretrained on, and so every fine-tuned network begun with
_DATA_NAMES = {"acdc": "ACDC", "mnms": "M&Ms", "mnms2": "M&Ms-2", "lax": "Landmark"}
_SEGMENTED = tuple(LABEL_NAMES[code] for code in range(4))
_MOST_CLASSES = 256
_POINTS = ("mitral hinge 1", "mitral hinge 2", "apex")

HUB_PREFIX = "hub:"
"""``hub:segmentation/acdc_sax`` is that folder of the published repository in the hub's local cache."""


class PublishedModel(NamedTuple):
    """One set of published weights and the configuration beside it."""

    weights: Path
    config: Path

    @property
    def task(self) -> str:
        """As its card says: "segment_<view>" or the name of its task folder."""
        if self.weights.parent.name == "pretrained":
            return "pretrain"
        folder = self.weights.parent.parent.name
        return f"segment_{self.view}" if folder == "segmentation" else folder

    @property
    def view(self) -> str:
        """The view at the end of the folder's name; "" for the pretrained autoencoder."""
        found = re.search(r"(sax|lax_[234]c)$", self.weights.parent.name)
        return found[1] if found else ""

    @property
    def name(self) -> str:
        """Like "cinema-classification_cvd-acdc_sax_0"."""
        if self.task == "pretrain":
            return "cinema-pretrained"
        return f"cinema-{self.weights.parent.parent.name}-{self.weights.stem}"


def published_models(folder: Path) -> list[PublishedModel]:
    """Every published model in ``folder``: a whole copy of the repository, or one folder of it; sorted."""
    found = [
        PublishedModel(weights, weights.parent / CONFIG_FILE)
        for weights in sorted(folder.rglob("*.safetensors"))
        if (weights.parent / CONFIG_FILE).is_file()
    ]
    return [model for model in found if model.task == "pretrain" or model.view]


def hub_cache() -> Path | None:
    """The newest snapshot of the published repository in the hub's local cache; None without the cache or
    without ``huggingface_hub``. Nothing is downloaded.
    """
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return None
    snapshots = Path(HF_HUB_CACHE) / f"models--{HUB_REPOSITORY.replace('/', '--')}" / "snapshots"
    found = [path for path in snapshots.glob("*") if path.is_dir()]
    return max(found, key=os.path.getmtime, default=None)


def published_card(model: PublishedModel, digest: str = "") -> ModelCard:
    """The card of a published model, from its configuration.

    Raises:
        ValueError: if the configuration is not a YAML mapping or lacks an entry that the network needs.
    """
    config = _read_yaml(model.config)
    try:
        return _card(model, config, digest)
    except Exception as error:
        raise ValueError(f"{model.config} lacks what a {model.task} network needs: {error}") from error


def _card(model: PublishedModel, config: Mapping[str, Any], digest: str) -> ModelCard:
    kind, settings = _network(model, config)
    views = tuple(settings["views"])
    data = _DATA_NAMES.get(model.weights.parent.name.split("_")[0], "")
    return ModelCard(
        name=model.name,
        task=model.task,
        kind=kind,
        config=settings,
        pixel_mm=1.0,
        size=int((settings["sax_size"] if views[0] == "sax" else settings["lax_size"])[0]),
        training_data=(f"pretrained on {_COHORT} (74,916 people)", *((f"fine-tuned on {data}",) if data else ())),
        licence="MIT (weights and code of the authors)",
        digest=digest,
        preprocessing="cinema",
        views=views,
        classes=_classes(model, config, settings),
        target=_target(config),
        cohorts=(_COHORT, *((data,) if data else ())),
    )


def _network(model: PublishedModel, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Kind and settings, from the entries that the published code reads."""
    section, data = config["model"], config["data"]
    if model.task == "pretrain":
        views: list[str] = ["sax", "lax_2c", "lax_3c", "lax_4c"]
        return "CineMA", _tokens(section, data, views, "patch_size", "scale_factor")
    views = [section["views"]] if isinstance(section["views"], str) else list(section["views"])
    if "convunetr" in section:
        inner = section["convunetr"]
        decoder = {key: inner[key] for key in ("dec_chans", "dec_patch_size", "dec_scale_factor", "dropout")}
        settings = _tokens(inner, data, views, "enc_patch_size", "enc_scale_factor")
        return "ConvUNetR", {**settings, **decoder, "drop_path": inner["drop_path"], "out_chans": section["out_chans"]}
    inner = section["convvit"]
    settings = _tokens(inner, data, views, "enc_patch_size", "enc_scale_factor")
    n_frames = int(section.get("n_frames", 1))
    return "ConvViT", {
        **settings, "n_frames": n_frames, "drop_path": inner["drop_path"], "out_chans": _n_outputs(section, data),
    }  # fmt: skip


def _tokens(
    inner: Mapping[str, Any], data: Mapping[str, Any], views: list[str], patch: str, scale: str
) -> dict[str, Any]:
    sax, lax = data.get("sax"), data.get("lax") or next((data[v] for v in views if v in data and v != "sax"), None)
    first = sax if views[0] == "sax" else lax
    if first is None:
        raise KeyError(f"data.{views[0]}")
    size: dict[str, Any] = {}
    if sax is not None:
        size["sax_size"] = list(sax["patch_size"])
    if lax is not None:
        size["lax_size"] = list(lax["patch_size"])[:2]
    return {
        "views": views,
        "size": inner["size"],
        "in_chans": int(first["in_chans"]),
        "enc_patch_size": _three(inner[patch]),
        "enc_scale_factor": _three(inner[scale]),
        "enc_conv_chans": list(inner["enc_conv_chans"]),
        "enc_conv_n_blocks": int(inner["enc_conv_n_blocks"]),
        "sax_size": [192, 192, 16],
        "lax_size": [256, 256],
        **size,
    }


def _three(strides: Any) -> list[int]:
    """Strides of three axes; two-axis ones, of a long-axis network, get one for the slices."""
    values = [int(stride) for stride in strides]
    return values if len(values) == 3 else [*values, 1]


def _n_outputs(section: Mapping[str, Any], data: Mapping[str, Any]) -> int:
    if "class_column" in data:
        return len(data[data["class_column"]])
    return 1 if "regression_column" in data else int(section["out_chans"])


def _classes(model: PublishedModel, config: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[str, ...]:
    data = config["data"]
    if "class_column" in data:
        return tuple(map(str, data[data["class_column"]]))
    if "regression_column" in data:
        return (str(data["regression_column"]),)
    if model.task.startswith("segment_"):
        n_classes = int(settings["out_chans"])
        if not 1 <= n_classes <= _MOST_CLASSES:
            raise ValueError(f"out_chans is {n_classes}, and at most {_MOST_CLASSES} structures are told apart")
        return _SEGMENTED if n_classes == len(_SEGMENTED) else tuple(map(str, range(n_classes)))
    return _POINTS if model.task.startswith("landmark") else ()


def _target(config: Mapping[str, Any]) -> dict[str, float]:
    data = config["data"]
    if "regression_column" not in data:
        return {}
    about = data[data["regression_column"]]
    return {"mean": float(about["mean"]), "sd": float(about["std"])}


def _read_yaml(file: Path) -> Mapping[str, Any]:
    from cmr_models.contracts.bounded_yaml import load_yaml  # takes a moment to load

    with faults_as(lambda kind: ValueError(f"{file} is not valid YAML ({kind})"), OSError):
        content = load_yaml(read_text(file))
    if not isinstance(content, Mapping) or not all(isinstance(content.get(key), Mapping) for key in ("model", "data")):
        raise ValueError(f"{file} must have the mappings 'model' and 'data', like the published files")
    return content
