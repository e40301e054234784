"""Files that the package carries for users: recipes of trainings, an analysis spec, profiles of clusters."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import click

KINDS = {"training": "recipe", "analysis": "analysis spec", "execution": "profile"}


class Recipe(click.ParamType):
    """A TOML file, or the name of a recipe of the package."""

    name = "file or name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The file that ``value`` names."""
        path = Path(value)
        if path.is_file():
            return path
        known = templates("training")
        if str(value) not in known:
            self.fail(f"there is no file {value}, and no recipe of this name; recipes: {', '.join(known)}", param, ctx)
        return known[str(value)]


def templates(folder: str) -> dict[str, Path]:
    """Name (the file's, without suffix) -> file of the templates of one package of ``tasks``, sorted."""
    found = Path(str(resources.files("tasks"))).joinpath(folder, "templates")
    return {path.stem: path for path in sorted(found.iterdir()) if path.suffix in (".toml", ".yaml")}


@click.command("templates")
@click.argument("name", required=False)
def show_templates(name: str | None) -> None:
    """List the files that come with the package, or print the one called NAME."""
    files = {stem: (kind, path) for folder, kind in KINDS.items() for stem, path in templates(folder).items()}
    if name is None:
        for stem, (kind, _) in files.items():
            click.echo(f"{stem:32s} {kind}")
    elif name in files:
        click.echo(files[name][1].read_text(encoding="utf-8"), nl=False)
    else:
        raise click.UsageError(f"there is no template {name!r}; `cmr-cohort templates` lists them")
