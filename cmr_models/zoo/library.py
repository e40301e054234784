"""Trained networks: a folder with ``model.safetensors`` and ``card.toml``, one that ships with the package, or
published CineMA weights in a folder laid out like the hub's.

Weights are safetensors only; nothing is downloaded, nothing unpickled. The card's digest is compared with
the file.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cmr_models.contracts.foreign import read_text
from cmr_models.zoo.model_card import ModelCard, card_text, parse_card
from cmr_models.zoo.published import HUB_PREFIX, PublishedModel, hub_cache, published_card, published_models

if TYPE_CHECKING:  # cards are read without torch
    import torch
    from torch import nn

_SHIPPED = Path(__file__).parents[1] / "weights"
"""``<task>.safetensors`` and ``.toml`` of "default"; in folders, those of models that are chosen by their name alone,
beside the licence that their training data demand."""
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.toml"
_LONG_AXIS = "segment_lax"
"""The task of one network for every long-axis view; the card that is asked for one view names that view's task."""
_LONG_AXIS_VIEWS = ("segment_lax_2c", "segment_lax_3c", "segment_lax_4c")


def load(name_or_folder: str | os.PathLike[str], task: str | None = None) -> tuple[nn.Module, ModelCard]:
    """A trained network, in evaluation mode, in float32 on the CPU, and its card.

    Args:
        name_or_folder: "default" for the network of ``task`` that ships with the package, or the name of another that
            does ("acdc": its own short-axis network, for all else that of "default"); a folder made by training; a
            folder laid out like the published repository, a folder or weights file in it; or
            ``hub:<task>/<data>_<view>`` and ``hub:pretrained`` for the hub's local cache.
        task: what the network must be for, such as "segment_sax" or "aif_detect"; None takes what is there
            ("segment_sax" of "default").

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: if the weights are not those of the card, truncated, not finite or do not fit the network
            (missing and unexpected keys are listed), the card is for another task, or the folder holds several
            models.
    """
    from cmr_models.zoo.weights_file import read_weights

    found = _find(name_or_folder, task)
    model_card = card(name_or_folder, task)
    weights = found.weights if isinstance(found, PublishedModel) else found[0]
    state, digest = read_weights(weights)
    if isinstance(found, PublishedModel):
        model_card = replace(model_card, digest=digest)
    elif digest != model_card.digest:
        raise ValueError(
            f"{weights} has the digest {digest[:12]}, its card says {model_card.digest[:12]}; "
            "copy both files again from where they came"
        )
    network = built(model_card, state, str(weights))
    return network.eval().requires_grad_(False), model_card


def built(model_card: ModelCard, state: Mapping[str, torch.Tensor], where: str) -> nn.Module:
    """The network of a card with its weights, built only if they fit: a hostile card cannot ask for more memory.

    Raises:
        ValueError: if it cannot be built, or the weights do not fit.
    """
    import torch

    from cmr_models.nets import build
    from cmr_models.zoo.weights_file import check_fit, load_strictly

    try:
        with torch.device("meta"):
            outline = build(model_card.kind, **model_card.config)
        check_fit(outline, state, where)
        network = build(model_card.kind, **model_card.config)
        load_strictly(network, state, where)
        return network
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(
            f"{where}: no {model_card.kind} can be built with the settings of its card or config: {error}"
        ) from error


def card(name_or_folder: str | os.PathLike[str], task: str | None = None) -> ModelCard:
    """The card of a model, without checking its weights; arguments and errors as :func:`load`."""
    found = _find(name_or_folder, task)
    if isinstance(found, PublishedModel):
        return published_card(found, _digest(found.weights))
    card_file = found[1]
    model_card = _card_in(card_file)
    if task is None or model_card.task == task:
        return model_card
    if model_card.task == _LONG_AXIS and task in _LONG_AXIS_VIEWS:
        return replace(model_card, task=task)
    raise ValueError(f"{card_file} is a model for {model_card.task!r}, not {task!r}; give one for {task!r}")


def save(folder: Path, network: nn.Module, model_card: ModelCard, *, half: bool = True) -> ModelCard:
    """Write ``model.safetensors`` (2-D convolutions in half precision, if ``half``) and ``card.toml`` with its
    digest; returns the card.
    """
    from safetensors.torch import save as serialised

    content = serialised({key: _to_stored_precision(value, half) for key, value in network.state_dict().items()})
    model_card = replace(model_card, digest=hashlib.sha256(content).hexdigest())
    folder.mkdir(parents=True, exist_ok=True)
    _publish(folder / WEIGHTS_FILE, content)
    _publish(folder / CARD_FILE, card_text(model_card).encode())
    return model_card


def available(*folders: Path) -> Iterator[tuple[str, ModelCard | ValueError]]:
    """All models with their cards: the package's own, those in the hub's local cache, those in ``folders``.

    Yields:
        What to give :func:`load`, and the card; or what is wrong with it.
    """
    for name in shipped_names():
        for file in sorted(_shipped_folder(name).glob("*.toml")):
            yield name, parse_card(read_text(file), str(file))
    cache = hub_cache()
    for folder in [*([cache] if cache else []), *folders]:
        for file in sorted(folder.rglob(CARD_FILE)):
            yield str(file.parent), _or_error(partial(_card_in, file))
        for model in published_models(folder):
            yield str(model.weights), _or_error(partial(published_card, model))


