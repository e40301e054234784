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
from tasks.training import perfusion_recipe
from tasks.training.perfusion_recipe import Example, train_perfusion
from tasks.training.perfusion_settings import TASKS, PerfusionTraining
from tasks.training.recipes import read_recipe

ROOT = Path(__file__).parents[3]
SHIPPED = [task for task in TASKS if (ROOT / "cmr_models" / "weights" / f"{task}.toml").exists()]
TINY = PerfusionTraining(
    task="aif_detect", config={"widths": [4, 8, 8], "blocks": [1, 1, 1], "head_width": 4}, bins=12, pool=6, fresh=1,
    batch=3, steps=4, device="cpu",
)  # fmt: skip


@pytest.mark.parametrize(("task", "classes"), [("aif_detect", 2), ("aif_detect", 3), ("perfusion_segment", 4)])
def test_training_leaves_a_model_that_loads(task: str, classes: int, tmp_path: Path) -> None:
    weights = (1.0,) * classes
    settings = replace(TINY, task=task, n_classes=classes, class_weight=weights, pixel_mm=3.0, steps=2)
    network, card = load(train_perfusion(settings, tmp_path / "model"), task)
    assert network(torch.zeros(1, 13, 64, 64)).shape == (1, classes, 64, 64)
    assert card.task == task
    assert card.training_settings["steps"] == 2


def test_a_killed_training_that_resumes_leaves_the_same_weights_and_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perfusion_recipe, "_LOG_EVERY", 2)
    settings = replace(TINY, steps=7, checkpoint_every_s=0.0)
    whole = train_perfusion(settings, tmp_path / "whole")
    simulate = perfusion_recipe.simulate_example

    def killed(recipe: PerfusionTraining, i: int) -> Example:
        if i == recipe.pool + 4:  # in step 5, after the rows of steps 2 and 4
            raise KeyboardInterrupt
        return simulate(recipe, i)

    with monkeypatch.context() as patch:
        patch.setattr(perfusion_recipe, "simulate_example", killed)
        with pytest.raises(KeyboardInterrupt):
            train_perfusion(settings, tmp_path / "resumed")
    resumed = train_perfusion(settings, tmp_path / "resumed")
    for name in ("model.safetensors", "card.toml", "metrics.csv"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


def test_metrics_have_a_header_and_one_row_a_step_also_after_a_resume_from_an_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perfusion_recipe, "_LOG_EVERY", 2)
    settings = replace(TINY, steps=5)
    train_perfusion(settings, tmp_path)
    header, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert header == "step,loss"
    assert [row.split(",")[0] for row in rows] == ["2", "4", "5"]
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save({**state, "step": 3}, tmp_path / "checkpoint.pt")
    train_perfusion(settings, tmp_path)
    steps = [row.split(",")[0] for row in (tmp_path / "metrics.csv").read_text().splitlines()]
    assert steps == ["step", "2", "4", "5"]


def test_a_checkpoint_of_version_0_1_is_continued(tmp_path: Path) -> None:
    train_perfusion(TINY, tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert sorted(state) == ["mean", "network", "optimiser", "settings", "step"]
    assert state["settings"] == (
        "PerfusionTraining(task='aif_detect', name='default', seed=1, kind='unet2d', config={'widths': [4, 8, 8], "
        "'blocks': [1, 1, 1], 'head_width': 4}, bins=12, size=64, pixel_mm=0.0, n_classes=3, pool=6, fresh=1, batch=3, "
        "steps=4, learning_rate=0.003, horizon=0, weight_decay=0.001, mean_decay=0.98, class_weight=(1.0, 3.0, 2.0), "
        "checkpoint_every_s=60.0)"
    )


def test_other_settings_do_not_continue_a_training(tmp_path: Path) -> None:
    train_perfusion(replace(TINY, steps=1), tmp_path)
    with pytest.raises(ValueError, match="made with other settings"):
        train_perfusion(replace(TINY, steps=2), tmp_path)


def test_the_recipes_in_the_repository_are_those_of_the_embedded_weights() -> None:
    for task in SHIPPED:
        recipe = read_recipe(ROOT / "infra" / "training" / f"{task}.toml", PerfusionTraining)
        settings = load("default", task)[1].training_settings
        assert {key: settings[key] for key in ("steps", "batch", "fresh", "pool", "seed", "bins")} == {
            key: getattr(recipe, key) for key in ("steps", "batch", "fresh", "pool", "seed", "bins")
        }


def test_an_unknown_entry_of_a_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('task = "aif_detect"\nstepz = 3\n')
    with pytest.raises(ValueError, match=r"unknown settings \['stepz'\]"):
        read_recipe(tmp_path / "x.toml", PerfusionTraining)


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
