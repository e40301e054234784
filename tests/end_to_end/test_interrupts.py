"""Ctrl-C, SIGTERM and the end of the terminal, in the middle of every command: it ends soon and leaves nothing."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up in /proc"),
]
SECONDS_TO_END = 5.0
ENDINGS = {signal.SIGINT: (130, "Ctrl-C"), signal.SIGTERM: (143, "SIGTERM"), signal.SIGHUP: (129, "the end of the")}
STAGES = ("convert", "segment", "derive", "associate", "risk", "report")
AFTER = {  # what a stage and those after it have made, so that it is made again
    "convert": "",
    "segment": "predictions/*",
    "derive": "phenotypes/*",
    "associate": "tables/estimates/*",
    "risk": "tables/estimates/*",
    "report": "reports*",
}


class _Command:
    """``cmr-cohort`` in a session of its own, as in a terminal, with what it has said so far."""

    def __init__(self, folder: Path, *words: str) -> None:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        self._mark = f"CMR_COHORT_TEST={time.time_ns()}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from flows.start import main; main()", *words],
            cwd=folder,
            env={**environment, "HOME": str(home), "OMP_NUM_THREADS": "1", **dict([self._mark.split("=")])},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip())

    def wait_for(self, beginning: str, timeout_s: float = 300) -> bool:
        """Until a line begins so; whether the command still runs, as on a quiet machine it may be faster than this."""
        deadline = time.monotonic() + timeout_s
        while not any(line.startswith(beginning) for line in self.lines):
            if self.process.poll() == 0:
                return False
            assert self.process.poll() is None, "\n".join(self.lines)
            assert time.monotonic() < deadline, "\n".join(self.lines)
            time.sleep(0.02)
        return True

    def is_ended_by(self, number: signal.Signals) -> None:
        """Send the signal to all of its processes; it says one line, ends in time, and nothing of it is left."""
        begun = time.monotonic()
        os.killpg(self.process.pid, number)
        status = self.process.wait(timeout=60)
        seconds = time.monotonic() - begun
        self._reader.join()
        said = "\n".join(self.lines)
        expected, name = ENDINGS[number]
        if status == -number and re.search(r": (\d+) of \1 studies", said):
            return  # the work was done, and Python itself was ending: it gives signals back to the system
        assert status == expected, said
        assert seconds < SECONDS_TO_END, said
        if self.lines[-1] != "stopped before anything had begun":
            assert self.lines[-1].startswith(f"stopped by {name}"), said
            assert "; everything that was finished is kept. To go on, type: cmr-cohort " in self.lines[-1]
        assert "Traceback" not in said
        assert "rror" not in said
        deadline = time.monotonic() + 5
        while (left := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left

    def _processes(self) -> list[str]:
        """Command lines of what it has started and that still runs."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                is_its = self._mark.encode() in (folder / "environ").read_bytes().split(b"\0")
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if is_its and state != "Z":
                    found.append((folder / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found

    def finishes(self) -> None:
        assert self.process.wait(timeout=600) == 0, "\n".join(self.lines)


def _forget(folder: Path, stage: str) -> None:
    """Have the stage of a finished cohort to do again, and what comes after it."""
    root = folder / "cohort"
    again = STAGES[STAGES.index(stage) :]
    with sqlite3.connect(root / "ledger.sqlite") as ledger:
        ledger.executemany("DELETE FROM outcomes WHERE stage = ?", [(name,) for name in again])
    for name in again:
        for path in root.glob(AFTER[name]) if AFTER[name] else ():
            subprocess.run(["rm", "-r", path], check=True)


def _tables(folder: Path) -> dict[str, pd.DataFrame]:
    root = folder / "cohort/tables"
    return {str(path.relative_to(root)): pd.read_parquet(path) for path in sorted(root.rglob("*.parquet"))}


@pytest.mark.parametrize("profile", ["in-process", "local"])
def test_a_run_stopped_in_every_stage_ends_with_the_tables_of_one_that_was_not(
    cohort: Path, finished: Path, profile: str
) -> None:
    config = cohort / "cohort.toml"
    config.write_text(config.read_text().replace("[compute]", "[compute]\nstudies_per_chunk = 1"))
    studies, kept = cohort / "cohort/studies", {}
    words = ("run", "--config", str(config), "--profile", profile)
    for stage, number in zip(STAGES, [*ENDINGS, *ENDINGS], strict=True):
        run = _Command(cohort, *words)
        if run.wait_for(f"{stage}: "):
            run.is_ended_by(number)
        now = {path: path.stat().st_ino for path in studies.rglob("*.zarr.zip")}
        assert kept.items() <= now.items()
        kept = now
    _Command(cohort, *words).finishes()
    assert len(kept) == 7
    assert not list((cohort / "home").iterdir())
    expected = _tables(finished)
    assert len(expected) > 5
    found = _tables(cohort)
    assert set(found) == set(expected)
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, obj=name)


@pytest.mark.parametrize("profile", ["in-process", "local"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["segment", "derive", "associate", "risk", "report"])
def test_the_command_of_a_stage_is_stopped(
    finished: Path, tmp_path: Path, stage: str, number: signal.Signals, profile: str
) -> None:
    if profile == "local" and stage not in ("segment", "derive"):
        pytest.skip("it does not use the profile")
    folder = tmp_path / "work"
    subprocess.run(["cp", "-r", finished, folder], check=True)
    _forget(folder, stage)
    chosen = ["--profile", profile] if stage in ("segment", "derive") else []
    command = _Command(folder, stage, "--config", "cohort.toml", *chosen)
    if command.wait_for(f"{stage}: "):
        command.is_ended_by(number)


@pytest.mark.parametrize("number", ENDINGS)
@pytest.mark.parametrize(
    ("words", "seconds"),  # while it starts and, of the long ones, while it works
    [
        (("train", "--task", "segment_sax", "--settings", "segment_sax_simulated", "--output", "model"), 2.0),
        (("train", "--task", "segment_sax", "--settings", "segment_sax_simulated", "--output", "model"), 6.0),
        (("simulate", "--people", "40", "--output", "simulated"), 2.0),
        (("simulate", "--people", "40", "--output", "simulated"), 6.0),
        (("verify", "--cohort", "cohort"), 2.0),
        (("evaluate", "--cohort", "cohort", "--model", "default"), 2.0),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else f"{value:.0f}s",
)
def test_other_commands_are_stopped(
    finished: Path, tmp_path: Path, words: tuple[str, ...], number: signal.Signals, seconds: float
) -> None:
    (tmp_path / "cohort").symlink_to(finished / "cohort")
    command = _Command(tmp_path, *words)
    time.sleep(seconds)  # they do not all say something first
    if command.process.poll() is None:
        command.is_ended_by(number)


def test_a_second_ctrl_c_does_not_wait(cohort: Path) -> None:
    run = _Command(cohort, "run", "--config", "cohort.toml", "--profile", "local")
    assert run.wait_for("convert: ")
    os.killpg(run.process.pid, signal.SIGINT)
    time.sleep(0.2)
    if run.process.poll() is None:
        os.killpg(run.process.pid, signal.SIGINT)
    assert run.process.wait(timeout=2) == 130


_IGNORES = """
import os, signal
from flows.interrupts import interrupts_end_the_command
signal.signal(signal.SIGHUP, {handler})
with interrupts_end_the_command():
    os.kill(os.getpid(), signal.SIGHUP)
    print("goes on")
"""


@pytest.mark.parametrize(("handler", "status", "said"), [("signal.SIG_IGN", 0, "goes on"), ("signal.SIG_DFL", 129, "")])
def test_after_nohup_the_end_of_the_terminal_is_ignored(handler: str, status: int, said: str) -> None:
    program = _IGNORES.format(handler=handler)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (status, said)


_STOPPED_AS_IT_IMPORTS = """
import importlib.abc, os, signal, sys
class Stop(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name == "flows.cli":
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Stop())
from flows.start import main
main()
"""


@pytest.mark.parametrize("number", ENDINGS)
def test_a_signal_during_the_imports_is_one_line(number: signal.Signals) -> None:
    program = _STOPPED_AS_IT_IMPORTS.format(number=int(number))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (128 + number, "stopped before anything had begun")
