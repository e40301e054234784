"""How smooth volume curves are: the largest jump of a cycle, of real cines and of simulated hearts.

    python -m benchmarks.curve_jumps [--model default] [--simulated 4] [--out FILE]

A jump is the largest second difference of the curve over the cycle (the last frame leads over to the first) as a share
of the stroke volume; that of the true curve stands beside it where it is known. Sunnybrook's images (`sunnybrook_png`)
are pairs of end-diastole and end-systole and have no curve.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.cines import Cine, cines
from benchmarks.drawn_hearts import DATA
from benchmarks.kept_results import keep_beside_others
from cmr_models.phenotypes.volumes import volume_curves
from cmr_models.segmentation.restoring import restore_with_answers
from cmr_models.segmentation.segmenter import Segmenter, shared_segmenter
from cmr_models.views.view_images import gather_view_images
from tasks.execution.process import prepare_process

Array = npt.NDArray[Any]

_RESULTS = Path(__file__).parent / "results" / "curve_jumps.json"
_CHAMBERS = {"lv": "lv_ml", "rv": "rv_ml"}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--simulated", type=int, default=4)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=_RESULTS)
    arguments = parser.parse_args()
    prepare_process()
    segmenter = shared_segmenter(arguments.model, "segment_sax")
    rows = [row for cine in cines(arguments.data, arguments.simulated, ("sax",)) for row in jumps_of(segmenter, cine)]
    print(json.dumps(rows, indent=1))
    keep_beside_others(arguments.out, arguments.model, rows)


def jumps_of(segmenter: Segmenter, cine: Cine) -> Iterator[dict[str, Any]]:
    """A row a ventricle and way of counting the basal slices; "parts" where the card tells shares."""
    view = cine.views["sax"]
    images = gather_view_images({"sax": view}, "sax")
    crops, window = segmenter.crops(images)
    outputs = torch.from_numpy(segmenter.predict(crops))
    found = restore_with_answers(outputs, window, images.images.shape, segmenter.card)
    ways = {"whole": None, "parts": found.answers["slice_share"]}
    for way, share in ways.items():
        if way == "parts" and not segmenter.card.slice_lines:
            continue
        curves = volume_curves(found.labels, view, share)
        for chamber, name in _CHAMBERS.items():
            row = {"case": cine.name, "ventricle": chamber, "basal_slices": way, **_figures(curves[name].values)}
            if cine.heart is not None:
                truth = view["true_ml"].sel(chamber=chamber).values
                row |= {f"true_{key}": value for key, value in _figures(truth).items()}
            yield row


def jump(volume_ml: Array) -> float:
    """Largest second difference over the cycle, as a share of the stroke volume."""
    bend = np.roll(volume_ml, 1) - 2 * volume_ml + np.roll(volume_ml, -1)
    return float(np.abs(bend).max() / np.ptp(volume_ml))


def _figures(volume_ml: Array) -> dict[str, float]:
    largest, smallest = float(volume_ml.max()), float(volume_ml.min())
    return {"jump": round(jump(volume_ml), 3), "ef_pct": round(100 * (1 - smallest / largest), 1)}


if __name__ == "__main__":
    main()
