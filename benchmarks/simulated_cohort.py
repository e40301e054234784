"""Phenotypes of simulated hearts from the whole pipeline, compared with the truth.

    python -m benchmarks.simulated_cohort [--people 14] [--frames 25] [--seed 4711]

Simulates people with a seed on which nothing was tuned, packages them as UK Biobank does, converts, segments and
derives, and compares every person. Give another seed to get new hearts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.real_scans import run_stages
from flows.settings import CohortSettings
from tasks.simulation import SimulationSettings, write_cohort

MEASURED = ("lvedv_ml", "lvesv_ml", "lvef_pct", "lvm_g", "rvedv_ml", "rvef_pct")


def main() -> None:
    """Simulate, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=14)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--seed", type=int, default=4711)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "simulated_cohort.json")
    arguments = parser.parse_args()
    settings = SimulationSettings(people=arguments.people, frames=arguments.frames, faults=(), seed=arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        result = {"seed": settings.seed, "frames": settings.frames, **compare(Path(scratch), settings)}
    print(json.dumps(result, indent=1))
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def compare(folder: Path, settings: SimulationSettings) -> dict[str, Any]:
    """Mean error, mean absolute error and largest error of each phenotype, over all measured people."""
    for _ in write_cohort(folder, settings, workers=2):
        pass
    run_stages(CohortSettings(directory=folder / "cohort", sources=(folder / "archive",)))
    found = pd.read_parquet(folder / "cohort/tables/phenotypes.parquet").set_index("participant")
    truth = pd.read_parquet(folder / "truth.parquet").set_index("participant").loc[found.index]
    truth["lvesv_ml"] = truth["lvedv_ml"] * (1 - truth["lvef_pct"] / 100)
    errors = {name: (found[name] - truth[name]).dropna() for name in MEASURED}
    return {
        "people": len(found),
        "measured": int((found["status"] == "ok").sum()),
        "errors": {
            name: {
                "n": len(error),
                "mean": round(float(error.mean()), 2),
                "mean_absolute": round(float(error.abs().mean()), 2),
                "largest": round(float(error.abs().max()), 2),
            }
            for name, error in errors.items()
        },
    }


if __name__ == "__main__":
    main()
