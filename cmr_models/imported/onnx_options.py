"""What an ONNX file does not tell: a TOML file beside it says how images are prepared and what the outputs mean.

    labels = ["background", "LV", "MYO", "RV"]   # of the output channels, in order
    spacing_mm = [1.5, 1.5]                      # or "own": images keep their pixels
    normalisation = "z_score"                    # or one of NORMALISATIONS, or a table: see below
    size_multiple = 16                           # or size = [256, 256], or window = [128, 128]

``normalisation`` may be a table with one entry: ``percentiles = [1, 99]`` or ``range = [0, 1000]``, which become 0 and
1 with what lies beyond cut off, or ``mean_sd = [100, 50]``. With ``size`` images are padded with zeros and cropped
around their middle; a ``window`` slides over them (``overlap``, 0.25; ``gaussian``, false). Not needed: ``axes`` of the
network (["slice", "row", "col"]), ``volume`` (true: slices of a network with two axes are normalised together),
``activation`` ("softmax", "sigmoid", "none"), ``channels`` ("last", as TensorFlow has them), ``output`` (its name, of
several), ``licence``, ``data_set``, ``training_data``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmr_models.contracts.bounded_toml import load_toml
from cmr_models.contracts.foreign import faults_as, read_text
from cmr_models.imported.step_plan import ACTIVATIONS, StepPlan
from cmr_models.imported.steps import (
    CentreCrop,
    DivideByMaximum,
    Normalise,
    Pad,
    ScaleIntensity,
    ScaleRange,
    Space,
    Step,
)
from cmr_models.imported.windows import Windows

NORMALISATIONS: Mapping[str, tuple[Step, ...]] = {
    "z_score": (Normalise(),),
    "z_score_nonzero": (Normalise(nonzero=True),),
    "min_max": (ScaleIntensity(),),
    "maximum": (DivideByMaximum(),),
    "none": (),
}
"""Name of a normalisation -> its steps."""
_TABLES: Mapping[str, Callable[[float, float], Step]] = {
    "percentiles": lambda low, high: ScaleRange(low, high, 0.0, 1.0, clip=True, percentiles=True),
    "range": lambda low, high: ScaleRange(low, high, 0.0, 1.0, clip=True),
    "mean_sd": lambda mean, sd: Normalise(mean, sd),
}
_SIZES = ("size_multiple", "size", "window")
_NEEDED = ("labels", "spacing_mm", "normalisation")
_KNOWN = (
    *_NEEDED, *_SIZES, "overlap", "gaussian", "axes", "volume", "activation", "output", "licence", "data_set",
    "training_data", "channels",
)  # fmt: skip
_AXES = ("slice", "row", "col")
_MOST_MULTIPLE = 1024
_TRIED = 32


@dataclass(frozen=True)
class OnnxOptions:
    """The file, read; see the module's docstring.

    Attributes:
        labels: names of the labels, in order.
        plan_for: the plan, from the number of the network's axes, our code of each label and what the output is ("none"
            for probabilities, else what makes them).
        try_size: voxels of an image on which the network can be tried, from the number of its axes.
        output: name of the output; "" for the only one.
        channels_last: whether channels are the last axis.
        about: the other entries.
    """

    labels: tuple[str, ...]
    plan_for: Callable[[int, tuple[int, ...], str], StepPlan]
    try_size: Callable[[int], tuple[int, ...]]
    output: str
    channels_last: bool
    about: Mapping[str, Any]


def read_options(file: Path) -> OnnxOptions:
    """The options of one network.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TOML, or has unknown, missing or wrong entries.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} does not exist; an ONNX network does not tell its labels, spacing_mm, normalisation and "
            "size_multiple: write them there, or give --options FILE"
        )
    with faults_as(lambda kind: ValueError(f"{file} is not valid TOML ({kind})"), OSError):
        values = load_toml(read_text(file))
    unknown, missing = sorted(set(values) - set(_KNOWN)), [name for name in _NEEDED if name not in values]
    if unknown or missing:
        faults = [f"unknown entries {unknown}"] * bool(unknown) + [f"no {' and no '.join(missing)}"] * bool(missing)
        raise ValueError(f"{file} has {' and '.join(faults)}; known are {', '.join(_KNOWN)}")
    if sum(name in values for name in _SIZES) != 1:
        raise ValueError(f"{file} must have one of {', '.join(_SIZES)}")
    labels = values["labels"]
    if not isinstance(labels, list) or len(labels) < 2 or not all(isinstance(name, str) for name in labels):
        raise ValueError(f"{file}: labels must be the names of the output channels, the background first")
    if values.get("channels", "first") not in ("first", "last"):
        raise ValueError(f"{file}: channels must be 'first' or 'last', got {values['channels']!r}")
    if len(set(labels)) < len(labels):
        raise ValueError(f"{file}: labels has one name twice")

    def plan_for(n_axes: int, codes: tuple[int, ...], output: str) -> StepPlan:
        with faults_as(lambda kind: ValueError(f"{file} has an entry of the wrong type ({kind})"), ValueError):
            return _plan(values, n_axes, codes, output, str(file))

    def try_size(n_axes: int) -> tuple[int, ...]:
        with faults_as(lambda kind: ValueError(f"{file} has an entry of the wrong type ({kind})"), ValueError):
            if "size_multiple" in values:
                multiple = _multiple(values, str(file))
                return (multiple * max(2, math.ceil(_TRIED / multiple)),) * n_axes
            return _whole(values["size" if "size" in values else "window"], n_axes, str(file))

    is_last = values.get("channels") == "last"
    return OnnxOptions(tuple(labels), plan_for, try_size, str(values.get("output", "")), is_last, values)


