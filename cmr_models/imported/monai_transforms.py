"""From the transforms and the inferer of a MONAI bundle to a plan of ours; none of them is imported.

Arguments have MONAI 1.6's defaults. What is not in the tables here is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cmr_models.imported import steps
from cmr_models.imported.literals import Literals
from cmr_models.imported.steps import LINEAR, NEAREST, Step
from cmr_models.imported.windows import Windows

_OWNER = re.compile(r"(?:monai\.(?:transforms|inferers)\.(?:\w+\.)*)?(\w+)")
_ON_DICTIONARIES = ("Dict", "D", "d")
_ABOVE = re.compile(r"\$\s*lambda (\w+)\s*:\s*\1\s*>\s*(-?\d+(?:\.\d+)?)")
_FLOATS = ("float32", "float", "$np.float32", "$numpy.float32", "$torch.float32", "float64")
_NEVER_MATTERS = {
    "keys", "allow_missing_keys", "meta_keys", "meta_key_postfix", "lazy", "device", "track_meta", "data_type",
    "_desc_", "_disabled_", "_requires_", "_target_", "overwriting", "allow_missing",
}  # fmt: skip
_LAST_WITHOUT_BORDER = (1, 4)
"""The last version of MONAI in which the box of the foreground stays inside the image by default."""

Arguments = Mapping[str, Any]


class Ending(NamedTuple):
    """What happens to the network's output; names as in :class:`cmr_models.imported.step_plan.StepPlan`."""

    activation: str
    activated_first: bool
    interpolation: str
    threshold: float


def preparation(raw: Any, literals: Literals, n_axes: int, monai_version: str, where: str) -> tuple[Step, ...]:
    """The steps that the bundle's ``preprocessing`` stands for.

    Args:
        raw: the transform, or a composition of several.
        literals: of the configuration.
        n_axes: axes of the image.
        monai_version: that the bundle was made with, for defaults that changed.
        where: the file, for messages.

    Raises:
        ValueError: if one is not known, or has arguments that are not supported or that only code could tell.
    """
    found: list[Step] = []
    for name, arguments in _transforms(raw, literals, where):
        if name not in _PREPARING:
            raise ValueError(
                f"{where} prepares images with {arguments['_target_']}, which is not supported; known are "
                + ", ".join(sorted(_PREPARING))
            )
        read, known = _PREPARING[name]
        values = _values(arguments, {**known, "version": monai_version}, literals, name, where)
        found += read(values, n_axes)
    return tuple(found)


def ending(raw: Any, literals: Literals, n_channels: int, where: str) -> Ending:
    """What the bundle's ``postprocessing`` stands for; None for none.

    Raises:
        ValueError: as :func:`preparation`; or if labels would overlap, or are not made of the output.
    """
    done: list[str] = []
    settings: dict[str, Any] = {}
    for name, arguments in _transforms(raw, literals, where) if raw is not None else ():
        if name in _FINISHING:
            continue
        if name not in _ENDING:
            raise ValueError(
                f"{where} treats the output with {arguments['_target_']}, which is not supported; known are "
                + ", ".join(sorted([*_ENDING, *_FINISHING]))
            )
        settings |= {f"{name}.{k}": v for k, v in _values(arguments, _ENDING[name], literals, name, where).items()}
        done.append(name)
    return _ending(done, settings, n_channels, where)


def inferer(raw: Any, literals: Literals, n_network_axes: int, where: str) -> tuple[Windows, int]:
    """The windows of the bundle's ``inferer``, and the axis across which it goes slice by slice (-1 if it does not).

    Raises:
        ValueError: as :func:`preparation`.
    """
    if raw is None:
        return Windows(), -1
    ((name, arguments),) = _transforms([raw], literals, where)
    if name == "SimpleInferer":
        return Windows(), -1
    if name not in ("SlidingWindowInferer", "SliceInferer"):
        raise ValueError(f"{where} has the inferer {arguments['_target_']}, which is not supported")
    is_sliced = name == "SliceInferer"
    known = {**_SLIDING, **({"spatial_dim": 0} if is_sliced else {})}
    values = _values(arguments, known, literals, name, where)
    _only(values, name, where, padding_mode=("constant", "replicate"), cval=(0, 0.0), mode=("constant", "gaussian"))
    size = values["roi_size"]
    size = [int(n or -1) for n in (size if isinstance(size, list) else [size] * n_network_axes)]
    windows = Windows(
        size=tuple(size),
        overlap=float(_same(values["overlap"])),
        gaussian=values["mode"] == "gaussian",
        sigma=float(_same(values["sigma_scale"])),
        replicate=values["padding_mode"] == "replicate",
    )
    return windows, int(values["spatial_dim"]) if is_sliced else -1


