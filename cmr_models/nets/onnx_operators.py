"""Operators of ONNX, as torch computes them: those that networks of images are made of.

After the operator schemas of ONNX (github.com/onnx/onnx, ``docs/Operators.md``), opset 7 to 24. Each takes the inputs
of a node (None where one is left out), its attributes and the opset, and gives the output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Inputs = Sequence[Tensor | None]
Attributes = Mapping[str, Any]
Operator = Callable[[Inputs, Attributes, int], Tensor | tuple[Tensor, ...]]

_MOST_VALUES = 2**29
_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_UP: Mapping[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}
_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN: Mapping[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_TYPES: Mapping[int, torch.dtype] = {
    1: torch.float32, 6: torch.int64, 7: torch.int64, 9: torch.bool, 10: torch.float32, 11: torch.float32,
}  # fmt: skip
"""Number of a type in ONNX -> ours, which has at least its precision."""


def check_values(*sizes: int) -> None:
    """Raise ValueError for a value that is larger than any of a network of images: a graph must not fill the memory."""
    if math.prod(sizes) > _MOST_VALUES:
        raise ValueError(f"a value of the graph would have {' x '.join(map(str, sizes))} numbers")


def _given(inputs: Inputs, i: int) -> Tensor | None:
    return inputs[i] if i < len(inputs) else None


def _needed(inputs: Inputs, i: int) -> Tensor:
    value = _given(inputs, i)
    if value is None:
        raise ValueError(f"the input {i} of a node is missing")
    return value


def _together(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape of values of these shapes, brought together."""
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]


def _ints(value: Tensor | Sequence[int] | None) -> list[int] | None:
    if value is None:
        return None
    return [int(n) for n in (value.flatten().tolist() if isinstance(value, Tensor) else value)]


def _attribute_or_input(inputs: Inputs, i: int, attributes: Attributes, name: str) -> list[int] | None:
    return _ints(attributes[name] if name in attributes else _given(inputs, i))


# convolutions and pools


def _around(attributes: Attributes, sizes: Sequence[int], kernel: Sequence[int]) -> list[tuple[int, int]]:
    """Padding before and after each axis."""
    n = len(sizes)
    strides, dilations = attributes.get("strides", [1] * n), attributes.get("dilations", [1] * n)
    mode = attributes.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        pads = attributes.get("pads", [0] * (2 * n)) if mode == "NOTSET" else [0] * (2 * n)
        return [(pads[i], pads[i + n]) for i in range(n)]
    found = []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0)
        less, more = total // 2, total - total // 2
        found.append((less, more) if mode == "SAME_UPPER" else (more, less))
    return found


