"""Networks against what others have drawn: every volume at hand, at end-diastole and end-systole.

    python -m benchmarks.drawn_hearts [--model default] [--folds 0=RUN 1=RUN ...] [--pictures FOLDER] [--out FILE]

``--folds`` are models that were trained with ``fold = 0, 1, ...`` of ACDC's patients (``train --drawn``): each is
measured on those that it has not seen, in place of ``--model``, which the other data sets keep. The figures are put
beside those of other models in ``--out``; ``docs/accuracy.md`` is made of it. ``--pictures`` are the ten patients with
the lowest Dice; they show the data sets' images and stay out of the repository.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from benchmarks.drawn_data import STRUCTURES, Reference, references
from benchmarks.kept_results import keep_beside_others
from cmr_models import zoo
from cmr_models.contracts import LV, RV, VENTRICLES, cine_view
from cmr_models.phenotypes.study import Certainty, derive
from cmr_models.phenotypes.volumes import basal_parts
from cmr_models.reasons import StudyRejected
from cmr_models.segmentation import segment_lax_4c, segment_sax
from cmr_models.segmentation.certainty import expected_dice, predicted_dice
from cmr_models.segmentation.restoring import restore_with_answers
from cmr_models.segmentation.segmenter import shared_segmenter
from cmr_models.views.base_apex import base_is_first
from cmr_models.views.view_images import ViewImages
from tasks.execution.process import prepare_process
from tasks.state.csv_text import csv_text
from tasks.training.segmentation_data import fold_patients

DATA = Path(os.environ.get("CMR_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
_RESULTS = Path(__file__).parent / "results" / "drawn_hearts.json"
_N_WORST = 10
_LARGE_ERROR = 5.0  # points of LV EF


def main() -> None:
    """Measure, print the summary, put it beside those of other models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--folds", nargs="*", default=[])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--rows", type=Path, help="also every volume's figures, as CSV")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    arguments = parser.parse_args()
    prepare_process()
    folds = dict(item.split("=", 1) for item in arguments.folds)
    chosen = models_of_folds(arguments.data, folds)
    rows = pd.DataFrame(measured(arguments.data, arguments.model, chosen, arguments.pictures))
    results = {"summary": summary(rows), "worst": worst(rows, _N_WORST), "folds": len(folds)}
    print(json.dumps(results, indent=1))
    if arguments.rows:
        arguments.rows.write_text(csv_text(rows.round(4)), encoding="utf-8")
    keep_beside_others(arguments.out, arguments.model, results)
    if arguments.pictures:
        keep(arguments.pictures, results["worst"])


def models_of_folds(data: Path, folds: Mapping[str, str]) -> dict[str, str]:
    """ACDC's patients -> the model that has not seen them, of ``folds``.

    Raises:
        ValueError: if a model's own card does not say that its patients were held out.
    """
    patients = sorted(path.name for path in (data / "acdc_training").glob("patient*") if path.is_dir())
    chosen: dict[str, str] = {}
    for fold, run in folds.items():
        out = fold_patients(patients, int(fold), int(zoo.card(run).training_settings["n_folds"]))
        told = " ".join(entry for entry in zoo.card(run).training_data if entry.startswith("held out"))
        if seen := [name for name in out if name not in told]:
            raise ValueError(f"{run} was not trained without {', '.join(sorted(seen))}")
        chosen |= dict.fromkeys(out, run)
    return chosen


def measured(
    data: Path, model: str, chosen: Mapping[str, str], pictures: Path | None = None
) -> Iterator[dict[str, Any]]:
    """A row a volume: Dice of each structure, drawn and found millilitres; and apart, Dice within the slices that the
    reference draws, millilitres found in slices that it leaves empty, and drawn in slices that were left empty here.

    Args:
        data: folder of the data sets.
        model: measured on all, except
        chosen: patient -> model, of ACDC; if any, ACDC's other patients are left out.
        pictures: folder for a picture a volume; none if None.
    """
    earlier: Found | None = None
    for reference in references(data):
        name = chosen.get(reference.volume.patient, "") if chosen and reference.dataset == "ACDC" else model
        if not name or not _has(name, f"segment_{reference.view}"):
            continue
        found = _segment(reference, name)
        row = compare(reference, found.labels) | found.expected
        if found.share is not None:
            row |= _by_parts(found.labels, found.share, reference.volume.spacing_mm)
        if earlier is not None and _are_pair(earlier.reference, reference):
            row["qc_ok"] = float(_passes(earlier, found, name))
        earlier = found
        if pictures:
            _picture(reference, found.labels, pictures)
        yield row


