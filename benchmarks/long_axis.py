"""Long-axis networks against what others have drawn and against themselves on the short axis.

    python -m benchmarks.long_axis [--model default] [--data FOLDER] [--pictures FOLDER] [--out FILE]

Four measurements, put beside those of other models in ``--out`` (``docs/accuracy.md`` is made of it):

- ``drawn``: 4-chamber end-diastole and end-systole of M&Ms-2, drawn by experts: Dice, and area change.
- ``guided``: the 2-, 3- and 4-chamber cines of a study with guide points of biv-me, made automatically: the same, and
  the distance from each guide point to the border that was found.
- ``crossing``: along the lines where those planes cross the short axis: Dice between both networks, every frame.
- ``simulated``: hearts of the simulated biobank, which the training has not seen: Dice of every structure.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.drawn_data import STRUCTURES, mnms2
from benchmarks.drawn_hearts import DATA, dice
from benchmarks.guide_points import guide_contours, long_axis_masks, long_axis_planes, points_in_plane, sax_planes
from benchmarks.kept_results import keep_beside_others
from cmr_models import zoo
from cmr_models.contracts import LABEL_NAMES, LV, MYOCARDIUM, RV, VIEW_LABELS
from cmr_models.segmentation import segment_lax_2c, segment_lax_3c, segment_lax_4c, segment_sax
from cmr_models.simulate import Heart, ImagingSettings, simulate_view
from cmr_models.simulate.training import random_traits
from cmr_models.views.crossing_lines import crossing_line, labels_along
from cmr_models.views.plane import Plane
from tasks.execution.process import prepare_process

_RESULTS = Path(__file__).parent / "results" / "long_axis.json"
_SEGMENT = {"lax_2c": segment_lax_2c, "lax_3c": segment_lax_3c, "lax_4c": segment_lax_4c}
_PHASES = {"ed": 0, "es": 9}
_N_SIMULATED = 8
_BORDERS = {
    "endocardium": ("LAX_LV_ENDOCARDIAL", (LV,)),
    "epicardium": ("LAX_LV_EPICARDIAL", (LV, MYOCARDIUM)),
    "rv_free_wall": ("LAX_RV_FREEWALL", (RV,)),
    "rv_septum": ("LAX_RV_SEPTUM", (RV,)),
}
"""Border -> the guide points on it, and the structures that it surrounds."""

Labels = npt.NDArray[np.uint8]
Row = dict[str, Any]


def main() -> None:
    """Measure, print, put the figures beside those of other models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--short-axis-model", default="default", help="of the labels on the other side of a crossing")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--simulated", type=int, default=_N_SIMULATED, help="hearts")
    parser.add_argument("--pictures", type=Path, help="folder; they show the data sets' images")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    arguments = parser.parse_args()
    prepare_process()
    found: dict[str, Any] = {"simulated": simulated(arguments.model, arguments.simulated)}
    if (arguments.data / "mnms2_001").is_dir():
        found["drawn"] = drawn(arguments.data / "mnms2_001", arguments.model, arguments.pictures)
    if (arguments.data / "dicom_study").is_dir():
        folder = arguments.data / "dicom_study"
        found |= guided(folder, arguments.model, arguments.short_axis_model, arguments.pictures)
    print(json.dumps(found, indent=1))
    keep_beside_others(arguments.out, arguments.model, found)


def segmented_views(model: str) -> list[str]:
    """The long-axis views that a model segments."""
    views = []
    for view in _SEGMENT:
        try:
            zoo.card(model, f"segment_{view}")
        except (FileNotFoundError, ValueError):
            continue
        views.append(view)
    return views


