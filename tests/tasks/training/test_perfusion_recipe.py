"""The perfusion recipe learns, resumes exactly, and leaves a model that loads; its benchmark runs."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cmr_models.zoo import load
from tasks.training.perfusion_recipe import TASKS, PerfusionTraining, read_perfusion_recipe, train_perfusion

ROOT = Path(__file__).parents[3]
SHIPPED = [task for task in TASKS if (ROOT / "cmr_models" / "weights" / f"{task}.toml").exists()]
TINY = PerfusionTraining(
    task="aif_detect", config={"widths": [4, 8, 8], "blocks": [1, 1, 1], "head_width": 4}, bins=12, pool=6, fresh=1,
    batch=3, steps=4,
)  # fmt: skip


@pytest.mark.parametrize(("task", "classes"), [("aif_detect", 2), ("aif_detect", 3), ("perfusion_segment", 4)])
def test_training_leaves_a_model_that_loads(task: str, classes: int, tmp_path: Path) -> None:
    weights = (1.0,) * classes
    settings = replace(TINY, task=task, n_classes=classes, class_weight=weights, pixel_mm=3.0, steps=2)
    network, card = load(train_perfusion(settings, tmp_path / "model"), task)
    assert network(torch.zeros(1, 13, 64, 64)).shape == (1, classes, 64, 64)
    assert card.task == task
    assert card.training_settings["steps"] == 2


def test_a_training_that_stopped_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    whole = load(train_perfusion(TINY, tmp_path / "whole"), "aif_detect")[0]
    stopped = tmp_path / "stopped"

    class _Killed(Exception):
        pass

    def die(*_: object) -> None:
        raise _Killed

    train = pytest.MonkeyPatch()
    train.setattr("tasks.training.perfusion_recipe.save", die)
    with pytest.raises(_Killed):
        train_perfusion(TINY, stopped)
    train.undo()
    resumed = load(train_perfusion(TINY, stopped), "aif_detect")[0]
    for one, two in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_other_settings_do_not_continue_a_training(tmp_path: Path) -> None:
    train_perfusion(replace(TINY, steps=1), tmp_path)
    with pytest.raises(ValueError, match="made with other settings"):
        train_perfusion(replace(TINY, steps=2), tmp_path)


def test_the_recipes_in_the_repository_are_those_of_the_embedded_weights() -> None:
    for task in SHIPPED:
        recipe = read_perfusion_recipe(ROOT / "infra" / "training" / f"{task}.toml")
        settings = load("default", task)[1].training_settings
        assert {key: settings[key] for key in ("steps", "batch", "fresh", "pool", "seed", "bins")} == {
            key: getattr(recipe, key) for key in ("steps", "batch", "fresh", "pool", "seed", "bins")
        }


def test_an_unknown_entry_of_a_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('task = "aif_detect"\nstepz = 3\n')
    with pytest.raises(ValueError, match=r"unknown settings \['stepz'\]"):
        read_perfusion_recipe(tmp_path / "x.toml")


def test_the_benchmark_runs(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.perfusion_networks", "--aif", "3", "--motion", "1"]
    command += ["--parts", "aif_simulated", "aif_simulated_by_rule", "motion_simulated"]
    environment = {**os.environ, "CMR_TEST_DATA": str(tmp_path / "none")}
    done = subprocess.run([*command, "--out", str(out)], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert figures["aif_simulated"]["scans"] == 3
    assert figures["motion_simulated"]["residual_mm_after"] < figures["motion_simulated"]["residual_mm_before"]
