"""What is said of each slice beside the labels, from probabilities that are certain."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cmr_models import zoo
from cmr_models.contracts import LV, MYOCARDIUM, RV, SLICE_ANSWERS
from cmr_models.segmentation.crops import CropWindow
from cmr_models.segmentation.restoring import Restored, network_view, restore, restore_with_answers

SIDE, N = 50, 6
# LV: by the wall alone; even odds of partly at 0.4 and of wholly at 0.6 of the largest wall. RV: always wholly.
LINES = {"rv": (-9.0, -8.0, 0.0, 0.0, 0.0), "lv": (4.0, 6.0, 0.0, 0.0, 10.0)}


def stack() -> np.ndarray:
    """Six slices: half a wall (112 of 225 px less the pool) in the first, no left ventricle in the last."""
    labels = np.zeros((1, N, SIDE, SIDE), np.uint8)
    labels[:, :, 13:28, 23:38], labels[:, :, 16:25, 26:35], labels[:, :4, 14:26, 8:20] = MYOCARDIUM, LV, RV
    labels[0, 5][labels[0, 5] > 0] = 0
    return labels


def restored(
    labels: np.ndarray, lines: dict[str, Any] | None = None, slice_mm: float | None = None, **limits: float
) -> Restored:
    certain = torch.nn.functional.one_hot(torch.from_numpy(labels.reshape(-1, SIDE, SIDE)).long(), 4)
    card = zoo.ModelCard("t", "segment_sax", "", {"n_classes": 4}, 1.4, SIDE, slice_lines=lines or {})
    card = replace(card, slice_limits={str({"rv": RV, "lv": LV}[name]): least for name, least in limits.items()})
    window = CropWindow(((SIDE - 1) / 2, (SIDE - 1) / 2), (1.0, 1.0), SIDE, slice_mm)
    return restore_with_answers(certain.movedim(-1, 1).float(), window, labels.shape, card)


def answers(found: Restored, ventricle: int) -> list[str]:
    return [SLICE_ANSWERS[int(code)] for code in found.answers["slice_answer"][0, :, ventricle]]


def test_without_lines_a_slice_is_ventricle_or_nothing_was_found() -> None:
    found = restored(stack())
    np.testing.assert_array_equal(found.labels, stack())
    assert answers(found, 1) == ["ventricle"] * 5 + ["slice_nothing_found"]
    assert answers(found, 0) == ["ventricle"] * 4 + ["slice_nothing_found"] * 2
    assert found.answers["slice_share"][0, :, 1].tolist() == [1, 1, 1, 1, 1, 0]
    assert "answer_confidence" not in found.answers


def test_a_slice_of_which_the_network_expects_less_than_the_limit_is_uncertain() -> None:
    """Certain probabilities let expect an overlap of 1, which is less than 1.01 and no less than 1."""
    np.testing.assert_array_equal(restored(stack(), rv=1.0).labels, stack())
    found = restored(stack(), rv=1.01)
    assert not (found.labels == RV).any()
    assert answers(found, 0) == ["slice_uncertain"] * 4 + ["slice_nothing_found"] * 2
    assert answers(found, 1) == ["ventricle"] * 5 + ["slice_nothing_found"]
    assert found.answers["slice_share"][0, :, 0].tolist() == [0] * 6


@pytest.mark.parametrize(("rows_of_wall", "answer", "share"), [(13, "ventricle", 0.93), (3, "slice_uncertain", 0.17)])
def test_the_learned_answer_decides_by_its_line(rows_of_wall: int, answer: str, share: float) -> None:
    """Of a wall of 144 px the upper 13 rows have 114: a score of 7.92, odds of 3.92 for partly and 1.92 for wholly, in
    logarithms, so probabilities 0.98 and 0.87. Three rows have 45 px: 3.13, -0.87 and -2.87, so 0.29 and 0.05.
    """
    labels = stack()
    cut = labels[0, 0, 13 + rows_of_wall : 28]
    cut[cut == MYOCARDIUM] = 0
    found = restored(labels, LINES)
    assert answers(found, 1)[:2] == [answer, "ventricle"]
    assert found.answers["slice_share"][0, 0, 1] == pytest.approx(share, abs=0.001)
    is_there = np.isin(found.labels[0, 0], (LV, MYOCARDIUM)).any()
    assert is_there == (answer == "ventricle")
    assert (found.labels[0, 0] == RV).any()


@pytest.mark.parametrize(
    ("slice_mm", "answer"), [(13.0, "slice_uncertain"), (13.1, "slice_open"), (float("nan"), "slice_uncertain")]
)
def test_slices_further_apart_than_those_that_were_learnt_are_not_asked(slice_mm: float, answer: str) -> None:
    labels = stack()
    cut = labels[0, 0, 16:28]
    cut[cut == MYOCARDIUM] = 0
    assert answers(restored(labels, LINES, slice_mm), 1)[0] == answer


def test_half_a_wall_is_a_transition_that_counts() -> None:
    """72 of 144 px: a score of 5, odds of e to 1 for partly and of 1 to e for wholly, so half of the slice."""
    labels = stack()
    labels[0, 0, 22:28, 23:38][labels[0, 0, 22:28, 23:38] == MYOCARDIUM] = 0
    labels[0, 0, 13:22, 23:26] = 0
    left = np.count_nonzero(labels[0, 0] == MYOCARDIUM)
    labels[0, 0, 28:30, :].reshape(-1)[: 72 - left] = MYOCARDIUM
    found = restored(labels, LINES)
    assert found.answers["slice_share"][0, 0, 1] == 0.5
    e = np.exp(1.0)
    assert found.answers["answer_confidence"][0, 0, 1] == pytest.approx((e - 1) / (e + 1), abs=0.005)
    assert np.isnan(found.answers["answer_confidence"][0, 5, 1])


def test_other_views_have_no_answers_of_slices() -> None:
    labels = stack()[:, :1]
    certain = torch.nn.functional.one_hot(torch.from_numpy(labels.reshape(-1, SIDE, SIDE)).long(), 6)
    card = zoo.ModelCard("t", "segment_lax_4c", "", {"n_classes": 6}, 1.4, SIDE)
    window = CropWindow(((SIDE - 1) / 2, (SIDE - 1) / 2), (1.0, 1.0), SIDE)
    outputs = certain.movedim(-1, 1).float()
    assert restore_with_answers(outputs, window, labels.shape, card).answers == {}
    np.testing.assert_array_equal(restore(outputs, window, labels.shape, card), labels)
    seen, sums = network_view(outputs, window, labels.shape[:2], card)
    assert np.count_nonzero(seen == LV) == 81
    assert sums[0, LV - 1, 0] == 81
