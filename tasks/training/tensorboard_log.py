"""The metrics of a training for TensorBoard, which is optional and imported only when a recipe asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_board(folder: Path, step: int) -> Any:
    """A writer to ``folder``; values that an earlier run wrote after ``step`` are hidden.

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
