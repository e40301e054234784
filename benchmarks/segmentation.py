"""How well and how fast the embedded networks segment: real scans with references, and images a second.

    python -m benchmarks.segmentation [--model default] [--folds 0=RUN 1=RUN ...] [--out FILE]

``--folds`` are model folders trained with ``fold = 0, 1, ...``: each is measured on the Sunnybrook patients it has
not seen. All other rows use ``--model``. Real scans are taken from ``CMR_TEST_DATA``; everything goes through
``segment_sax``. The two Sunnybrook DICOM studies are SC-HF-I-1 and SC-HF-I-2, who are among the training patients of
the default network: only rows of folds are measured on unseen Sunnybrook patients.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from matplotlib.image import imread

from benchmarks.drawn_hearts import dice
from benchmarks.guide_points import filled, guide_contours, guide_masks, sax_planes
from cmr_models import zoo
from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.segmentation import segment_sax
from tasks.documentation.accuracy import accuracy_of
from tasks.execution.process import prepare_process
from tasks.training.segmentation_data import fold_patients

Array = npt.NDArray[Any]
Row = dict[str, float | int | str]

DATA = Path(os.environ.get("CMR_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
_PHASES = 20
_FEWEST_SLICES = 3  # of a phase's volume; a stray drawing of a third phase is none
_LABELS = {"lv": LV, "myocardium": MYOCARDIUM, "rv": RV}


def main() -> None:
    """Run what the data at hand allow, print it, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--folds", nargs="*", default=[])
    parser.add_argument("--frames", type=int, default=50, help="frames of the study that is timed")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "segmentation.json")
    arguments = parser.parse_args()
    prepare_process()
    results: dict[str, Any] = {"speed": speed(arguments.model, arguments.frames)}
    if DATA.is_dir():
        results["cross_validation"] = cross_validation(dict(item.split("=", 1) for item in arguments.folds))
        results["guide_points"] = guide_points(arguments.model)
        results["sunnybrook_dicom"] = list(sunnybrook_dicom(arguments.model))
        results["stroke_volumes"] = stroke_volumes(arguments.model)
    print(json.dumps(results, indent=1))
    print(accuracy_of(arguments.out.parent))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")


def speed(model: str, n_frames: int = 50, n_slices: int = 10) -> Row:
    """Images a second of a study of UK Biobank's size, from stored pixels to labels, the network loaded."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 800, (n_frames, n_slices, 208, 192)).astype(np.uint16)
    segment_sax(images[:1], 1.8, 10.0, model)
    start = time.perf_counter()
    segment_sax(images, 1.8, 10.0, model)
    seconds = time.perf_counter() - start
    n = n_frames * n_slices
    return {"images": n, "images_per_s": n / seconds, "cores": os.cpu_count() or 0}


def cross_validation(folds: Mapping[str, str], pixel_mm: float | None = 1.32) -> dict[str, Any]:
    """LV Dice and EF error on the Sunnybrook patients that each fold's model has not seen; ``folds``: fold -> model."""
    patients = _sunnybrook_patients()
    rows = [
        {"fold": int(fold), "patient": name, **_one_patient(patients[name], model, pixel_mm)}
        for fold, model in folds.items()
        for name in _unseen(model, fold_patients(list(patients), int(fold), 5))
    ]
    return {"summary": _summary(rows), "patients": rows} if rows else {}


def guide_points(model: str) -> dict[str, float]:
    """Dice against the contours of automatic guide points, mean over frames and planes of one study, and EF of both.

    Of the right ventricle the points give its free wall and septum: it is their convex hull outside the left
    epicardium. EF is that of the pixels in all planes, with as good as no contours above the valves.
    """
    planes = sax_planes(DATA / "dicom_study/patient1")
    images = np.stack([[header.pixel_array for header in plane] for plane in planes], axis=1)
    labels = segment_sax(images, 1.40625, None, model)
    scores = defaultdict(list)
    drawn_px = {name: np.zeros(len(images)) for name in ("lv", "rv")}
    for frame in range(len(images)):
        points = guide_contours(DATA / "dicom_study/guidepoints" / f"GPFile_{frame:03d}.txt")
        for k, plane in enumerate(planes):
            drawn = guide_masks(points, plane[frame])
            for name, mask in drawn.items():
                scores[name].append(dice(labels[frame, k] == _LABELS[name], mask))
            for name in drawn_px.keys() & drawn.keys():
                drawn_px[name][frame] += drawn[name].sum()
    found_px = {name: (labels == _LABELS[name]).sum((1, 2, 3)) for name in drawn_px}
    summary = {name: float(np.mean(values)) for name, values in scores.items()}
    summary |= {f"{name}ef_drawn_pct": _ef(dict(enumerate(px))) for name, px in drawn_px.items()}
    summary |= {f"{name}ef_found_pct": _ef(dict(enumerate(px))) for name, px in found_px.items()}
    return summary | {"images": len(scores["lv"]), "es_frame": int(found_px["lv"].argmin())}