class Found(NamedTuple):
    """A volume with its labels ``(slice, row, col)``, the overlap of each structure that the network's own
    probabilities let expect, and the share of each slice ``(slice, ventricle)`` that counts if it is said.
    """

    reference: Reference
    labels: npt.NDArray[np.uint8]
    expected: dict[str, float]
    share: npt.NDArray[np.float64] | None


def _are_pair(first: Reference, second: Reference) -> bool:
    same = (first.dataset, first.view, first.volume.patient) == (second.dataset, second.view, second.volume.patient)
    return same and first.view == "sax" and first.volume.images.shape == second.volume.images.shape


def _passes(ed: Found, es: Found, model: str) -> bool:
    """Whether no quality rule is broken, of the two phases as a study."""
    row_mm, col_mm, slice_mm = ed.reference.volume.spacing_mm
    labels = np.stack([ed.labels, es.labels])
    view = cine_view(
        np.zeros(labels.shape, np.uint16), time_ms=[0.0, 300.0], pixel_mm=(row_mm, col_mm),
        position_mm=np.arange(labels.shape[1])[:, None] * [0.0, 0.0, slice_mm],
        row_dir=(1, 0, 0), col_dir=(0, 1, 0), slice_mm=slice_mm, thickness_mm=slice_mm,
    )  # fmt: skip
    lines = zoo.card(model, "segment_sax").certainty
    certainty = None
    if lines and ed.expected and es.expected:
        names = [f"{name}_expected_dice" for name in ("rv", "myocardium", "lv")]
        expected = np.array([[found.expected[name] for name in names] for found in (ed, es)])
        certainty = Certainty(predicted_dice(expected, lines), lines)
    share = None if ed.share is None or es.share is None else np.stack([ed.share, es.share])
    try:
        derived = derive({"sax": labels}, {"sax": view}, certainty=certainty, slice_share=share)
    except StudyRejected:
        return False
    return derived.status == "ok" and not derived.quality_reasons


def _has(model: str, task: str) -> bool:
    """Whether a model has a network of its own for a task."""
    try:
        found = zoo.card(model, task)
    except (ValueError, FileNotFoundError):
        return False
    return found.task == task and (model not in zoo.shipped_names() or found.name == model)


def _segment(reference: Reference, model: str) -> Found:
    volume, task = reference.volume, f"segment_{reference.view}"
    images = volume.images[None]
    if zoo.card(model, task).preprocessing != "crop":
        pixel_mm, slice_mm = volume.spacing_mm[:2], volume.spacing_mm[2]
        sax = reference.view == "sax"
        found = segment_sax(images, pixel_mm, slice_mm, model) if sax else segment_lax_4c(images, pixel_mm, model)
        return Found(reference, found[0], {}, None)
    segmenter = shared_segmenter(model, task)
    crops, window = segmenter.crops(ViewImages(reference.view, images, volume.spacing_mm[:2]))
    outputs = segmenter.predict(crops)
    restored = restore_with_answers(torch.from_numpy(outputs), window, images.shape, segmenter.card)
    dice_of_codes = expected_dice(restored.sums, len(volume.images))[0]
    expected = {f"{name}_expected_dice": float(dice_of_codes[code - 1]) for name, code in STRUCTURES.items()}
    share = restored.answers["slice_share"][0] if "answer_confidence" in restored.answers else None
    return Found(reference, restored.labels[0], expected, share)


