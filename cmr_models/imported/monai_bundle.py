"""A bundle as MONAI writes it: ``configs/metadata.json``, ``configs/inference.json`` and ``models/model.pt``.

The configuration is read as data. A network, transform or inferer that only code could describe is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmr_models.contracts.bounded_yaml import load_yaml
from cmr_models.contracts.foreign import faults_as
from cmr_models.imported.bundle_files import BundleFiles, is_archive
from cmr_models.imported.checkpoints import read_checkpoint
from cmr_models.imported.found import Found, digests, first_words, is_licence_file, joined, one_line, stated_licence
from cmr_models.imported.literals import Literals
from cmr_models.imported.monai_network import monai_network
from cmr_models.imported.monai_transforms import ending, inferer, preparation
from cmr_models.imported.names import codes_of
from cmr_models.imported.step_plan import StepPlan
from cmr_models.imported.step_segmenter import PREPROCESSING
from cmr_models.imported.steps import Pad, Space, Step

METADATA = "configs/metadata.json"
_INFERENCE = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
_WEIGHTS = "models/model.pt"
_WRAPPED = ("model", "state_dict", "net", "network")
_NETWORKS = ("network_def", "network", "net")
_BACKGROUND = "background"
_VOLUME, _IMAGE = (2, 1, 0), (1, 0)
"""MONAI's axes (x, y, z) among ours (slice, row, column), and (x, y) among (row, column)."""
_SECOND_NAME = "skip_layers."
_FOR_TRAINING = "deep_supervision_heads."
_NEXT = "next_layer."


def is_bundle(source: Path) -> bool:
    """Whether a folder, or the one folder in it, or a zip archive is a bundle."""
    if not (source.is_dir() or is_archive(source)):
        return False
    try:
        BundleFiles(source, METADATA)
    except FileNotFoundError:
        return False
    return True


def read_bundle(source: Path, stated_labels: Mapping[str, int]) -> Found:
    """The network of a bundle.

    Args:
        source: a folder or a zip archive.
        stated_labels: name of a label -> our code, where the user says what it means.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged or hostile, the network or its preparation is of a kind that is not supported,
            a label has an unknown name, or code would have to run.
    """
    files = BundleFiles(source, METADATA)
    about = _mapping(files, METADATA)
    config_name = _one_of(files, _INFERENCE)
    where = f"{source}: {config_name}"
    literals = Literals(_mapping(files, config_name), where)
    with faults_as(lambda kind: ValueError(f"{where} lacks what MONAI writes ({kind})"), ValueError):
        kind, config, multiples = monai_network(_definition(literals, where), where)
        names = _label_names(about, config["n_classes"], where)
        codes = codes_of(names, stated_labels)
        plan = _plan(literals, config, codes, multiples, str(about.get("monai_version", "")), where)
    state = _weights(files, kind)
    return Found(
        kind=kind,
        config=config,
        state=state,
        preprocessing=PREPROCESSING,
        plan=plan.table(),
        codes=codes,
        label_names=tuple(sorted(names, key=lambda name: names[name])),
        pixel_mm=_pixel_mm(plan.steps),
        size=max((*plan.windows.size, 0)),
        licence=_licence(about, files),
        data_set=joined((about.get("name"), source.resolve().name, about.get("task"))),
        training_data=(joined((about.get("data_source"), about.get("description"))) or "not stated",),
        source=_source(about, files, config_name),
    )


def _mapping(files: BundleFiles, name: str) -> Mapping[str, Any]:
    text = files.text(name)
    with faults_as(lambda kind: ValueError(f"{files.source}: {name} is damaged ({kind})")):
        content = json.loads(text) if name.endswith(".json") else load_yaml(text)
    if not isinstance(content, Mapping):
        raise ValueError(f"{files.source}: {name} must hold a mapping, as MONAI writes it")
    return content


def _one_of(files: BundleFiles, names: tuple[str, ...]) -> str:
    found = [name for name in names if files.has(name)]
    if not found:
        raise FileNotFoundError(f"{files.source} has no {names[0]}, which tells what the network is")
    return found[0]


def _definition(literals: Literals, where: str) -> Mapping[str, Any]:
    """The description of the network, with plain values."""
    entries = [literals.entry(name) for name in _NETWORKS if literals.has(name)]
    described = [entry for entry in entries if isinstance(entry, Mapping) and "_target_" in entry]
    if described:
        values: Mapping[str, Any] = literals.value(described[0], "network_def")
        return values
    if entries:
        raise ValueError(f"{where} has the network {str(entries[0])[:60]!r}, whose code would have to run")
    raise ValueError(f"{where} has no network_def; its network could be told only by code")


def _label_names(about: Mapping[str, Any], n_channels: int, where: str) -> dict[str, int]:
    """Name of each label -> its number, from ``channel_def``; without it "background" and the numbers."""
    outputs = about.get("network_data_format", {}).get("outputs", {})
    first: Mapping[str, Any] = next(iter(outputs.values()), {})
    stated = {int(number): one_line(name) for number, name in (first.get("channel_def") or {}).items()}
    n_labels = max(n_channels, 2)
    if n_channels == 1 and len(stated) == 1:
        stated = {0: _BACKGROUND, 1: stated.popitem()[1]}
    names = stated or {number: str(number) if number else _BACKGROUND for number in range(n_labels)}
    if sorted(names) != list(range(n_labels)) or len(set(names.values())) < n_labels:
        raise ValueError(f"{where} has a network of {n_channels} outputs, metadata.json the labels {names}")
    return {name: number for number, name in names.items()}


