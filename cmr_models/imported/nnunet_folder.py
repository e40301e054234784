"""A folder as nnU-Net v2 trains it: ``plans.json``, ``dataset.json`` and ``fold_*/checkpoint_*.pth``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from cmr_models.contracts.foreign import faults_as, read_text
from cmr_models.imported.architecture import network_config
from cmr_models.imported.checkpoints import read_checkpoint
from cmr_models.imported.found import Found, digests, first_words, is_licence_file, joined, stated_licence
from cmr_models.imported.names import codes_of
from cmr_models.imported.plan import SCHEMES, Plan, Resampling
from cmr_models.imported.segmenter import PREPROCESSING

_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_READERS_THAT_TURN = ("WithReorient",)
_RESAMPLING = "resample_data_or_seg_to_shape"
_MOST_PARENTS = 4


def is_nnunet(folder: Path) -> bool:
    """Whether a folder, or the one folder in it, is that of an nnU-Net."""
    return bool(_model_folders(folder))


def read_nnunet(source: Path, stated_labels: Mapping[str, int]) -> Found:
    """The networks of all folds of one nnU-Net.

    Args:
        source: the folder, or one that holds exactly one.
        stated_labels: name of a label -> our code, where the user says what it means.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged, the network is of a kind that is not supported, a label has an unknown name,
            or code would have to run.
    """
    folder = _one(source)
    plans, about = _json(folder / "plans.json"), _json(folder / "dataset.json")
    files = _checkpoint_files(folder)
    checkpoints = [read_checkpoint(file) for file in files]
    with faults_as(
        lambda kind: ValueError(f"{folder}: plans.json or a checkpoint lacks what nnU-Net writes ({kind})"), ValueError
    ):
        configuration, mirror_axes = _agreed(checkpoints, files)
        settings = _configuration(plans, configuration)
        label_names = _label_numbers(about, folder)
        codes = codes_of(label_names, stated_labels)
        plan = _plan(plans, settings, about, codes, mirror_axes, folder)
        config = network_config(settings, len(codes), len(files), str(folder / "plans.json"))
        members = [
            _member(checkpoint["network_weights"], config, file)
            for checkpoint, file in zip(checkpoints, files, strict=True)
        ]
    state = {f"members.{i}.{key}": value for i, member in enumerate(members) for key, value in member.items()}
    by_number = sorted(label_names, key=lambda name: label_names[name])
    return Found(
        kind="nnUNet",
        config=config,
        state=state,
        preprocessing=PREPROCESSING,
        plan=plan.table(),
        codes=plan.codes,
        label_names=tuple(by_number),
        pixel_mm=plan.spacing_mm[-1],
        size=plan.patch_size[-1],
        licence=_licence(about, folder),
        data_set=str(plans.get("dataset_name", folder.parent.name)),
        training_data=_training_data(plans, about),
        source=_source(folder, files, configuration, checkpoints),
    )


def _model_folders(source: Path) -> list[Path]:
    if (source / "plans.json").is_file():
        return [source]
    return sorted({file.parent for depth in ("*", "*/*", "*/*/*") for file in source.glob(f"{depth}/plans.json")})


def _one(source: Path) -> Path:
    found = _model_folders(source)
    if len(found) > 1:
        listed = ", ".join(str(folder.relative_to(source)) for folder in found)
        raise ValueError(f"{source} holds {len(found)} models; give one of them: {listed}")
    return found[0]


def _json(file: Path) -> Mapping[str, Any]:
    with faults_as(lambda kind: ValueError(f"{file} is not valid JSON ({kind})"), OSError):
        content = json.loads(read_text(file))
    if not isinstance(content, Mapping):
        raise ValueError(f"{file} must hold a mapping, as nnU-Net writes it")
    return content


def _checkpoint_files(folder: Path) -> list[Path]:
    """The final checkpoints of all folds, or else the best ones; "fold_all" only where there is no other."""
    folds = sorted(path for path in folder.glob("fold_*") if path.is_dir())
    numbered = [path for path in folds if path.name.removeprefix("fold_").isdigit()] or folds
    for name in _CHECKPOINTS:
        files = [path / name for path in numbered if (path / name).is_file()]
        if files:
            return files
    raise FileNotFoundError(f"{folder} has no fold_*/{_CHECKPOINTS[0]} or {_CHECKPOINTS[1]}")


def _agreed(checkpoints: Sequence[Mapping[str, Any]], files: Sequence[Path]) -> tuple[str, tuple[int, ...]]:
    """Configuration and mirror axes, which all folds must share."""
    found = {
        (str(one["init_args"]["configuration"]), tuple(one.get("inference_allowed_mirroring_axes") or ()))
        for one in checkpoints
    }
    if len(found) > 1:
        raise ValueError(f"the folds in {files[0].parents[1]} are not of one configuration: {sorted(found)}")
    configuration, axes = found.pop()
    return configuration, tuple(int(axis) for axis in axes)


def _configuration(plans: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The settings of a configuration, with those that it inherits."""
    chain: list[str] = []
    settings: dict[str, Any] = {}
    while name not in chain and len(chain) < _MOST_PARENTS:
        chain.append(name)
        own = plans["configurations"][name]
        settings = {**own, **settings}
        if "inherits_from" not in own:
            break
        name = own["inherits_from"]
    else:
        raise ValueError(f"the configurations of plans.json inherit from each other: {chain}")
    if settings.get("previous_stage"):
        raise ValueError(f"{chain[0]} is the second stage of a cascade; import a 2d or 3d_fullres configuration")
    return settings


