"""Weights from a safetensors file into a network: nothing unpickled, nothing loose, nothing that is no number."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

_SHOWN = 12
_KINDS = frozenset(
    (
        torch.float64, torch.float32, torch.float16, torch.bfloat16,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    )
)  # fmt: skip
"""Of numbers that weights are; for those of eight bits, for example, much of PyTorch is not written."""


def read_weights(file: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a safetensors file, floating-point ones in float32, and the SHA-256 of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another format, truncated or hostile, or holds a value that is not finite, or numbers of
            a kind that weights are not.
    """
    from safetensors.torch import load as parse

    if file.suffix != ".safetensors":
        raise ValueError(f"{file} is not a safetensors file; pickled weights can run code: convert them")
    content = file.read_bytes()
    try:
        state = parse(content)
    except Exception as error:
        raise ValueError(
            f"{file} ({len(content)} bytes) is truncated or no safetensors file: {error}; copy it again"
        ) from error
    odd = [key for key, value in state.items() if value.dtype not in _KINDS]
    if odd:
        raise ValueError(f"{file} holds numbers of a kind that weights are not in {_some(odd)}; save it in float32")
    check_finite(state, str(file))
    return {key: _full_precision(value) for key, value in state.items()}, hashlib.sha256(content).hexdigest()


def check_finite(state: Mapping[str, Tensor], where: str) -> None:
    """Raise ValueError if a weight is not a number; ``where`` names the file."""
    not_finite = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if not_finite:
        raise ValueError(f"{where} holds values that are not finite in {_some(not_finite)}; they cannot be used")


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Put ``state`` into ``network``: every key, and only those, in the right shape.

    Raises:
        ValueError: that lists the missing and unexpected keys and the wrong shapes and types; ``where`` names the file.
    """
    check_fit(network, state, where)
    network.load_state_dict(dict(state))


def check_fit(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Raise ValueError, as :func:`load_strictly`, unless ``state`` is that of the network, which may be on "meta"."""
    expected = network.state_dict()
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    kinds = [
        f"{key} {state[key].dtype} for {value.dtype}"
        for key, value in expected.items()
        if key in state and state[key].dtype.is_floating_point != value.dtype.is_floating_point
    ]
    if missing or unexpected or shapes or kinds:
        found = {"missing": missing, "unexpected": unexpected, "wrong shape": shapes, "wrong type": kinds}
        listed = "; ".join(f"{len(keys)} {what}: {_some(keys)}" for what, keys in found.items() if keys)
        raise ValueError(f"{where} does not fit {type(network).__name__}: {listed}")


def _full_precision(value: Tensor) -> Tensor:
    return value.to(torch.float32) if value.is_floating_point() else value


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
