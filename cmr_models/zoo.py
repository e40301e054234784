"""Trained networks: a folder with ``model.safetensors`` and ``card.toml``, or one that ships with the
package.

Weights are safetensors only; nothing is downloaded, nothing unpickled. The card's digest is compared with
the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cmr_models.nets import build

_SHIPPED = Path(__file__).parent / "weights"
WEIGHTS_FILE, CARD_FILE = "model.safetensors", "card.toml"


@dataclass(frozen=True)
class ModelCard:
    """What a network is for, what it expects, and what it was trained on.

    ``pixel_mm`` and ``size`` are the pixel size and the rows and columns of the square crop that it works
    at. ``digest`` is the SHA-256
    of the weights file.
    """

    name: str
    task: str
    kind: str
    config: Mapping[str, Any]
    pixel_mm: float
    size: int
    training_data: tuple[str, ...] = ()
    training_settings: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    digest: str = ""


def load(name_or_folder: str | os.PathLike[str], task: str = "segment_sax") -> tuple[nn.Module, ModelCard]:
    """A trained network, in evaluation mode, in float32 on the CPU, and its card.

    Args:
        name_or_folder: "default" for the network of ``task`` that ships with the package, or a folder.
        task: "segment_sax", "segment_lax_4c", "aif_detect" or "perfusion_segment".

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: if the weights are not those of the card, or the card is for another task.
    """
    from safetensors.torch import load as parse

    weights_file, _ = _files(name_or_folder, task)
    model_card = card(name_or_folder, task)
    content = weights_file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != model_card.digest:
        raise ValueError(
            f"{weights_file} has the digest {digest[:12]}, its card says {model_card.digest[:12]}; "
            "copy both files again from where they came"
        )
    network = build(model_card.kind, **model_card.config)
    network.load_state_dict({key: _full_precision(value) for key, value in parse(content).items()})
    return network.eval().requires_grad_(False), model_card


def card(name_or_folder: str | os.PathLike[str], task: str = "segment_sax") -> ModelCard:
    """The card of a model, without reading its weights; arguments and errors as :func:`load`."""
    _, card_file = _files(name_or_folder, task)
    values = tomllib.loads(card_file.read_text())
    unknown = sorted(set(values) - {item.name for item in fields(ModelCard)})
    if unknown:
        raise ValueError(f"{card_file} has unknown entries {unknown}; known are {[f.name for f in fields(ModelCard)]}")
    values["training_data"] = tuple(values.get("training_data", ()))
    model_card = ModelCard(**values)
    if model_card.task != task:
        raise ValueError(f"{card_file} is a model for {model_card.task!r}, not {task!r}; give one for {task!r}")
    return model_card


def save(folder: Path, network: nn.Module, model_card: ModelCard) -> ModelCard:
    """Write ``model.safetensors`` (convolutions in half precision) and ``card.toml`` with its digest;
    returns the card.
    """
    from safetensors.torch import save as serialised

    content = serialised({key: _half_precision(value) for key, value in network.state_dict().items()})
    model_card = replace(model_card, digest=hashlib.sha256(content).hexdigest())
    folder.mkdir(parents=True, exist_ok=True)
    _publish(folder / WEIGHTS_FILE, content)
    _publish(folder / CARD_FILE, card_text(model_card).encode())
    return model_card


def card_text(model_card: ModelCard) -> str:
    """The card as TOML."""
    values = asdict(model_card)
    plain = [f"{key} = {_toml(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    tables = [line for key, value in values.items() if isinstance(value, Mapping) for line in _table(key, value)]
    return "\n".join(plain + tables) + "\n"


def _files(name_or_folder: str | os.PathLike[str], task: str) -> tuple[Path, Path]:
    if name_or_folder == "default":
        files = _SHIPPED / f"{task}.safetensors", _SHIPPED / f"{task}.toml"
    else:
        files = Path(name_or_folder) / WEIGHTS_FILE, Path(name_or_folder) / CARD_FILE
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"model {name_or_folder!r} for {task!r}: no {missing}; give 'default' or a folder made by training"
        )
    return files


def _full_precision(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.is_floating_point() else value


def _half_precision(value: torch.Tensor) -> torch.Tensor:
    """Convolution kernels in float16; vectors (normalisation statistics, biases) as they are."""
    kept = value.half() if value.ndim == 4 else value
    return kept.detach().cpu().contiguous()


def _publish(file: Path, content: bytes) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, file)


def _table(name: str, values: Mapping[str, Any]) -> list[str]:
    plain = [f"{key} = {_toml(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    nested = [
        line for key, value in values.items() if isinstance(value, Mapping) for line in _table(f"{name}.{key}", value)
    ]
    return [f"\n[{name}]", *plain, *nested]


def _toml(value: Any) -> str:
    """A plain value as TOML, which for strings, numbers, booleans and lists of them is JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)
