"""One command at a time writes into a cohort, and each leaves its record."""

import json
import logging
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from flows.cli import main
from tasks.state.ledger import open_ledger
from tasks.state.runs import VERSIONED, hold, open_run
from tasks.state.store import Cohort

pytestmark = pytest.mark.timeout(100)  # a chain of causes that is not followed would hang

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
    assert names == {
        "settings.json",
        "versions.json",
        "counts.json",
        "methods.txt",
        "log.txt",
        "log.jsonl",
        "summary.json",
        "finished.json",
    }
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


def test_a_run_has_a_folder_by_its_time_with_settings_and_versions_and_says_how_long_it_took(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    with open_run(Cohort(tmp_path), {"b": 1, "a": Path("x")}, "derive") as run:
        assert not (run.folder / "finished.json").exists()
        run.write_text("note.txt", "ä")
    assert run.folder.parent == tmp_path / "runs"
    time, process = run.folder.name.split("-")
    begun = datetime.strptime(time, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    assert timedelta(0) <= begun - before.replace(microsecond=0) < timedelta(seconds=60)
    assert process == str(os.getpid())
    assert (run.folder / "settings.json").read_text() == '{\n "a": "x",\n "b": 1\n}'
    found = json.loads((run.folder / "versions.json").read_text())
    assert set(found) == {"python", *VERSIONED}
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__
    assert (run.folder / "note.txt").read_text() == "ä"
    finished = json.loads((run.folder / "finished.json").read_text())
    assert set(finished) == {"command", "started", "seconds"}
    assert finished["command"] == "derive"
    assert datetime.fromisoformat(finished["started"]).replace(microsecond=0) == begun
    assert 0 <= finished["seconds"] < 60
    assert "INFO cmr_cohort derive: begins" in (run.folder / "log.txt").read_text()


def test_what_a_run_logs_is_in_its_own_log_and_nowhere_else(tmp_path: Path) -> None:
    log = logging.getLogger("cmr_cohort")
    with open_run(Cohort(tmp_path), {}) as run:
        log.info("during")
    log.info("after")
    text = (run.folder / "log.txt").read_text()
    assert "during" in text
    assert "after" not in text
    assert not any(isinstance(handler, logging.FileHandler) for handler in log.handlers)


def test_every_cause_of_what_stopped_a_run_is_logged_by_type_and_place(tmp_path: Path) -> None:
    def fail() -> None:
        try:
            int("secret")
        except ValueError as error:
            raise RuntimeError("outer") from error

    with pytest.raises(RuntimeError, match="outer") as caught, open_run(Cohort(tmp_path), {}, "derive") as run:
        fail()
    log = (run.folder / "log.txt").read_text()
    assert log.index("RuntimeError:") < log.index("\nValueError:")
    assert log.count(f"{__file__}:") >= 2
    assert "secret" not in log
    assert caught.value.__notes__ == [f"traceback in {run.folder / 'log.txt'}"]


@pytest.mark.parametrize(("finished", "is_swept"), [(True, False), (False, True)])
def test_what_a_kill_left_is_swept_only_if_the_last_run_did_not_finish(
    tmp_path: Path, finished: bool, is_swept: bool
) -> None:
    for name, ended in (("20200101T000000-1", not finished), ("20210101T000000-1", finished)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        if ended:
            (tmp_path / "runs" / name / "finished.json").touch()
    left, other = tmp_path / "studies" / "ab" / ".1.zarr.zip.7.aa.tmp", tmp_path / "studies" / "ab" / "notes.tmp"
    left.parent.mkdir(parents=True)
    left.touch()
    other.touch()
    with open_run(Cohort(tmp_path), {}):
        pass
    assert left.exists() == (not is_swept)
    assert other.exists()


def test_a_cohort_is_free_again_for_others_when_its_last_holder_leaves(tmp_path: Path) -> None:
    def is_free() -> bool:
        takes = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        tried = subprocess.run([sys.executable, "-c", takes, str(tmp_path / ".lock")], capture_output=True, check=False)
        return tried.returncode == 0

    with hold(Cohort(tmp_path)):
        with hold(Cohort(tmp_path)):
            pass
        assert not is_free()
    assert is_free()
    with pytest.raises(ZeroDivisionError), hold(Cohort(tmp_path)):
        raise ZeroDivisionError
    assert is_free()
