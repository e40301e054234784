"""Faster ways to the same numbers on a CPU: for operations that torch's own kernels do slowly there, or needlessly.

A part of a network that has such a way has a switch ``cpu_kernels``, off as built: then it computes as published.
:func:`use_cpu_kernels` turns the switches on, for inference only: these ways have no gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_ROWS = 1200  # of scores, at most: against a few thousand tokens some megabytes, which stay in a cache
_CACHED = 2**18  # numbers
_REACH = 2  # voxels that two 3 x 3 x 3 convolutions see beyond their own


def use_cpu_kernels(network: nn.Module) -> None:
    """Turn on the switches ``cpu_kernels`` of all parts of ``network``."""
    for module in network.modules():
        if hasattr(module, "cpu_kernels"):
            setattr(module, "cpu_kernels", True)  # noqa: B010 - typed as a module or tensor otherwise


def attention(query: Tensor, key: Tensor, value: Tensor, attend: Tensor | None) -> Tensor:
    """Scaled dot-product attention, for bfloat16 on a CPU without AMX as two matrix products a head.

    There torch's fused kernel multiplies at a fifth of the speed of a matrix product: 180 against 70 ms, measured, for
    12 heads of 2305 tokens. Elsewhere, and in a compiled graph, the fused kernel is used.

    Args:
        query: (B, h, N, d).
        key: (B, h, M, d).
        value: (B, h, M, d).
        attend: (B, 1, 1, M), False at tokens to leave out; at least one of each sample must stay.

    Returns:
        (B, h, N, d).
    """
    if torch.compiler.is_compiling() or not _multiplies_slowly(query):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=attend)
    return attention_by_products(query, key, value, attend)


def _multiplies_slowly(x: Tensor) -> bool:
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and not torch.cpu._is_amx_tile_supported()


def attention_by_products(query: Tensor, key: Tensor, value: Tensor, attend: Tensor | None) -> Tensor:
    """As :func:`attention`, always as matrix products; without gradients."""
    batch, heads, n_queries, width = query.shape
    scaled = (key * width**-0.5).transpose(-2, -1)  # (B, h, d, M)
    mixed = torch.empty_like(query, memory_format=torch.contiguous_format)
    n_parts = math.ceil(n_queries / _ROWS)
    for sample in range(batch):
        left_out = None if attend is None else ~attend[sample, 0]  # (1, M)
        for head in range(heads):
            asking, outputs = (x[sample, head].tensor_split(n_parts) for x in (query, mixed))
            for part, output in zip(asking, outputs, strict=True):
                scores = part @ scaled[sample, head]  # (rows, M)
                if left_out is not None:
                    scores.masked_fill_(left_out, -torch.inf)
                torch.mm(torch.softmax(scores, -1, out=scores), value[sample, head], out=output)
    return mixed


def pointwise(layer: nn.Module, x: Tensor) -> Tensor:
    """A 1 x 1 (x 1) convolution of (B, C, X, Y[, Z]) as a linear layer: in float32 torch has no fast one."""
    weight, bias = _weights(layer)
    return F.linear(x.movedim(1, -1).to(weight.dtype), weight.flatten(1), bias).movedim(-1, 1)


def norm_gelu(norm: nn.LayerNorm, x: Tensor, precision: torch.dtype) -> Tensor:
    """GELU of a norm over the channels of (B, C, X, Y[, Z]), channels-last and in ``precision``.

    It works on parts that fit into the cache, each in the precision of the norm's weights. Whole maps in float32 would
    go to memory and back three times.
    """
    voxels = x.movedim(1, -1)  # (B, X, Y[, Z], C)
    output = torch.empty(voxels.shape, dtype=precision, device=x.device)
    n_planes = max(1, _CACHED // voxels[:, 0].numel())
    for part, into in zip(torch.split(voxels, n_planes, 1), torch.split(output, n_planes, 1), strict=True):
        exact = part.to(norm.weight.dtype)
        into.copy_(F.gelu(F.layer_norm(exact, norm.normalized_shape, norm.weight, norm.bias, norm.eps)))
    return output.movedim(-1, 1)


def take_slices(x: Tensor, depth: int | None) -> Tensor:
    """The first ``depth`` slices of (B, C, X, Y, Z), all if there are fewer or it is None."""
    return x if depth is None else x[..., :depth]


def add_slices(depth: int | None, n_slices: int) -> int | None:
    """``depth`` plus ``n_slices``; None, which stands for all slices, stays None."""
    return None if depth is None else depth + n_slices


def equivalent_size(size: Sequence[int]) -> list[int]:
    """The smallest size on which two 3 x 3 x 3 convolutions of a constant give all values that ``size`` has."""
    return [min(length, 2 * _REACH + 1) for length in size]


def add_shortcut(shortcut: nn.Module, image: Tensor, inner: Tensor) -> Tensor:
    """``shortcut(image)`` plus the result of two convolutions of a constant image, which varies only near the edges.

    Args:
        shortcut: 1 x 1 (x 1) convolution from one channel to C.
        image: (B, 1, X, Y[, Z]).
        inner: (1, C, x, y[, z]) of a constant image of :func:`equivalent_size` size.

    Returns:
        (B, C, X, Y[, Z]) in the precision of the shortcut, channels-last.
    """
    weight, bias = _weights(shortcut)
    rows, *others = (_equivalent_voxels(length) for length in image.shape[2:])
    planes = inner[0].movedim(0, -1)  # (x, y[, z], C)
    for axis, places in enumerate(others, start=1):
        planes = planes.index_select(axis, torch.tensor(places, device=image.device))
    planes = (planes.to(weight.dtype) + bias).flatten(1, -2)  # (x, Y Z, C)
    pixels = image[:, 0].to(weight.dtype).flatten(2)[..., None]  # (B, X, Y Z, 1)
    sums = pixels.new_empty(*pixels.shape[:3], planes.shape[-1])
    for sample in range(len(image)):
        for row, place in enumerate(rows):
            torch.addmm(planes[place], pixels[sample, row], weight.flatten(1).T, out=sums[sample, row])
    return sums.reshape(len(image), *image.shape[2:], -1).movedim(-1, 1)


def _equivalent_voxels(length: int) -> list[int]:
    """For each of ``length`` voxels, the voxel of the smallest image with its value: for inner ones the middle one."""
    small = min(length, 2 * _REACH + 1)
    return [min(i, max(_REACH, i - length + small)) for i in range(length)]


def _weights(layer: nn.Module) -> tuple[Tensor, Tensor]:
    weight, bias = layer.weight, layer.bias
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
        raise ValueError(f"a convolution with bias is needed, got {layer}")
    return weight, bias
