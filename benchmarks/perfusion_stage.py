"""Perfusion through the whole pipeline: simulated DICOM of rest and stress to segments, beside the truth.

    python -m benchmarks.perfusion_stage [--patients 12] [--seed 1234]

Every patient has three slices at rest and under stress; in two of three a coronary territory is ischaemic under stress.
Compared are the 16 segments' medians with the truth of their layers, and how well flow under stress tells ischaemic
segments from others (area under the ROC curve).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from cmr_models.simulate.dicom import Session
from cmr_models.simulate.perfusion import SimulatedScan, simulated_scan
from cmr_models.simulate.perfusion.dicom import encode_scan
from flows import planning
from flows.settings import CohortSettings
from tasks.convert.convert_stage import CONVERT
from tasks.derive.perfusion_stage import PERFUSION
from tasks.execution.stage import run_in_process
from tasks.state.ledger import open_ledger

NARROW = (None, "LAD", None, "RCA", "LAD", "LCx")


def main() -> None:
    """Simulate, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "perfusion_stage.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = compare(Path(scratch), arguments.patients, arguments.seed)
    result = {"patients": arguments.patients, "seed": arguments.seed, **result}
    print(json.dumps(result, indent=1))
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def compare(folder: Path, n_patients: int, seed: int) -> dict[str, Any]:
    """Flow of segments at rest and stress against the truth; AUC of ischaemia; what ended how."""
    truth = pd.DataFrame(
        row for number in range(n_patients) for row in write_patient(folder / "archive", number, seed + number)
    )
    settings = CohortSettings(directory=folder / "cohort", sources=(folder / "archive",))
    with open_ledger(settings.cohort.ledger) as ledger:
        for stage in (CONVERT, PERFUSION):
            run_in_process(planning.plan(stage, settings, ledger), ledger, settings.cohort)
        ended = [(entry.status, entry.reason) for entry in ledger.entries("perfusion").values()]
    segments = pd.read_parquet(settings.cohort.tables / "perfusion_segments.parquet")
    flow = segments[(segments["quantity"] == "mbf_ml_min_g") & (segments["layer"] == "all")]
    flow = flow.assign(participant=flow["study"].str.rpartition("-")[0])
    joined = truth.merge(flow, on=["participant", "state", "segment"], how="left")
    counts = {name: int(n) for name, n in pd.Series(ended).map(" ".join).str.strip().value_counts().items()}
    return {"ended": counts, **_agreement(joined)}


def write_patient(archive: Path, number: int, seed: int, **scans: Any) -> Iterator[dict[str, Any]]:
    """Write one patient's DICOM; yields a row a state and segment with its true flow.

    ``scans`` are settings of :func:`cmr_models.simulate.perfusion.simulated_scan`.
    """
    name = f"perf{number:03d}"
    folder = archive / name
    folder.mkdir(parents=True)
    for state, scan, files in encoded_scans(number, seed, **scans):
        for file_name, content in files.items():
            (folder / f"{state}_{file_name}").write_bytes(content)
        tissue = scan.patient.tissue
        for segment, layers in enumerate(tissue.mbf_ml_min_g, start=1):
            yield {
                "participant": name, "state": state, "segment": segment, "true": float(layers.mean()),
                "ischaemic": segment in tissue.ischaemic,
            }  # fmt: skip


def encoded_scans(number: int, seed: int, **scans: Any) -> Iterator[tuple[str, SimulatedScan, dict[str, bytes]]]:
    """State, truth and DICOM files of one patient's scan at rest, then under stress."""
    rng = np.random.default_rng(seed)
    territory = NARROW[number % len(NARROW)]
    session = Session(f"perf{number:03d}", f"1.2.3.{number + 1}", f"1.2.3.{number + 1}.1", "20240102", 36000.0)
    for k, state in enumerate(("rest", "stress")):
        stress = state == "stress"
        scan = simulated_scan(rng, stress=stress, territory=territory if stress else None, **scans)
        files = encode_scan(rng, scan, session, stress=stress, start_s=600.0 + 900 * k, first_number=40 + 20 * k)
        yield state, scan, dict(files)


def _agreement(joined: pd.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for state, rows in joined.groupby("state"):
        measured = rows.dropna(subset=["median"])
        ratio = measured["median"] / measured["true"]
        found[str(state)] = {
            "segments": len(rows),
            "measured": len(measured),
            "median_ratio": round(float(ratio.median()), 3),
            "ratio_q10": round(float(ratio.quantile(0.1)), 3),
            "ratio_q90": round(float(ratio.quantile(0.9)), 3),
            "correlation": round(float(measured["median"].corr(measured["true"])), 3),
        }
    stress = joined[(joined["state"] == "stress")].dropna(subset=["median"])
    if stress["ischaemic"].nunique() == 2:
        found["ischaemia_auc"] = round(float(roc_auc_score(stress["ischaemic"], -stress["median"])), 3)
    return found


if __name__ == "__main__":
    main()
