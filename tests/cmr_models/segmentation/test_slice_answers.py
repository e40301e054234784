"""Learned answers of slices: the signs and the odds, worked out by hand."""

import numpy as np
import pytest

from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.segmentation.slice_answers import (
    SliceAnswers,
    answer_slices,
    checked_slice_lines,
    signs_of,
)

LINES = {"rv": (1.0, 3.0, 1.0, 0.0, 0.0), "lv": (0.0, 2.0, 0.0, 4.0, 0.0)}


def stack() -> np.ndarray:
    """One frame, three slices from the base on: pools of 4, 8 and 8 pixels, of which the first two share 4."""
    labels = np.zeros((1, 3, 6, 8), np.uint8)
    labels[0, 0, 0, :4] = LV
    labels[0, 1, 0, :8] = LV
    labels[0, 2, 0, :8] = LV
    labels[0, 0, 3, :2] = MYOCARDIUM
    labels[0, 1, 3, :8] = MYOCARDIUM
    labels[0, 2, 3, :3] = MYOCARDIUM
    labels[0, :2, 5, :6] = RV
    return labels


def sums_of(overlaps: list[list[float]]) -> np.ndarray:
    """Sums of ``(slice, structure)`` that let expect these overlaps: labelled 1, agreed d, probability 1."""
    expected = np.array(overlaps)
    return np.stack([np.ones_like(expected), expected, np.ones_like(expected)], axis=-1)


def test_the_signs_of_a_slice() -> None:
    signs = signs_of(stack(), sums_of([[0.5, 0.9, 0.9], [0.9, 0.9, 0.99], [0.0, 0.9, 0.9]]))
    # certainty: -ln(1 - overlap); towards the base: 0 at the first, 2 * 4 / 12, 2 * 8 / 16; wall over its largest, 8
    np.testing.assert_allclose(
        signs[0, :, 1], [[2.302585, 0, 0.25], [4.605170, 2 / 3, 1], [2.302585, 1, 0.375]], atol=1e-6
    )
    np.testing.assert_allclose(signs[0, :2, 0], [[0.693147, 0, 0.25], [2.302585, 1, 1]], atol=1e-6)
    assert np.isnan(signs[0, 2, 0]).all()  # no right ventricle there


def test_a_stack_stored_from_the_apex_has_the_same_signs() -> None:
    sums = sums_of([[0.5, 0.9, 0.9], [0.9, 0.9, 0.99], [0.0, 0.9, 0.9]])
    tall = np.concatenate([stack()[:, :2], np.where(stack()[:, 2:] == MYOCARDIUM, 0, stack()[:, 2:])], axis=1)
    forth, back = signs_of(tall, sums), signs_of(tall[:, ::-1], sums[::-1])
    np.testing.assert_allclose(forth, back[:, ::-1])


def test_answers_are_the_odds_of_the_lines() -> None:
    """RV: score = certainty, thresholds 1 and 3; LV: score = 4 x what goes on, thresholds 0 and 2."""
    signs = np.full((1, 2, 2, 3), np.nan)
    signs[0, 0, 0] = [2.0, 0.5, 0.5]
    signs[0, 0, 1] = [9.0, 1.0, 0.0]
    signs[0, 1, 1] = [9.0, 0.0, 1.0]
    said = answer_slices(signs, LINES)
    e = np.exp(1.0)
    # RV at score 2: at least partly e / (1 + e), wholly 1 / (1 + e): transition, share 1/2, which counts
    np.testing.assert_allclose(said.share[0, 0, 0], 0.5)
    np.testing.assert_allclose(said.confidence[0, 0, 0], (e - 1) / (e + 1))
    assert said.is_transition[0, 0].tolist() == [True, False]
    assert said.counted[0].tolist() == [[True, True], [False, False]]
    # LV at score 4: partly 1 / (1 + e^-4), wholly 1 / (1 + e^-2); at score 0: 1/2 and 1 / (1 + e^2)
    np.testing.assert_allclose(said.share[0, 0, 1], (0.9820138 + 0.8807971) / 2, atol=1e-6)
    np.testing.assert_allclose(said.confidence[0, 0, 1], 0.8807971, atol=1e-6)
    np.testing.assert_allclose(said.share[0, 1, 1], (0.5 + 0.1192029) / 2, atol=1e-6)
    assert said.share[0, 1, 0] == 0  # nothing was found
    assert np.isnan(said.confidence[0, 1, 0])


def test_of_a_cine_neighbours_in_time_count_together() -> None:
    """One frame of twenty with certainty 0 among 4s: the mean of five is 3.2, wholly ventricle by its line."""
    signs = np.full((20, 1, 2, 3), 4.0)
    signs[7, 0, 0, 0] = 0.0
    said = answer_slices(signs, LINES)
    np.testing.assert_allclose(said.share[7, 0, 0], (1 / (1 + np.exp(-2.2)) + 1 / (1 + np.exp(-0.2))) / 2)
    alone = answer_slices(signs[:19], LINES)
    np.testing.assert_allclose(alone.share[7, 0, 0], (1 / (1 + np.exp(1.0)) + 1 / (1 + np.exp(3.0))) / 2)


@pytest.mark.parametrize(
    "lines",
    [
        {},
        {"rv": (1, 3, 1, 0, 0), "lv": (1, 3, 1, 0)},
        {"rv": (1, 3, 1, 0, 0), "lv": (3, 1, 1, 0, 0)},
        {"rv": (1, 3, 1, 0, 0), "lv": (1, 3, float("nan"), 0, 0)},
    ],
)
def test_lines_that_are_none_are_named(lines: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match=r"^a card: slice_lines needs 5 numbers .* for .*lv$"):
        checked_slice_lines(lines, "a card")


def test_half_a_slice_counts() -> None:
    share = np.array([[[0.5, 0.49]]])
    answers = SliceAnswers(share, np.zeros(share.shape, bool), share)
    np.testing.assert_array_equal(answers.counted, [[[True, False]]])