def sunnybrook_dicom(model: str) -> Iterator[Row]:
    """Volumes and EF of two patients against expert contours. Both patients are among the training patients."""
    for folder in sorted((DATA / "sunnybrook_dicom").glob("SCD*")):
        headers = {int(file.stem): pydicom.dcmread(file) for file in folder.glob("*.dcm")}
        n_slices = len(headers) // _PHASES
        stack = np.stack([[headers[1 + k * _PHASES + t].pixel_array for k in range(n_slices)] for t in range(_PHASES)])
        pixel_mm = float(headers[1].PixelSpacing[0])
        labels = segment_sax(stack, pixel_mm, None, model) == LV
        contours = _contours(folder.parent / "contours" / folder.name / "i-contours", stack.shape[2:])
        drawn = {(number - 1) % _PHASES: 0 for number in contours}
        found = dict.fromkeys(drawn, 0)
        overlap = []
        for number, mask in contours.items():
            k, t = divmod(number - 1, _PHASES)
            drawn[t] += int(mask.sum())
            found[t] += int(labels[t, k].sum())
            overlap.append(dice(labels[t, k], mask))
        volume = labels.sum((1, 2, 3))
        yield {
            "case": folder.name,
            "lv_dice": float(np.mean(overlap)),
            "ef_drawn_pct": _ef(drawn),
            "ef_same_images_pct": _ef(found),
            "ef_all_images_pct": 100 * float(1 - volume.min() / volume.max()),
        }


def stroke_volumes(model: str, pixel_mm: float = 1.32) -> Row:
    """Right over left stroke volume of the Sunnybrook patients, in the slices that both phases have.

    Without a shunt or a leaking valve it is 1. It needs no drawing, so it tells of right ventricles at end-systole,
    whose drawings are not at hand; the left ones of these patients are among the training images.
    """
    ratios = []
    for files in _sunnybrook_patients().values():
        phases: dict[int, dict[int, Path]] = defaultdict(dict)
        for file in files:
            plane, phase = divmod(int(file.stem.split("-")[-1]) - 1, _PHASES)
            phases[phase][plane] = file
        common = sorted(set.intersection(*(set(planes) for planes in phases.values())))
        stack = [[(imread(planes[k]) * 255).astype(np.uint8) for k in common] for planes in phases.values()]
        labels = segment_sax(np.stack([np.stack(frame) for frame in stack]), pixel_mm, None, model)
        lv, rv = ((labels == label).sum((1, 2, 3)).astype(float) for label in (LV, RV))
        full, empty = lv.argmax(), lv.argmin()
        ratios.append(float((rv[full] - rv[empty]) / (lv[full] - lv[empty])) if full != empty else np.nan)
    low, median, high = map(float, np.nanquantile(ratios, [0.25, 0.5, 0.75]))
    return {"patients": int(np.isfinite(ratios).sum()), "median": median, "quartile_low": low, "quartile_high": high}


def _unseen(model: str, out: set[str]) -> list[str]:
    """The patients of a fold, in order; an error if the model's own card does not say that they were held out."""
    entries = [entry for entry in zoo.card(model).training_data if entry.startswith("held out")]
    seen = out - set(re.findall(r"SC-[\w-]+", " ".join(entries)))
    if seen:
        raise ValueError(f"{model} was not trained without {', '.join(sorted(seen))}")
    return sorted(out)


def _sunnybrook_patients() -> dict[str, list[Path]]:
    patients: dict[str, list[Path]] = defaultdict(list)
    for file in sorted((DATA / "sunnybrook_png/images").glob("*.png")):
        patients[file.name.split("-IM-")[0]].append(file)
    return patients


def _one_patient(files: Sequence[Path], model: str, pixel_mm: float | None) -> Row:
    """The images of one phase make one stack, as they would come."""
    drawn = {file: imread(file.parents[1] / "labels" / file.name) > 0.5 for file in files}
    phases: dict[int, list[Path]] = defaultdict(list)
    for file in files:
        phases[(int(file.stem.split("-")[-1]) - 1) % _PHASES].append(file)
    found: dict[Path, npt.NDArray[np.bool_]] = {}
    for members in phases.values():
        stack = np.stack([(imread(file) * 255).astype(np.uint8) for file in members])[None]
        found |= dict(zip(members, segment_sax(stack, pixel_mm, None, model)[0] == LV, strict=True))
    drawn_px = {t: int(sum(drawn[file].sum() for file in members)) for t, members in phases.items()}
    found_px = {t: int(sum(found[file].sum() for file in members)) for t, members in phases.items()}
    scores = [dice(found[file], drawn[file]) for file in files]
    volumes = [
        dice(*(np.stack([masks[file] for file in members]) for masks in (found, drawn)))
        for members in phases.values()
        if len(members) >= _FEWEST_SLICES
    ]
    return {
        "images": len(files),
        "lv_dice_of_volumes": float(np.mean(volumes)),
        "lv_dice": float(np.mean(scores)),
        "lv_dice_min": float(np.min(scores)),
        "ef_drawn_pct": _ef(drawn_px),
        "ef_found_pct": _ef(found_px),
    }


def _summary(rows: Sequence[Mapping[str, Any]]) -> Row:
    weights = [row["images"] for row in rows]
    error = [row["ef_found_pct"] - row["ef_drawn_pct"] for row in rows]
    return {
        "patients": len(rows),
        "images": int(sum(weights)),
        "lv_dice_of_images": float(np.average([row["lv_dice"] for row in rows], weights=weights)),
        "lv_dice_of_patients": float(np.mean([row["lv_dice"] for row in rows])),
        "lv_dice_of_volumes": float(np.mean([row["lv_dice_of_volumes"] for row in rows])),
        "ef_mean_absolute_error": float(np.mean(np.abs(error))),
        "ef_mean_error": float(np.mean(error)),
    }


def _ef(area: Mapping[int, float]) -> float:
    return float(100 * (1 - min(area.values()) / max(max(area.values()), 1)))


def _contours(folder: Path, shape: tuple[int, ...]) -> dict[int, npt.NDArray[np.bool_]]:
    files = sorted(folder.glob("*.txt"))
    return {int(file.name.split("-")[2]): filled(np.loadtxt(file), shape) for file in files}


if __name__ == "__main__":
    main()
