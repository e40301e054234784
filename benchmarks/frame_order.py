"""How often images speak for or against the order of their frames, right ones and wrong ones.

    python -m benchmarks.frame_order [--hearts 36] [--out FILE]

Right orders: every cine plane of the real DICOM and NIfTI under ``CMR_TEST_DATA``, and planes of simulated hearts of
every disease, on scanners drawn at random, with 8 to 50 frames; some with noise, shifts from frame to frame, or in
a small field. Wrong orders: at random, numbers sorted as text, odd before even frames. How many
planes, and how many studies by all their planes, have each verdict is printed and written.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.segmentation import DATA
from cmr_models.simulate import DISEASES, Heart, ImagingSettings, sample_traits, simulate_study
from cmr_models.views.frame_order import Evidence, verdict_of, weigh_order
from tasks.convert.nifti import nifti_views
from tasks.convert.planes import planes_of
from tasks.sources.dicom import read_images
from tasks.sources.limits import Budget

FRAMES = (8, 12, 20, 25, 30, 50)
DEGRADED = ("as drawn", "noise", "strong noise", "shifts", "small field")

Plane = npt.NDArray[Any]
"""``(frame, row, col)``, in the order of time."""


class Study(NamedTuple):
    """Planes of one study, and the group that it is counted in."""

    group: str
    planes: list[Plane]


def main() -> None:
    """Judge, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hearts", type=int, default=36, help="simulated hearts")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "frame_order.json")
    arguments = parser.parse_args()
    rows = rates(chain(real_studies(), simulated_studies(arguments.hearts)))
    print(pd.DataFrame(rows).to_string(index=False))
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


def rates(studies: Iterable[Study]) -> list[dict[str, Any]]:
    """How many planes, and how many studies by all their planes, have each verdict, by group and order."""
    verdicts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    rng = np.random.default_rng(0)
    for study in studies:
        weighed: dict[str, list[Evidence]] = defaultdict(list)
        for plane in study.planes:
            for name, order in orders(len(plane), rng):
                weighed[name].append(weigh_order([plane[i] for i in order]))
        for name, evidence in weighed.items():
            verdicts[study.group, name, "studies"][verdict_of(evidence)] += 1
            verdicts[study.group, name, "planes"].update(verdict_of([one]) for one in evidence)
    return [
        {"group": group, "order": name, "of": what, "n": counts.total(), **_shown(counts)}
        for (group, name, what), counts in sorted(verdicts.items())
    ]


def _shown(counts: Counter[str]) -> dict[str, int]:
    return {verdict: counts[verdict] for verdict in ("supported", "silent", "doubtful", "contradicted")}


def orders(n: int, rng: np.random.Generator) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
    """The order of time, and wrong ones as the field has them."""
    yield "time", np.arange(n)
    yield "random", rng.permutation(n)
    if n > 10:
        yield "text", np.array(sorted(range(n), key=lambda i: str(i + 1)))
    yield "odd before even", np.concatenate([np.arange(0, n, 2), np.arange(1, n, 2)])


def real_studies() -> Iterator[Study]:
    """Cines of the real data sets, in the order of their trigger times."""
    for name in ("dicom_study", "sunnybrook_dicom", "rvsc_09"):
        images = [image for path in sorted((DATA / name).rglob("*.dcm")) for image in read_images(path.read_bytes())]
        for patient in sorted({image.text("patient_id") for image in images}):
            groups = planes_of([image for image in images if image.text("patient_id") == patient])
            cines = [group for group in groups if group.cycle.n_valid >= 8]
            yield Study(f"real, {name}", [_frames_of(group) for group in cines])
    path = DATA / "mnms2_001" / "001_LA_CINE.nii.gz"
    if path.exists():
        views = nifti_views({path.name: path.read_bytes()}, Budget(n_packed=10**7))
        yield Study("real, mnms2_001", [view["intensity"].values[:, 0] for view in views.values()])


def _frames_of(group: Any) -> Plane:
    shown = [group.images[int(i)] for i in group.cycle.image if i >= 0]
    return np.stack([image.pixels for image in sorted(shown, key=lambda image: image.number("trigger_ms"))])


def simulated_studies(n_hearts: int) -> Iterator[Study]:
    """Hearts of every disease and of none, in every number of frames, degraded in every way."""
    diseases = [(), *((name,) for name in DISEASES)]
    for seed in range(n_hearts):
        rng = np.random.default_rng([1, seed])
        n_frames = FRAMES[seed % len(FRAMES)]
        traits = sample_traits(
            rng,
            sex="F" if seed % 2 else "M",
            age_years=rng.uniform(45, 85),
            height_cm=rng.uniform(150, 190),
            weight_kg=rng.uniform(48, 110),
            disease=diseases[seed % len(diseases)],
            severity=rng.uniform(0.5, 1.5),
        )
        settings = ImagingSettings(n_frames=n_frames, sub_planes=1).randomise(rng)
        study = simulate_study(Heart(traits, rng), settings, rng, views=("sax", "lax_2c", "lax_4c"))
        stacks = [node.to_dataset()["intensity"].values for node in study.children.values()]
        planes = [stack[:, k] for stack in stacks for k in range(stack.shape[1])]
        for how in DEGRADED:
            frames = "8 frames" if n_frames == 8 else "12 to 50 frames"
            yield Study(f"simulated, {frames}, {how}", [degraded(plane, how, rng) for plane in planes])


def degraded(plane: Plane, how: str, rng: np.random.Generator) -> Plane:
    """A plane as a worse scanner or a person who breathes gives it."""
    frames = plane.astype(np.float64)
    if how in ("noise", "strong noise"):
        spread = {"noise": 0.5, "strong noise": 2.0}[how] * frames.mean()
        return np.hypot(frames + rng.normal(0, spread, frames.shape), rng.normal(0, spread, frames.shape))
    if how == "shifts":
        moved = rng.integers(-1, 2, (len(frames), 2))
        return np.stack([np.roll(frame, step, axis=(0, 1)) for frame, step in zip(frames, moved, strict=True)])
    if how == "small field":
        rows, cols = (n // 4 for n in frames.shape[1:])
        return frames[:, rows : 3 * rows, cols : 3 * cols]
    return frames


if __name__ == "__main__":
    main()