def drawn(folder: Path, model: str, pictures: Path | None = None) -> list[Row]:
    """A row a view: Dice of each structure at both phases, and the change of the areas."""
    if "lax_4c" not in segmented_views(model):
        return []
    phases = {}
    for reference in mnms2(folder):
        volume = reference.volume
        if reference.view == "lax_4c":
            found = segment_lax_4c(volume.images[None], volume.spacing_mm[:2], model)[0, 0]
            phases[volume.phase] = (volume.images[0], volume.labels[0], found)
    _pictured(pictures, "M&Ms-2 lax_4c", phases)
    return [{"dataset": "M&Ms-2", "view": "lax_4c", **_overlaps(phases, STRUCTURES)}]


def guided(folder: Path, model: str, short_axis_model: str, pictures: Path | None = None) -> dict[str, list[Row]]:
    """``guided``: a row a view, as :func:`drawn`, with the distances to guide points; and ``crossing``."""
    cines = long_axis_planes(folder / "patient1", guide_contours(folder / "guidepoints" / "GPFile_000.txt"))
    rows, labels = [], {}
    for view in segmented_views(model):
        headers = cines[view]
        images = np.stack([header.pixel_array for header in headers])[:, None]
        labels[view] = _SEGMENT[view](images, _pixel_mm(headers[0]), model)[:, 0]
        phases, distances = {}, {}
        for phase, frame in _PHASES.items():
            points = guide_contours(folder / "guidepoints" / f"GPFile_{frame:03d}.txt")
            phases[phase] = (images[frame, 0], long_axis_masks(points, headers[frame]), labels[view][frame])
            distances |= _distances(points, headers[frame], labels[view][frame], phase)
        _pictured(pictures, f"biv-me {view}", phases)
        ventricle = {"lv": LV, "myocardium": MYOCARDIUM}
        rows.append({"dataset": "biv-me (guide points)", "view": view, **_overlaps(phases, ventricle), **distances})
    sax = sax_planes(folder / "patient1")
    stack = np.stack([[header.pixel_array for header in plane] for plane in sax], axis=1)
    across = segment_sax(stack, _pixel_mm(sax[0][0]), None, short_axis_model)
    planes = [_plane(plane[0]) for plane in sax]
    crossing = [
        {"view": view, **_along_crossings(_plane(cines[view][0]), view, found, planes, across)}
        for view, found in labels.items()
    ]
    return {"guided": rows, "crossing": crossing}


def simulated(model: str, n_hearts: int) -> list[Row]:
    """A row a view: mean Dice of each structure of hearts drawn at random, at end-diastole and end-systole."""
    rows = []
    settings = ImagingSettings(n_frames=12, tilt_deg=3.0)
    for k in range(n_hearts):
        rng = np.random.default_rng([2026, k])
        heart = Heart(random_traits(rng), rng)
        for view in segmented_views(model):
            cine = simulate_view(heart, view, settings, rng)
            truth = cine["labels"].values[:, 0]
            frames = {"ed": 0, "es": int((truth == LV).sum((1, 2)).argmin())}
            found = _SEGMENT[view](cine["intensity"].values[list(frames.values())], settings.pixel_mm, model)[:, 0]
            phases = {phase: (None, truth[t], found[i]) for i, (phase, t) in enumerate(frames.items())}
            names = {LABEL_NAMES[code]: code for code in VIEW_LABELS[view]}
            rows.append({"view": view, **_overlaps(phases, names)})
    means = pd.DataFrame(rows).groupby("view").mean(numeric_only=True).round(4)
    return [{"view": view, "hearts": n_hearts, **_finite(row)} for view, row in means.to_dict("index").items()]


def _overlaps(phases: Mapping[str, tuple[Any, Labels, Labels]], names: Mapping[str, int]) -> Row:
    """Dice of each structure at both phases, and how much its area shrinks, drawn and found, in percent."""
    row: Row = {}
    for name, code in names.items():
        for phase, (_, truth, found) in phases.items():
            row[f"{name}_dice_{phase}"] = round(dice(truth == code, found == code), 4)
        for who, side in (("drawn", 1), ("found", 2)):
            ed, es = (int((phases[phase][side] == code).sum()) for phase in ("ed", "es"))
            if name in ("lv", LABEL_NAMES[LV]) and ed:
                row[f"area_change_{who}_pct"] = round(100 * (1 - es / ed), 2)
    return row


