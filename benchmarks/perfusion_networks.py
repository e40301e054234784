"""How well the perfusion networks and the motion correction do: on simulated first passes, and on real ones.

    python -m benchmarks.perfusion_networks [--parts PART ...] [--aif N] [--segment N] [--motion N] [--out FILE]

Parts that are not measured stay in the file as they are.

Simulated scans come from seeds that no training used; the weights were trained on simulation alone, so the real scans
(``CMR_TEST_DATA``) are unseen by the weights, though two real arterial-input series guided the design of the simulator.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cmr_models.aif import detect, features
from cmr_models.perfusion.registration import correct
from cmr_models.perfusion.segmentation import segment
from cmr_models.simulate.perfusion import simulated_scan
from cmr_models.simulate.perfusion.motion import displace
from cmr_models.simulate.perfusion.training import aif_training_series, myocardial_training_series

DATA = Path(os.environ.get("CMR_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "perfusion"
_SEED = 20_000
_FOUND_DICE = 0.3  # a mask with less overlap is another structure
Row = dict[str, Any]
Array = npt.NDArray[Any]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aif", type=int, default=2000, help="simulated arterial-input series")
    parser.add_argument("--segment", type=int, default=120, help="simulated myocardial series")
    parser.add_argument("--motion", type=int, default=12, help="simulated breathing series")
    parser.add_argument("--parts", nargs="*", default=[], help="what to measure; all by default")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "perfusion_networks.json")
    parser.add_argument("--aif-model", default="default")
    parser.add_argument("--segment-model", default="default")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], Any]] = {
        "aif_simulated": lambda: aif_simulated(arguments.aif, lambda s: detect(s, model=arguments.aif_model)),
        "segmentation_simulated": lambda: segmentation_simulated(arguments.segment, arguments.segment_model),
        "motion_simulated": lambda: motion_simulated(arguments.motion),
        "aif_simulated_by_rule": lambda: aif_simulated(max(1, arguments.aif // 10), lambda s: detect(s, method="rule")),
    }
    if DATA.is_dir():
        parts["aif_real"] = lambda: aif_real(arguments.aif_model)
        parts["segmentation_real"] = lambda: segmentation_real(arguments.segment_model)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    results: Row = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name in arguments.parts or list(parts):
        results[name] = parts[name]()
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def aif_simulated(n: int, method: Callable[[Array], Array]) -> Row:
    """LV found (more overlap with it than with any other chamber), Dice, and what the features lose."""
    dice, right, seconds, wrong = [], [], [], []
    errors: dict[str, list[float]] = {}
    for i in range(n):
        series, truth = aif_training_series(np.random.default_rng([_SEED, i]))
        begun = time.process_time()
        mask = method(series.images[0])
        seconds.append(time.process_time() - begun)
        dice.append(_dice(mask == 1, truth == 1))
        right.append(_dice(mask == 2, truth == 2))
        wrong.append(bool(((mask == 1) & (truth == 2)).sum() > ((mask == 1) & (truth == 1)).sum()))
        if dice[-1] >= _FOUND_DICE:
            _add_feature_errors(errors, series.images[0], mask == 1, truth == 1, series.time_s)
    return {
        "scans": n,
        "lv_detected_pct": 100 * float(np.mean(np.array(dice) >= _FOUND_DICE)),
        "lv_dice_mean": float(np.mean(dice)),
        "lv_dice_sd": float(np.std(dice)),
        "lv_dice_above_0.75_pct": 100 * float(np.mean(np.array(dice) > 0.75)),
        "rv_dice_mean": float(np.mean(right)),
        "rv_taken_for_lv": int(np.sum(wrong)),
        "cpu_ms_median": 1000 * float(np.median(seconds)),
        "features": {name: _spread(values) for name, values in errors.items()},
    }


def _add_feature_errors(
    errors: dict[str, list[float]], series: Array, found: Array, truth: Array, time_s: Array
) -> None:
    """Seconds for the times, per cent for peak and area: curve of the mask found against that of the true one."""
    grid = np.arange(0, time_s[-1], 0.5)
    curves = [np.interp(grid, time_s, series[mask].mean(axis=0)) for mask in (found, truth)]
    got, wanted = (features(curve, 0.5) for curve in curves)
    for name in got:
        difference = got[name] - wanted[name]
        relative = name in ("peak_value", "auc")
        key = f"{name}_error_pct" if relative else f"{name.removesuffix('_s')}_error_s"
        errors.setdefault(key, []).append(100 * difference / wanted[name] if relative else difference)


def _spread(values: list[float]) -> Row:
    finite = np.array(values)[np.isfinite(values)]
    return {
        "n": int(finite.size),
        "mean": float(finite.mean()),
        "sd": float(finite.std()),
        "median": float(np.median(finite)),
    }


def segmentation_simulated(n: int, model: str) -> Row:
    """Dice of the classes on random pixel sizes."""
    rows = []
    for i in range(n):
        rng = np.random.default_rng([_SEED + 1, i])
        pixel = float(rng.uniform(1.2, 2.4))
        series, truth = myocardial_training_series(rng, pixel, round(240 / pixel))
        label = segment(series.images[0], float(np.diff(series.time_s).mean()), pixel, model=model)
        rows.append([_dice(label == k, truth == k) for k in (1, 2, 3)])
    found = np.array(rows)
    return {
        "series": n,
        **{f"{name}_dice_mean": float(found[:, k].mean()) for k, name in enumerate(("rv", "myocardium", "lv"))},
        "myocardium_dice_sd": float(found[:, 1].std()),
        "myocardium_dice_above_0.8_pct": 100 * float(np.mean(found[:, 1] > 0.8)),
    }


def motion_simulated(n: int) -> Row:
    """Residual displacement of the heart, and Dice of the myocardium between frames, before and after."""
    rows, seconds = [], []
    for i in range(n):
        rng = np.random.default_rng([_SEED + 2, i])
        scan = simulated_scan(rng, stress=bool(i % 2), breathing=float(rng.uniform(4, 9)), levels=("mid",))
        series = scan.myocardium["mid"]
        begun = time.process_time()
        _, displacement = correct(series.images[0])
        seconds.append(time.process_time() - begun)
        rows.append([_residual_mm(series, d) + _frame_dice(series, d) for d in (displacement * 0, displacement)])
    measured = np.array(rows)
    return {
        "series": n,
        "residual_mm_before": float(measured[:, 0, 0].mean()),
        "residual_mm_after": float(measured[:, 1, 0].mean()),
        "residual_mm_after_worst_series": float(measured[:, 1, 0].max()),
        "frame_myocardium_dice_before": float(measured[:, 0, 1].mean()),
        "frame_myocardium_dice_after": float(measured[:, 1, 1].mean()),
        "cpu_s_median": float(np.median(seconds)),
    }


def _residual_mm(series: Any, displacement: Array) -> list[float]:
    """Mean over frames of how far the LV's wall and cavity stay from their mean place."""
    inside = series.scene.label > 1
    left = displacement[:, inside].mean(axis=1).T * series.acquisition.pixel_mm
    left = left - series.shift_mm * series.scene.heart[inside].mean()
    left -= left.mean(axis=0)
    return [float(np.hypot(left[:, 0], left[:, 1]).mean())]


