"""From class probabilities of crops to clean labels on the study's own grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cmr_models import zoo
from cmr_models.segmentation.certainty import expected_slice_dice, overlap_sums, smooth_over_cycle
from cmr_models.segmentation.cleaning import clean_sax, keep_largest_pieces
from cmr_models.segmentation.crops import CropWindow, image_region, resample_to_image

_SMOOTHED_FROM_FRAMES = 20  # with fewer, neighbours are too far apart: the smallest volume would grow
_FRAME_WEIGHTS = (0.1, 0.8)


def restore(
    probabilities: Tensor, window: CropWindow, shape: tuple[int, int, int, int], card: zoo.ModelCard
) -> npt.NDArray[np.uint8]:
    """Labels on the study's own grid.

    Args:
        probabilities: ``(frame * slice, class, size, size)`` of :meth:`Segmenter.probabilities`.
        window: where the crops of the study lie.
        shape: ``(frame, slice, row, col)`` of the study.
        card: the model's card.

    Returns:
        ``labels`` uint8 of ``shape``, cleaned: see :mod:`cmr_models.segmentation.cleaning`.
    """
    return _restored(probabilities, window, shape, card, summed=bool(card.slice_limits))[0]


def restore_with_sums(
    probabilities: Tensor, window: CropWindow, shape: tuple[int, int, int, int], card: zoo.ModelCard
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """As :func:`restore`, with :func:`cmr_models.segmentation.certainty.overlap_sums` around the heart."""
    return _restored(probabilities, window, shape, card, summed=True)


def _restored(
    probabilities: Tensor, window: CropWindow, shape: tuple[int, int, int, int], card: zoo.ModelCard, *, summed: bool
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Labels, and their sums if they are ``summed``, else none."""
    n_frames, n_slices, n_rows, n_cols = shape
    weights = _class_weights(card)
    part, window = _crop_to_heart(probabilities * weights, window)
    sums = overlap_sums((part / weights).numpy(), weights.numpy()[:, 0, 0]) if summed else np.empty((0, 0, 3))
    smooth = _smooth(part.reshape(n_frames, n_slices, *part.shape[1:]))
    coarse = _most_probable(smooth).numpy()
    certain = _without_uncertain_slices(coarse, sums, card)
    clean = clean_sax(certain, card.pixel_mm) if card.task == "segment_sax" else keep_largest_pieces(certain)
    corrected = _make_certain(smooth, torch.from_numpy(coarse), torch.from_numpy(clean))
    rows, cols = image_region(window, (n_rows, n_cols))
    labels = np.zeros(shape, np.uint8)
    for frame in range(n_frames):
        fine = resample_to_image(corrected[frame], window, (rows, cols))
        labels[frame, :, rows, cols] = _most_probable(fine).numpy()
    return labels, sums


def _smooth(probabilities: Tensor) -> Tensor:
    """Probabilities ``(frame, slice, class, row, col)`` averaged over neighbouring frames, if these are a cine."""
    if len(probabilities) < _SMOOTHED_FROM_FRAMES:
        return probabilities
    outer, middle = _FRAME_WEIGHTS
    smooth = middle * probabilities
    smooth[1:].add_(probabilities[:-1], alpha=outer)
    smooth[:-1].add_(probabilities[1:], alpha=outer)
    smooth[0].add_(probabilities[0], alpha=outer)
    smooth[-1].add_(probabilities[-1], alpha=outer)
    return smooth


def _without_uncertain_slices(
    coarse: npt.NDArray[np.uint8], sums: npt.NDArray[np.float64], card: zoo.ModelCard
) -> npt.NDArray[np.uint8]:
    """Labels ``(frame, slice, row, col)`` without structures in slices of which the network expects too little."""
    if not card.slice_limits:
        return coarse
    expected = smooth_over_cycle(expected_slice_dice(sums, coarse.shape[1]))
    kept = coarse.copy()
    for code, least in card.slice_limits.items():
        uncertain = expected[..., int(code) - 1] < least
        kept[uncertain[..., None, None] & (coarse == int(code))] = 0
    return kept


def _class_weights(card: zoo.ModelCard) -> Tensor:
    weights = torch.ones(int(card.config["n_classes"]), 1, 1)
    for label, weight in card.class_weights.items():
        weights[int(label)] = weight
    return weights


def _make_certain(probabilities: Tensor, coarse: Tensor, clean: Tensor) -> Tensor:
    """Probabilities in which the pixels that cleaning changed are certain."""
    changed = coarse != clean
    corrected = probabilities.clone()
    certain = nn.functional.one_hot(clean[changed].long(), probabilities.shape[2])
    corrected.movedim(2, -1)[changed] = certain.to(probabilities)
    return corrected


def _most_probable(probabilities: Tensor) -> Tensor:
    """``probabilities.argmax(-3)`` of ``(..., class, row, col)`` as uint8; several times as fast on a CPU."""
    best = probabilities.select(-3, 0)
    label = torch.zeros(best.shape, dtype=torch.uint8)
    for code in range(1, probabilities.shape[-3]):
        candidate = probabilities.select(-3, code)
        label.masked_fill_(candidate > best, code)
        best = torch.maximum(best, candidate)
    return label


def _crop_to_heart(probabilities: Tensor, window: CropWindow) -> tuple[Tensor, CropWindow]:
    """The square of the crops outside which every image is background, with a margin, and where it lies.

    What is background all around stays so when frames are averaged and pixels interpolated.
    """
    present = _most_probable(probabilities).any(dim=0)
    if not present.any():
        return probabilities, window
    spans = [torch.nonzero(present.any(dim=1 - axis)).flatten() for axis in (0, 1)]
    side = min(window.size, max(int(span[-1] - span[0]) for span in spans) + 3)
    starts = [min(max(0, int(span[0]) - 1), window.size - side) for span in spans]
    shifts = [start + (side - window.size) / 2 for start in starts]
    row_px, col_px = (c + s * shift for c, s, shift in zip(window.centre_px, window.step_px, shifts, strict=True))
    part = probabilities[:, :, starts[0] : starts[0] + side, starts[1] : starts[1] + side]
    return part, CropWindow((row_px, col_px), window.step_px, side)
