"""Whether a pilot foretells a run: what `cmr-cohort plan` says after a few studies, and what the others then take.

    python -m benchmarks.forecast [--pilot 20] [--studies 1000] [--frames 25] [--out FILE]

Simulated studies, all in one process. The pilot is run, the other archives are added, the plan is asked, and the run is
measured. Times are those of the stages and of the report's pages, on the clock: on a machine that others use too, they
say more about the others.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tasks.simulation import SimulationSettings, write_cohort
from tasks.state.ledger import open_ledger

_COMMAND = Path(sys.executable).with_name("cmr-cohort")


def main() -> None:
    """Simulate, run the pilot, plan, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pilot", type=int, default=20)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "forecast.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = foretell(Path(scratch), arguments.pilot, arguments.studies, arguments.frames, arguments.seed)
    print(json.dumps(result, indent=1))
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def foretell(folder: Path, pilot: int, studies: int, frames: int, seed: int) -> dict[str, Any]:
    """Seconds and megabytes as foretold by the pilot, and as the other studies took them."""
    settings = SimulationSettings(people=pilot + studies, frames=frames, faults=(), seed=seed)
    for _ in write_cohort(folder, settings, workers=len(os.sched_getaffinity(0))):
        pass
    config = folder / "cohort.toml"
    chunk = max(1, pilot // 5)
    config.write_text(
        f'directory = "cohort"\nsources = ["archive"]\n[compute]\nstudies_per_chunk = {chunk}\n'
        f"[report]\nstudy_pages_max = {pilot + studies}\n"
    )
    people = sorted({path.name.partition("_")[0] for path in (folder / "archive").iterdir()})
    later = _put_aside(folder, set(people[pilot:]))
    _run("run", config)
    for path in later:
        path.rename(folder / "archive" / path.name)
    told = json.loads(_run("plan", config, "--json"))["forecast"]
    begun = time.perf_counter()
    _run("run", config)
    wall_s = time.perf_counter() - begun
    return {
        "pilot": pilot,
        "studies": studies,
        "frames": frames,
        "load": round(os.getloadavg()[0] / len(os.sched_getaffinity(0)), 1),
        "stages": _compared(folder / "cohort/ledger.sqlite", told["stages"]),
        "seconds": _pair(told["total"]["seconds"], _seconds(folder / "cohort/ledger.sqlite")),
        "run_s": round(wall_s, 1),
    }


def _put_aside(folder: Path, people: set[str]) -> list[Path]:
    (folder / "later").mkdir()
    moved = []
    for path in sorted((folder / "archive").iterdir()):
        if path.name.partition("_")[0] in people:
            moved.append(path.rename(folder / "later" / path.name))
    return moved


def _run(command: str, config: Path, *more: str) -> str:
    words = [str(_COMMAND), command, "--config", str(config), *more]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def _compared(ledger: Path, told: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {}
    with open_ledger(ledger, is_new=False) as opened:
        took = {speed.stage: speed for speed in opened.speeds()}  # the last of each stage
        for one in told:
            name, last = one["stage"], took[one["stage"]]
            n_bytes = [published for _, _, published in opened.costs(name)]
            disk_mb = sum(n_bytes) / max(1, len(n_bytes)) * last.studies / 1e6
            found[name] = {
                "studies": _pair(one["studies"], last.studies),
                "seconds": _pair(one["seconds"], last.seconds),
                "disk_mb": _pair(one["disk_mb"], disk_mb) if n_bytes else None,
            }
    return found


def _seconds(ledger: Path) -> float:
    with open_ledger(ledger, is_new=False) as opened:
        return sum({speed.stage: speed.seconds for speed in opened.speeds()}.values())


def _pair(foretold: float, taken: float) -> dict[str, float]:
    """Both, and the error as a share of what was taken."""
    error = (foretold - taken) / taken if taken else 0.0
    return {"foretold": round(foretold, 1), "taken": round(taken, 1), "error": round(error, 3)}


if __name__ == "__main__":
    main()
