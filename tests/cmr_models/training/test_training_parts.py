"""Schedule, layer decay, losses and augmentation against values worked out by hand."""

import math

import numpy as np
import pytest
import torch

from cmr_models.nets import build
from cmr_models.training.cinema_augmentation import (
    SampleAugmentation,
    SampleChange,
    augment,
    draw_change,
    move_image,
    move_points,
)
from cmr_models.training.layer_decay import layer_of, parameter_groups
from cmr_models.training.running_mean import decay_at, update_mean
from cmr_models.training.schedules import cosine_after_warmup, cosine_with_warmup
from cmr_models.training.task_losses import gaussian_heatmaps, wing


@pytest.mark.parametrize(("step", "rate"), [(0, 0.0), (5, 0.5), (10, 1.0), (20, 0.55), (30, 0.1)])
def test_the_rate_rises_linearly_from_zero_and_falls_along_half_a_cosine(step: int, rate: float) -> None:
    assert cosine_after_warmup(step, peak=1.0, floor=0.1, warmup_steps=10, total_steps=30) == pytest.approx(rate)


def test_a_warm_up_as_long_as_the_training_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        cosine_after_warmup(0, peak=1, floor=0, warmup_steps=3, total_steps=3)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.25 * 2), (3, 2 * 0.8535534), (6, 1.0), (12, 0.0), (20, 0.0)])
def test_a_warm_up_multiplies_a_cosine_that_begins_at_the_first_step(step: int, rate: float) -> None:
    assert cosine_with_warmup(step, peak=2.0, warmup_steps=4, total_steps=12) == pytest.approx(rate)


def test_a_running_mean_moves_by_one_minus_the_decay_and_copies_counts() -> None:
    mean, network = torch.nn.BatchNorm1d(1), torch.nn.BatchNorm1d(1)
    with torch.no_grad():
        network.weight.fill_(5.0)
        network.running_mean.fill_(8.0)  # type: ignore[union-attr]
        network.num_batches_tracked.fill_(3)  # type: ignore[union-attr]
    update_mean(mean, network, 0.75)
    state = {key: float(value) for key, value in mean.state_dict().items()}
    assert state == {"weight": 2.0, "bias": 0.0, "running_mean": 2.0, "running_var": 1.0, "num_batches_tracked": 3.0}
    assert [decay_at(step, 0.9) for step in (10, 1000)] == [0.5, 0.9]


def test_layers_are_numbered_from_the_image_to_the_head() -> None:
    names = ["enc_down_dict.sax.linear.weight", "encoder.cls_token", "encoder.blocks.0.norm1.weight",
             "encoder.blocks.11.attn.q.weight", "encoder.norm.weight", "pred_head_dict.sax.weight"]  # fmt: skip
    assert [layer_of(name, 12) for name in names] == [0, 0, 1, 12, 13, 13]


def test_groups_hold_every_trainable_parameter_once_and_spare_vectors_the_weight_decay() -> None:
    network = build("ConvViT", views=["lax_4c"], size="tiny", out_chans=2, lax_size=[32, 32])
    groups = parameter_groups(network, weight_decay=0.05, layer_decay=0.75, depth=1)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    assert {group["lr_scale"] for group in groups} == {0.75**2, 0.75, 1.0}
    assert all((group["weight_decay"] == 0) == (p.ndim <= 1) for group in groups for p in group["params"])


def test_the_wing_loss_is_logarithmic_near_and_linear_far_and_joins_at_its_width() -> None:
    assert float(wing(torch.tensor(2.0))) == pytest.approx(10 * math.log(2))
    assert float(wing(torch.tensor(13.0)) - wing(torch.tensor(12.0))) == pytest.approx(1)
    assert float(wing(torch.tensor(10.0))) == pytest.approx(10 * math.log(6))


def test_all_that_is_drawn_lies_in_the_ranges_and_reaches_their_ends() -> None:
    ranges = SampleAugmentation(hole=0.2)
    rng = np.random.default_rng(0)
    drawn = [draw_change(rng, ranges) for _ in range(3000)]
    for values, low, high in (
        ([d.gamma for d in drawn], 0.5, 1.5),
        ([d.rotation_deg for d in drawn], -180, 180),
        ([d.translation[0] for d in drawn], -60 / 192, 60 / 192),
        ([d.scale for d in drawn], 0.8, 1.2),
    ):
        assert low <= min(values) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < max(values) <= high
    assert 0.45 < np.mean([d.hole is not None for d in drawn]) < 0.55


def test_a_quarter_turn_moves_the_image_as_numpy_does() -> None:
    image = torch.arange(16.0).reshape(1, 4, 4)
    turned = move_image(image, SampleChange(rotation_deg=90), "nearest")[0].numpy()
    assert any(np.array_equal(turned, np.rot90(image[0].numpy(), k)) for k in (1, 3))


@pytest.mark.parametrize("size", [(40, 40), (48, 32)])
def test_points_move_with_what_they_mark(size: tuple[int, int]) -> None:
    point = torch.tensor([[22.0, 13.0]])
    drawn = SampleChange(rotation_deg=37, scale=1.15, translation=(0.1, -0.05))
    seen = move_image(gaussian_heatmaps(point[None], size)[0], drawn)[0]
    x, y = divmod(int(seen.argmax()), size[1])
    assert move_points(point, drawn, size)[0].tolist() == pytest.approx([x, y], abs=0.8)


def test_a_stack_is_moved_slice_by_slice_and_stays_between_zero_and_one() -> None:
    stack = torch.rand(2, 12, 12, 3, generator=torch.Generator().manual_seed(1))
    drawn = SampleChange(rotation_deg=20, gamma=0.7, noise_sd=0.1)
    out = augment(stack, drawn)
    assert out.shape == stack.shape
    assert 0 <= float(out.min()) < float(out.max()) <= 1
    moved = SampleChange(rotation_deg=20)
    torch.testing.assert_close(move_image(stack, moved)[..., 1], move_image(stack[..., 1], moved))