def _plan(
    literals: Literals,
    config: Mapping[str, Any],
    codes: tuple[int, ...],
    multiples: tuple[int, ...],
    version: str,
    where: str,
) -> StepPlan:
    if not literals.has("preprocessing"):
        raise ValueError(f"{where} has no preprocessing; how its images were prepared is not told")
    windows, slice_axis = inferer(literals.entry("inferer"), literals, config["n_dims"], where)
    if slice_axis >= 0 and config["n_dims"] != 2:
        raise ValueError(f"{where} goes slice by slice with a network of {config['n_dims']} axes")
    axes = _VOLUME if slice_axis >= 0 or config["n_dims"] == 3 else _IMAGE
    steps = preparation(literals.entry("preprocessing"), literals, len(axes), version, where)
    return StepPlan(
        axes=axes,
        codes=codes,
        steps=(*steps, *_fit(multiples, windows.size, slice_axis, where)),
        windows=windows,
        slice_axis=slice_axis,
        **ending(literals.entry("postprocessing"), literals, config["n_classes"], where)._asdict(),
    )


def _fit(multiples: tuple[int, ...], window: tuple[int, ...], slice_axis: int, where: str) -> tuple[Step, ...]:
    """Zeros along axes that are seen whole, to what the network can halve often enough; others stay as they are.

    Raises:
        ValueError: if the network cannot halve its window often enough.
    """
    wrong = [n for n, multiple in zip(window, multiples, strict=False) if n > 0 and n % multiple]
    if wrong:
        raise ValueError(f"{where} has a window of {list(window)} voxels, which must be multiples of {list(multiples)}")
    fixed = [size > 0 for size in window] or [False] * len(multiples)
    needed = [1 if is_fixed else multiple for is_fixed, multiple in zip(fixed, multiples, strict=False)]
    if slice_axis >= 0:
        needed.insert(slice_axis, 1)
    return (Pad(multiple=tuple(needed)),) if max(needed) > 1 else ()


def _pixel_mm(steps: tuple[Step, ...]) -> float:
    """The smallest voxel side that images are resampled to; 0 if they keep theirs."""
    sides = [mm for step in steps if isinstance(step, Space) for mm in step.spacing_mm if mm > 0]
    return min(sides, default=0.0)


def _weights(files: BundleFiles, kind: str) -> dict[str, Tensor]:
    """The weights under our names: each layer once, without what is for training alone."""
    if not files.has(_WEIGHTS):
        others = [name for name in files.names() if name.startswith("models/")]
        raise FileNotFoundError(
            f"{files.source} has no {_WEIGHTS}, the weights alone"
            + (f"; {', '.join(others[:3])} would have to be run" if others else "")
        )
    where = f"{files.source}: {_WEIGHTS}"
    with files.file(_WEIGHTS) as file:
        content = read_checkpoint(file, where)
    inner = [content[name] for name in _WRAPPED if isinstance(content.get(name), Mapping)]
    weights = inner[0] if inner else content
    strangers = [name for name, value in weights.items() if not isinstance(value, Tensor)]
    if strangers:
        raise ValueError(f"{where} has weights that are no tensors: {', '.join(map(str, strangers[:3]))}")
    state = {str(name).removeprefix("module.").removeprefix("_orig_mod."): value for name, value in weights.items()}
    return _each_once(state, where) if kind == "MonaiDynUNet" else state


def _each_once(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The weights of a DynUNet without the second names of its layers, which must be those of the first."""
    kept = {key: value for key, value in state.items() if not key.startswith((_SECOND_NAME, _FOR_TRAINING))}
    n_down = len({key.split(".")[1] for key in kept if key.startswith("downsamples.")})
    for key, value in state.items():
        if key.startswith(_SECOND_NAME):
            name = _first_name(key.removeprefix(_SECOND_NAME), n_down)
            if name not in state or not torch.equal(state[name], value):
                raise ValueError(f"{where} has {key}, which is not the layer {name}")
    return kept


def _first_name(rest: str, n_down: int) -> str:
    """The first name of a layer of a DynUNet, from its second one: ``next_layer.`` leads a level down."""
    level = 0
    while rest.startswith(_NEXT):
        rest, level = rest.removeprefix(_NEXT), level + 1
    part, _, inner = rest.partition(".")
    if part == "downsample":
        return f"downsamples.{level - 1}.{inner}" if level else f"input_block.{inner}"
    if part == "upsample":
        return f"upsamples.{n_down - level}.{inner}"
    if part == "super_head":
        return f"{_FOR_TRAINING}{level - 1}.{inner}"
    return f"bottleneck.{rest}"


def _licence(about: Mapping[str, Any], files: BundleFiles) -> str:
    """What the metadata state, or else the first words of a licence file beside or in ``docs``."""
    named = [name for name in files.names() if is_licence_file(re.sub(r"^docs/", "", name))]
    return stated_licence(about) or next((text for name in named if (text := first_words(files.text(name)))), "")


def _source(about: Mapping[str, Any], files: BundleFiles, config_name: str) -> dict[str, Any]:
    told = {key: one_line(about.get(key)) for key in ("version", "authors", "copyright", "monai_version")}
    return {
        "format": "MONAI bundle",
        **{key: value for key, value in told.items() if value},
        **digests({name: files.sha256(name) for name in (METADATA, config_name, _WEIGHTS)}),
    }