def _transforms(raw: Any, literals: Literals, where: str) -> list[tuple[str, Arguments]]:
    """Names, without the letter of those that work on dictionaries, and arguments of all transforms that are used."""
    raws = raw if isinstance(raw, list) else [raw]
    found: list[tuple[str, Arguments]] = []
    for item in (literals.follow(raw, "transforms") for raw in raws):
        if not isinstance(item, Mapping) or "_target_" not in item:
            raise ValueError(f"{where} has the transform {str(item)[:60]!r}, whose code would have to run")
        name = _name(str(item["_target_"]))
        if not name:
            raise ValueError(f"{where} has the transform {item['_target_']}, whose code would have to run")
        if literals.value(item.get("_disabled_", False), "_disabled_") is True:
            continue
        if name == "Compose":
            found += _transforms(literals.follow(item.get("transforms", []), name), literals, where)
        else:
            found.append((name, item))
    return found


def _name(target: str) -> str:
    """The name of a transform or inferer of MONAI's, without its module and "d"; "" for one of other people."""
    found = _OWNER.fullmatch(target)
    if not found:
        return ""
    shorter = [found[1].removesuffix(end) for end in _ON_DICTIONARIES if found[1].endswith(end)]
    known = [name for name in (found[1], *shorter) if name in _PREPARING or name in _ENDING or name in _OTHERS]
    return known[0] if known else found[1]


def _values(arguments: Arguments, known: Arguments, literals: Literals, name: str, where: str) -> dict[str, Any]:
    """The arguments that matter, those that are not given by their defaults."""
    given = {key: raw for key, raw in arguments.items() if key not in _NEVER_MATTERS and f"-{key}" not in known}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{where} has {name} with {', '.join(unknown)}, which is not supported")
    defaults = {key: value for key, value in known.items() if not key.startswith("-")}
    read = {key: raw if key in ("select_fn", "dtype") else literals.value(raw, name) for key, raw in given.items()}
    return {**defaults, **read, "where": f"{where} has {name}"}


def _only(values: Arguments, name: str, where: str, **allowed: Sequence[Any]) -> None:
    """Refuse a value that is not supported."""
    for key, choices in allowed.items():
        if _same(values[key]) not in choices:
            raise ValueError(f"{where} has {name} with {key} {values[key]!r}, which is not supported")


def _same(value: Any) -> Any:
    """A value that may be given once for every key, or axis, where all are the same."""
    if isinstance(value, list) and value and all(item == value[0] for item in value):
        return value[0]
    return value


def _nothing(values: Arguments, _: int) -> list[Step]:
    if values.get("dtype") is not None and str(values["dtype"]) not in _FLOATS:
        raise ValueError(f"{values['where']} with dtype {values['dtype']!r}, which is not supported")
    if values.get("channel_dim") not in (None, "no_channel"):
        raise ValueError(f"{values['where']} with channel_dim {values['channel_dim']!r}, which is not supported")
    return []


def _orientation(values: Arguments, n_axes: int) -> list[Step]:
    if n_axes != 3 or values["as_closest_canonical"] or not values["axcodes"]:
        raise ValueError(f"{values['where']} of {n_axes} axes, to {values['axcodes']!r}, which is not supported")
    return [steps.Orient("".join(values["axcodes"]).upper())]


def _spacing(values: Arguments, n_axes: int) -> list[Step]:
    _plain(values, diagonal=False, scale_extent=False, recompute_affine=False, min_pixdim=None, max_pixdim=None)
    _plain(values, padding_mode="border")
    mode = _same(values["mode"])
    if mode not in ("bilinear", "nearest"):
        raise ValueError(f"{values['where']} with mode {mode!r}, which is not supported")
    sizes = values["pixdim"] if isinstance(values["pixdim"], list) else [values["pixdim"]]
    sizes = [float(mm) for mm in sizes][:n_axes]
    sizes += sizes[-1:] * (n_axes - len(sizes))
    return [steps.Space(tuple(sizes), LINEAR if mode == "bilinear" else NEAREST)]


def _resize(values: Arguments, n_axes: int) -> list[Step]:
    _plain(values, size_mode="all", anti_aliasing=False)
    aligned = _same(values["align_corners"])
    mode = {"linear": "bilinear" if n_axes == 2 else "trilinear"}.get(_same(values["mode"]), _same(values["mode"]))
    if mode == "bilinear" and n_axes == 3:
        mode = "trilinear"
    return [steps.Resize(_sizes(values["spatial_size"], n_axes), mode, None if aligned is None else bool(aligned))]