def _distances(points: Mapping[str, npt.NDArray[Any]], header: Any, found: Labels, phase: str) -> Row:
    """Mean distance (mm) of the guide points of each border to the border of what was found."""
    row: Row = {}
    for border, (name, codes) in _BORDERS.items():
        xy = points_in_plane(points[name], header)
        edge = _edge(np.isin(found, codes))
        if len(xy) >= 10 and len(edge):
            away = np.hypot(*(xy[:, None, ::-1] - edge[None]).transpose(2, 0, 1)).min(axis=1)
            row[f"{border}_mm_{phase}"] = round(float(away.mean()) * float(header.PixelSpacing[0]), 2)
    return row


def _edge(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Rows and columns ``(n, 2)`` of the border, every half pixel: it runs midway between the pixels on either side."""
    down, across = np.argwhere(mask[1:] != mask[:-1]), np.argwhere(mask[:, 1:] != mask[:, :-1])
    sides = [down + np.array([0.5, along]) for along in (-0.5, 0.0, 0.5)]
    sides += [across + np.array([along, 0.5]) for along in (-0.5, 0.0, 0.5)]
    return np.unique(np.concatenate(sides), axis=0)


def _along_crossings(plane: Plane, view: str, labels: Labels, stack: list[Plane], across: Labels) -> Row:
    """Dice of each ventricular structure, along all crossings and frames together."""
    pairs = []
    for k, cut in enumerate(stack):
        crossing = crossing_line(plane, cut)
        pairs += [labels_along(crossing, here, there[k]) for here, there in zip(labels, across, strict=True)]
    mine, theirs = (np.concatenate(side) for side in zip(*pairs, strict=True))
    shown = [(name, code) for name, code in STRUCTURES.items() if code in VIEW_LABELS[view]]
    overlaps = {f"{name}_dice": round(dice(mine == code, theirs == code), 4) for name, code in shown}
    return {"points": len(mine), **overlaps}


def _plane(header: Any) -> Plane:
    row_dir, col_dir = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
    shape = (int(header.Rows), int(header.Columns))
    return Plane(
        np.asarray(header.ImagePositionPatient, float), row_dir, col_dir, _pixel_mm(header), shape,
        n_frames=1, n_expected=1,
    )  # fmt: skip


def _pixel_mm(header: Any) -> tuple[float, float]:
    row_mm, col_mm = (float(size) for size in header.PixelSpacing)
    return row_mm, col_mm


def _finite(row: Mapping[str, float]) -> Row:
    return {name: value for name, value in row.items() if np.isfinite(value)}


def _pictured(folder: Path | None, title: str, phases: Mapping[str, tuple[Any, Labels, Labels]]) -> None:
    """Both phases: what was drawn (filled) and what was found (lines)."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(1, len(phases), figsize=(5 * len(phases), 5))
    colours = ("cyan", "red", "lime", "yellow", "magenta", "orange")
    for axis, (phase, (image, truth, found)) in zip(axes, phases.items(), strict=True):
        axis.imshow(image, cmap="gray", vmax=np.quantile(image, 0.995))
        axis.imshow(np.ma.masked_equal(truth, 0), cmap="brg", alpha=0.25, vmin=1, vmax=3)
        for code, colour in enumerate(colours, 1):
            if (found == code).any():
                axis.contour(found == code, [0.5], colors=colour, linewidths=0.8)
        axis.set_title(f"{title} {phase}", fontsize=8)
        axis.set_axis_off()
    figure.savefig(folder / f"{title.replace(' ', '-')}.png", dpi=90, bbox_inches="tight")
    plt.close(figure)


if __name__ == "__main__":
    main()
