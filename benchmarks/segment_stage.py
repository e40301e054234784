"""How much of the bare network's speed the segment stage keeps, and how close its phenotypes come to truth.

    python -m benchmarks.segment_stage [--studies 4] [--frames 50] [--out FILE]

Simulated studies are published, then segmented twice: by the network alone on crops that are already in memory,
and by the stage, from published study to published prediction. On a processor everything shares the cores, so the
rates are images a second of processor time; on a GPU they are images a second on the clock.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmr_models.segmentation import Segmenter, prepare
from cmr_models.simulate import Heart, ImagingSettings, sample_traits, simulate_study
from tasks.derive.derivation import derive_chunk
from tasks.derive.derive_stage import derive_units
from tasks.execution.process import prepare_process
from tasks.inference.segment_stage import segment_units, weights_digests
from tasks.inference.segmentation import segment_chunk
from tasks.state import store
from tasks.state.ledger import Entry
from tasks.state.zarr_encoding import encode_tree

_SETTINGS = {"model": "default"}


def main() -> None:
    """Run the benchmark, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "segment_stage.json")
    arguments = parser.parse_args()
    prepare_process()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(store.Cohort(Path(folder)), arguments.studies, arguments.frames)
    print(json.dumps(results, indent=1))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")


def measure(cohort: store.Cohort, n_studies: int, n_frames: int) -> dict[str, Any]:
    """Rates of the network alone and of the stage, and the errors of what is derived."""
    truth = {f"{i}-2": _put_study(cohort, f"{i}-2", i, n_frames) for i in range(n_studies)}
    entries = {study: Entry("ok", "", study, study) for study in truth}
    bare = _bare_rate(cohort, next(iter(truth)))
    units = segment_units(entries, _SETTINGS)
    segment_chunk([], str(cohort.root), _SETTINGS)  # loads the network
    start = _clock()
    outcomes = segment_chunk(units, str(cohort.root), _SETTINGS)
    stage_s = _clock() - start
    lines = [outcome.summary["line"] for outcome in outcomes]
    stage = sum(line["images"] for line in lines) / stage_s
    predictions = {o.study: Entry(o.status, o.reason, o.key, o.wanted) for o in outcomes}
    derived = derive_chunk(derive_units(predictions, model="default"), str(cohort.root), {})
    return {
        "bare_images_s": round(bare, 1),
        "stage_images_s": round(stage, 1),
        "share": round(stage / bare, 3),
        "seconds": {
            part: round(sum(line[part] for line in lines), 2) for part in ("read", "compute", "write", "starved")
        },
        "mean_absolute_error": _errors(truth, {o.study: o.summary["phenotypes"] for o in derived}),
        "views": sorted(weights_digests("default")),
    }


def _put_study(cohort: store.Cohort, study: str, seed: int, n_frames: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    traits = sample_traits(rng, sex="F" if seed % 2 else "M", age_years=60, height_cm=172, weight_kg=75)
    tree = simulate_study(Heart(traits, rng), ImagingSettings(n_frames=n_frames), rng, ("sax", "lax_4c"))
    true_ml = tree["sax"].to_dataset()["true_ml"].sel(chamber="lv").values
    for view in tree.children:
        tree[view] = tree[view].to_dataset().drop_vars(["labels", "landmark_mm", "true_ml"])
        tree[view] = tree[view].to_dataset().drop_vars(["landmark", "xyz", "chamber"], errors="ignore")
    tree.attrs["key"] = study
    store.publish(encode_tree(tree), cohort.study(study))
    edv_ml, esv_ml = float(true_ml.max()), float(true_ml.min())
    return {"lvedv_ml": edv_ml, "lvesv_ml": esv_ml, "lvef_pct": 100 * (edv_ml - esv_ml) / edv_ml}


def _bare_rate(cohort: store.Cohort, study: str) -> float:
    network = Segmenter.load("default")
    view = store.load_tree(cohort.study(study))["sax"].to_dataset()
    images = view["intensity"].values
    row_mm, col_mm = (float(mm) for mm in view["pixel_mm"].values)
    crops = prepare(images, network.locate(images, (row_mm, col_mm)))
    network.probabilities(crops[:64])
    start = _clock()
    network.probabilities(crops)
    return len(crops) / (_clock() - start)


def _clock() -> float:
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def _errors(truth: dict[str, dict[str, float]], derived: dict[str, dict[str, float]]) -> dict[str, float]:
    names = ("lvedv_ml", "lvesv_ml", "lvef_pct")
    return {name: round(float(np.mean([abs(derived[s][name] - truth[s][name]) for s in truth])), 2) for name in names}


if __name__ == "__main__":
    main()
