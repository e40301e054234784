"""Short-axis networks against experts: every patient of a folder like ACDC's, at end-diastole and end-systole.

    python -m benchmarks.drawn_hearts [--model default] [--folds 0=RUN 1=RUN ...] [--data FOLDER] [--out FILE]

``--folds`` are models that were trained with ``fold = 0, 1, ...`` of this folder: each is measured on the patients that
it has not seen, in place of ``--model`` on all.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.segmentation import dice
from cmr_models import zoo
from cmr_models.contracts import LV, MYOCARDIUM, RV
from cmr_models.segmentation import segment_sax
from tasks.execution.process import prepare_process
from tasks.training.drawn_volumes import DrawnVolume, drawn_volumes
from tasks.training.segmentation_data import fold_patients

DATA = Path(os.environ.get("CMR_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "acdc_training"
_LABELS = {"lv": LV, "myocardium": MYOCARDIUM, "rv": RV}


def main() -> None:
    """Measure, print the summary, write all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--folds", nargs="*", default=[])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    prepare_process()
    folds = dict(item.split("=", 1) for item in arguments.folds)
    rows = pd.DataFrame(measured(arguments.data, models_of(arguments.data, arguments.model, folds)))
    results = {"summary": summary(rows), "worst": worst(rows, 20), "volumes": rows.round(4).to_dict("records")}
    print(json.dumps(results["summary"], indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


def models_of(data: Path, model: str, folds: Mapping[str, str]) -> dict[str, str]:
    """The model for each patient; with ``folds``, for those alone that one of them has not seen.

    Raises:
        ValueError: if a model's own card does not say that its patients were held out.
    """
    patients = sorted(path.name for path in data.glob("patient*") if path.is_dir())
    if not folds:
        return dict.fromkeys(patients, model)
    chosen: dict[str, str] = {}
    for fold, run in folds.items():
        out = fold_patients(patients, int(fold), int(zoo.card(run).training_settings["n_folds"]))
        told = " ".join(entry for entry in zoo.card(run).training_data if entry.startswith("held out"))
        if seen := [name for name in out if name not in told]:
            raise ValueError(f"{run} was not trained without {', '.join(sorted(seen))}")
        chosen |= dict.fromkeys(out, run)
    return chosen


def measured(data: Path, models: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A row a volume: Dice of each structure, drawn and found millilitres, and pixels found where no heart is drawn."""
    for volume in drawn_volumes(data):
        if volume.patient not in models:
            continue
        found = segment_sax(volume.images[None], volume.spacing_mm[:2], volume.spacing_mm[2], models[volume.patient])[0]
        yield {"patient": volume.patient, "group": volume.group, "phase": volume.phase} | _compare(volume, found)


def _compare(volume: DrawnVolume, found: np.ndarray[Any, Any]) -> dict[str, float]:
    ml = float(np.prod(volume.spacing_mm)) / 1000
    row: dict[str, float] = {}
    for name, label in _LABELS.items():
        is_drawn, is_found = volume.labels == label, found == label
        beyond = ~is_drawn.any((1, 2))
        row |= {
            f"{name}_dice": dice(is_drawn, is_found),
            f"{name}_drawn_ml": ml * float(is_drawn.sum()),
            f"{name}_found_ml": ml * float(is_found.sum()),
            f"{name}_beyond_ml": ml * float(is_found[beyond].sum()),
        }
    return row


def summary(rows: pd.DataFrame) -> dict[str, Any]:
    """Dice by structure and phase, and errors of ejection fractions in points, of all and by group."""
    groups: dict[str, pd.DataFrame] = {"all": rows, **dict(iter(rows.groupby("group")))}
    return {name: _figures(part) for name, part in groups.items()}


def _figures(rows: pd.DataFrame) -> dict[str, float]:
    found: dict[str, float] = {"patients": rows["patient"].nunique()}
    for name in _LABELS:
        by_phase = rows.groupby("phase")[f"{name}_dice"].mean()
        found |= {f"{name}_dice": by_phase.mean(), f"{name}_dice_ed": by_phase["ed"], f"{name}_dice_es": by_phase["es"]}
    for name in ("lv", "rv"):
        error = _ejection_fraction(rows, f"{name}_found_ml") - _ejection_fraction(rows, f"{name}_drawn_ml")
        found |= {f"{name}ef_mean_absolute_error": error.abs().mean(), f"{name}ef_mean_error": error.mean()}
        found[f"{name}_beyond_share"] = rows[f"{name}_beyond_ml"].sum() / rows[f"{name}_found_ml"].sum()
    return {name: round(float(value), 4) for name, value in found.items()}


def _ejection_fraction(rows: pd.DataFrame, column: str) -> pd.Series:
    ml = rows.pivot_table(index="patient", columns="phase", values=column)
    return 100 * (1 - ml["es"] / ml["ed"])


def worst(rows: pd.DataFrame, n: int) -> Sequence[str]:
    """The patients with the largest error of the left ejection fraction, the worst first."""
    error = (_ejection_fraction(rows, "lv_found_ml") - _ejection_fraction(rows, "lv_drawn_ml")).abs()
    return [str(name) for name in error.sort_values(ascending=False).index[:n]]


if __name__ == "__main__":
    main()
