"""The files that the package carries: listed, printed, and taken by name where a command needs a recipe."""

from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from flows.cli import main
from flows.templates import KINDS, Recipe, templates

ROOT = Path(__file__).parents[2]


def _printed(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["templates", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_every_template_is_listed_once() -> None:
    listed = [line.split()[0] for line in _printed().splitlines()]
    assert len(listed) == len(set(listed))
    assert set(listed) == {name for folder in KINDS for name in templates(folder)}
    assert {"segment_sax", "cinema_pretrain", "ukb", "slurm"} <= set(listed)


def test_a_template_is_printed_as_it_is() -> None:
    assert yaml.safe_load(_printed("ukb"))["name"] == "ukb_example"
    assert _printed("slurm") == (ROOT / "infra/profiles/slurm.toml").read_text()


def test_an_unknown_template_is_an_error() -> None:
    result = CliRunner().invoke(main, ["templates", "ukbb"])
    assert result.exit_code == 2
    assert "there is no template 'ukbb'" in result.output


def test_a_recipe_is_a_file_or_a_name(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.touch()
    assert Recipe().convert(str(mine), None, None) == mine
    assert Recipe().convert("segment_sax", None, None) == templates("training")["segment_sax"]


def test_an_unknown_recipe_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(click.BadParameter, match=r"no recipe of this name; recipes: .*segment_sax"):
        Recipe().convert("segment_say", None, None)


def test_the_old_places_under_infra_still_lead_to_the_files() -> None:
    places = {"training": "training", "analysis": "analysis", "execution": "profiles"}
    for folder, place in places.items():
        names = sorted(path.stem for path in (ROOT / "infra" / place).iterdir())
        assert names == list(templates(folder))
