"""LV cavity, myocardium and RV of a motion-corrected perfusion series, by a network that sees the frames as channels.

Reference: Xue et al., Automated inline analysis of myocardial perfusion MRI with deep learning,
Radiology: AI 2020;2(6):e200009 (arXiv 1911.00625).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from cmr_models.aif.network_input import channels, checked_series, class_weights, resized
from cmr_models.zoo import ModelCard, load

# Later than this the tissue only washes out.
_LAST_S = 60.0


def segment(series: npt.ArrayLike, dt_s: float, pixel_mm: float, *, model: str = "default") -> npt.NDArray[np.uint8]:
    """Labels of one slice.

    Args:
        series: (row, col, frame), motion-corrected, signal or concentration.
        dt_s: mean interval of the frames, s.
        pixel_mm: of the square pixels.
        model: "default" for the network that ships with the package, or a folder made by training.

    Returns:
        (row, col) uint8: 0 background, 1 RV, 2 myocardium, 3 LV.

    Raises:
        ValueError: if ``series`` is not a series of at least 12 frames that change, or an interval or pixel size is not
            in a plausible range.
    """
    values = checked_series(series)
    if not 0.1 <= dt_s <= 5.0:
        raise ValueError(f"dt_s is the interval between frames, 0.1 to 5 s, got {dt_s}; milliseconds?")
    if not 0.3 <= pixel_mm <= 6.0:
        raise ValueError(f"pixel_mm must be 0.3 to 6 mm, got {pixel_mm}")
    network, model_card = _network(model)
    rows, cols = values.shape[:2]
    scale = pixel_mm / model_card.pixel_mm
    small = resized(torch.from_numpy(values).permute(2, 0, 1), max(8, round(rows * scale)), max(8, round(cols * scale)))
    image, corner = heart_crop(
        np.ascontiguousarray(small.permute(1, 2, 0).numpy()),
        dt_s,
        int(model_card.config["in_channels"]) - 1,
        model_card.size,
    )
    with torch.inference_mode():
        share = network(image[None].contiguous(memory_format=torch.channels_last)).softmax(1)[0]
    share = share / class_weights(model_card)[:, None, None]
    whole = _placed(share, corner, small.shape[1], small.shape[2])
    return _cleaned(resized(whole, rows, cols).argmax(0).numpy().astype(np.uint8))


def heart_crop(
    series: npt.NDArray[np.float32], dt_s: float, bins: int, size: int, off: tuple[int, int] = (0, 0)
) -> tuple[Tensor, tuple[int, int]]:
    """The network's input ``(bins + 1, size, size)`` around what enhances most, and the corner of the crop.

    Args:
        series: (row, col, frame) at the network's pixel size.
        dt_s: interval of the frames.
        bins: of time.
        size: of the crop.
        off: added to the crop's corner.
    """
    image = channels(series[..., : max(12, round(_LAST_S / dt_s))], bins)
    row, col = _enhancing_middle(image[:-1])
    top, left = round(row) - size // 2 + off[0], round(col) - size // 2 + off[1]
    padded = F.pad(image, (size, size, size, size))
    t, u = max(0, min(top + size, padded.shape[1] - size)), max(0, min(left + size, padded.shape[2] - size))
    return padded[:, t : t + size, u : u + size], (t - size, u - size)


def _enhancing_middle(rise: Tensor) -> tuple[float, float]:
    """Median row and column of the two per cent of pixels that enhance most, after smoothing."""
    peak = F.avg_pool2d(rise.amax(0)[None, None], 5, 1, 2)[0, 0]
    rows, cols = torch.nonzero(peak >= torch.quantile(peak, 0.98), as_tuple=True)
    return float(rows.float().median()), float(cols.float().median())


def _placed(share: Tensor, corner: tuple[int, int], rows: int, cols: int) -> Tensor:
    """The crop's probabilities ``(class, size, size)`` on the whole image; background elsewhere."""
    size = share.shape[-1]
    whole = torch.zeros(share.shape[0], rows + 2 * size, cols + 2 * size)
    whole[0] = 1
    top, left = corner[0] + size, corner[1] + size
    whole[:, top : top + size, left : left + size] = share
    return whole[:, size : size + rows, size : size + cols]


@cache
def _network(model: str) -> tuple[nn.Module, ModelCard]:
    network, model_card = load(model, "perfusion_segment")
    return network.to(memory_format=torch.channels_last), model_card  # type: ignore[call-overload]


def _cleaned(label: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The largest connected part of each class."""
    cleaned = np.zeros_like(label)
    for value in (1, 2, 3):
        parts, n = ndimage.label(label == value)
        if n:
            largest = 1 + int(np.argmax(ndimage.sum_labels(np.ones_like(parts), parts, np.arange(1, n + 1))))
            cleaned[parts == largest] = value
    return cleaned