def _crop_foreground(values: Arguments, n_axes: int) -> list[Step]:
    _plain(values, channel_indices=None, mode="constant")
    above = _ABOVE.fullmatch(str(values["select_fn"]).strip())
    if not above:
        raise ValueError(f"{values['where']} with the code {str(values['select_fn'])[:60]!r}, which would have to run")
    smaller = values["allow_smaller"]
    if smaller is None:
        smaller = _version(values["version"]) <= _LAST_WITHOUT_BORDER
    margin, multiple = (_sizes(values[key], n_axes) for key in ("margin", "k_divisible"))
    return [steps.CropForeground(float(above[2]), margin, multiple, bool(smaller))]


def _pad(values: Arguments, n_axes: int) -> list[Step]:
    _plain(values, mode="constant", value=0)
    symmetric = {"symmetric": True, "end": False}[str(values["method"])]
    return [steps.Pad(_sizes(values["spatial_size"], n_axes), before=symmetric)]


def _divisible_pad(values: Arguments, n_axes: int) -> list[Step]:
    _plain(values, mode="constant", value=0)
    symmetric = {"symmetric": True, "end": False}[str(values["method"])]
    return [steps.Pad(multiple=tuple(max(n, 1) for n in _sizes(values["k"], n_axes)), before=symmetric)]


def _centre_crop(values: Arguments, n_axes: int) -> list[Step]:
    return [steps.CentreCrop(_sizes(values["roi_size"], n_axes))]


def _pad_or_crop(values: Arguments, n_axes: int) -> list[Step]:
    return [*_pad(values, n_axes), steps.CentreCrop(_sizes(values["spatial_size"], n_axes))]


def _scale_intensity(values: Arguments, _: int) -> list[Step]:
    if values["minv"] is None or values["maxv"] is None:
        raise ValueError(f"{values['where']} without minv and maxv, which is not supported")
    return [steps.ScaleIntensity(float(values["minv"]), float(values["maxv"]))]


def _scale_range(values: Arguments, _: int) -> list[Step]:
    low, high = (None if values[key] is None else float(values[key]) for key in ("b_min", "b_max"))
    return [steps.ScaleRange(float(values["a_min"]), float(values["a_max"]), low, high, bool(values["clip"]))]


def _scale_percentiles(values: Arguments, _: int) -> list[Step]:
    low, high = (None if values[key] is None else float(values[key]) for key in ("b_min", "b_max"))
    lower, upper = float(values["lower"]), float(values["upper"])
    if values["relative"] and low is not None and high is not None:
        low, high = (low + (high - low) * percent / 100 for percent in (lower, upper))
    return [steps.ScaleRange(lower, upper, low, high, bool(values["clip"]), percentiles=True)]


def _normalise(values: Arguments, _: int) -> list[Step]:
    mean, sd = (None if values[key] is None else float(_same(values[key])) for key in ("subtrahend", "divisor"))
    return [steps.Normalise(mean, sd, bool(values["nonzero"]))]


def _plain(values: Arguments, **usual: Any) -> None:
    for key, value in usual.items():
        if key in values and _same(values[key]) != value:
            raise ValueError(f"{values['where']} with {key} {values[key]!r}, which is not supported")


def _sizes(value: Any, n_axes: int) -> tuple[int, ...]:
    found = [int(n) for n in value] if isinstance(value, list) else [int(value)] * n_axes
    if len(found) != n_axes:
        raise ValueError(f"{found} has not one number for each of {n_axes} axes")
    return tuple(found)


