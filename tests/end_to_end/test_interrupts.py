"""Ctrl-C, SIGTERM and the end of the terminal, in the middle of every command: it ends in seconds and leaves nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SECONDS_TO_END = 5.0
STAGES = ("convert", "segment", "derive", "associate", "risk", "report")


class _Run:
    """``cmr-cohort run`` in a session of its own, as in a terminal, with what it has said so far."""

    def __init__(self, settings: Path, home: Path) -> None:
        home.mkdir(exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("cmr-cohort"), "run", "--config", settings, "--profile", "in-process"],
            env={**environment, "HOME": str(home), "OMP_NUM_THREADS": "1"},
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

    def wait_for(self, beginning: str, timeout_s: float = 300, *, may_end: bool = False) -> None:
        """Until a line begins so."""
        deadline = time.monotonic() + timeout_s
        while not any(line.startswith(beginning) for line in self.lines):
            if may_end and self.process.poll() == 0:
                return
            assert self.process.poll() is None, "\n".join(self.lines)
            assert time.monotonic() < deadline, "\n".join(self.lines)
            time.sleep(0.02)

    def end_by(self, number: int) -> tuple[float, int]:
        """Seconds until the process has ended, and its exit status."""
        begun = time.monotonic()
        os.killpg(self.process.pid, number)
        status = self.process.wait(timeout=60)
        seconds = time.monotonic() - begun
        self._reader.join()
        return seconds, status


@pytest.fixture
def settings(cohort: Path) -> Iterator[Path]:
    path = cohort / "cohort.toml"
    path.write_text(path.read_text().replace("[compute]", "[compute]\nstudies_per_chunk = 1"))
    yield path
    assert not list((cohort / "home").iterdir())


def test_ctrl_c_in_every_stage_ends_the_run_and_the_next_one_goes_on(settings: Path) -> None:
    studies = settings.parent / "cohort/studies"
    finished: dict[Path, int] = {}
    for stage in STAGES:
        run = _Run(settings, settings.parent / "home")
        run.wait_for(f"{stage}: ", may_end=stage in ("risk", "report"))
        if run.process.poll() is not None:  # a quiet machine was faster than this test
            continue
        seconds, status = run.end_by(signal.SIGINT)
        said = "\n".join(run.lines)
        assert status == 130, said
        assert seconds < SECONDS_TO_END, said
        assert run.lines[-1].startswith("stopped by Ctrl-C; everything that was finished is kept. To go on, type: ")
        assert "Traceback" not in said
        assert "rror" not in said
        now = {path: path.stat().st_ino for path in studies.rglob("*.zarr.zip")}
        assert finished.items() <= now.items()
        finished = now
    run = _Run(settings, settings.parent / "home")
    assert run.process.wait(timeout=600) == 0, "\n".join(run.lines)
    assert len(finished) == 7


def test_sigterm_ends_the_run(settings: Path) -> None:
    run = _Run(settings, settings.parent / "home")
    run.wait_for("convert: ")
    seconds, status = run.end_by(signal.SIGTERM)
    assert status == 143, "\n".join(run.lines)
    assert seconds < SECONDS_TO_END
    assert run.lines[-1].startswith("stopped by SIGTERM; ")