def _plan(values: Mapping[str, Any], n_axes: int, codes: tuple[int, ...], output: str, where: str) -> StepPlan:
    is_volume = n_axes == 3 or bool(values.get("volume", False))
    named = values.get("axes", list(_AXES[-n_axes:]))
    if sorted(named) != sorted(_AXES[-n_axes:]):
        raise ValueError(f"{where}: axes must order {list(_AXES[-n_axes:])}, got {named}")
    is_sliced = is_volume and n_axes == 2
    axes = tuple(_AXES.index(name) for name in (["slice", *named] if is_sliced else named))
    activation = str(values.get("activation", output))
    if activation not in ACTIVATIONS:
        raise ValueError(f"{where}: activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    window = _whole(values["window"], n_axes, where) if "window" in values else ()
    return StepPlan(
        axes=axes if is_volume else tuple(axis - 1 for axis in axes),
        codes=codes,
        steps=(*_space(values, n_axes, is_sliced, where), *_normalisation(values, where),
               *_size(values, n_axes, is_sliced, where)),
        windows=Windows(window, float(values.get("overlap", 0.25)), bool(values.get("gaussian", False))),
        slice_axis=0 if is_sliced else -1,
        activation=activation,
    )  # fmt: skip


def _space(values: Mapping[str, Any], n_axes: int, is_sliced: bool, where: str) -> tuple[Step, ...]:
    wanted = values["spacing_mm"]
    if wanted == "own":
        return ()
    if not isinstance(wanted, list) or len(wanted) != n_axes or not all(float(mm) > 0 for mm in wanted):
        raise ValueError(f"{where}: spacing_mm must be {n_axes} positive numbers, or 'own'; got {wanted!r}")
    return (Space((*((0.0,) * is_sliced), *map(float, wanted))),)


def _normalisation(values: Mapping[str, Any], where: str) -> tuple[Step, ...]:
    wanted = values["normalisation"]
    if isinstance(wanted, str) and wanted in NORMALISATIONS:
        return NORMALISATIONS[wanted]
    if isinstance(wanted, Mapping) and len(wanted) == 1 and set(wanted) <= set(_TABLES):
        ((name, pair),) = wanted.items()
        if isinstance(pair, list) and len(pair) == 2:
            return (_TABLES[name](*map(float, pair)),)
    raise ValueError(
        f"{where}: normalisation must be one of {', '.join(NORMALISATIONS)}, or a table with two numbers for one of "
        f"{', '.join(_TABLES)}; got {wanted!r}"
    )


def _size(values: Mapping[str, Any], n_axes: int, is_sliced: bool, where: str) -> tuple[Step, ...]:
    if "size_multiple" in values:
        multiple = _multiple(values, where)
        own = (1, *((multiple,) * n_axes)) if is_sliced else (multiple,) * n_axes
        return (Pad(multiple=own),) if multiple > 1 else ()
    if "window" in values:
        return ()
    shape = (*((0,) * is_sliced), *_whole(values["size"], n_axes, where))
    return Pad(shape), CentreCrop(shape)


def _multiple(values: Mapping[str, Any], where: str) -> int:
    multiple = values["size_multiple"]
    if not isinstance(multiple, int) or not 1 <= multiple <= _MOST_MULTIPLE:
        raise ValueError(f"{where}: size_multiple must be a whole number of 1 to {_MOST_MULTIPLE}, got {multiple!r}")
    return multiple


def _whole(sizes: Any, n_axes: int, where: str) -> tuple[int, ...]:
    if (
        not isinstance(sizes, list)
        or len(sizes) != n_axes
        or not all(isinstance(n, int) and 1 <= n <= 4096 for n in sizes)
    ):
        raise ValueError(f"{where}: size and window must be {n_axes} whole numbers, got {sizes!r}")
    return tuple(sizes)