def _by_parts(
    labels: npt.NDArray[np.uint8], share: npt.NDArray[np.float64], spacing_mm: tuple[float, float, float]
) -> dict[str, float]:
    """Millilitres of both ventricles, the last slice at the base counted by its part."""
    area_px = {name: np.count_nonzero(labels == STRUCTURES[name], axis=(1, 2))[None] for name in STRUCTURES}
    base_first = base_is_first(area_px["lv"], sum(area_px.values(), np.zeros((1, len(labels)), int)))
    weights = np.full(len(labels), spacing_mm[2])
    ml = float(np.prod(spacing_mm)) / 1000
    found = {}
    for name, code in (("lv", LV), ("rv", RV)):
        parts = basal_parts(area_px[name] > 0, share[None, :, VENTRICLES.index(code)], weights, base_first)
        found[f"{name}_parts_ml"] = ml * float((area_px[name] * parts).sum())
    return found


def compare(reference: Reference, found: npt.NDArray[np.uint8]) -> dict[str, Any]:
    volume = reference.volume
    ml = float(np.prod(volume.spacing_mm)) / 1000
    row: dict[str, Any] = {
        "dataset": reference.dataset, "vendor": reference.vendor, "view": reference.view,
        "patient": volume.patient, "group": volume.group, "phase": volume.phase,
    }  # fmt: skip
    for name in reference.structures:
        is_drawn, is_found = volume.labels == STRUCTURES[name], (found == STRUCTURES[name]) & reference.known
        beyond = ~is_drawn.any((1, 2))
        row |= {
            f"{name}_dice": dice(is_drawn, is_found),
            f"{name}_drawn_ml": ml * float(is_drawn.sum()),
            f"{name}_found_ml": ml * float(is_found.sum()),
            f"{name}_within_dice": dice(is_drawn[~beyond], is_found[~beyond]),
            f"{name}_beyond_ml": ml * float(is_found[beyond].sum()),
            f"{name}_missed_ml": ml * float(is_drawn[~is_found.any((1, 2))].sum()),
        }
    return row


