"""What a network loses when images are stored turned or mirrored, as files of other programs may be.

    python -m benchmarks.turned_images [--model default] [--patients 20] [--out FILE]

Of ACDC's first patients, end-diastole and end-systole in each of the eight ways to store an image: Dice with the
experts, and the volume over that of the images as they came.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.drawn_data import STRUCTURES, acdc
from benchmarks.drawn_hearts import DATA, dice
from benchmarks.kept_results import keep_beside_others
from cmr_models.segmentation import segment_sax
from tasks.execution.process import prepare_process

_RESULTS = Path(__file__).parent / "results" / "turned_images.json"


def main() -> None:
    """Measure, print, put the figures beside those of other models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=_RESULTS)
    arguments = parser.parse_args()
    prepare_process()
    rows = pd.DataFrame(measured(arguments.data, arguments.model, arguments.patients))
    found = summary(rows)
    print(json.dumps(found, indent=1))
    keep_beside_others(arguments.out, arguments.model, found)


def measured(data: Path, model: str, n_patients: int) -> Iterator[dict[str, Any]]:
    """A row a volume, way to store it and structure: Dice, and the volume as it came and as it was stored."""
    patients: set[str] = set()
    for reference in acdc(data / "acdc_training"):
        volume = reference.volume
        patients.add(volume.patient)
        if len(patients) > n_patients:
            return
        as_it_came = _labels(volume.images, volume.spacing_mm, model, turns=0, mirrored=False)
        for turns in range(4):
            for mirrored in (False, True):
                found = as_it_came if not turns and not mirrored else _labels(
                    volume.images, volume.spacing_mm, model, turns=turns, mirrored=mirrored
                )  # fmt: skip
                for name, code in STRUCTURES.items():
                    yield {
                        "turned_deg": 90 * turns, "mirrored": mirrored, "structure": name, "phase": volume.phase,
                        "dice": dice(found == code, volume.labels == code),
                        "found": int((found == code).sum()), "as_it_came": int((as_it_came == code).sum()),
                    }  # fmt: skip


def _labels(
    images: npt.NDArray[Any], spacing_mm: tuple[float, float, float], model: str, *, turns: int, mirrored: bool
) -> npt.NDArray[np.uint8]:
    """Labels of ``images (slice, row, col)`` as they came, found with the images stored in another way."""
    stored = np.rot90(images[..., ::-1] if mirrored else images, turns, (1, 2))
    row_mm, col_mm = spacing_mm[:2] if turns % 2 == 0 else spacing_mm[1::-1]
    found = segment_sax(np.ascontiguousarray(stored)[None], (row_mm, col_mm), spacing_mm[2], model)[0]
    back = np.rot90(found, -turns, (1, 2))
    return back[..., ::-1] if mirrored else back


def summary(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a way and structure: mean Dice of each phase, and all millilitres over those of the images as they came."""
    found = []
    for (turned, mirrored, structure), part in rows.groupby(["turned_deg", "mirrored", "structure"], sort=False):
        by_phase = part.groupby("phase")
        ratio = by_phase["found"].sum() / by_phase["as_it_came"].sum()
        means = {f"dice_{phase}": round(float(value), 4) for phase, value in by_phase["dice"].mean().items()}
        ratios = {f"volume_ratio_{phase}": round(float(value), 4) for phase, value in ratio.items()}
        about = {"turned_deg": int(turned), "mirrored": bool(mirrored), "structure": structure}
        found.append(about | {"volumes": len(part)} | means | ratios)
    return found


if __name__ == "__main__":
    main()