def _version(text: str) -> tuple[int, ...]:
    """The first two numbers of a version; of one that is not told, the oldest."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2]) or (0, 0)


def _ending(done: Sequence[str], settings: Arguments, n_channels: int, where: str) -> Ending:
    softmax, sigmoid = (bool(settings.get(f"Activations.{name}")) for name in ("softmax", "sigmoid"))
    threshold, is_argmax = settings.get("AsDiscrete.threshold"), bool(settings.get("AsDiscrete.argmax"))
    if n_channels > 1 and (threshold is not None or (sigmoid and not is_argmax)):
        raise ValueError(f"{where} makes labels that overlap of {n_channels} outputs; only one label a voxel is read")
    if n_channels == 1 and (softmax or is_argmax or not (sigmoid or threshold is not None)):
        raise ValueError(f"{where} has one output without a threshold; it tells no labels")
    before = list(done[: done.index("Invert")] if "Invert" in done else done)
    is_nearest = "Invert" not in done or bool(settings["Invert.nearest_interp"])
    if "AsDiscrete" in before and not is_nearest:
        raise ValueError(f"{where} interpolates labels linearly, which makes other labels of them")
    other = "sigmoid" if sigmoid else "none" if n_channels == 1 else "softmax"
    return Ending(
        activation="softmax" if softmax else other,
        activated_first="Activations" in before,
        interpolation=NEAREST if is_nearest else LINEAR,
        threshold=0.5 if threshold is None else float(threshold),
    )


_LOADING = {
    "image_only": True, "ensure_channel_first": True, "reader": None, "simple_keys": False, "dtype": None,
    "prune_meta_pattern": None, "prune_meta_sep": ".", "expanduser": True,
}  # fmt: skip
_ABOVE_ZERO = "$lambda x: x > 0"
_PREPARING: Mapping[str, tuple[Callable[[Arguments, int], list[Step]], Arguments]] = {
    "LoadImage": (_nothing, _LOADING),
    "EnsureChannelFirst": (_nothing, {"channel_dim": None, "strict_check": True}),
    "AddChannel": (_nothing, {}),
    "EnsureType": (_nothing, {"dtype": None, "-wrap_sequence": 0}),
    "CastToType": (_nothing, {"dtype": "float32"}),
    "ToTensor": (_nothing, {"dtype": None, "-wrap_sequence": 0}),
    "ToDevice": (_nothing, {"-non_blocking": 0}),
    "Orientation": (_orientation, {"axcodes": None, "as_closest_canonical": False, "-labels": 0}),
    "Spacing": (_spacing, {
        "pixdim": None, "diagonal": False, "mode": "bilinear", "padding_mode": "border", "scale_extent": False,
        "recompute_affine": False, "min_pixdim": None, "max_pixdim": None, "-align_corners": 0, "-dtype": 0,
        "-ensure_same_shape": 0,
    }),
    "Resize": (_resize, {
        "spatial_size": None, "size_mode": "all", "mode": "area", "align_corners": None, "anti_aliasing": False,
        "-dtype": 0,
    }),
    "CropForeground": (_crop_foreground, {
        "select_fn": _ABOVE_ZERO, "channel_indices": None, "margin": 0, "k_divisible": 1, "allow_smaller": None,
        "mode": "constant", "-source_key": 0, "-start_coord_key": 0, "-end_coord_key": 0,
    }),
    "ResizeWithPadOrCrop": (_pad_or_crop, {
        "spatial_size": None, "mode": "constant", "method": "symmetric", "value": 0,
    }),
    "SpatialPad": (_pad, {"spatial_size": None, "mode": "constant", "method": "symmetric", "value": 0}),
    "DivisiblePad": (_divisible_pad, {"k": None, "mode": "constant", "method": "symmetric", "value": 0}),
    "CenterSpatialCrop": (_centre_crop, {"roi_size": None}),
    "ScaleIntensity": (_scale_intensity, {"minv": 0.0, "maxv": 1.0, "-factor": 0, "-channel_wise": 0, "-dtype": 0}),
    "ScaleIntensityRange": (_scale_range, {
        "a_min": None, "a_max": None, "b_min": None, "b_max": None, "clip": False, "-dtype": 0,
    }),
    "ScaleIntensityRangePercentiles": (_scale_percentiles, {
        "lower": None, "upper": None, "b_min": None, "b_max": None, "clip": False, "relative": False,
        "-channel_wise": 0, "-dtype": 0,
    }),
    "NormalizeIntensity": (_normalise, {
        "subtrahend": None, "divisor": None, "nonzero": False, "-channel_wise": 0, "-dtype": 0,
    }),
}  # fmt: skip
"""Transform -> what it becomes, and its arguments with their defaults; "-" marks those that change nothing here."""
_ENDING: Mapping[str, Arguments] = {
    "Activations": {"softmax": False, "sigmoid": False},
    "AsDiscrete": {"argmax": False, "threshold": None, "-to_onehot": 0, "-dim": 0, "-keepdim": 0, "-dtype": 0},
    "Invert": {
        "nearest_interp": True, "-transform": 0, "-orig_keys": 0, "-orig_meta_keys": 0, "-to_tensor": 0,
        "-post_func": 0,
    },
}  # fmt: skip
_FINISHING = ("SaveImage", "EnsureType", "ToTensor")
_OTHERS = ("Compose", "SimpleInferer", "SlidingWindowInferer", "SliceInferer", *_FINISHING)
_SLIDING: Arguments = {
    "roi_size": None, "overlap": 0.25, "mode": "constant", "sigma_scale": 0.125, "padding_mode": "constant",
    "cval": 0.0, "-sw_batch_size": 0, "-sw_device": 0, "-progress": 0, "-cache_roi_weight_map": 0, "-cpu_thresh": 0,
    "-buffer_steps": 0, "-buffer_dim": 0,
}  # fmt: skip
