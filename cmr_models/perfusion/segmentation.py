"""LV cavity, myocardium and RV of a motion-corrected perfusion series, by a network that sees the frames as channels.

Reference: Xue et al., Automated inline analysis of myocardial perfusion MRI with deep learning,
Radiology: AI 2020;2(6):e200009 (arXiv 1911.00625).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from cmr_models.aif.network_input import channels, check_series, class_weights, resize
from cmr_models.aif.series_runner import shared_runner

# Later than this the tissue only washes out.
_LAST_S = 60.0


def segment(
    series: npt.ArrayLike, dt_s: float, pixel_mm: float, *, model: str = "default", device: str = "auto"
) -> npt.NDArray[np.uint8]:
    """Labels of one slice.

    Args:
        series: (row, col, frame), motion-corrected, signal or concentration.
        dt_s: mean interval of the frames, s.
        pixel_mm: of the square pixels.
        model: "default" for the network that ships with the package, or a folder made by training.
        device: of torch; "auto" is the GPU if there is one.

    Returns:
        (row, col) uint8: 0 background, 1 RV, 2 myocardium, 3 LV.

    Raises:
        ValueError: if ``series`` is not a series of at least 12 frames that change, or an interval or pixel size is not
            in a plausible range.
    """
    values = check_series(series)
    if not 0.1 <= dt_s <= 5.0:
        raise ValueError(f"dt_s is the interval between frames, 0.1 to 5 s, got {dt_s}; milliseconds?")
    if not 0.3 <= pixel_mm <= 6.0:
        raise ValueError(f"pixel_mm must be 0.3 to 6 mm, got {pixel_mm}")
    runner = shared_runner(model, "perfusion_segment", device)
    rows, cols = values.shape[:2]
    scale = pixel_mm / runner.card.pixel_mm
    small = resize(torch.from_numpy(values).permute(2, 0, 1), max(8, round(rows * scale)), max(8, round(cols * scale)))
    frames = np.ascontiguousarray(small.permute(1, 2, 0).numpy())
    image, corner = heart_crop(frames, dt_s, runner.bins, runner.card.size)
    probability = runner.probabilities(image) / class_weights(runner.card)[:, None, None]
    whole = _paste(probability, corner, small.shape[1], small.shape[2])
    return _keep_largest_parts(resize(whole, rows, cols).argmax(0).numpy().astype(np.uint8))


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


def _paste(probability: Tensor, corner: tuple[int, int], rows: int, cols: int) -> Tensor:
    """The crop's probabilities ``(class, size, size)`` on the whole image; background elsewhere."""
    size = probability.shape[-1]
    whole = torch.zeros(probability.shape[0], rows + 2 * size, cols + 2 * size)
    whole[0] = 1
    top, left = corner[0] + size, corner[1] + size
    whole[:, top : top + size, left : left + size] = probability
    return whole[:, size : size + rows, size : size + cols]


def _keep_largest_parts(label: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The largest connected part of each class, of equal ones the first."""
    kept = np.zeros_like(label)
    for value in (1, 2, 3):
        parts, n = ndimage.label(label == value)
        if n:
            largest = 1 + int(np.argmax(ndimage.sum_labels(np.ones_like(parts), parts, np.arange(1, n + 1))))
            kept[parts == largest] = value
    return kept
