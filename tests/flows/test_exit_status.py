"""Each exit status is that of a real process: the rows of the table are the parametrisation."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from compared_cohort import write_compared_cohort

from flows.exit_status import ExitStatus

_COMMAND = "from flows.start import main; main()"
_ENDED = """
import os, signal, time
from flows.interrupts import interrupts_end_the_command
signal.signal(signal.{signal}, signal.SIG_DFL)  # whatever the tests themselves were started with
with interrupts_end_the_command():
    os.kill(os.getpid(), signal.{signal})
    time.sleep(60)
"""
_PROGRAMS: dict[ExitStatus, list[str]] = {
    ExitStatus.DONE: [_COMMAND, "simulate", "--people", "10", "--without-images", "--output", "simulated"],
    ExitStatus.FAILED: [_COMMAND, "convert", "archive", "--cohort", "in_use"],
    ExitStatus.USED_WRONGLY: [_COMMAND, "status", "--cohort", "nowhere"],
    ExitStatus.SET_ASIDE: [_COMMAND, "convert", "archive", "--cohort", "cohort", "--profile", "in-process"],
    ExitStatus.NOT_PROMOTED: [_COMMAND, "compare", "old", "new", "--cohort", "compared/cohort", "--resamples", "100"],
    ExitStatus.TERMINAL_ENDED: [_ENDED.format(signal="SIGHUP")],
    ExitStatus.CTRL_C: [_ENDED.format(signal="SIGINT")],
    ExitStatus.TERMINATED: [_ENDED.format(signal="SIGTERM")],
}


@pytest.mark.parametrize("status", ExitStatus)
def test_a_process_ends_with_it(tmp_path: Path, status: ExitStatus) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/1000011_20209_2_0.zip").write_bytes(b"PK\3\4 and nothing more of the study")
    (tmp_path / "in_use").mkdir()
    if status == ExitStatus.NOT_PROMOTED:
        write_compared_cohort(tmp_path / "compared")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    program = [sys.executable, "-c", *_PROGRAMS[status]]
    with (tmp_path / "in_use/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "cohort").exists() == (status == ExitStatus.SET_ASIDE)


@pytest.mark.parametrize(
    ("status", "number"),
    [
        (ExitStatus.DONE, 0),
        (ExitStatus.FAILED, 1),
        (ExitStatus.USED_WRONGLY, 2),
        (ExitStatus.SET_ASIDE, 3),
        (ExitStatus.NOT_PROMOTED, 4),
        (ExitStatus.TERMINAL_ENDED, 129),
        (ExitStatus.CTRL_C, 130),
        (ExitStatus.TERMINATED, 143),
    ],
)
def test_the_numbers_are_those_of_the_page(status: ExitStatus, number: int) -> None:
    assert status == number
    page = (Path(__file__).parents[2] / "docs/mistakes.md").read_text()
    assert f"| {number} | {status.meaning} |" in page.splitlines()


def test_no_status_is_without_a_row() -> None:
    assert len(ExitStatus) == len(_PROGRAMS) == 8


def test_a_signal_that_a_library_took_over_ends_it_too() -> None:
    """Prefect takes SIGTERM while a flow runs; an error that its own ending causes is no news."""
    program = """
import os, signal
from flows.interrupts import interrupts_end_the_command
with interrupts_end_the_command():
    signal.signal(signal.SIGTERM, lambda *_: None)
    os.kill(os.getpid(), signal.SIGTERM)
    raise ValueError("Task run is not set")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == ExitStatus.TERMINATED
    assert "Task run" not in done.stderr
    assert "stopped by SIGTERM; everything that was finished is kept" in done.stderr
