"""Figures of a training for TensorBoard, where that is installed; nothing is imported before it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_board(folder: Path, step: int) -> Any:
    """A writer to ``folder``; what an earlier run wrote of later steps than ``step`` is not shown any more.

    Raises:
        ModuleNotFoundError: if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ModuleNotFoundError(
            "the setting tensorboard needs TensorBoard: pip install cmr-cohort[tensorboard]"
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1)
