"""The overlap that probabilities let expect, by hand."""

import numpy as np
import pytest

from cmr_models.segmentation.certainty import (
    DICE_LINES,
    ERROR_LINES,
    checked_lines,
    expected_dice,
    expected_slice_dice,
    overlap_sums,
    predicted_dice,
    smooth_over_cycle,
)


def _outputs(lv: list[list[float]]) -> np.ndarray:
    """Images of a row of pixels ``lv`` with the probability of class 2, class 1 never, the rest background."""
    second = np.array(lv, np.float32)[:, None, :]
    return np.stack([1 - second, np.zeros_like(second), second], axis=1)


def test_expected_overlap_is_that_of_the_volume_of_a_frame() -> None:
    # frame 0: slices (0.9, 0.2) and (0.8, 0.1): two pixels labelled, 1.7 of them expected, 2.0 expected in all
    # frame 1: certain
    outputs = _outputs([[0.9, 0.2], [0.8, 0.1], [1.0, 0.0], [1.0, 1.0]])
    found = expected_dice(overlap_sums(outputs), 2)
    assert found.shape == (2, 2)
    np.testing.assert_allclose(found[:, 1], [2 * 1.7 / (2 + 2.0), 1.0], rtol=1e-6)


def test_a_structure_that_is_not_found_has_no_overlap() -> None:
    assert np.isnan(expected_dice(overlap_sums(_outputs([[0.9, 0.2]])), 1)[:, 0]).all()


def test_the_weights_decide_what_is_labelled_and_not_what_is_expected() -> None:
    outputs = _outputs([[0.9, 0.4]])
    # with twice the weight the second pixel is labelled too: 1.3 of two
    found = expected_dice(overlap_sums(outputs, np.array([1.0, 1.0, 2.0])), 1)
    assert found[0, 1] == pytest.approx(2 * 1.3 / (2 + 1.3))


def test_each_structure_has_its_line_and_no_overlap_leaves_its_range() -> None:
    lines = {"dice_rv": (-1.0, 2.0), "dice_myocardium": (0.0, 1.0), "dice_lv": (0.5, 1.0)}
    found = predicted_dice(np.array([[0.9, 0.9, 0.9], [0.4, np.nan, 0.1]]), lines)
    np.testing.assert_allclose(found, [[0.8, 0.9, 1.0], [0.0, np.nan, 0.6]])


@pytest.mark.parametrize("bad", [[1.0], [1.0, 2.0, 3.0], [1.0, float("nan")], ["1", "2"], 3.0, [[1.0], [2.0]]])
def test_a_card_whose_lines_are_none_is_refused(bad: object) -> None:
    lines = {name: [0.0, 1.0] for name in (*DICE_LINES, *ERROR_LINES)}
    assert checked_lines(lines, "a card")["lvef_low"] == (0.0, 1.0)
    with pytest.raises(
        ValueError, match="a card: certainty needs two numbers, offset and slope, for dice_lv, lvef_low"
    ):
        checked_lines({**lines, "lvef_low": bad, "dice_lv": bad}, "a card")


def test_each_slice_answers_for_itself() -> None:
    outputs = _outputs([[0.9, 0.2], [0.6, 0.4], [0.1, 0.2], [1.0, 1.0]])
    found = expected_slice_dice(overlap_sums(outputs), 2)
    assert found.shape == (2, 2, 2)
    np.testing.assert_allclose(found[..., 1], [[1.8 / 2.1, 1.2 / 2.0], [np.nan, 1.0]], rtol=1e-6)


def test_a_valve_does_not_flicker() -> None:
    expected = np.full((20, 1), 0.9)
    expected[7], expected[0] = 0.4, np.nan
    smooth = smooth_over_cycle(expected)[:, 0]
    np.testing.assert_allclose(smooth[5:10], 0.8)  # four of 0.9 and one of 0.4
    np.testing.assert_allclose(smooth[[0, 1, 18, 19]], 0.9)  # nothing was found in frame 0, which follows frame 19
    np.testing.assert_array_equal(smooth_over_cycle(expected[:19]), expected[:19])
