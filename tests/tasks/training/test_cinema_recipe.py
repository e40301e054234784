"""Every task learns; a killed training ends where an uninterrupted one does; settings do what they say."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cmr_models import zoo
from cmr_models.nets import build
from cmr_models.training.cinema_augmentation import SampleAugmentation
from tasks.training.cinema_batches import Sample, batch_order, kept_indices
from tasks.training.cinema_objectives import network_config
from tasks.training.cinema_recipe import finetune
from tasks.training.cinema_settings import FAMILIES, FinetuningSettings
from tasks.training.recipes import read_recipe

CONFIG = {"size": "tiny", "sax_size": [32, 32, 2], "lax_size": [32, 32], "enc_conv_chans": [8, 8], "drop_path": 0.1}
BASE = FinetuningSettings(
    task="regression_ef", config=CONFIG, steps=24, batch=8, warmup_steps=2, learning_rate=3e-3, evaluate_every=8,
    patience=0, low_precision=False, augmentation=SampleAugmentation(chance=0.0),
)  # fmt: skip
KINDS = {
    "segment_lax_4c": {
        "kind": "ConvUNetR", "views": ("lax_4c",), "classes": ("background", "disc"),
        "config": CONFIG | {"dec_chans": [8, 8, 8, 8, 8]},
    },
    "classification_size": {"classes": ("small", "large")},
    "regression_ef": {},
    "landmark_heatmap": {
        "kind": "ConvUNetR", "views": ("lax_4c",), "classes": ("centre",), "config": CONFIG | {"dec_chans": [8] * 5},
    },
    "landmark_coordinate": {"views": ("lax_4c",), "classes": ("centre",)},
    "pretrain": {"kind": "CineMA", "views": ("sax", "lax_4c"), "config": CONFIG},
}  # fmt: skip


class Discs:
    """Bright discs of random place and size."""

    def __init__(self, n: int, task: str, views: Sequence[str]) -> None:
        self.n, self.task, self.views = n, task, views

    def __len__(self) -> int:
        return self.n

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        x, y, radius = np.random.default_rng(index).uniform([10, 10, 3], [22, 22, 9])
        across, down = np.mgrid[:32, :32]
        disc = np.hypot(across - x, down - y) < radius
        flat = disc.astype(np.float32)[None]
        images = {view: np.repeat(flat[..., None], 2, -1) if view == "sax" else flat for view in self.views}
        target = {
            "segment_lax_4c": disc.astype(np.int64), "classification_size": np.int64(radius > 6),
            "regression_ef": np.float32(radius),
        }.get(self.task, np.array([[x, y]], np.float32))  # fmt: skip
        return Sample(images, np.asarray(target))


def _discs(settings: FinetuningSettings, n: int = 16) -> Discs:
    return Discs(n, settings.task, settings.views)


@pytest.mark.slow
@pytest.mark.parametrize("task", KINDS)
def test_the_loss_of_every_task_falls(task: str, tmp_path: Path) -> None:
    settings = replace(BASE, task=task, steps=60, evaluate_every=12, **KINDS[task])
    finetune(settings, _discs(settings), _discs(settings, 6), tmp_path)
    losses = pd.read_csv(tmp_path / "metrics.csv")["loss"]
    assert losses.iloc[-1] < 0.9 * losses.iloc[0]
    network, card = zoo.load(tmp_path)
    assert card.views == settings.views
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_a_killed_training_ends_bit_for_bit_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    settings = replace(BASE, augmentation=SampleAugmentation())
    finetune(settings, _discs(settings), _discs(settings, 4), tmp_path / "whole")

    class Killed(Discs):
        read = 0

        def sample(self, index: int, rng: np.random.Generator) -> Sample:
            self.read += 1
            if self.read > 140:  # between the first and the last checkpoint
                raise KeyboardInterrupt
            return super().sample(index, rng)

    with pytest.raises(KeyboardInterrupt):
        finetune(settings, Killed(16, settings.task, settings.views), _discs(settings, 4), tmp_path / "killed")
    assert torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["step"] in (8, 16)
    finetune(settings, _discs(settings), _discs(settings, 4), tmp_path / "killed")
    for name in ("model.safetensors", "metrics.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    finetune(replace(BASE, steps=8), _discs(BASE), None, tmp_path)
    with pytest.raises(ValueError, match="other settings"):
        finetune(replace(BASE, steps=9), _discs(BASE), None, tmp_path)


def test_training_stops_when_the_validation_measure_no_longer_improves(tmp_path: Path) -> None:
    settings = replace(BASE, learning_rate=0.0, minimum_rate=0.0, patience=2, steps=80)
    finetune(settings, _discs(settings), _discs(settings, 4), tmp_path)
    assert list(pd.read_csv(tmp_path / "metrics.csv")["step"]) == [8, 16, 24]


def test_pretrained_weights_begin_a_downstream_network(tmp_path: Path) -> None:
    pretraining = replace(BASE, task="pretrain", steps=8, **KINDS["pretrain"])
    finetune(pretraining, _discs(pretraining), None, tmp_path / "pretrained")
    init = zoo.load(tmp_path / "pretrained")[0].state_dict()
    still = replace(BASE, learning_rate=0.0, minimum_rate=0.0, steps=8)
    finetune(still, _discs(still), None, tmp_path / "tuned", init=init)
    tuned = zoo.load(tmp_path / "tuned")[0].state_dict()
    key = "encoder.blocks.0.mlp.fc1.weight"
    assert torch.equal(tuned[key], init[key])


def test_a_proportion_keeps_that_share_and_a_smaller_one_lies_within_it() -> None:
    half, quarter = (set(kept_indices(40, share, 3)) for share in (0.5, 0.25))
    assert len(half) == 20
    assert quarter < half
    assert set(kept_indices(40, 0.5, 4)) != half
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        replace(BASE, proportion=0.0)


def test_every_epoch_shows_every_sample_once_even_where_batches_straddle_it() -> None:
    shown = np.concatenate([batch_order(np.arange(10), step, 4, 0) for step in range(5)])
    assert sorted(shown[:10]) == sorted(shown[10:]) == list(range(10))


def test_settings_of_a_file_are_read_and_unknown_ones_named(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('task = "regression_ef"\n[data]\nproportion = 0.5\n[augmentation]\ngamma = [0.8, 1.2]\n')
    settings = read_recipe(file, FinetuningSettings, seed=2)
    assert (settings.proportion, settings.seed, settings.augmentation.gamma) == (0.5, 2, (0.8, 1.2))
    file.write_text('task = "regression_ef"\nepochs = 3\n')
    with pytest.raises(ValueError, match="epochs"):
        read_recipe(file, FinetuningSettings)


RECIPES = sorted((Path(__file__).parents[3] / "infra" / "training").glob("cinema_*.toml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_describes_a_network_of_the_published_size(file: Path) -> None:
    settings = read_recipe(file, FinetuningSettings)
    assert file.stem == f"cinema_{settings.task}"
    n_frames = 2 if settings.family in ("classification", "regression") else 1
    with torch.device("meta"):
        network = build(settings.kind, **network_config(settings, n_frames))
    tensors = {"CineMA": 603, "ConvViT": 250, "ConvUNetR": 380}  # as the published files have
    assert len(network.state_dict()) == tensors[settings.kind]
    assert settings.warmup_steps < settings.steps


def test_every_kind_of_task_has_a_recipe() -> None:
    assert {read_recipe(file, FinetuningSettings).family for file in RECIPES} == set(FAMILIES)


def test_tensorboard_gets_the_figures_that_the_file_gets(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install cmr-cohort[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = replace(BASE, steps=2, evaluate_every=1, tensorboard=True)
    finetune(settings, _discs(settings), None, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    logged = [event.value for event in events.Scalars("loss")]
    np.testing.assert_allclose(logged, pd.read_csv(tmp_path / "metrics.csv")["loss"], rtol=1e-4)


def test_tensorboard_that_is_absent_is_told_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    settings = replace(BASE, steps=2, tensorboard=True)
    with pytest.raises(ModuleNotFoundError, match=r"pip install cmr-cohort\[tensorboard\]"):
        finetune(settings, _discs(settings), None, tmp_path)
    assert not (tmp_path / "metrics.csv").exists()


def test_the_card_tells_the_pixel_of_the_recipe(tmp_path: Path) -> None:
    settings = replace(BASE, steps=1, pixel_mm=1.5)
    finetune(settings, _discs(settings), None, tmp_path)
    assert zoo.load(tmp_path)[1].pixel_mm == 1.5
