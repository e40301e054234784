"""What each part of the perfusion chain costs the flow of segments: parts are replaced by the truth in turn.

    python -m benchmarks.perfusion_parts [--patients 6] [--seeds 77 177] [--state stress] [--out FILE]

    chain       everything found
    masks       true labels instead of the network's
    motion      the same patient, who does not breathe: nothing is left to correct, and proton density fits
    both        the two together
    curves      the flow of the fit alone: true curves of tissue and input at the beats, white noise
    no_noise    the same without noise

Flow is measured over true, by segment; "patients" has each one's median. Displacement of the left ventricle is in mm,
before and after motion correction: before contrast arrives, in the first pass, later, and of proton density.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.perfusion_stage import encoded_scans
from cmr_models.aif import features
from cmr_models.perfusion import quantify
from cmr_models.perfusion.chain import measure
from cmr_models.perfusion.registration import correct_together, offset_of
from cmr_models.perfusion.series import GRID_S
from cmr_models.perfusion.wall import inner_wall, reliable_pixels
from cmr_models.simulate.perfusion import SimulatedScan, SimulatedSeries
from cmr_models.simulate.perfusion.curves import grid_s
from flows import planning
from flows.settings import CohortSettings
from tasks.convert.convert_stage import CONVERT
from tasks.derive.perfusion import perfusion_series
from tasks.execution.stage import run_in_process
from tasks.state.ledger import open_ledger
from tasks.state.store import Cohort

Floats = npt.NDArray[Any]
_NOISE_MMOL_L = 0.05  # a wall that peaks near 1 mmol/L at 20 times the noise, as cmr_models.simulate.perfusion has it
_FIRST_PASS_S = 18.0


def main() -> None:
    """Simulate, measure part by part, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[77, 177])
    parser.add_argument("--state", choices=("rest", "stress"), default="stress")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "perfusion_parts.json")
    arguments = parser.parse_args()
    parts, left = [], []
    for seed in arguments.seeds:
        for number in range(arguments.patients):
            scan, ratios = _patient(number, seed + number, arguments.state)
            parts += [{"seed": seed, "patient": number, "part": part, "ratio": r} for part, r in ratios]
            left += _left_mm(scan)
    result = {
        "patients": arguments.patients, "seeds": arguments.seeds, "state": arguments.state,
        "flow_ratio": _flow(pd.DataFrame(parts)), "displacement_mm": _displacement(pd.DataFrame(left)),
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def _patient(number: int, seed: int, state: str) -> tuple[SimulatedScan, list[tuple[str, Floats]]]:
    """The scan, and part -> measured over true flow of its segments."""
    scan, views = _scan_and_views(number, seed, state)
    quiet, still = _scan_and_views(number, seed, state, breathing=0.0)
    labels = np.stack([series.scene.label for series in scan.myocardium.values()])
    true = scan.patient.tissue.mbf_ml_min_g.mean(axis=1)
    found = {
        "chain": measure(views), "masks": measure(views, labels=labels),
        "motion": measure(still), "both": measure(still, labels=labels),
    }  # fmt: skip
    ratios = []
    for part, result in found.items():
        rows = result.segments["mbf_ml_min_g"]
        median = rows[rows["layer"] == "all"].set_index("segment")["median"].reindex(range(1, 17)).to_numpy(float)
        ratios.append((part, median / true))
    rng = np.random.default_rng(seed)
    ratios.append(("curves", _fit_from_dictionary(quiet, _NOISE_MMOL_L, rng) / true))
    ratios.append(("no_noise", _fit_from_dictionary(quiet, 0.0, rng) / true))
    return scan, ratios


def _scan_and_views(number: int, seed: int, state: str, **scans: Any) -> tuple[SimulatedScan, dict[str, Any]]:
    """One state's truth, and its views after conversion."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "archive"
        folder.mkdir()
        for name, scan, files in encoded_scans(number, seed, **scans):
            if name == state:
                for file_name, content in files.items():
                    (folder / file_name).write_bytes(content)
                kept = scan
        settings = CohortSettings(directory=Path(scratch) / "cohort", sources=(folder,))
        with open_ledger(settings.cohort.ledger) as ledger:
            run_in_process(planning.plan(CONVERT, settings, ledger), ledger, settings.cohort)
            ((study, entry),) = ledger.entries(CONVERT.name).items()
        return kept, perfusion_series(Cohort(settings.directory).study(study), entry.key)[state]


def _fit_from_dictionary(scan: SimulatedScan, noise: float, rng: np.random.Generator) -> Floats:
    """Median flow of the 16 segments from true curves, as the beats sample them."""
    patient = scan.patient
    grid = np.arange(patient.time_s[0], patient.time_s[-1], GRID_S)

    def sampled(curve: Floats) -> Floats:
        return np.interp(grid, patient.time_s, np.interp(patient.time_s, grid_s(curve.size), curve))

    blood, tissue = sampled(patient.blood["lv"]), np.apply_along_axis(sampled, -1, patient.tissue_mmol)
    foot = max(1, int(features(blood, GRID_S)["foot_s"] / GRID_S))
    flow = np.full(16, np.nan)
    for series in scan.myocardium.values():
        scene = series.scene
        wall = scene.label == 2
        curves = tissue[scene.segment.astype(int) - 1, (scene.depth > 0.5).astype(int)]
        curves = curves + rng.normal(0, noise, curves.shape)
        maps = quantify(curves, blood, GRID_S, foot=foot, mask=wall, wall=inner_wall(wall))["mbf_ml_min_g"].values
        used = reliable_pixels(scene.label[None], scene.segment[None])[0] & np.isfinite(maps)
        for segment in np.unique(scene.segment[used]):
            flow[segment - 1] = np.median(maps[used & (scene.segment == segment)])
    return flow


def _left_mm(scan: SimulatedScan) -> list[dict[str, Any]]:
    """Displacement of the left ventricle from its usual place in each frame of each slice, before and after."""
    slices = list(scan.myocardium.values())
    found = correct_together([series.images[0] for series in slices])
    return [row for series, one in zip(slices, found, strict=True) for row in _left_in_slice(scan, series, *one)]


def _left_in_slice(
    scan: SimulatedScan, series: SimulatedSeries, corrected: Floats, displacement: Floats
) -> Iterator[dict[str, Any]]:
    inside, pixel_mm = series.scene.label > 1, series.acquisition.pixel_mm
    true = series.shift_mm * series.scene.heart[inside].mean()
    found = displacement[:, inside].mean(axis=1).T * pixel_mm
    usual = np.median(found - true, axis=0)
    before = np.hypot(*(true - true.mean(axis=0)).T)
    after = np.hypot(*(found - true - usual).T)
    arrival = scan.patient.bolus.arrival_s - scan.patient.time_s[0]
    for time_s, one, other in zip(series.time_s, before, after, strict=True):
        phase = "before_bolus" if time_s < arrival else "first_pass" if time_s < arrival + _FIRST_PASS_S else "later"
        yield {"phase": phase, "before": one, "after": other}
    density = offset_of(series.proton_density.mean(axis=-1), corrected) * pixel_mm
    there = true[0] + usual
    yield {"phase": "density", "before": np.hypot(*there), "after": np.hypot(*(density - there))}


def _flow(rows: pd.DataFrame) -> dict[str, Any]:
    """Part -> over all patients' segments, and of each patient."""
    found: dict[str, Any] = {}
    for part, group in rows.groupby("part", sort=False):
        named = [(f"{seed}+{n}", np.asarray(r)) for seed, n, r in group[["seed", "patient", "ratio"]].to_numpy()]
        values = np.concatenate([ratio for _, ratio in named])
        known = values[np.isfinite(values)]
        found[str(part)] = {
            "median": round(float(np.median(known)), 3), "mean": round(float(known.mean()), 3),
            "q10": round(float(np.quantile(known, 0.1)), 3), "q90": round(float(np.quantile(known, 0.9)), 3),
            "sd_within_patient": round(float(np.mean([np.nanstd(ratio) for _, ratio in named])), 3),
            "patients": {name: round(float(np.nanmedian(values)), 3) for name, values in named},
        }  # fmt: skip
    return found


def _displacement(rows: pd.DataFrame) -> dict[str, Any]:
    return {
        str(phase): {
            "before": round(float(group["before"].mean()), 2), "after": round(float(group["after"].mean()), 2),
            "after_q90": round(float(group["after"].quantile(0.9)), 2),
        }
        for phase, group in rows.groupby("phase", sort=False)
    }  # fmt: skip


if __name__ == "__main__":
    main()
