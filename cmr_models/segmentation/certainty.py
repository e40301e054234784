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


def expected_dice(
    outputs: npt.NDArray[np.floating], n_slices: int, weights: npt.NDArray[np.floating] | None = None
) -> npt.NDArray[np.float64]:
    """The overlap that a network's own probabilities let expect, of each structure in the volume of each frame.

    Args:
        outputs: ``(frame * slice, class, row, col)`` class probabilities; class 0 is the background.
        n_slices: of one frame.
        weights: factor on the probability of each class, before the largest one is taken.

    Returns:
        ``(frame, class - 1)``; NaN where the structure was not found.
    """
    weighted = outputs if weights is None else outputs * weights[:, None, None]
    labels = weighted.argmax(1)
    per_frame = (-1, n_slices)
    found = []
    for code in range(1, outputs.shape[1]):
        probability, chosen = outputs[:, code], labels == code
        sums = (
            part.sum((1, 2), dtype=np.float64).reshape(per_frame).sum(1)
            for part in (probability * chosen, chosen, probability)
        )
        agreed, labelled, expected = sums
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(np.where(labelled > 0, 2 * agreed / (labelled + expected), np.nan))
    return np.stack(found, axis=1)


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
