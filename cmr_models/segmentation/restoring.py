"""From class probabilities of crops to clean labels on the study's own grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cmr_models import zoo
from cmr_models.contracts import BACKGROUND, LV, MYOCARDIUM, RV, VENTRICLES
from cmr_models.contracts.labels import APART, NOTHING_FOUND, TRANSITION, UNCERTAIN, WHOLE
from cmr_models.segmentation.certainty import expected_slice_dice, overlap_sums, smooth_over_cycle
from cmr_models.segmentation.cleaning import clean_with_reasons, keep_largest_pieces
from cmr_models.segmentation.crops import CropWindow, image_region, resample_to_image
from cmr_models.segmentation.slice_answers import (
    LARGEST_SLICE_MM,
    SliceAnswers,
    answer_slices,
    checked_slice_lines,
    signs_of,
)

_SMOOTHED_FROM_FRAMES = 20  # with fewer, neighbours are too far apart: the smallest volume would grow
_FRAME_WEIGHTS = (0.25, 0.5)
"""Of neighbours and of the frame itself: no weight is left of what changes from every frame to the next."""


class Restored(NamedTuple):
    """What the outputs of a network say of a study.

    Attributes:
        labels: ``(frame, slice, row, col)`` uint8 on the study's own grid, cleaned.
        sums: :func:`cmr_models.segmentation.certainty.overlap_sums` around the heart.
        answers: of a short-axis stack, name -> ``(frame, slice, ventricle)``: ``slice_answer``, ``slice_share`` and, if
            the card has its lines, ``answer_confidence``; empty for other views.
    """

    labels: npt.NDArray[np.uint8]
    sums: npt.NDArray[np.float64]
    answers: Mapping[str, npt.NDArray[Any]]


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
    return restore_with_sums(probabilities, window, shape, card)[0]


def restore_with_sums(
    probabilities: Tensor, window: CropWindow, shape: tuple[int, int, int, int], card: zoo.ModelCard
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """As :func:`restore`, with :func:`cmr_models.segmentation.certainty.overlap_sums` around the heart."""
    restored = restore_with_answers(probabilities, window, shape, card)
    return restored.labels, restored.sums


def restore_with_answers(
    probabilities: Tensor, window: CropWindow, shape: tuple[int, int, int, int], card: zoo.ModelCard
) -> Restored:
    """As :func:`restore`, with all that is said of each slice."""
    slice_mm = window.slice_mm
    part, sums, window = _around_heart(probabilities, window, card)
    smooth = _smooth(part.reshape(*shape[:2], *part.shape[1:]))
    coarse = _most_probable(smooth).numpy()
    certain, learned = _without_uncertain_slices(coarse, sums, card, slice_mm)
    if card.task == "segment_sax":
        clean, left_out = clean_with_reasons(certain, card.pixel_mm)
    else:
        clean, left_out = keep_largest_pieces(certain), None
    corrected = _make_certain(smooth, torch.from_numpy(coarse), torch.from_numpy(clean))
    labels = _on_grid(corrected, window, shape)
    return Restored(labels, sums, {} if left_out is None else _answers(coarse, certain, labels, left_out, learned))


def network_view(
    probabilities: Tensor, window: CropWindow, frames_and_slices: tuple[int, int], card: zoo.ModelCard
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """The network's own labels ``(frame, slice, row, col)`` around the heart, and their sums."""
    part, sums, _ = _around_heart(probabilities, window, card)
    return _most_probable(_smooth(part.reshape(*frames_and_slices, *part.shape[1:]))).numpy(), sums


def _around_heart(
    probabilities: Tensor, window: CropWindow, card: zoo.ModelCard
) -> tuple[Tensor, npt.NDArray[np.float64], CropWindow]:
    """Weighted probabilities of the square with the heart, their sums, and where the square lies."""
    weights = _class_weights(card)
    part, window = _crop_to_heart(probabilities * weights, window)
    return part, overlap_sums((part / weights).numpy(), weights.numpy()[:, 0, 0]), window


def _on_grid(probabilities: Tensor, window: CropWindow, shape: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    """The most probable label of every pixel of the study, from probabilities ``(frame, slice, class, row, col)``."""
    rows, cols = image_region(window, (shape[2], shape[3]))
    labels = np.zeros(shape, np.uint8)
    for frame, of_frame in enumerate(probabilities):
        labels[frame, :, rows, cols] = _most_probable(resample_to_image(of_frame, window, (rows, cols))).numpy()
    return labels


def _answers(
    coarse: npt.NDArray[np.uint8],
    certain: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    left_out: npt.NDArray[np.uint8],
    learned: SliceAnswers | None,
) -> dict[str, npt.NDArray[Any]]:
    """Of every image and ventricle: whether it counts or why not, and its share of ventricle."""
    found, sure, there = (
        np.stack([(of == v).any(axis=(2, 3)) for v in VENTRICLES], axis=-1) for of in (coarse, certain, labels)
    )
    share = found.astype(np.float64) if learned is None else np.round(learned.share, 2)
    answer = np.where(found, np.where(left_out == WHOLE, APART, left_out), NOTHING_FOUND).astype(np.uint8)
    answer[found & ~sure] = UNCERTAIN
    said = {}
    if learned is not None:
        said["answer_confidence"] = np.round(learned.confidence, 2)
    answer[there] = WHOLE if learned is None else np.where(learned.is_transition, TRANSITION, WHOLE)[there]
    share[~there if learned is None else ~there & (answer != UNCERTAIN)] = 0.0
    return {"slice_answer": answer, "slice_share": share, **said}


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
    coarse: npt.NDArray[np.uint8], sums: npt.NDArray[np.float64], card: zoo.ModelCard, slice_mm: float | None
) -> tuple[npt.NDArray[np.uint8], SliceAnswers | None]:
    """Labels ``(frame, slice, row, col)`` without ventricles where the learned answer is against them, and the answers.

    Also without structures in slices of which the network expects less than the limits of the card.
    """
    kept, learned = coarse, None
    if card.slice_limits:
        kept = coarse.copy()
        expected = smooth_over_cycle(expected_slice_dice(sums, coarse.shape[1]))
        for code, least in card.slice_limits.items():
            uncertain = expected[..., int(code) - 1] < least
            kept[uncertain[..., None, None] & (coarse == int(code))] = BACKGROUND
    too_far_apart = slice_mm is not None and slice_mm > LARGEST_SLICE_MM
    if card.slice_lines and not too_far_apart:
        kept = kept.copy()
        learned = answer_slices(signs_of(coarse, sums), checked_slice_lines(card.slice_lines, card.name))
        for v, codes in enumerate(((RV,), (LV, MYOCARDIUM))):
            against = np.isfinite(learned.confidence[..., v]) & ~learned.counted[..., v]
            kept[against[..., None, None] & np.isin(kept, codes)] = BACKGROUND
    return kept, learned


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
