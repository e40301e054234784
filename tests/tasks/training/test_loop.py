"""The training loop by itself, under a recipe of one weight that can be worked out by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cmr_models.zoo import ModelCard
from tasks.training import loop
from tasks.training.checkpoints import append_metrics, drop_metrics_after


class OneWeight:
    """A weight that begins at 1; the loss is the weight times ``slope``, plus a second loss without a gradient."""

    stopped = False

    def __init__(self, slope: float = 2.0, **settings: Any) -> None:
        self.network, self.mean = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        for network in (self.network, self.mean):
            nn.init.ones_(network.weight)
        self.optimiser = torch.optim.SGD([{"params": self.network.parameters(), "lr_scale": 0.5}], lr=0.0)
        self.slope, self.loop = slope, loop.LoopSettings(**{"steps": 4, "log_every": 2, "clip": 1e9, **settings})
        self.seen: list[Sequence[loop.Losses]] = []

    def identity(self) -> str:
        return "one weight"

    def learning_rate(self, step: int) -> float:
        return 0.1 * (step + 1)

    def losses(self, step: int) -> Mapping[str, Tensor]:
        return {"loss": self.slope * self.network.weight.sum(), "other": torch.tensor(float(step))}

    def measure(self, losses: Sequence[loop.Losses]) -> Mapping[str, float]:
        self.seen.append(losses)
        return {"other": losses[-1]["other"]}

    def state(self) -> Mapping[str, Any]:
        return {"mean": self.mean.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.mean.load_state_dict(state["mean"])

    def result(self) -> nn.Module:
        return self.mean

    def card(self) -> ModelCard:
        return ModelCard("one", "segment_sax", "unet2d", {}, 1.0, 1)


def test_a_step_follows_the_rate_of_its_group_and_the_mean_follows_the_step() -> None:
    recipe = OneWeight(mean_decay=0.9)
    assert loop.take_step(recipe, 1) == {"loss": 2.0, "other": 1.0}
    assert recipe.network.weight.item() == pytest.approx(1 - 0.2 * 0.5 * 2.0)
    decay = 2 / 12  # of step 1, the second
    assert recipe.mean.weight.item() == pytest.approx(decay * 1 + (1 - decay) * 0.8)


def test_the_gradient_is_cut_to_the_norm_of_the_settings() -> None:
    recipe = OneWeight(slope=100.0, clip=3.0)
    loop.take_step(recipe, 0)
    assert recipe.network.weight.item() == pytest.approx(1 - 0.1 * 0.5 * 3.0, rel=1e-5)


def test_a_row_has_the_losses_since_the_last_one_and_the_last_step_has_a_row(tmp_path: Path) -> None:
    recipe = OneWeight(steps=5)
    loop.train(recipe, tmp_path)
    assert [len(losses) for losses in recipe.seen] == [2, 2, 1]
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,other", "2,1", "4,3", "5,4"]


def test_a_recipe_that_stops_leaves_what_it_has(tmp_path: Path) -> None:
    recipe = OneWeight(steps=50)

    def measure_and_stop(losses: Sequence[loop.Losses]) -> Mapping[str, float]:
        recipe.stopped = True
        return {"other": 0.0}

    recipe.measure = measure_and_stop  # type: ignore[method-assign]
    loop.train(recipe, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    assert (tmp_path / "model.safetensors").exists()


def test_a_checkpoint_is_made_with_each_row_where_no_interval_is_given(tmp_path: Path) -> None:
    class Killed(OneWeight):
        def losses(self, step: int) -> Mapping[str, Tensor]:
            if step == 3:
                raise KeyboardInterrupt
            return super().losses(step)

    with pytest.raises(KeyboardInterrupt):
        loop.train(Killed(), tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    whole, resumed = OneWeight(), OneWeight()
    loop.train(whole, tmp_path / "whole")
    loop.train(resumed, tmp_path)
    assert torch.equal(whole.mean.weight, resumed.mean.weight)


def test_a_process_that_does_not_write_leaves_nothing(tmp_path: Path) -> None:
    loop.train(OneWeight(writes=False), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the loss is nan at step 0; lower learning_rate"):
        loop.train(OneWeight(slope=float("nan")), tmp_path)


def test_metrics_of_version_0_1_without_a_header_get_one_and_go_on(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("20,1.5\n40,1.25\n")
    drop_metrics_after(tmp_path, 20)
    append_metrics(tmp_path, {"step": 40, "loss": 1.0})
    assert file.read_text().split() == ["step,loss", "20,1.5", "40,1"]
    drop_metrics_after(tmp_path, 10)
    assert not file.exists()
