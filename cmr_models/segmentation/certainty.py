"""What a network does not know: the overlap with an expert that its own probabilities let expect.

If the probabilities were right, the overlap ``2 |A & B| / (|A| + |B|)`` of the pixels ``A`` that are labelled and
those ``B`` that an expert would label were near ``2 sum_A p / (|A| + sum p)``, with ``p`` the probability of the
structure. They are not right, so the model's card says by which line the expected overlap becomes the predicted one
(:class:`cmr_models.zoo.ModelCard`, ``certainty``), measured on patients that the network has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cmr_models.contracts import LV, MYOCARDIUM, RV

STRUCTURES = (RV, MYOCARDIUM, LV)
"""Codes of the structures whose overlap is predicted, in order."""

Lines = Mapping[str, Sequence[float]]
"""Offset and slope of each of :data:`DICE_LINES` and :data:`ERROR_LINES`."""

DICE_LINES = ("dice_rv", "dice_myocardium", "dice_lv")
"""From the expected overlap of a structure to the predicted one, in the order of :data:`STRUCTURES`."""

ERROR_LINES = ("lvef_low", "lvef_high", "rvef_low", "rvef_high")
"""From the overlap that the ventricle lacks (1 less the mean of both phases) to the end of an interval of EF, in points
from the measured one; nine of ten unseen patients lay within."""


_FEWEST_OF_A_CINE, _REACH = 20, 2


def overlap_sums(
    outputs: npt.NDArray[np.floating], weights: npt.NDArray[np.floating] | None = None
) -> npt.NDArray[np.float64]:
    """What the expected overlaps are made of, of each image and structure.

    Args:
        outputs: ``(image, class, row, col)`` class probabilities; class 0 is the background.
        weights: factor on the probability of each class, before the largest one is taken.

    Returns:
        ``(image, class - 1, 3)``: pixels that are labelled, the sum of their probabilities, and that of all pixels.
    """
    labels = (outputs if weights is None else outputs * weights[:, None, None]).argmax(1)
    parts = []
    for code in range(1, outputs.shape[1]):
        probability, labelled = outputs[:, code], labels == code
        found = (labelled, probability * labelled, probability)
        parts.append(np.stack([values.sum((1, 2), dtype=np.float64) for values in found], axis=-1))
    return np.stack(parts, axis=1)


def expected_dice(sums: npt.NDArray[np.float64], n_slices: int) -> npt.NDArray[np.float64]:
    """The overlap to be expected of each structure in the volume of a frame.

    Args:
        sums: ``(frame * slice, class - 1, 3)`` of :func:`overlap_sums`.
        n_slices: of one frame.

    Returns:
        ``(frame, class - 1)``; NaN where the structure was not found.
    """
    return _ratio(sums.reshape(-1, n_slices, *sums.shape[1:]).sum(1))


def expected_slice_dice(sums: npt.NDArray[np.float64], n_slices: int) -> npt.NDArray[np.float64]:
    """As :func:`expected_dice`, of each slice by itself: ``(frame, slice, class - 1)``.

    Where a ventricle ends, the network is torn between all of what looks like one and nothing: this is its answer.
    """
    return _ratio(sums).reshape(-1, n_slices, sums.shape[1])


def smooth_over_cycle(expected: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``(frame, ...)``: the mean of two frames before to two after, of a cine; a valve does not flicker.

    Frames in which the structure was not found (NaN) do not count. Without 20 frames nothing is averaged: they are too
    far apart.
    """
    if len(expected) < _FEWEST_OF_A_CINE:
        return expected
    around = np.stack([np.roll(expected, shift, axis=0) for shift in range(-_REACH, _REACH + 1)])
    known = np.isfinite(around)
    with np.errstate(invalid="ignore"):
        mean: npt.NDArray[np.float64] = np.where(known, around, 0).sum(0) / known.sum(0)
    return mean


def steady(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """``(frame, ...)``: of a cine, what most of two frames before to two after say; as they are with few frames."""
    return np.asarray(smooth_over_cycle(flags.astype(np.float64)) > 0.5)


def _ratio(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    labelled, agreed, expected = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(labelled > 0, 2 * agreed / (labelled + expected), np.nan)


def predicted_dice(expected: npt.NDArray[np.float64], lines: Lines) -> npt.NDArray[np.float64]:
    """The overlap with an expert to be expected of a network whose card holds ``lines``.

    Args:
        expected: ``(frame, structure)`` of :func:`expected_dice`, for :data:`STRUCTURES`.
        lines: of the card.
    """
    offset, slope = np.array([lines[name] for name in DICE_LINES], float).T
    result: npt.NDArray[np.float64] = np.clip(offset + slope * expected, 0.0, 1.0)
    return result


def checked_lines(certainty: Mapping[str, Any], where: str) -> Lines:
    """The lines of a card.

    Raises:
        ValueError: if they are not all there, each two finite numbers; ``where`` names the card.
    """
    lines = {name: np.asarray(certainty.get(name, ()), object) for name in (*DICE_LINES, *ERROR_LINES)}
    wrong = [name for name, line in lines.items() if not _is_line(line)]
    if wrong:
        raise ValueError(f"{where}: certainty needs two numbers, offset and slope, for {', '.join(wrong)}")
    return {name: tuple(float(value) for value in line) for name, line in lines.items()}


def _is_line(line: npt.NDArray[np.object_]) -> bool:
    return line.shape == (2,) and all(isinstance(v, int | float) and np.isfinite(v) for v in line)
