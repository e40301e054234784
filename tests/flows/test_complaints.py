"""What a user did wrong is said in a line, with no traceback."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from tasks.state.ledger import open_ledger

_FILES = {
    "sources = [": "is not valid TOML",
    'directory = "c"\nsources = ["archive"]': "line 2: sources: there is no 'archive' in",
    'directory = "c"\nsourcs = []': "line 2: sourcs: there is no such setting; did you mean 'sources'?",
}


@pytest.mark.parametrize("command", ["run", "derive"])
@pytest.mark.parametrize(("content", "complaint"), _FILES.items())
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, command: str, content: str, complaint: str) -> None:
    config = tmp_path / "cohort.toml"
    config.write_text(content)
    result = CliRunner().invoke(main, [command, "--config", str(config)])
    assert result.exit_code == 2
    assert complaint in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["segment", "derive", "status", "verify", "report"])
def test_a_cohort_that_is_not_there_is_not_made(tmp_path: Path, command: str) -> None:
    result = CliRunner().invoke(main, [command, "--cohort", str(tmp_path / "absent")])
    assert result.exit_code == 2
    assert "there is no cohort at" in result.output
    assert not (tmp_path / "absent").exists()


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.sqlite"):
        pass
    result = CliRunner().invoke(main, ["segment", "--cohort", str(tmp_path), "--model", "nosuch"])
    assert result.exit_code == 2
    assert "model 'nosuch'" in result.output
    assert "Traceback" not in result.output
