"""One command at a time writes into a cohort, and each leaves its record."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from tasks.state.ledger import open_ledger
from tasks.state.runs import open_run
from tasks.state.store import Cohort

_HOLDS = (
    "import sys; from pathlib import Path; from tasks.state.runs import hold; from tasks.state.store import Cohort\n"
)
_HOLDS += "with hold(Cohort(Path(sys.argv[1]))): print('held', flush=True); sys.stdin.read()"


@pytest.mark.parametrize(
    "command", [["verify"], ["segment"], ["derive"], ["risk"], ["report"], ["evaluate", "--model", "default"], ["run"]]
)
def test_a_second_command_ends_with_one_line(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "cohort.toml").write_text('directory = "."\nsources = ["archive"]')
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/1_20209_2_0.zip").touch()
    with open_ledger(tmp_path / "ledger.sqlite"):
        pass
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        result = CliRunner().invoke(main, [*command, "--config", str(tmp_path / "cohort.toml")])
        assert result.exit_code == 1
        assert result.output == "Error: another run is using this cohort; wait until it ends, or stop it\n"
    assert not (tmp_path / "runs").exists()


def test_a_command_leaves_its_record(tmp_path: Path) -> None:
    left_by_a_kill = tmp_path / "tables" / ".studies.parquet.1.aa.tmp"
    left_by_a_kill.parent.mkdir()
    left_by_a_kill.touch()
    (tmp_path / "runs/20200101T000000-1").mkdir(parents=True)
    with open_ledger(tmp_path / "ledger.sqlite"):
        pass
    result = CliRunner().invoke(main, ["verify", "--cohort", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert not left_by_a_kill.exists()
    folder = max((tmp_path / "runs").iterdir())
    names = {path.name for path in folder.iterdir()}
    assert names == {"settings.json", "versions.json", "counts.json", "methods.txt", "log.txt", "finished.json"}
    assert json.loads((folder / "counts.json").read_text()) == []
    assert json.loads((folder / "finished.json").read_text())["command"] == "verify"
    assert "of 0 studies was read" in (folder / "methods.txt").read_text()


def test_a_run_that_stopped_says_by_what_and_keeps_no_text_of_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1234567"), open_run(Cohort(tmp_path), {}, "convert") as run:
        raise ValueError("study 1234567")
    log = (run.folder / "log.txt").read_text()
    assert "convert: stopped by ValueError" in log
    assert "1234567" not in log
    assert f"{__file__}:" in log  # where it was raised
    assert not (run.folder / "finished.json").exists()


def test_who_holds_a_cohort_may_hold_it_again(tmp_path: Path) -> None:
    with open_run(Cohort(tmp_path), {}), open_run(Cohort(tmp_path / "." / ""), {}):
        pass
    with open_run(Cohort(tmp_path), {}):
        pass