def shipped_names() -> tuple[str, ...]:
    """The models that ship with the package, "default" first."""
    return ("default", *sorted(folder.name for folder in _SHIPPED.iterdir() if folder.is_dir()))


def _shipped_folder(name: str) -> Path:
    return _SHIPPED if name == "default" else _SHIPPED / name


def _shipped_stem(name: str, task: str) -> Path:
    """The path without suffix of a shipped network. A model that has none for a task is "default" there."""
    names = (task, _LONG_AXIS) if task in _LONG_AXIS_VIEWS else (task,)
    own = _shipped_folder(name) / task
    stems = (folder / stem for folder in (own.parent, _SHIPPED) for stem in names)
    return next((stem for stem in stems if stem.with_suffix(".toml").is_file()), own)


def _or_error(read: Callable[[], ModelCard]) -> ModelCard | ValueError:
    try:
        return read()
    except ValueError as error:
        return error


def _card_in(file: Path) -> ModelCard:
    return parse_card(read_text(file), str(file))


def add(source: str | os.PathLike[str], folder: Path) -> Path:
    """Copy one model to ``folder/<its name>`` as weights and card, after loading it once; returns the new folder.

    Raises:
        FileExistsError: if another model lies there.
        FileNotFoundError, ValueError: as :func:`load`; if its name is not a valid folder name.
    """
    found = _find(source, None)
    _, model_card = load(source)
    if Path(model_card.name).name != model_card.name or model_card.name.startswith("."):
        raise ValueError(f"the model name {model_card.name!r} is not a valid folder name; change it in the model card")
    target = folder / model_card.name
    if target.exists() and card(target) != model_card:
        raise FileExistsError(f"{target} holds another model; give another folder")
    target.mkdir(parents=True, exist_ok=True)
    weights = found.weights if isinstance(found, PublishedModel) else found[0]
    temporary = target / f".{WEIGHTS_FILE}.{os.getpid()}"
    shutil.copyfile(weights, temporary)
    os.replace(temporary, target / WEIGHTS_FILE)
    _publish(target / CARD_FILE, card_text(model_card).encode())
    return target


def _find(name_or_folder: str | os.PathLike[str], task: str | None) -> PublishedModel | tuple[Path, Path]:
    """The published model, or the weights and card files, that a name stands for."""
    name = os.fspath(name_or_folder)
    if name in shipped_names():
        stem = _shipped_stem(name, task or "segment_sax")
        files = stem.with_suffix(".safetensors"), stem.with_suffix(".toml")
    elif name.startswith(HUB_PREFIX):
        return _published(_in_hub_cache(name.removeprefix(HUB_PREFIX)), task)
    elif not (Path(name) / CARD_FILE).is_file() and (Path(name).is_file() or published_models(Path(name))):
        return _published(Path(name), task)
    else:
        files = Path(name) / WEIGHTS_FILE, Path(name) / CARD_FILE
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"model {name!r} for {task or 'any task'!r}: no {missing}; give "
            f"{' or '.join(map(repr, shipped_names()))}, or a folder made by training or "
            "laid out like the published repository (pretrained/, finetuned/<task>/<data>_<view>/, with config.yaml)"
        )
    return files


def _in_hub_cache(part: str) -> Path:
    cache = hub_cache()
    if cache is None:
        raise FileNotFoundError(
            "no copy of the published repository in the hub's local cache; fetch it with `hf download "
            "mathpluscode/CineMA` (needs huggingface_hub), or give a folder laid out like it"
        )
    return cache / part if part.startswith("pretrained") else cache / "finetuned" / part


def _published(path: Path, task: str | None) -> PublishedModel:
    """The one published model at ``path`` for ``task``; of the seeds of one folder, the first."""
    folder = path.parent if path.is_file() else path
    models = [m for m in published_models(folder) if path == folder or m.weights == path]
    if not models:
        raise FileNotFoundError(
            f"{path} is not a published model: it needs a .safetensors file with config.yaml beside it"
        )
    chosen = [m for m in models if task is None or m.task == task]
    if not chosen:
        tasks = sorted({m.task for m in models})
        raise ValueError(f"{path} is a model for {', '.join(tasks)}, not {task!r}; give one for {task!r}")
    folders = sorted({str(m.weights.parent) for m in chosen})
    if len(folders) > 1:
        raise ValueError(f"{path} holds {len(folders)} models; give one of them: {', '.join(folders)}")
    return chosen[0]


def _digest(file: Path) -> str:
    about = file.stat()
    return _digest_as_of(file, about.st_size, about.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest_as_of(file: Path, _size: int, _mtime_ns: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _to_stored_precision(value: torch.Tensor, half: bool) -> torch.Tensor:
    """2-D convolution kernels in float16; vectors (normalisation statistics, biases) as they are."""
    kept = value.half() if half and value.ndim == 4 else value
    return kept.detach().cpu().contiguous()


def _publish(file: Path, content: bytes) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, file)
