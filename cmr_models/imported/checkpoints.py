"""Pickled checkpoints, opened so that nothing in them can run: tensors, plain values and NumPy scalars only."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmr_models.contracts.foreign import faults_as

_MOST_BYTES = 8 * 2**30
_NUMBERS = "biuf"


class _NumberType:
    """Stands for ``numpy.dtype`` of plain numbers: a name and a byte order, and no code of NumPy's."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name = name
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise ValueError("not a type of numbers")
        self.order = order

    def numpy(self) -> np.dtype[Any]:
        """The type, of numbers only."""
        if not isinstance(self.name, str) or self.name[:1] not in _NUMBERS or not self.name[1:].isdigit():
            raise ValueError("not a type of numbers")
        return np.dtype(self.name).newbyteorder(self.order)  # type: ignore[arg-type]


def _number(kind: Any, content: Any) -> int | float | bool:
    """Stands for ``numpy.core.multiarray.scalar``."""
    if not isinstance(kind, _NumberType) or not isinstance(content, bytes):
        raise ValueError("not a number")
    dtype = kind.numpy()
    if len(content) != dtype.itemsize:
        raise ValueError("not a number")
    value: int | float | bool = np.frombuffer(content, dtype)[0].item()
    return value


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    """Stands for ``_codecs.encode``, with which old pickles write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("not bytes as pickles write them")
    return text.encode("latin1")


_ALLOWED = [
    (_NumberType, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
    (_latin1, "_codecs.encode"),
]
"""All that is allowed beside what ``torch.load(weights_only=True)`` allows: each is a function of ours."""


def read_checkpoint(file: Path, where: str = "") -> Mapping[str, Any]:
    """The content of a checkpoint: a mapping with tensors and plain values; ``where`` names it, if not its path.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, holds no mapping, or holds an object that only running code could restore.
    """
    where = where or str(file)
    if file.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{where} has more than {_MOST_BYTES // 2**30} GB; no network is as large")
    _check_archive(file, where)
    try:
        with torch.serialization.safe_globals(_ALLOWED):  # type: ignore[arg-type]
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{where} is damaged, or code would have to run to open it: {_first_line(error)}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{where} holds a {type(content).__name__}, not a mapping of weights")
    return content


def _check_archive(file: Path, where: str) -> None:
    """Refuse what torch does not write: packed records, which may be bombs, and the code of TorchScript.

    Checkpoints are zip archives since torch 1.6, with records as they are; older ones are no archives.
    """
    entries: list[zipfile.ZipInfo] = []
    with faults_as(lambda kind: ValueError(f"{where} is damaged ({kind})"), OSError):
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
    if any("/code/" in f"/{entry.filename}" for entry in entries):
        raise ValueError(f"{where} is TorchScript, whose code would have to run; give a file of the weights alone")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError(f"{where} has packed records, which torch does not write")


def _first_line(error: Exception) -> str:
    """The kind of what is wrong, and the name of the object where the reader of pickles tells it."""
    told = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line]
    return told[0][:200] if told else type(error).__name__