def _frame_dice(series: Any, displacement: Array) -> list[float]:
    """Dice of each corrected frame's true myocardium with that of the mean position."""
    wall = (series.scene.label == 2).astype(np.float32)
    frames = displacement.shape[-1]
    shift_px = series.shift_mm / series.acquisition.pixel_mm
    there = displace(np.repeat(wall[None], frames, axis=0), shift_px, series.scene.heart)
    inside = series.scene.label > 1
    back = -displacement[:, inside].mean(axis=1).T
    here = displace(there, back, np.ones_like(wall))
    return [float(np.mean([_dice(frame > 0.5, wall > 0.5) for frame in here]))]


def aif_real(model: str) -> list[Row]:
    """Published example series with masks; 1 LV, 2 RV."""
    rows = []
    for folder in sorted((DATA / "aif").glob("example*")):
        series, truth = np.load(folder / "aif_scc.npy"), np.load(folder / "aif_masks_final.npy")
        row: Row = {"series": folder.name, "shape": list(series.shape)}
        for method in ("network", "rule"):
            mask = detect(series, method=method, model=model)
            row[method] = {"lv_dice": _dice(mask == 1, truth == 1), "rv_dice": _dice(mask == 2, truth == 2)}
            row[method]["lv_pixels"], row["lv_pixels_drawn"] = int((mask == 1).sum()), int((truth == 1).sum())
        detect(series, model=model)
        begun = time.perf_counter()
        detect(series, model=model)
        row["network_ms"] = 1000 * (time.perf_counter() - begun)
        rows.append(row)
    return rows


def segmentation_real(model: str) -> Row:
    """One GE series with masks drawn by hand, after motion correction."""
    import pydicom
    from scipy.io import loadmat

    images = [pydicom.dcmread(file) for file in sorted((DATA / "dicom").glob("I*"))]
    images.sort(key=lambda image: float(image.TriggerTime))
    series = np.stack([image.pixel_array for image in images], axis=-1).astype(np.float32)
    times = [float(image.TriggerTime) / 1000 for image in images]
    drawn = loadmat(DATA / "dicom" / "GoldStandard.mat")
    corrected, displacement = correct(series)
    dt_s, pixel = float(np.diff(times).mean()), float(images[0].PixelSpacing[0])
    row: Row = {"largest_displacement_mm": float(np.abs(displacement).max() * pixel)}
    for name, one in (("as_acquired", series), ("corrected", corrected)):
        label = segment(one, dt_s, pixel, model=model)
        row[name] = {
            "rv_dice": _dice(label == 1, drawn["DXmask"] > 0),
            "myocardium_dice": _dice(label == 2, drawn["MyoMask"] > 0),
            "lv_dice": _dice(label == 3, drawn["SXmask"] > 0),
        }
    return row


def _dice(a: Array, b: Array) -> float:
    """1 if both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


if __name__ == "__main__":
    main()