def dice(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """Overlap of two masks; 1 if both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def summary(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a data set and view, and one a group of its patients: :func:`_figures`."""
    found = []
    for (dataset, view), part in rows.groupby(["dataset", "view"], sort=False):
        head = {"dataset": dataset, "view": view, "vendor": part["vendor"].iat[0]}
        groups = [("all", part), *((name, group) for name, group in part.groupby("group") if name)]
        found += [head | {"group": name, **_figures(group)} for name, group in groups]
    return found


def _figures(rows: pd.DataFrame) -> dict[str, float]:
    """Dice by structure and phase; errors of volumes in ml and of ejection fractions in points, found less drawn."""
    found: dict[str, float] = {"patients": rows["patient"].nunique(), "volumes": len(rows)}
    for name in STRUCTURES:
        for figure in ("dice", "within_dice", "beyond_ml", "missed_ml"):
            by_phase = rows.groupby("phase")[f"{name}_{figure}"].mean()
            found |= {f"{name}_{figure}_{phase}": value for phase, value in by_phase.items()}
        if (in_all := rows[f"{name}_found_ml"].sum()) > 0:
            found[f"{name}_beyond_share"] = rows[f"{name}_beyond_ml"].sum() / in_all
    for name in ("lv", "rv"):
        ml = _ml(rows, name)
        if rows["view"].iat[0] != "sax" or not {"ed", "es"} <= set(rows["phase"]) or ml.empty:
            continue
        error = ml[f"{name}_found_ml"] - ml[f"{name}_drawn_ml"]
        found |= _spread(f"{name}edv_ml", error["ed"]) | _spread(f"{name}esv_ml", error["es"])
        found |= _spread(f"{name}ef_pct", _ejection_fraction_error(ml, name))
        if f"{name}_parts_ml" in rows:
            found |= _spread(f"{name}ef_parts_pct", _ejection_fraction_error(_ml(_as_run(rows, name), name), name))
    if "qc_ok" in rows and "lvef_pct_absolute" in found:
        found |= _doubted(rows, _ejection_fraction_error(_ml(_as_run(rows, "lv"), "lv"), "lv"))
    return {name: round(float(value), 4) for name, value in found.items() if np.isfinite(value)}


def _as_run(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """``rows`` with the volumes that a run counts: by parts where the network says them."""
    by_parts = f"{name}_parts_ml"
    if by_parts not in rows:
        return rows
    return rows.assign(**{f"{name}_found_ml": rows[by_parts].fillna(rows[f"{name}_found_ml"])})


def _ml(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows.pivot_table(index="patient", columns="phase", values=[f"{name}_found_ml", f"{name}_drawn_ml"])


def _doubted(rows: pd.DataFrame, lvef_error: pd.Series) -> dict[str, float]:
    """How often a patient whose LV EF is off by more than five points is doubted, and another is not."""
    passed = rows.dropna(subset=["qc_ok"]).set_index("patient")["qc_ok"].astype(bool)
    large = (lvef_error.reindex(passed.index).abs() > _LARGE_ERROR).to_numpy()
    return {"doubted_of_large_errors": (~passed[large]).mean(), "passed_of_others": passed[~large].mean()}


def _spread(name: str, error: pd.Series) -> dict[str, float]:
    return {f"{name}_absolute": error.abs().mean(), f"{name}_bias": error.mean(), f"{name}_sd": error.std()}


def _ejection_fraction_error(ml: pd.DataFrame, name: str) -> pd.Series:
    found, drawn = (100 * (1 - ml[f"{name}_{of}_ml"]["es"] / ml[f"{name}_{of}_ml"]["ed"]) for of in ("found", "drawn"))
    return found - drawn


def worst(rows: pd.DataFrame, n: int) -> list[dict[str, Any]]:
    """The patients with the lowest mean Dice over structures and phases, the worst first."""
    columns = [f"{name}_dice" for name in STRUCTURES]
    scores = rows.set_index(["dataset", "view", "patient", "group"])[columns].mean(axis=1)
    mean = scores.groupby(level=[0, 1, 2, 3]).mean().sort_values()[:n]
    return [dict(zip(mean.index.names, key, strict=True)) | {"dice": round(float(v), 3)} for key, v in mean.items()]


def keep(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Of the pictures in ``folder`` those of ``rows`` alone."""
    wanted = {_stem(row["dataset"], row["view"], row["patient"]) for row in rows}
    for file in folder.glob("*.png"):
        if file.stem.rsplit("-", 1)[0] not in wanted:
            file.unlink()


def _picture(reference: Reference, found: npt.NDArray[np.uint8], folder: Path) -> None:
    """Every slice, what was drawn (filled) and what was found (lines)."""
    volume = reference.volume
    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(1, len(found), figsize=(2.2 * len(found), 2.4), squeeze=False)
    rows, cols = _heart(volume.labels, found)
    for axis, image, drawn, label in zip(axes[0], volume.images, volume.labels, found, strict=True):
        axis.imshow(image[rows, cols], cmap="gray")
        axis.imshow(np.ma.masked_equal(drawn[rows, cols], 0), cmap="brg", alpha=0.3, vmin=1, vmax=3)
        for code, colour in zip(STRUCTURES.values(), ("lime", "red", "cyan"), strict=True):
            if (label == code).any():
                axis.contour(label[rows, cols] == code, [0.5], colors=colour, linewidths=0.8)
        axis.set_axis_off()
    figure.suptitle(f"{reference.dataset} {volume.patient} {volume.group} {volume.phase}", fontsize=8)
    stem = _stem(reference.dataset, reference.view, volume.patient)
    figure.savefig(folder / f"{stem}-{volume.phase}.png", dpi=90, bbox_inches="tight")
    plt.close(figure)


def _heart(*labels: npt.NDArray[np.uint8]) -> tuple[slice, slice]:
    """Rows and columns of all that is labelled, with a margin."""
    there = np.any([volume > 0 for volume in labels], axis=(0, 1))
    spans = (np.flatnonzero(there.any(1 - axis)) for axis in (0, 1))
    rows, cols = (slice(max(0, int(s[0]) - 15), int(s[-1]) + 15) if len(s) else slice(None) for s in spans)
    return rows, cols


def _stem(dataset: str, view: str, patient: str) -> str:
    return f"{dataset.split()[0]}-{view}-{patient}"


if __name__ == "__main__":
    main()
