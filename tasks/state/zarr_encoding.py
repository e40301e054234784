"""A tree of numeric arrays as Zarr v3 keys and bytes: metadata as JSON, chunks through Blosc.

The zarr library spends as long again on bookkeeping as Blosc on the pixels. What it would write is fixed by
the format (https://zarr-specs.readthedocs.io/en/latest/v3/core/), so it is written here, and read by zarr and
xarray as usual.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any, Final

import numcodecs
import numpy as np
import numpy.typing as npt
import xarray as xr
from numcodecs import Blosc

from cmr_models.contracts import check_published
from tasks.state.held_setting import HeldSetting

FRAMES_PER_CHUNK: Final = 10
_LEVEL: Final = 5
_SHUFFLES: Final = {"shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}
_DATA_TYPES: Final = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
)

_blosc_threads = HeldSetting(
    lambda: numcodecs.blosc.use_threads, lambda use: setattr(numcodecs.blosc, "use_threads", use), False
)
"""Blosc uses one thread here: the threads of Blosc order blocks as they finish, and the same tree must give the same
bytes."""


class EncodingError(RuntimeError):
    """A chunk that was decoded again is not the one that was encoded."""


def encode_tree(tree: xr.DataTree) -> dict[str, bytes]:
    """Zarr keys and values of ``tree``, which must be what its contract says.

    Images ``(frame, slice, row, col)`` lie in chunks of 1 slice x 10 frames, maps ``(slice, row, col)`` in chunks of
    1 slice, Blosc zstd-5, bits shuffled (bytes for 8-bit labels); everything smaller in one raw chunk. Every compressed
    chunk is decoded and compared at once.

    Raises:
        ContractError: if the tree is of a known kind and does not hold what its contract says.
        TypeError: if an array is not numeric.
        EncodingError: if a chunk does not decode to what it was.
    """
    check_published(tree, values=True)
    encoded: dict[str, bytes] = {}
    with _blosc_threads.held():
        for node in tree.subtree:
            prefix = node.path.strip("/")
            prefix = f"{prefix}/" if prefix else ""
            encoded[f"{prefix}zarr.json"] = _json(_group(node.attrs))
            for name, array in node.to_dataset(inherit=False).variables.items():
                encoded.update(_encode_array(f"{prefix}{name}/", array))
    return encoded


def _encode_array(prefix: str, array: xr.Variable) -> Iterator[tuple[str, bytes]]:
    values = np.asarray(array.values)
    if values.dtype.name not in _DATA_TYPES:
        raise TypeError(f"only numbers can be stored, {prefix.strip('/')} holds {values.dtype}")
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    chunk = _chunk_shape(values)
    shuffle = ("shuffle" if values.dtype.itemsize == 1 else "bitshuffle") if values.ndim in (3, 4) else ""
    yield f"{prefix}zarr.json", _json(_array(values, array, chunk, shuffle))
    yield from _chunks(prefix, values, chunk, shuffle)


def _chunk_shape(values: npt.NDArray[Any]) -> tuple[int, ...]:
    if values.ndim == 3:
        return (1, *(max(1, n) for n in values.shape[1:]))
    if values.ndim != 4:
        return tuple(max(1, n) for n in values.shape)
    frames, _, rows, cols = values.shape
    return (min(FRAMES_PER_CHUNK, frames), 1, rows, cols)


def _chunks(prefix: str, values: npt.NDArray[Any], chunk: tuple[int, ...], shuffle: str) -> Iterator[tuple[str, bytes]]:
    counts = [math.ceil(n / c) for n, c in zip(values.shape, chunk, strict=True)]
    for place in itertools.product(*(range(n) for n in counts)):
        block = values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(place, chunk, strict=True))]
        key = "/".join(("c", *map(str, place)))
        yield f"{prefix}{key}", _compress(_pad(block, chunk), shuffle) if shuffle else block.tobytes()


def _pad(block: npt.NDArray[Any], chunk: tuple[int, ...]) -> npt.NDArray[Any]:
    """Chunks at the edge are stored whole; beyond the edge, zeros."""
    if block.shape == chunk:
        return np.ascontiguousarray(block)
    padded = np.zeros(chunk, block.dtype)
    padded[tuple(slice(n) for n in block.shape)] = block
    return padded


def _compress(block: npt.NDArray[Any], shuffle: str) -> bytes:
    codec = Blosc("zstd", _LEVEL, _SHUFFLES[shuffle])
    compressed = bytes(codec.encode(block))
    decoded = np.frombuffer(codec.decode(compressed), np.uint8)
    if not np.array_equal(decoded, block.ravel().view(np.uint8)):  # bytes: NaN is like itself
        raise EncodingError("a chunk differs after decoding; check the installed numcodecs")
    return compressed


def _group(attributes: dict[Any, Any]) -> dict[str, Any]:
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _array(values: npt.NDArray[Any], array: xr.Variable, chunk: tuple[int, ...], shuffle: str) -> dict[str, Any]:
    item = values.dtype.itemsize
    codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"} if item > 1 else {}}]
    if shuffle:
        settings = {"typesize": item, "cname": "zstd", "clevel": _LEVEL, "shuffle": shuffle, "blocksize": 0}
        codecs.append({"name": "blosc", "configuration": settings})
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": values.shape,
        "data_type": values.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": values.dtype.type(0).item(),
        "codecs": codecs,
        "attributes": array.attrs,
        "dimension_names": array.dims,
        "storage_transformers": [],
    }


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"attributes must be plain values, got {type(value).__name__}")
