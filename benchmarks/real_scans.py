"""Phenotypes of real studies from the whole pipeline, compared with expert contours and guide points.

    python -m benchmarks.real_scans [--cohort DIR]

Runs convert, segment and derive on `dicom_study/patient1` and `sunnybrook_dicom` under ``CMR_TEST_DATA`` and prints
views and phenotypes beside the reference. Both Sunnybrook patients (SC-HF-I-1, SC-HF-I-2) are among the training
patients of the default network.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.segmentation import DATA
from flows import planning
from flows.settings import CohortSettings
from tasks.convert.convert_stage import CONVERT
from tasks.derive.derive_stage import DERIVE
from tasks.execution.stage import run_in_process
from tasks.inference.segment_stage import SEGMENT
from tasks.state.ledger import open_ledger

REFERENCES: dict[str, dict[str, float]] = {
    "SCD0000101": {"lvedv_ml": 191, "lvesv_ml": 141, "lvef_pct": 26},
    "SCD0000201": {"lvedv_ml": 242, "lvesv_ml": 180, "lvef_pct": 25},
    "patient1": {"lvef_pct": 68, "es_frame": 9},
}
"""Volumes and EF from expert contours (Sunnybrook); EF and end-systolic frame from guide points (patient1)."""


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, help="keep the cohort here")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "real_scans.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = compare(arguments.cohort or Path(scratch))
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


def compare(folder: Path) -> list[dict[str, Any]]:
    """Compute phenotypes of the real studies; prints and returns them beside their references."""
    settings = CohortSettings(directory=folder, sources=(DATA / "dicom_study/patient1", DATA / "sunnybrook_dicom"))
    run_stages(settings)
    studies = pd.read_parquet(settings.cohort.tables / "studies.parquet")
    print(studies[["participant", "view", "frames", "slices", "row_mm", "slice_mm", "flags"]].to_string(index=False))
    phenotypes = pd.read_parquet(settings.cohort.tables / "phenotypes.parquet").set_index("participant")
    rows = [
        {
            "participant": name,
            "phenotype": phenotype,
            "found": round(float(phenotypes.loc[name, phenotype]), 1),
            "reference": value,
        }
        for name, reference in REFERENCES.items()
        for phenotype, value in reference.items()
    ]
    print(pd.DataFrame(rows).to_string(index=False))
    return rows


def run_stages(settings: CohortSettings) -> None:
    """Convert, segment and derive without Prefect, with the same units, work and tables as in the flows."""
    with open_ledger(settings.cohort.ledger) as ledger:
        for stage in (CONVERT, SEGMENT, DERIVE):
            run_in_process(planning.plan(stage, settings, ledger), ledger, settings.cohort)


if __name__ == "__main__":
    main()
