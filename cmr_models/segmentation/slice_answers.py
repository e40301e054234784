"""Where a ventricle ends, without a long-axis view: a learned answer for each slice, with its confidence.

A slice is ventricle, transition (the valve, or the apex, cuts it) or none. One image alone hardly tells; three signs
together do: how certain the network is of what it found, whether that goes on in the next slice towards the base, and
how much wall is there. A logistic line for ordered answers (proportional odds, McCullagh 1980,
doi:10.1111/j.2517-6161.1980.tb01109.x) makes probabilities of them; its five numbers a ventricle stand in the card of
the model (``slice_lines``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cmr_models.contracts import LV, MYOCARDIUM, RV, VENTRICLES
from cmr_models.segmentation.certainty import expected_slice_dice, smooth_over_cycle
from cmr_models.views.base_apex import base_is_first

Floats = npt.NDArray[np.float64]

LINES: Final = {"rv": RV, "lv": LV}
"""Name in the card -> the ventricle."""
TERMS: Final = ("partly", "wholly", "certainty", "goes_on", "wall")
"""Of a line: how large the sum of the weighted signs must be for a slice to be at least transition, and to be wholly
ventricle, with even odds; then the weights of :data:`SIGNS`."""
SIGNS: Final = ("certainty", "goes_on", "wall")
_MOST_CERTAIN: Final = 0.995  # overlap beyond which the network's certainty tells nothing more
LARGEST_SLICE_MM: Final = 13.0
"""Slices further apart are not asked: they were learnt 6 to 12 mm apart, and so is what goes on in the next one."""
COUNTED: Final = 0.5
"""Share of a slice from which it counts as ventricle, whole: the basal slice is half enclosed (Schulz-Menger et al.
2020, doi:10.1186/s12968-020-00610-6; Petersen et al. 2017, doi:10.1186/s12968-017-0327-9)."""


class SliceAnswers(NamedTuple):
    """``(frame, slice, ventricle)``, ventricles as in :data:`cmr_models.contracts.VENTRICLES`.

    Attributes:
        share: part of the slice that is to be expected to be ventricle; 0 where none was found.
        is_transition: whether transition is the likeliest answer.
        confidence: probability of the likeliest answer; NaN where nothing was found.
    """

    share: Floats
    is_transition: npt.NDArray[np.bool_]
    confidence: Floats

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Whether the slice counts as ventricle."""
        return self.share >= COUNTED


def signs_of(labels: npt.NDArray[np.uint8], sums: Floats) -> Floats:
    """The signs by which a slice is told, in the order of :data:`SIGNS`.

    Args:
        labels: ``(frame, slice, row, col)`` as the network gives them, slices in order from either end.
        sums: ``(frame * slice, class - 1, 3)`` of :func:`cmr_models.segmentation.certainty.overlap_sums`.

    Returns:
        ``(frame, slice, ventricle, sign)``: minus the logarithm of the overlap that is not to be expected; the Dice
        overlap with the next slice towards the base; area of the wall as a share of the largest in the frame. NaN where
        the ventricle was not found.
    """
    n_slices = labels.shape[1]
    expected = expected_slice_dice(sums, n_slices)
    area = {code: np.count_nonzero(labels == code, axis=(2, 3)) for code in (RV, MYOCARDIUM, LV)}
    base_first = base_is_first(area[LV], area[RV] + area[MYOCARDIUM] + area[LV]) if area[LV].any() else True
    wall = area[MYOCARDIUM] / np.maximum(area[MYOCARDIUM].max(axis=1, keepdims=True), 1)
    signs = np.full((*labels.shape[:2], len(VENTRICLES), len(SIGNS)), np.nan)
    for v, code in enumerate(VENTRICLES):
        found = area[code] > 0
        certainty = -np.log(1 - np.minimum(expected[..., code - 1], _MOST_CERTAIN))
        goes_on = _overlap_towards_base(labels == code, area[code], base_first)
        signs[..., v, :] = np.where(found[..., None], np.stack([certainty, goes_on, wall], axis=-1), np.nan)
    return signs


def answer_slices(signs: Floats, lines: Mapping[str, Sequence[float]]) -> SliceAnswers:
    """The answers by the lines of a card; of a cine, what a line says is averaged over neighbouring frames.

    Args:
        signs: ``(frame, slice, ventricle, sign)`` of :func:`signs_of`.
        lines: "rv" and "lv" -> the numbers of :data:`TERMS`.
    """
    of_ventricles = [np.asarray(lines[name], np.float64) for name in LINES]
    scores = np.stack([signs[..., v, :] @ line[2:] for v, line in enumerate(of_ventricles)], axis=-1)
    scores = np.where(np.isfinite(scores), smooth_over_cycle(scores), np.nan)
    found = np.isfinite(scores)
    partly, wholly = (_odds(scores - np.array([line[k] for line in of_ventricles])) for k in range(2))
    probabilities = np.stack([1 - partly, partly - wholly, wholly])
    share = np.where(found, (partly + wholly) / 2, 0.0)
    likeliest = np.where(found, probabilities.argmax(axis=0), -1)
    return SliceAnswers(share, likeliest == 1, np.where(found, probabilities.max(axis=0), np.nan))


def checked_slice_lines(lines: Mapping[str, Any], where: str) -> Mapping[str, Sequence[float]]:
    """The lines of a card.

    Raises:
        ValueError: if a ventricle has none, or one that is not five finite numbers with the first threshold not above
            the second; ``where`` names the card.
    """
    wrong = [name for name in LINES if not _is_line(lines.get(name))]
    if wrong:
        raise ValueError(
            f"{where}: slice_lines needs {len(TERMS)} numbers ({', '.join(TERMS)}; partly not above wholly)"
            f" for {', '.join(wrong)}"
        )
    return lines


def _is_line(line: Any) -> bool:
    values = np.asarray(line, object)
    if values.shape != (len(TERMS),) or not all(isinstance(v, int | float) and np.isfinite(v) for v in values):
        return False
    return bool(values[0] <= values[1])


def _odds(score: Floats) -> Floats:
    """The logistic function, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(score / 2)))


def _overlap_towards_base(mask: npt.NDArray[np.bool_], area: npt.NDArray[Any], base_first: bool) -> Floats:
    """``(frame, slice)`` Dice overlap of each image with that of the next slice towards the base; 0 at the end."""
    both = np.count_nonzero(mask[:, 1:] & mask[:, :-1], axis=(2, 3))
    dice = 2 * both / np.maximum(area[:, 1:] + area[:, :-1], 1)
    end = np.zeros((len(mask), 1))
    return np.concatenate([end, dice] if base_first else [dice, end], axis=1)
