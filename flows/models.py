"""``cmr-cohort models``: what networks there are, what they are for, and whether their files are whole."""

from __future__ import annotations

from pathlib import Path

import click

from flows.complaints import of_models
from flows.exit_status import ExitStatus

_FOLDER = click.Path(file_okay=False, exists=True, path_type=Path)


@click.group()
def models() -> None:
    """List, show, add and check trained networks."""


@models.command("list")
@click.argument("folders", nargs=-1, type=_FOLDER)
def list_models(folders: tuple[Path, ...]) -> None:
    """The package's own networks, those in the hub's local cache, and those in FOLDERS."""
    from cmr_models import zoo
    from cmr_models.zoo.licences import licence_words

    broken = 0
    for where, card in zoo.available(*folders):
        if isinstance(card, ValueError):
            broken += 1
            click.echo(f"cannot be read: {card}", err=True)
            continue
        click.echo(
            f"{card.name:40s} {card.task:22s} {card.kind:10s} licence: {licence_words(card.licence):44s} {where}"
        )
    if broken:
        raise click.exceptions.Exit(ExitStatus.FAILED)


@models.command()
@click.argument("model")
@click.option("--task", help="Task of the network, if several have this name.")
def show(model: str, task: str | None) -> None:
    """The licence and the card of MODEL, as TOML."""
    from cmr_models import zoo
    from cmr_models.zoo.licences import licence_words

    try:
        card = zoo.card(model, task)
        click.echo(f"# licence of the weights: {licence_words(card.licence)}")
        click.echo(zoo.card_text(card), nl=False)
    except (FileNotFoundError, ValueError) as error:
        raise of_models(error) from error


@models.command()
@click.argument("model")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Models folder.")
def add(model: str, folder: Path) -> None:
    """Check MODEL (a folder or weights file) and copy it, with a card, into a folder of models."""
    from cmr_models import zoo

    try:
        click.echo(f"model: {zoo.add(model, folder)}")
    except (OSError, ValueError) as error:
        raise of_models(error) from error


@models.command()
@click.argument("model")
@click.option("--task", help="Task that the model must have.")
def check(model: str, task: str | None) -> None:
    """Load MODEL: its keys, shapes and values, and the digest of its card."""
    from cmr_models import zoo

    try:
        network, card = zoo.load(model, task)
    except (FileNotFoundError, ValueError) as error:
        raise of_models(error) from error
    n_weights = sum(value.numel() for value in network.state_dict().values())
    click.echo(f"{card.name}: {card.task}, {card.kind}, {n_weights} values, SHA-256 {card.digest}")
