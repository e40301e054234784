"""Long-axis images of a cohort, labelled where the segmented short axis crosses them: weak labels without a reader.

A short-axis network that experts' drawings have taught thus teaches the long-axis network. Only thin strips are
labelled; the teacher of the recipe fills in the rest where it is confident.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.contracts import BACKGROUND, LV, VIEW_LABELS
from cmr_models.views.crossing_lines import possible_from_short_axis
from cmr_models.views.plane import Plane
from tasks.state.store import Cohort, reading_tree
from tasks.training.drawn_volumes import SIDE, square
from tasks.training.segmentation_data import ImagePool


class _Crossed(NamedTuple):
    """One image, its possible classes, and the middle of what is decided in it (row, col)."""

    image: npt.NDArray[np.float32]
    possible: npt.NDArray[np.uint8]
    heart_px: npt.NDArray[np.float64]
    pixel_mm: float
    study: str


def crossed_pool(folder: Path, model: str, views: Sequence[str]) -> ImagePool:
    """End-diastole and end-systole, as the short axis shows them, of every long-axis view of a segmented cohort.

    Args:
        folder: of the cohort.
        model: whose short-axis labels to believe.
        views: long-axis views to take.

    Raises:
        FileNotFoundError: if no study has a segmented short axis and one of the views.
    """
    cohort = Cohort(folder)
    files = sorted((cohort.predictions / model).glob("*/*/*.zarr.zip"))
    found = [image for file in files for image in _images_of(cohort, file, views)]
    if not found:
        raise FileNotFoundError(
            f"no study in {folder} has a short axis segmented by {model!r} and one of {', '.join(views)}; run "
            "`cmr-cohort run` on studies with long-axis views, or leave `crossed` empty"
        )
    return ImagePool(
        images=np.stack([one.image for one in found]),
        possible=np.stack([one.possible for one in found]),
        heart_px=np.stack([one.heart_px for one in found]),
        pixel_mm=np.array([one.pixel_mm for one in found]),
        patient=tuple(one.study for one in found),
    )


def _images_of(cohort: Cohort, prediction: Path, views: Sequence[str]) -> Iterator[_Crossed]:
    study_id = prediction.name.removesuffix(".zarr.zip")
    with reading_tree(cohort.study(study_id)) as study, reading_tree(prediction) as predicted:
        if "sax" not in predicted.children:
            return
        labels = np.asarray(predicted["sax"].to_dataset()["label"].values)
        stack = _planes(study["sax"].to_dataset())
        pool = (labels == LV).sum((1, 2, 3))
        for view in views:
            if view not in study.children or not pool.any():
                continue
            seen = study[view].to_dataset()
            for frame in (int(pool.argmax()), int(pool.argmin())):
                there = round(frame / len(labels) * seen.sizes["frame"]) % seen.sizes["frame"]
                if bool(seen["frame_valid"].values[there, 0]):
                    yield _crossed(seen, view, there, stack, labels[frame], study_id)


def _crossed(
    seen: xr.Dataset, view: str, frame: int, stack: Sequence[Plane], labels: npt.NDArray[np.uint8], study: str
) -> _Crossed:
    plane = _planes(seen)[0]
    anything = np.uint8(sum(1 << code for code in (BACKGROUND, *VIEW_LABELS[view])))
    possible = possible_from_short_axis(plane, view, stack, labels) & anything
    heart = np.argwhere((possible != anything) & (possible & 1 == 0))
    centre = heart.mean(axis=0) if len(heart) else np.array(plane.shape) / 2
    corner = np.round(centre).astype(int) - SIDE // 2
    image = np.asarray(seen["intensity"].values[frame, 0], np.float32)
    return _Crossed(
        square(image[None], corner)[0], square(possible[None], corner)[0], centre - corner, plane.pixel_mm[0], study
    )


def _planes(view: xr.Dataset) -> list[Plane]:
    row_mm, col_mm = (float(mm) for mm in view["pixel_mm"].values)
    shape = (view.sizes["row"], view.sizes["col"])
    lines = (view[name].values for name in ("position_mm", "row_dir", "col_dir"))
    return [
        Plane(position, row_dir, col_dir, (row_mm, col_mm), shape, n_frames=1, n_expected=1)
        for position, row_dir, col_dir in zip(*lines, strict=True)
    ]
