"""Recipes are read by one function, whatever they train."""

from pathlib import Path

import pytest

from cmr_models.training.augmentation import Augmentation
from tasks.training.cards import make_card
from tasks.training.cinema_settings import FinetuningSettings
from tasks.training.perfusion_settings import PerfusionTraining
from tasks.training.recipes import identity, read_recipe
from tasks.training.segmentation_settings import TrainingSettings


def _file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    return file


def test_tables_lists_and_changes_become_settings(tmp_path: Path) -> None:
    text = 'real_excluded = ["A"]\nsteps = 5\n[config]\nwidths = [4, 8]\n[augmentation]\ncoarse_pixel_mm = [1.0, 2.0]\n'
    settings = read_recipe(_file(tmp_path, text), TrainingSettings, steps=7)
    assert (settings.real_excluded, settings.steps, settings.config) == (("A",), 7, {"widths": [4, 8]})
    assert settings.augmentation == Augmentation(coarse_pixel_mm=(1.0, 2.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = ", "recipe.toml is not valid TOML"),
        ("stepps = 3", r"recipe.toml: unknown settings \['stepps'\]; known are \['task'"),
        ("[augmentation]\ngama = 1", r"recipe.toml: unknown settings \['gama'\]"),
        ("steps = 3", "recipe.toml lacks a setting: .*'task'"),
        ('task = "aif"', "recipe.toml: unknown task 'aif'; tasks are"),
    ],
)
def test_a_faulty_recipe_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    settings = TrainingSettings if "augmentation" in text else PerfusionTraining
    with pytest.raises(ValueError, match=message):
        read_recipe(_file(tmp_path, text), settings)


@pytest.mark.parametrize(
    ("settings", "machine"),
    [
        (FinetuningSettings(task="pretrain"), {"device", "threads", "tensorboard"}),
        (PerfusionTraining(task="aif_detect"), {"device"}),
        (
            TrainingSettings(),
            {"real", "drawn", "crossed", "simulated_cache", "simulation_workers", "start_from", "device", "threads",
             "log_every", "checkpoint_every_s"},
        ),
    ],
)  # fmt: skip
def test_paths_and_the_machine_are_no_part_of_what_decides_the_weights(
    settings: FinetuningSettings | PerfusionTraining | TrainingSettings, machine: set[str]
) -> None:
    assert set(vars(settings)) - set(identity(settings)) == machine
    card = make_card(settings, config={}, pixel_mm=1.0, size=8, training_data=("nothing",))
    assert card.training_settings == identity(settings)
    assert (card.name, card.task, card.licence) == (settings.name, settings.task, "Apache-2.0")
