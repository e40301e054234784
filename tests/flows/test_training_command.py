"""``cmr-cohort train`` says what to type where an option is missing, and refuses those it would not use."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main


@pytest.mark.parametrize(
    ("task", "more", "message"),
    [
        ("segment_sax", [], "type --settings segment_sax or"),
        ("segment_sax", ["--cohort", "c"], "type --settings cinema_segment_sax or"),
        ("aif_detect", ["--settings", "RECIPE", "--init", "m", "--real", "r"], "--init, --real cannot be used for aif"),
        ("segment_sax", ["--settings", "RECIPE", "--labels", "default"], "--labels cannot be used without --cohort"),
        ("regression_ef", ["--settings", "RECIPE"], "the task 'regression_ef' needs --cohort and --table"),
        ("regression_ef", ["--settings", "RECIPE", "--cohort", "c"], "--cohort needs --table"),
        (
            "regression_ef",
            ["--settings", "RECIPE", "--cohort", "c", "--table", "RECIPE", "--real", "r"],
            "--real cannot be used with --cohort",
        ),
    ],
)
def test_an_option_that_is_missing_or_of_another_training_is_told(
    task: str, more: list[str], message: str, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("")
    arguments = [str(recipe) if word == "RECIPE" else word for word in more]
    done = CliRunner().invoke(main, ["train", "--task", task, "--output", str(tmp_path / "out"), *arguments])
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()
