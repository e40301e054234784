"""The partial-label losses, by hand and by law."""

import math

import pytest
import torch
from torch.nn import functional as F

from cmr_models.training.partial_label_losses import narrow, partial_cross_entropy, partial_dice, possible_classes


def test_with_one_possible_class_a_pixel_it_is_the_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 4, 5, 6), torch.randint(0, 4, (2, 5, 6))
    expected = F.cross_entropy(logits, labels)
    assert torch.allclose(partial_cross_entropy(logits, possible_classes(labels)), expected)


def test_with_every_class_possible_there_is_nothing_to_learn() -> None:
    logits = torch.randn(1, 4, 3, 3, requires_grad=True)
    loss = partial_cross_entropy(logits, torch.full((1, 3, 3), 0b1111))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6


def test_two_of_four_equal_classes_cost_log_two() -> None:
    loss = partial_cross_entropy(torch.zeros(1, 4, 2, 2), torch.full((1, 2, 2), 0b0101))
    assert loss.item() == pytest.approx(math.log(2))


def test_a_perfect_prediction_has_no_dice_loss() -> None:
    labels = torch.tensor([[[0, 1], [2, 3]]])
    logits = 100.0 * F.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    assert partial_dice(logits, possible_classes(labels)).item() == pytest.approx(0, abs=1e-6)


def test_dice_ignores_what_undecided_pixels_are_called() -> None:
    possible = torch.tensor([[[0b1000, 0b0111], [0b0111, 0b1000]]])
    first, second = torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 2, 2)
    first[0, 3, 0, 0] = second[0, 3, 0, 0] = first[0, 3, 1, 1] = second[0, 3, 1, 1] = 50.0
    first[0, 0, 0, 1] = first[0, 1, 1, 0] = 50.0
    second[0, 2, 0, 1] = second[0, 2, 1, 0] = 50.0
    assert partial_dice(first, possible).item() == pytest.approx(partial_dice(second, possible).item())


def test_a_sure_teacher_narrows_only_within_what_is_possible() -> None:
    possible = torch.tensor([[[0b0110, 0b0110, 0b0111]]])
    probability = torch.tensor([[0.9, 0.0, 0.4], [0.09, 0.5, 0.3], [0.01, 0.5, 0.3], [0.0, 0.0, 0.0]])
    result = narrow(possible, probability.view(1, 4, 1, 3), confidence=0.8)
    assert result.tolist() == [[[0b0010, 0b0110, 0b0111]]]


def test_a_pixel_without_a_possible_class_is_refused() -> None:
    with pytest.raises(ValueError, match="no possible class; set every bit"):
        partial_cross_entropy(torch.zeros(1, 4, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64))


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(1, 2, 2\)"):
        partial_dice(torch.zeros(1, 4, 3, 3), torch.ones(1, 2, 2, dtype=torch.int64))
