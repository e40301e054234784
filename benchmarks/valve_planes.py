"""How far valve planes of long-axis labels lie from where the valves are, over the cycle.

    python -m benchmarks.valve_planes [--model default] [--simulated 4] [--out FILE]

The truth is that of simulated hearts, and the guide points of biv-me for the real study. Errors are along the long axis
in mm, positive towards the apex: of the network's long-axis labels, and, of simulated hearts, of the true labels, which
tells the method's own part.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.cines import Cine, cines
from benchmarks.drawn_hearts import DATA
from benchmarks.guide_points import guide_contours
from benchmarks.kept_results import keep_beside_others
from cmr_models import zoo
from cmr_models.segmentation.segmenter import shared_segmenter
from cmr_models.simulate.imaging import heart_states
from cmr_models.simulate.planes import heart_pose
from cmr_models.views.geometry import unit
from cmr_models.views.valve_plane import VALVES, valve_plane
from cmr_models.views.view_images import gather_view_images
from tasks.execution.process import prepare_process

Array = npt.NDArray[Any]

_RESULTS = Path(__file__).parent / "results" / "valve_planes.json"
_GUIDE = {"mitral": "MITRAL_VALVE", "tricuspid": "TRICUSPID_VALVE"}
_MIDDLE_MM = {"mitral": (0.0, 0.0), "tricuspid": (47.0, 14.0)}
"""Of the simulated valves, across the long axis."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--simulated", type=int, default=4)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=_RESULTS)
    arguments = parser.parse_args()
    prepare_process()
    rows = [
        row
        for cine in cines(arguments.data, arguments.simulated)
        if len(cine.views) > 1
        for row in errors_of(cine, arguments.model, arguments.data)
    ]
    print(json.dumps(rows, indent=1))
    keep_beside_others(arguments.out, arguments.model, rows)


def errors_of(cine: Cine, model: str, data: Path) -> Iterator[dict[str, Any]]:
    """A row a valve and source of labels; without figures where no view shows the valve."""
    long_axes = {name: view for name, view in cine.views.items() if name != "sax"}
    sources = {"network": {name: _labels(model, name, view) for name, view in long_axes.items() if _has(model, name)}}
    if cine.heart is not None:
        sources["true labels"] = {name: view["labels"].values for name, view in long_axes.items()}
    for source, labels in sources.items():
        for valve in VALVES:
            plane = valve_plane(valve, labels, cine.views)
            row = {"case": cine.name, "labels": source, "valve": valve, "views": list(plane.views) if plane else []}
            if plane is not None:
                row |= _figures(plane.point_mm @ _axis(cine), _truth(cine, valve, data))
            yield row


def _has(model: str, view: str) -> bool:
    try:
        return zoo.card(model, f"segment_{view}").preprocessing == "crop"
    except (FileNotFoundError, ValueError):
        return False


def _labels(model: str, name: str, view: Any) -> npt.NDArray[np.uint8]:
    segmenter = shared_segmenter(model, f"segment_{name}")
    images = gather_view_images({name: view}, name)
    crops, window = segmenter.crops(images)
    return segmenter.labels(segmenter.predict(crops), window, images.images.shape)


def _axis(cine: Cine) -> Array:
    """Unit vector from base to apex, across the slices."""
    sax = cine.views["sax"]
    normal = unit(np.cross(sax["row_dir"].values[0], sax["col_dir"].values[0]))
    downwards = sax["position_mm"].values[-1] - sax["position_mm"].values[0]
    return normal * np.sign(downwards @ normal)


def _truth(cine: Cine, valve: str, data: Path) -> Array:
    """Where the valve lies along the axis in every frame, mm."""
    n_frames = cine.views["sax"].sizes["frame"]
    if cine.heart is None:
        files = (data / "dicom_study/guidepoints" / f"GPFile_{frame:03d}.txt" for frame in range(n_frames))
        return np.array([(guide_contours(file)[_GUIDE[valve]] @ _axis(cine)).mean() for file in files])
    pose = heart_pose(cine.heart.traits)
    states = heart_states(cine.heart, n_frames)
    heights = [state.base_z_mm if valve == "mitral" else state.tricuspid_z_mm for state in states]
    return np.array([pose.to_patient(np.array([*_MIDDLE_MM[valve], z])) @ _axis(cine) for z in heights])


def _figures(found_mm: Array, true_mm: Array) -> dict[str, float]:
    error = found_mm - true_mm
    known = np.isfinite(error)
    figures = {
        "frames_known": int(known.sum()),
        "mean_error_mm": error[known].mean(),
        "absolute_error_mm": np.abs(error[known]).mean(),
        "excursion_mm": np.ptp(found_mm[known]),
        "true_excursion_mm": np.ptp(true_mm),
    }
    return {name: round(float(value), 1) for name, value in figures.items()}


if __name__ == "__main__":
    main()
