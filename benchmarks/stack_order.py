"""Which end of a stack is the base, by labels alone: how often right, undecided or wrong, on drawn and found labels.

    python -m benchmarks.stack_order [--hearts 1] [--out FILE]

The constants of ``cmr_models/views/base_apex.py`` were chosen while looking at the drawn labels of ACDC, the rule for
exchanged directions at both files of M&Ms-2, and that for stacks without an end after simulated ones had failed: only
AutoFD, Sunnybrook and the DICOM studies are sets that were not looked at. A stack counts as right if, once reversed, it
is noticed, and as wrong if it is doubted as it is. An undecided one stands as geometry has it, either way. Stacks whose
file says how they lie in the body begin at the base by that; Sunnybrook's images are numbered from the base, ACDC's are
stored from it.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.image import imread

from benchmarks.segmentation import DATA
from cmr_models.contracts import LV, MYOCARDIUM
from cmr_models.segmentation import segment_sax
from cmr_models.simulate.anatomy import Heart
from cmr_models.simulate.archive import simulate_study
from cmr_models.simulate.settings import ImagingSettings
from cmr_models.simulate.traits import sample_traits
from cmr_models.views.base_apex import judge_stack_order
from tasks.convert.cine import study_views
from tasks.convert.nifti import nifti_views
from tasks.convert.reference_labels import with_labels
from tasks.execution.process import prepare_process
from tasks.sources.dicom import read_images
from tasks.sources.limits import Budget
from tasks.sources.nifti_names import parse_name

Labels = npt.NDArray[np.integer]

_PHASES: Final = 20
_DISEASES: Final = ("", "dilated", "hypertrophic", "rv_overload", "heart_failure")
_SLICES: Final = (None, 7, 5)
_FRAMES: Final = 2


class Stack(NamedTuple):
    """Labels ``(frame, slice, row, col)`` from base to apex, of a set, and whose they are."""

    of: str
    labels_by: str
    labels: Labels


def main() -> None:
    """Judge what the data at hand allow, print it, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hearts", type=int, default=1, help="simulated, of each disease and number of slices")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "stack_order.json")
    parser.add_argument("--only", default="", help="sets whose names begin so; the file keeps its rows of others")
    arguments = parser.parse_args()
    prepare_process()
    rows = counted(_every_stack(arguments.hearts, arguments.only))
    kept = json.loads(arguments.out.read_text()) if arguments.only and arguments.out.exists() else []
    rows += [row for row in kept if row["set"] not in {new["set"] for new in rows}]
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


