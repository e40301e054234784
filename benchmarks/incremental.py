"""A cohort of many stand-ins: what a run costs when nothing has changed, and when one study has.

    python -m benchmarks.incremental [--studies 100000] [--frames 50] [--folder DIR]

Every run is the command `cmr-cohort run` in a process of its own; its processor seconds include those of Prefect's
server. The study that changes is a simulated heart in place of a stand-in: it is converted, segmented and measured, and
tables, list and pages follow. There are people but no conditions, and so no statistics.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stand_ins import eid, write_stand_ins
from cmr_models.simulate import Heart, ImagingSettings, sample_traits
from cmr_models.simulate.archive import simulate_study, ukb_archives

GOALS = {
    "unchanged": {"processor_s": 15.0, "peak_mb": 600.0},
    "one_changed": {"processor_s_more": 20.0, "peak_mb": 1000.0},
}
"""Of 100,000 studies."""

_CHANGED = 7  # number of the stand-in that becomes a heart
_COMMAND = "import sys; from flows.start import main; sys.argv = ['cmr-cohort', 'run', '--config', sys.argv[1]]; main()"


def main() -> None:
    """Make the stand-ins, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="where stand-ins lie, or are made and kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "incremental.json")
    arguments = parser.parse_args()
    with _folder(arguments.folder) as folder:
        result = measure(folder, arguments.studies, arguments.frames)
    print(json.dumps(result, indent=1))
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


@contextlib.contextmanager
def _folder(named: Path | None) -> Iterator[Path]:
    if named is not None:
        yield named
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def measure(folder: Path, studies: int, frames: int) -> dict[str, Any]:
    """Costs of a first run over the stand-ins (tables and pages), of one without and of one with a change."""
    if not (folder / "cohort.toml").exists():
        write_stand_ins(folder, studies, frames)
    result: dict[str, Any] = {"studies": studies, "frames": frames}
    result["tables_and_pages_from_nothing"] = run(folder)
    result["unchanged"] = run(folder)
    exchange(folder / "archive", _CHANGED, frames)
    changed = run(folder)
    more = round(changed["processor_s"] - result["unchanged"]["processor_s"], 1)
    result["one_changed"] = {**changed, "processor_s_more": more}
    result["report_alone"] = _report_again(folder)
    return result


def exchange(archive: Path, number: int, frames: int) -> None:
    """Put the archives of a simulated heart in the place of a stand-in's; another heart every time."""
    rng = np.random.default_rng(time.time_ns())
    traits = sample_traits(rng, sex="F", age_years=61.0, height_cm=165.0, weight_kg=70.0)
    study = simulate_study(Heart(traits, rng), ImagingSettings(n_frames=frames), rng)
    for path in archive.rglob(f"{eid(number)}_*.zip"):
        folder = path.parent
        path.unlink()
    for name, content in ukb_archives(study, eid=int(eid(number)), rng=rng).items():
        (folder / name).write_bytes(content)


def _report_again(folder: Path) -> dict[str, float]:
    """The report alone, when one study of it is no longer what it was."""
    from dataclasses import replace

    from tasks.derive.phenotype_tables import write_tables
    from tasks.state.ledger import open_ledger
    from tasks.state.store import Cohort

    cohort = Cohort(folder / "cohort")
    with open_ledger(cohort.ledger) as ledger:
        (outcome,) = ledger.outcomes("derive", [f"{eid(_CHANGED + 1)}-2"])
        numbers = {**outcome.summary["phenotypes"], "lvef_pct": time.time() % 40 + 30}
        ledger.record([replace(outcome, summary={**outcome.summary, "phenotypes": numbers}, key=str(time.time()))])
        write_tables(ledger, cohort)
    return run(folder, "report")


def run(folder: Path, command: str = "run") -> dict[str, float]:
    """What a command costs: processor seconds of all its processes, wall time, peak memory of the largest."""
    started = time.perf_counter()
    script = _COMMAND.replace("'run'", f"'{command}'")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(folder / "cohort.toml")],
        env=environment, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)  # Popen was not asked to wait
    if child.returncode:
        raise RuntimeError(f"{command} ended with {child.returncode}")
    return {
        "processor_s": round(usage.ru_utime + usage.ru_stime, 1),
        "wall_s": round(time.perf_counter() - started, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


if __name__ == "__main__":
    main()