def _label_numbers(about: Mapping[str, Any], folder: Path) -> dict[str, int]:
    labels = {str(name): number for name, number in about["labels"].items() if name != "ignore"}
    if not all(isinstance(number, int) for number in labels.values()):
        raise ValueError(f"{folder} was trained on regions that overlap; only labels, one number each, are read")
    return labels


def _plan(
    plans: Mapping[str, Any],
    settings: Mapping[str, Any],
    about: Mapping[str, Any],
    codes: tuple[int, ...],
    mirror_axes: tuple[int, ...],
    folder: Path,
) -> Plan:
    channels = about.get("channel_names", about.get("modality", {}))
    schemes = settings["normalization_schemes"]
    if len(channels) != 1 or len(schemes) != 1:
        raise ValueError(f"{folder} takes {max(len(channels), len(schemes))} images a case; only one is supported")
    if schemes[0] not in SCHEMES:
        raise ValueError(f"{folder} has the normalisation {schemes[0]}; known are {', '.join(SCHEMES)}")
    if settings["preprocessor_name"] != "DefaultPreprocessor":
        raise ValueError(
            f"{folder} has a preprocessor of its own, {settings['preprocessor_name']}: its code would have to run"
        )
    reader = str(plans.get("image_reader_writer", ""))
    if reader.endswith(_READERS_THAT_TURN):
        raise ValueError(f"{folder} reads its images with {reader}, which turns them; that is not supported")
    scheme = SCHEMES[schemes[0]]
    return Plan(
        spacing_mm=tuple(map(float, settings["spacing"])),
        patch_size=tuple(map(int, settings["patch_size"])),
        transpose=tuple(map(int, plans.get("transpose_forward", (0, 1, 2)))),  # type: ignore[arg-type]
        normalisation=scheme,
        mask_normalisation=bool(settings["use_mask_for_norm"][0]),
        image=_resampling(settings, "data", folder),
        output=_resampling(settings, "probabilities", folder),
        codes=codes,
        mirror_axes=mirror_axes,
        intensities=_intensities(plans) if scheme == "ct" else None,
    )


def _resampling(settings: Mapping[str, Any], what: str, folder: Path) -> Resampling:
    function = settings[f"resampling_fn_{what}"]
    if function != _RESAMPLING:
        raise ValueError(f"{folder} resamples with {function}; only {_RESAMPLING} is supported")
    how = settings[f"resampling_fn_{what}_kwargs"]
    separate = {None: "auto", True: "always", False: "never"}[how.get("force_separate_z", False)]
    return Resampling(int(how.get("order", 3)), int(how.get("order_z", 0)), separate)


def _intensities(plans: Mapping[str, Any]) -> dict[str, float]:
    values = plans["foreground_intensity_properties_per_channel"]["0"]
    return {name: float(values[name]) for name in ("mean", "std", "percentile_00_5", "percentile_99_5")}


def _member(weights: Mapping[str, Tensor], config: Mapping[str, Any], file: Path) -> dict[str, Tensor]:
    """The weights of one fold under our names: each layer once, and the read-out of the finest stage alone."""
    finest = f"decoder.seg_layers.{len(config['n_decoder']) - 1}."
    kept: dict[str, Tensor] = {}
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{file} has weights that are no tensors: {name}")
        key = name.removeprefix("module.").removeprefix("_orig_mod.")
        if ".all_modules." in key or key.startswith("decoder.encoder."):
            continue  # a second name of the same layer
        if key.startswith("decoder.seg_layers.") and not key.startswith(finest):
            continue  # of the coarser stages, for training alone
        kept[key.replace(finest, "decoder.read_out.")] = value
    return kept


def _licence(about: Mapping[str, Any], folder: Path) -> str:
    """What the folder says of its licence: in ``dataset.json``, or the first words of a file of that name."""
    files = [file for file in sorted(folder.iterdir()) if is_licence_file(file.name) and file.is_file()]
    return stated_licence(about) or next((text for file in files if (text := first_words(read_text(file)))), "")


def _training_data(plans: Mapping[str, Any], about: Mapping[str, Any]) -> tuple[str, ...]:
    text = joined((plans.get("dataset_name"), *(about.get(name) for name in ("name", "description", "reference"))))
    number = about.get("numTraining")
    return (f"{text} ({number} training cases)" if number else text or "not stated",)


def _source(
    folder: Path, files: Sequence[Path], configuration: str, checkpoints: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Format and digests of the files that were read."""
    read = [folder / "plans.json", folder / "dataset.json", *files]
    return {
        "format": "nnU-Net v2",
        "configuration": configuration,
        "trainer": str(checkpoints[0].get("trainer_name", "")),
        **digests({file.relative_to(folder).as_posix(): _sha256(file) for file in read}),
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