def counted(stacks: Iterable[Stack]) -> list[dict[str, Any]]:
    """A row for each set and maker of labels: how many stacks, and how they were judged."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for stack in stacks:
        judged = verdict(stack.labels)
        print(stack.of, stack.labels_by, judged, flush=True)
        found[stack.of, stack.labels_by][judged] += 1
    return [
        {
            "set": of,
            "labels": by,
            "n": counts.total(),
            **{name: counts[name] for name in ("right", "undecided", "wrong")},
        }
        for (of, by), counts in found.items()
    ]


def verdict(labels: Labels) -> str:
    """``right``, ``undecided`` or ``wrong``, of labels from base to apex."""
    if judge_stack_order(labels).is_doubtful:
        return "wrong"
    return "right" if judge_stack_order(labels[:, ::-1]).is_doubtful else "undecided"


def _every_stack(n_hearts: int, only: str) -> Iterator[Stack]:
    if DATA.is_dir():
        for name, folders, data_set in (
            ("M&Ms-2", [DATA / "mnms2_001"], "mnms2"),
            ("M&Ms-2 as CineMA crops it", [DATA / "cinema_nifti/mnms2"], "cinema"),
            ("AutoFD", sorted(path for path in (DATA / "autofd_nifti").iterdir() if path.is_dir()), "ukbb"),
            ("ACDC (looked at)", sorted((DATA / "acdc_training").glob("patient*"))[::10], "acdc"),
        ):
            for folder in folders if name.startswith(only) else []:
                yield from _both(name, _nifti(folder, data_set))
        if "Sunnybrook".startswith(only):
            yield from _sunnybrook_drawings()
        studies = [*sorted((DATA / "sunnybrook_dicom").glob("SCD*")), DATA / "dicom_study/patient1"]
        for folder in studies if "DICOM studies".startswith(only) else []:
            yield from _both("DICOM studies", _dicom(folder))
    if "simulated".startswith(only):
        yield from _simulated(n_hearts)


def _both(of: str, view: xr.Dataset) -> Iterator[Stack]:
    """Drawn labels of a view, if it has any, and those of the default network."""
    if "labels" in view:
        yield Stack(of, "drawn", view["labels"].values)
    pixel_mm = (float(view["pixel_mm"][0]), float(view["pixel_mm"][1]))
    yield Stack(of, "network", segment_sax(view["intensity"].values, pixel_mm, view.attrs["slice_mm"], "default"))


# sources


def _simulated(n_hearts: int) -> Iterator[Stack]:
    """Hearts with exact labels and with the network's, some of them mirrored; few slices are the middle ones."""
    for disease in _DISEASES:
        for n_slices in _SLICES:
            rng = np.random.default_rng([len(disease), n_slices or 0])
            name = f"simulated {disease or 'healthy'}, {n_slices or 'all'} slices"
            settings = ImagingSettings(n_frames=_FRAMES, n_slices=n_slices).randomise(rng)
            for k in range(n_hearts):
                traits = sample_traits(
                    rng,
                    sex="F" if k % 2 else "M",
                    age_years=float(rng.uniform(40, 80)),
                    height_cm=170.0,
                    weight_kg=75.0,
                    disease=[disease] if disease else [],
                )
                view = simulate_study(Heart(traits, rng), settings, rng, ("sax",))["sax"].to_dataset()
                yield from _both(name, view if k % 3 else view.isel(col=slice(None, None, -1)))


def _nifti(folder: Path, data_set: str) -> xr.Dataset:
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.nii.gz"))}
    short = {name: content for name, content in files.items() if parse_name(name).view in ("", "sax")}
    images = {name: content for name, content in short.items() if parse_name(name).is_image}
    labels = {name: content for name, content in short.items() if name not in images}
    views = nifti_views(images, Budget(n_packed=10**7))
    return with_labels(views, labels, images, data_set, {}, Budget(n_packed=10**7)).views["sax"]


def _dicom(folder: Path) -> xr.Dataset:
    images = [image for path in sorted(folder.rglob("*")) if path.is_file() for image in read_images(path.read_bytes())]
    return study_views(images, max_missing_fraction=0.2).views["sax"]


def _sunnybrook_drawings() -> Iterator[Stack]:
    """Left ventricles drawn at end-diastole and end-systole, with the wall where the epicardium was drawn too."""
    patients: Mapping[str, list[Path]] = defaultdict(list)
    for file in sorted((DATA / "sunnybrook_png/labels").glob("*.png")):
        patients[file.name.split("-IM-")[0]].append(file)
    for files in patients.values():
        planes: dict[int, list[Labels]] = defaultdict(list)
        for file in files:
            planes[(int(file.stem.split("-")[-1]) - 1) // _PHASES].append(_drawn(file))
        most = max(map(len, planes.values()))
        blank = np.zeros_like(next(iter(planes.values()))[0])
        stack = [[*planes[k], *[blank] * (most - len(planes[k]))] for k in sorted(planes)]
        yield Stack("Sunnybrook drawings, no right ventricle", "drawn", np.stack([np.stack(one) for one in stack], 1))


def _drawn(file: Path) -> Labels:
    pool = imread(file) > 0.5
    outline = file.parents[1] / "epicardium" / file.name
    wall = (imread(outline) > 0.5) if outline.exists() else np.zeros_like(pool)
    return np.where(pool, LV, np.where(wall, MYOCARDIUM, 0)).astype(np.uint8)


if __name__ == "__main__":
    main()
