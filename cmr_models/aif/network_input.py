"""Input of the perfusion networks: the frames of a series, pooled in time, as channels, and the still image.

Frames as channels: Xue et al., arXiv 1910.07122 and 1911.00625. Pooling whole series of any length to a fixed number of
bins, instead of cutting a number of frames, keeps the bolus in view wherever it comes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from cmr_models.zoo import ModelCard

# Later frames of an input series are not used; the bolus and its first pass come before.
LAST_FRAME = 128


def check_series(series: npt.ArrayLike, least_frames: int = 12) -> npt.NDArray[np.float32]:
    """``series (row, col, frame)`` as float32.

    Raises:
        ValueError: if it does not have these axes, is too short, not finite, or does not change.
    """
    values = np.asarray(series)
    if values.ndim != 3:
        raise ValueError(f"a series is (row, col, frame), got shape {values.shape}")
    if np.iscomplexobj(values) or not np.issubdtype(values.dtype, np.number):
        raise ValueError(f"a series holds real magnitudes, got {values.dtype}; give the magnitude")
    if values.shape[2] < least_frames:
        raise ValueError(f"a first pass needs at least {least_frames} frames, got {values.shape[2]}")
    if min(values.shape[:2]) < 16:
        raise ValueError(f"an image needs at least 16 rows and columns, got {values.shape[:2]}")
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} values of the series are not finite; mend or mask them")
    if np.ptp(values, axis=2).max() <= 0:
        raise ValueError("no pixel of the series changes, so there is no bolus; give the frames of one first pass")
    return values


def channels(series: npt.NDArray[np.float32], bins: int) -> Tensor:
    """``series (row, col, frame)`` to ``(bins + 1, row, col)``: enhancement in time, then the still image.

    Each pixel's lower decile over time is taken off, and the whole divided by a high percentile of the pixels'
    ranges, so that neither a bright chest wall nor the scanner's scale matters.
    """
    frames = torch.from_numpy(np.ascontiguousarray(series)).flatten(0, 1)
    pooled = F.adaptive_avg_pool1d(frames[None], bins)[0]  # (pixel, bin)
    base = torch.quantile(pooled, 0.1, dim=1, keepdim=True)
    rise = pooled - base
    scale = torch.quantile(rise.amax(1), 0.985).clamp_min(1e-12)
    still = base[:, 0] / torch.quantile(base, 0.95).clamp_min(1e-12)
    both = torch.cat([(rise / scale).clamp(-1, 3).T, still.clamp(0, 3)[None]])
    return both.reshape(-1, *series.shape[:2])


def pad_or_cut(image: Tensor, size: int) -> Tensor:
    """``image (channel, row, col)`` padded with zeros, or cut, about its middle to ``size`` rows and columns."""
    rows, cols = image.shape[1:]
    top, left = (size - rows) // 2, (size - cols) // 2
    return F.pad(image, (left, size - cols - left, top, size - rows - top))


def undo_pad_or_cut(image: Tensor, rows: int, cols: int) -> Tensor:
    """The inverse of :func:`pad_or_cut`, with zeros where it cut."""
    size = image.shape[-1]
    top, left = (size - rows) // 2, (size - cols) // 2
    return F.pad(image, (-left, cols - size + left, -top, rows - size + top))


def resize(image: Tensor, rows: int, cols: int) -> Tensor:
    """``image (channel, row, col)`` on another number of rows and columns over the same field of view."""
    if image.shape[1:] == (rows, cols):
        return image
    shrinks = rows < image.shape[1] or cols < image.shape[2]
    return F.interpolate(image[None], (rows, cols), mode="bilinear", align_corners=False, antialias=shrinks)[0]


def class_weights(model_card: ModelCard) -> Tensor:
    """Weights of the classes in training, by which its probabilities are too high (Elkan, IJCAI 2001)."""
    n_classes = int(model_card.config["n_classes"])
    return torch.tensor(model_card.training_settings.get("class_weight", [1.0] * n_classes)[:n_classes])
