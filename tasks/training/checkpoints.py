"""The files of a training in progress: one checkpoint, and a table of metrics."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

_CHECKPOINT, _METRICS = "checkpoint.pt", "metrics.csv"
_OLD_HEADER = b"step,loss\r\n"  # version 0.1 wrote none for perfusion networks


def save_checkpoint(folder: Path, state: Mapping[str, Any], settings: Any) -> None:
    """Replace the folder's checkpoint by ``state``, with the ``settings`` that decide the weights."""
    temporary = folder / f".{_CHECKPOINT}.new"
    torch.save({**state, "settings": settings}, temporary)
    os.replace(temporary, folder / _CHECKPOINT)


def load_checkpoint(folder: Path, settings: Any, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """The state of the folder's checkpoint, tensors on ``device``; None if there is none.

    Raises:
        ValueError: if it was made with other settings.
    """
    file = folder / _CHECKPOINT
    if not file.exists():
        return None
    state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    if state["settings"] != settings:
        raise ValueError(f"{file} was made with other settings; give another output folder or delete the file")
    return state


def append_metrics(folder: Path, row: Mapping[str, float]) -> None:
    """Append a row to ``metrics.csv``; the first one makes the header."""
    file = folder / _METRICS
    new = not file.exists()
    lines = [",".join(row)] if new else []
    lines.append(",".join(f"{value:.6g}" for value in row.values()))
    with file.open("ab") as stream:
        stream.writelines(f"{line}\r\n".encode() for line in lines)


def drop_metrics_after(folder: Path, step: int) -> None:
    """Drop the rows after ``step``, the step of the checkpoint: they will be written again. No empty table is left."""
    file = folder / _METRICS
    if not file.exists():
        return
    lines = file.read_bytes().splitlines(keepends=True)
    header = lines.pop(0) if lines[0].startswith(b"step,") else _OLD_HEADER
    kept = [row for row in lines if float(row.split(b",")[0]) <= step]
    if not kept:
        file.unlink()
    elif len(kept) < len(lines) or header is _OLD_HEADER:
        temporary = folder / f".{_METRICS}.new"
        temporary.write_bytes(b"".join([header, *kept]))
        os.replace(temporary, file)
