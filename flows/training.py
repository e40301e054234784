"""``cmr-cohort pretrain``, and ``train`` on the studies of a cohort."""

from __future__ import annotations

from pathlib import Path

import click

from flows.templates import Recipe

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


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
@click.option("--output", type=_FOLDER, required=True, help="Folder of weights, card, metrics and checkpoints.")
def pretrain(recipe: Path, cohort: Path, table: Path, output: Path) -> None:
    """Pretrain CineMA on a cohort's images; a killed training goes on where it was. Several processes: torchrun."""
    click.echo(f"model: {run_training('pretrain', recipe, cohort, table, output)}")


def run_training(
    task: str,
    recipe: Path,
    cohort: Path,
    table: Path,
    output: Path,
    init: Path | None = None,
    target: str = "",
    labels: str = "",
) -> Path:
    """Train by a recipe on the studies of a cohort.

    Raises:
        ValueError: as :func:`tasks.training.cinema_recipe.finetune`.
    """
    from cmr_models import zoo
    from tasks.state.store import Cohort
    from tasks.training.cinema_recipe import finetune
    from tasks.training.cinema_samples import StudySamples, read_table
    from tasks.training.cinema_settings import read_finetuning

    settings = read_finetuning(recipe, task=task)
    store = Cohort(cohort)
    training, validation = (StudySamples(store, part, settings, target, labels) for part in read_table(table))
    begin = zoo.load(init)[0].state_dict() if init is not None else None
    data: tuple[str, ...] = (f"{len(training)} studies of {table.name}",)
    if init is not None:
        data = (*data, f"begun with the weights {zoo.card(init).digest[:12]}")
    return finetune(settings, training, validation if len(validation) else None, output, init=begin, data=data)
