"""``cmr-cohort train`` and ``pretrain``: networks trained by recipes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from flows.templates import Recipe

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_OUTPUT = click.option("--output", type=_FOLDER, required=True, help="Folder of weights, card, metrics and checkpoint.")


@click.command()
@click.option(
    "--settings",
    "recipe",
    type=Recipe(),
    required=True,
    help="The recipe, of task `pretrain`: a file, or a name such as cinema_pretrain.",
)
@click.option("--cohort", type=_FOLDER, required=True, help="The cohort's folder.")
@click.option("--table", type=_FILE, required=True, help="CSV: study, split.")
@_OUTPUT
def pretrain(recipe: Path, cohort: Path, table: Path, output: Path) -> None:
    """Pretrain CineMA on a cohort's images; a killed training goes on where it was. Several processes: torchrun."""
    click.echo(f"model: {train_on_cohort('pretrain', recipe, output, cohort=cohort, table=table)}")


@click.command()
@click.option(
    "--task",
    required=True,
    help="segment_sax, segment_lax, aif_detect or perfusion_segment; with --cohort any of CineMA's.",
)
@click.option(
    "--settings",
    "recipe",
    type=Recipe(),
    help="The recipe: a file, or a name that `cmr-cohort templates` lists.  [required]",
)
@click.option("--real", type=_FOLDER, help="Real images: a folder with images/*.png and labels/*.png.")
@click.option("--drawn", type=_FOLDER, help="Volumes with every structure drawn: a folder with ACDC's patients.")
@click.option("--crossed", type=_FOLDER, help="A cohort whose segmented short axes label its long-axis images.")
@click.option("--init", type=_FOLDER, help="A model folder; training starts from its weights.")
@_OUTPUT
@click.option("--cohort", type=_FOLDER, help="Train a network of CineMA on the studies of this cohort.")
@click.option("--table", type=_FILE, help="CSV of the training targets: study, split, frames, target.")
@click.option("--target", help="Column of the class or value to learn.")
@click.option("--labels", help="Predictions to use as labels [default: the labels in the studies].")
def train(task: str, recipe: Path | None, output: Path, **options: Any) -> None:
    """Train a network by a recipe; an interrupted training is continued."""
    if recipe is None:
        raise click.UsageError(f"the recipe is missing; type --settings {_example(task, options)} or another recipe")
    given = {name: value for name, value in options.items() if value is not None}
    if "cohort" in given:
        if "table" not in given:
            raise click.UsageError("--cohort needs --table")
        _refuse_others(given, ("cohort", "table", "init", "target", "labels"), "with --cohort")
        click.echo(f"model: {train_on_cohort(task, recipe, output, **given)}")
    else:
        click.echo(f"model: {_train_without_cohort(task, recipe, output, given)}")


def train_on_cohort(
    task: str,
    recipe: Path,
    output: Path,
    *,
    cohort: Path,
    table: Path,
    init: Path | None = None,
    target: str = "",
    labels: str = "",
) -> Path:
    """Train a network of CineMA on the studies of a cohort.

    Raises:
        ValueError: as :func:`tasks.training.cinema_recipe.finetune`.
    """
    from cmr_models import zoo
    from tasks.state.store import Cohort
    from tasks.training.cinema_recipe import finetune
    from tasks.training.cinema_samples import StudySamples, read_table
    from tasks.training.cinema_settings import FinetuningSettings
    from tasks.training.recipes import read_recipe

    settings = read_recipe(recipe, FinetuningSettings, task=task)
    store = Cohort(cohort)
    training, validation = (StudySamples(store, part, settings, target, labels) for part in read_table(table))
    begin = zoo.load(init)[0].state_dict() if init is not None else None
    data: tuple[str, ...] = (f"{len(training)} studies of {table.name}",)
    if init is not None:
        data = (*data, f"begun with the weights {zoo.card(init).digest[:12]}")
    return finetune(settings, training, validation if len(validation) else None, output, init=begin, data=data)


def _train_without_cohort(task: str, recipe: Path, output: Path, given: Mapping[str, Any]) -> Path:
    """Train on simulation, and on drawn images where the recipe takes them."""
    from tasks.training import perfusion_recipe, perfusion_settings, segmentation_recipe, segmentation_settings
    from tasks.training.recipes import read_recipe

    if task in perfusion_settings.TASKS:
        _refuse_others(given, (), f"for {task}")
        perfusion = read_recipe(recipe, perfusion_settings.PerfusionTraining, task=task)
        return perfusion_recipe.train_perfusion(perfusion, output)
    if task not in segmentation_settings.TASKS:
        known = ", ".join((*segmentation_settings.TASKS, *perfusion_settings.TASKS))
        raise click.UsageError(f"the task {task!r} needs --cohort and --table; without a cohort: {known}")
    _refuse_others(given, ("real", "drawn", "crossed", "init"), "without --cohort")
    changes = {{"init": "start_from"}.get(name, name): str(folder) for name, folder in given.items()}
    segmentation = read_recipe(recipe, segmentation_settings.TrainingSettings, task=task, **changes)
    return segmentation_recipe.train_segmentation(segmentation, output)


def _refuse_others(given: Mapping[str, Any], known: tuple[str, ...], when: str) -> None:
    """Options that the training would not use are an error."""
    others = [f"--{name}" for name in given if name not in known]
    if others:
        raise click.UsageError(f"{', '.join(others)} cannot be used {when}")


def _example(task: str, options: Mapping[str, Any]) -> str:
    prefix = "cinema_" if options["cohort"] is not None else ""
    return f"{prefix}{task}"