def _pad_around(x: Tensor, around: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    if not any(n for pair in around for n in pair):
        return x
    check_values(*x.shape[:2], *(n + a + b for n, (a, b) in zip(x.shape[2:], around, strict=True)))
    return F.pad(x, [n for pair in reversed(around) for n in pair], value=value)


def _conv(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, weight = _needed(inputs, 0), _needed(inputs, 1)
    n = x.ndim - 2
    strides, dilations = attributes.get("strides", [1] * n), attributes.get("dilations", [1] * n)
    around = _around(attributes, x.shape[2:], weight.shape[2:])
    check_values(len(x), len(weight), *(m + a + b for m, (a, b) in zip(x.shape[2:], around, strict=True)))
    seen = x if all(a == b for a, b in around) else _pad_around(x, around)
    padding = [a for a, _ in around] if seen is x else 0
    return _CONV[n](seen, weight, _given(inputs, 2), strides, padding, dilations, attributes.get("group", 1))


def _conv_transpose(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, weight = _needed(inputs, 0), _needed(inputs, 1)
    n = x.ndim - 2
    strides, dilations = attributes.get("strides", [1] * n), attributes.get("dilations", [1] * n)
    more = attributes.get("output_padding", [0] * n)
    group = attributes.get("group", 1)
    wide = [(m - 1) * s + (k - 1) * d + 1 + o for m, s, k, d, o in zip(
        x.shape[2:], strides, weight.shape[2:], dilations, more, strict=True)]  # fmt: skip
    check_values(len(x), weight.shape[1] * group, *wide)
    full = _CONV_UP[n](x, weight, _given(inputs, 2), strides, 0, more, group, dilations)
    around = _around(attributes, x.shape[2:], weight.shape[2:])
    for axis, (before, after) in enumerate(around, start=2):
        full = full.narrow(axis, before, full.shape[axis] - before - after)
    return full


def _max_pool(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, kernel = _needed(inputs, 0), attributes["kernel_shape"]
    n = x.ndim - 2
    padded = _pad_around(x, _around(attributes, x.shape[2:], kernel), -math.inf)
    strides, dilations = attributes.get("strides", [1] * n), attributes.get("dilations", [1] * n)
    return _MAX[n](padded, kernel, strides, 0, dilations, bool(attributes.get("ceil_mode", 0)))


def _average_pool(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, kernel = _needed(inputs, 0), attributes["kernel_shape"]
    n = x.ndim - 2
    strides, around = attributes.get("strides", [1] * n), _around(attributes, x.shape[2:], kernel)
    mean = _MEAN[n](_pad_around(x, around), kernel, strides)
    if attributes.get("count_include_pad", 0) or not any(m for pair in around for m in pair):
        return mean
    return mean / _MEAN[n](_pad_around(torch.ones_like(x), around), kernel, strides)


def _global(reduce: Callable[..., Tensor]) -> Operator:
    def operator(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
        x = _needed(inputs, 0)
        return reduce(x, tuple(range(2, x.ndim)), keepdim=True)

    return operator


# normalisation and nonlinearities


def _batch_norm(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, weight, bias, mean, variance = (_needed(inputs, i) for i in range(5))
    return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, attributes.get("epsilon", 1e-5))


def _instance_norm(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, weight, bias = (_needed(inputs, i) for i in range(3))
    if math.prod(x.shape[2:]) == 1:  # a single value less its mean; torch refuses it
        return bias.reshape(1, -1, *[1] * (x.ndim - 2)).expand_as(x)
    return F.instance_norm(x, weight=weight, bias=bias, eps=attributes.get("epsilon", 1e-5))


def _group_norm(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, weight, bias = (_needed(inputs, i) for i in range(3))
    each = x.shape[1] // len(weight)  # before opset 21 there is one weight a group
    weight, bias = weight.repeat_interleave(each), bias.repeat_interleave(each)
    return F.group_norm(x, attributes["num_groups"], weight, bias, attributes.get("epsilon", 1e-5))


def _layer_norm(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x = _needed(inputs, 0)
    axis = attributes.get("axis", -1) % x.ndim
    return F.layer_norm(x, x.shape[axis:], _given(inputs, 1), _given(inputs, 2), attributes.get("epsilon", 1e-5))


def _softmax(function: Callable[..., Tensor]) -> Operator:
    def operator(inputs: Inputs, attributes: Attributes, opset: int) -> Tensor:
        x = _needed(inputs, 0)
        if opset >= 13:
            return function(x, attributes.get("axis", -1))
        axis = attributes.get("axis", 1) % x.ndim  # all axes from this one on are one
        return function(x.reshape(math.prod(x.shape[:axis]), -1), 1).reshape(x.shape)

    return operator


def _prelu(inputs: Inputs, _: Attributes, __: int) -> Tensor:
    x, slope = _needed(inputs, 0), _needed(inputs, 1)
    return torch.where(x < 0, x * slope, x)


def _clip(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x = _needed(inputs, 0)
    low = attributes.get("min", _given(inputs, 1))
    high = attributes.get("max", _given(inputs, 2))
    return x if low is None and high is None else torch.clamp(x, low, high)


def _hard_sigmoid(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    slope, middle = float(attributes.get("alpha", 0.2)), float(attributes.get("beta", 0.5))
    return (_needed(inputs, 0) * slope + middle).clamp(0, 1)


def _gelu(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    return F.gelu(_needed(inputs, 0), approximate=attributes.get("approximate", "none"))


def _of_one(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda inputs, attributes, opset: function(_needed(inputs, 0))


def _with_alpha(function: Callable[[Tensor, float], Tensor], usual: float) -> Operator:
    return lambda inputs, attributes, opset: function(_needed(inputs, 0), attributes.get("alpha", usual))


# arithmetic


def _broadcast(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """Of two or more inputs, one after the other."""

    def operator(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
        result = _needed(inputs, 0)
        for i in range(1, len(inputs)):
            other = _needed(inputs, i)
            check_values(*_together(result.shape, other.shape))
            result = function(result, other)
        return result

    return operator


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() or b.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _where(inputs: Inputs, _: Attributes, __: int) -> Tensor:
    condition, a, b = (_needed(inputs, i) for i in range(3))
    check_values(*_together(condition.shape, a.shape, b.shape))
    return torch.where(condition, a, b)


def _matmul(inputs: Inputs, _: Attributes, __: int) -> Tensor:
    a, b = _needed(inputs, 0), _needed(inputs, 1)
    if min(a.ndim, b.ndim) > 1:
        check_values(*_together(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    return a @ b


def _gemm(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    a = _needed(inputs, 0).T if attributes.get("transA", 0) else _needed(inputs, 0)
    b = _needed(inputs, 1).T if attributes.get("transB", 0) else _needed(inputs, 1)
    check_values(len(a), b.shape[1])
    product, added = float(attributes.get("alpha", 1.0)) * (a @ b), _given(inputs, 2)
    return product if added is None else product + float(attributes.get("beta", 1.0)) * added


def _reduce(function: Callable[..., Tensor]) -> Operator:
    def operator(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
        x = _needed(inputs, 0)
        axes = _attribute_or_input(inputs, 1, attributes, "axes")
        if not axes:
            if attributes.get("noop_with_empty_axes", 0):
                return x
            axes = list(range(x.ndim))
        return function(x, tuple(axes), keepdim=bool(attributes.get("keepdims", 1)))

    return operator


# shapes


def _shape(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x = _needed(inputs, 0)
    sizes = x.shape[attributes.get("start", 0) : attributes.get("end")]
    return torch.tensor(sizes, dtype=torch.int64, device=x.device)


def _gather(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, places = _needed(inputs, 0), _needed(inputs, 1)
    axis = attributes.get("axis", 0) % max(x.ndim, 1)
    rest = [n for i, n in enumerate(x.shape) if i != axis]
    check_values(places.numel(), *rest)
    flat = torch.where(places < 0, places + x.shape[axis], places).flatten()
    taken = x.index_select(axis, flat.to(x.device))
    return taken.reshape((*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))


def _concat(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    parts = [_needed(inputs, i) for i in range(len(inputs))]
    check_values(sum(part.numel() for part in parts))
    return torch.cat(parts, attributes["axis"])


def _slice(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x = _needed(inputs, 0)
    starts = _attribute_or_input(inputs, 1, attributes, "starts") or []
    ends = _attribute_or_input(inputs, 2, attributes, "ends") or []
    axes = _attribute_or_input(inputs, 3, attributes, "axes") or list(range(len(starts)))
    steps = _ints(_given(inputs, 4)) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places = range(*slice(start, end, step).indices(x.shape[axis]))
        x = x.index_select(axis, torch.tensor(places, dtype=torch.int64, device=x.device))
    return x


def _split(inputs: Inputs, attributes: Attributes, _: int) -> tuple[Tensor, ...]:
    x, axis = _needed(inputs, 0), attributes.get("axis", 0)
    sizes: int | list[int] | None = _attribute_or_input(inputs, 1, attributes, "split")
    if sizes is None:
        n = attributes.get("num_outputs") or attributes["n_outputs"]
        sizes = math.ceil(x.shape[axis] / n)
    return torch.split(x, sizes, axis)  # type: ignore[no-untyped-call, no-any-return]


def _reshape(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, wanted = _needed(inputs, 0), _ints(_given(inputs, 1)) or []
    if not attributes.get("allowzero", 0):
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return x.reshape(wanted)


def _flatten(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, axis = _needed(inputs, 0), attributes.get("axis", 1)
    return x.reshape(math.prod(x.shape[: axis if axis >= 0 else x.ndim + axis]), -1)


def _transpose(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x = _needed(inputs, 0)
    return x.permute(attributes.get("perm", list(reversed(range(x.ndim)))))


def _squeeze(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, axes = _needed(inputs, 0), _attribute_or_input(inputs, 1, attributes, "axes")
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axes is None else [axis % x.ndim for axis in axes]
    return x.reshape([n for i, n in enumerate(x.shape) if i not in axes])


def _unsqueeze(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, axes = _needed(inputs, 0), _attribute_or_input(inputs, 1, attributes, "axes") or []
    n_axes = x.ndim + len(axes)
    for axis in sorted(axis % n_axes for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _expand(inputs: Inputs, _: Attributes, __: int) -> Tensor:
    x, wanted = _needed(inputs, 0), _ints(_given(inputs, 1)) or []
    shape = _together(x.shape, tuple(wanted))
    check_values(*shape)
    return x.expand(shape)


def _tile(inputs: Inputs, _: Attributes, __: int) -> Tensor:
    x, times = _needed(inputs, 0), _ints(_given(inputs, 1)) or []
    check_values(x.numel(), *times)
    return x.repeat(times)


def _constant_of_shape(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    shape = _ints(_given(inputs, 0)) or []
    check_values(*shape)
    value = attributes.get("value", 0.0)
    dtype = torch.float32 if isinstance(value, float) else torch.int64
    return torch.full(shape, value, dtype=dtype, device=_needed(inputs, 0).device)


def _cast(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    if attributes["to"] not in _TYPES:
        raise ValueError(f"numbers of the type {attributes['to']} are not supported")
    return _needed(inputs, 0).to(_TYPES[attributes["to"]])


def _pad(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, pads = _needed(inputs, 0), _attribute_or_input(inputs, 1, attributes, "pads") or []
    axes = _ints(_given(inputs, 3)) or list(range(x.ndim))
    value = _given(inputs, 2)
    fill = float(value) if value is not None and value.numel() else attributes.get("value", 0.0)
    around = {axis % x.ndim: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    check_values(*(max(n + sum(around.get(axis, (0, 0))), 0) for axis, n in enumerate(x.shape)))
    for axis, (before, after) in around.items():
        if attributes.get("mode", "constant") == "constant":
            place = 2 * (x.ndim - 1 - axis)
            x = F.pad(x, [0] * place + [before, after], value=fill)
            continue
        last = x.shape[axis] - 1
        places = torch.arange(-before, last + 1 + after, device=x.device)
        if attributes["mode"] == "reflect":
            places = last - (last - places.abs()).abs()
        x = x.index_select(axis, places.clamp(0, last))
    return x


def _depth_to_space(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x, size = _needed(inputs, 0), attributes["blocksize"]
    n, c, h, w = x.shape
    if attributes.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, size)
    parts = x.reshape(n, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // size**2, h * size, w * size)


# interpolation


def _resize(inputs: Inputs, attributes: Attributes, opset: int) -> Tensor:
    x = _needed(inputs, 0)
    first = 1 if opset < 11 else 2
    scales, sizes = _given(inputs, first), _ints(_given(inputs, first + 1))
    axes = [axis % x.ndim for axis in attributes.get("axes", range(x.ndim))]
    factors = None if scales is None or not scales.numel() else [float(s) for s in scales.tolist()]
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if opset < 11 else {}
    return _interpolated(x, axes, factors, sizes, {**how, **attributes})


def _upsample(inputs: Inputs, attributes: Attributes, _: int) -> Tensor:
    x = _needed(inputs, 0)
    scales = attributes["scales"] if "scales" in attributes else _needed(inputs, 1).tolist()
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", **attributes}
    return _interpolated(x, list(range(x.ndim)), [float(s) for s in scales], None, how)


def _interpolated(
    x: Tensor, axes: Sequence[int], factors: Sequence[float] | None, sizes: Sequence[int] | None, how: Attributes
) -> Tensor:
    if factors is None and sizes is None:
        raise ValueError("a node for another size has neither scales nor sizes")
    n_in = [x.shape[axis] for axis in axes]
    n_out = list(sizes) if sizes is not None else [math.floor(n * f) for n, f in zip(n_in, factors or [], strict=True)]
    scale = [m / n for m, n in zip(n_out, n_in, strict=True)] if sizes is not None else list(factors or [])
    whole = list(x.shape)
    for axis, n in zip(axes, n_out, strict=True):
        whole[axis] = n
    check_values(*whole)
    for axis, n, factor in zip(axes, n_out, scale, strict=True):
        if n != x.shape[axis] or factor != 1:
            x = _along(x, axis, _places(x.shape[axis], n, factor, how), how)
    return x


def _places(n_in: int, n_out: int, scale: float, how: Attributes) -> Tensor:
    """Where each voxel of the output lies among those of the input."""
    i = torch.arange(n_out, dtype=torch.float32)
    mode = how.get("coordinate_transformation_mode", "half_pixel")
    if mode == "align_corners":
        return i * (n_in - 1) / (n_out - 1) if n_out > 1 else torch.zeros(n_out)
    if mode == "asymmetric":
        return i / scale
    if mode == "pytorch_half_pixel" and n_out == 1:
        return torch.zeros(1)
    shift = n_in / 2 * (1 - n_out / (scale * n_in)) if mode == "half_pixel_symmetric" else 0.0
    return shift + (i + 0.5) / scale - 0.5


def _along(x: Tensor, axis: int, places: Tensor, how: Attributes) -> Tensor:
    last = x.shape[axis] - 1
    if how.get("mode", "nearest") == "nearest":
        rounding = _ROUNDINGS[how.get("nearest_mode", "round_prefer_floor")]
        return x.index_select(axis, rounding(places).clamp(0, last).long().to(x.device))
    places = places.clamp(0, last)
    lower = places.floor()
    weights = (places - lower).reshape([-1 if i == axis else 1 for i in range(x.ndim)]).to(x)
    below, above = (index.long().to(x.device) for index in (lower, (lower + 1).clamp(max=last)))
    return x.index_select(axis, below) * (1 - weights) + x.index_select(axis, above) * weights


_ROUNDINGS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda places: torch.ceil(places - 0.5),
    "round_prefer_ceil": lambda places: torch.floor(places + 0.5),
    "floor": lambda places: torch.floor(places),
    "ceil": lambda places: torch.ceil(places),
}
_WINDOW = ("auto_pad", "dilations", "kernel_shape", "pads", "strides")
OPERATORS: Mapping[str, tuple[Operator, tuple[str, ...]]] = {
    "Conv": (_conv, (*_WINDOW, "group")),
    "ConvTranspose": (_conv_transpose, (*_WINDOW, "group", "output_padding")),
    "MaxPool": (_max_pool, (*_WINDOW, "ceil_mode", "storage_order")),
    "AveragePool": (_average_pool, (*_WINDOW, "ceil_mode", "count_include_pad")),
    "GlobalAveragePool": (_global(torch.mean), ()),
    "GlobalMaxPool": (_global(torch.amax), ()),
    "BatchNormalization": (_batch_norm, ("epsilon", "momentum", "spatial", "training_mode")),
    "InstanceNormalization": (_instance_norm, ("epsilon",)),
    "GroupNormalization": (_group_norm, ("epsilon", "num_groups", "stash_type")),
    "LayerNormalization": (_layer_norm, ("axis", "epsilon", "stash_type")),
    "Relu": (_of_one(F.relu), ()),
    "LeakyRelu": (_with_alpha(F.leaky_relu, 0.01), ("alpha",)),
    "PRelu": (_prelu, ()),
    "Elu": (_with_alpha(F.elu, 1.0), ("alpha",)),
    "Gelu": (_gelu, ("approximate",)),
    "Mish": (_of_one(lambda x: F.mish(x)), ()),
    "HardSigmoid": (_hard_sigmoid, ("alpha", "beta")),
    "Selu": (_of_one(lambda x: F.selu(x)), ()),
    "HardSwish": (_of_one(lambda x: F.hardswish(x)), ()),
    "Softplus": (_of_one(F.softplus), ()),
    "Sigmoid": (_of_one(torch.sigmoid), ()),
    "Tanh": (_of_one(torch.tanh), ()),
    "Softmax": (_softmax(torch.softmax), ("axis",)),
    "LogSoftmax": (_softmax(torch.log_softmax), ("axis",)),
    "Clip": (_clip, ("min", "max")),
    "Erf": (_of_one(torch.erf), ()),
    "Exp": (_of_one(torch.exp), ()),
    "Log": (_of_one(torch.log), ()),
    "Sqrt": (_of_one(torch.sqrt), ()),
    "Abs": (_of_one(torch.abs), ()),
    "Neg": (_of_one(torch.neg), ()),
    "Reciprocal": (_of_one(torch.reciprocal), ()),
    "Floor": (_of_one(torch.floor), ()),
    "Ceil": (_of_one(torch.ceil), ()),
    "Not": (_of_one(torch.logical_not), ()),
    "Identity": (_of_one(lambda x: x), ()),
    "Dropout": (_of_one(lambda x: x), ("ratio", "seed")),
    "Add": (_broadcast(torch.add), ()),
    "Sub": (_broadcast(torch.sub), ()),
    "Mul": (_broadcast(torch.mul), ()),
    "Div": (_broadcast(_divide), ()),
    "Pow": (_broadcast(torch.pow), ()),
    "Sum": (_broadcast(torch.add), ()),
    "Min": (_broadcast(torch.minimum), ()),
    "Max": (_broadcast(torch.maximum), ()),
    "Equal": (_broadcast(torch.eq), ()),
    "Greater": (_broadcast(torch.gt), ()),
    "Less": (_broadcast(torch.lt), ()),
    "Where": (_where, ()),
    "MatMul": (_matmul, ()),
    "Gemm": (_gemm, ("alpha", "beta", "transA", "transB")),
    "ReduceMean": (_reduce(torch.mean), ("axes", "keepdims", "noop_with_empty_axes")),
    "ReduceSum": (_reduce(torch.sum), ("axes", "keepdims", "noop_with_empty_axes")),
    "ReduceMax": (_reduce(torch.amax), ("axes", "keepdims", "noop_with_empty_axes")),
    "Shape": (_shape, ("start", "end")),
    "Gather": (_gather, ("axis",)),
    "Concat": (_concat, ("axis",)),
    "Slice": (_slice, ("starts", "ends", "axes")),
    "Split": (_split, ("axis", "split", "num_outputs", "n_outputs")),
    "Reshape": (_reshape, ("allowzero",)),
    "Flatten": (_flatten, ("axis",)),
    "Transpose": (_transpose, ("perm",)),
    "Squeeze": (_squeeze, ("axes",)),
    "Unsqueeze": (_unsqueeze, ("axes",)),
    "Expand": (_expand, ()),
    "Tile": (_tile, ()),
    "ConstantOfShape": (_constant_of_shape, ("value",)),
    "Cast": (_cast, ("to", "saturate")),
    "Pad": (_pad, ("mode", "pads", "value")),
    "DepthToSpace": (_depth_to_space, ("blocksize", "mode")),
    "Resize": (_resize, (
        "axes", "coordinate_transformation_mode", "mode", "nearest_mode", "cubic_coeff_a", "exclude_outside",
        "extrapolation_value", "antialias", "keep_aspect_ratio_policy",
    )),
    "Upsample": (_upsample, ("mode", "scales")),
}  # fmt: skip
"""Name of an operator -> what computes it, and the attributes that are known."""

CHOICES: Mapping[tuple[str, str], tuple[Any, ...]] = {
    ("BatchNormalization", "training_mode"): (0,),
    ("BatchNormalization", "spatial"): (1,),
    ("MaxPool", "storage_order"): (0,),
    ("AveragePool", "ceil_mode"): (0,),
    ("ConvTranspose", "auto_pad"): ("NOTSET", "VALID"),
    ("Pad", "mode"): ("constant", "reflect", "edge"),
    ("Resize", "mode"): ("nearest", "linear"),
    ("Resize", "coordinate_transformation_mode"): (
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "asymmetric", "align_corners",
    ),
    ("Resize", "antialias"): (0,),
    ("Resize", "exclude_outside"): (0,),
    ("Resize", "keep_aspect_ratio_policy"): ("stretch",),
    ("Upsample", "mode"): ("nearest", "linear"),
}  # fmt: skip
"""Values of an attribute that are supported, where not all are."""
