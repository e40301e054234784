"""PNG images with landmarks of the 2- and 4-chamber view -> cine views with their points.

A mask holds three grey levels, one a landmark: 85, 170 and 255 (two mitral hinges, apex); a landmark is the middle of
its level. PNG files hold no geometry: pixels are taken as 0.25 mm, because CineMA scales the images by a quarter and
takes 1 mm for the result (not confirmed by the description of the data set). Positions and times are not known.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from PIL import Image

from cmr_models.contracts import cine_view, with_reference
from cmr_models.contracts.foreign import faults_as
from cmr_models.reasons import StudyRejected
from tasks.sources.limits import Budget
from tasks.sources.public_layouts import landmark_image

PIXEL_MM: Final = 0.25
_LEVELS: Final = (85, 170, 255)
_LAYERS: Final = 4
"""Samples a pixel that Pillow may need: red, green, blue and opacity."""


class LandmarkViews(NamedTuple):
    """Views with landmarks, and the reasons for those left out (``{"file", "reason", "detail"}``)."""

    views: dict[str, xr.Dataset]
    faults: list[dict[str, str]]


def landmark_views(files: Mapping[str, bytes], budget: Budget) -> LandmarkViews:
    """Views of one person.

    Args:
        files: content by name and folders (``lax_2c/images/0001__00.png``).
        budget: of the study.

    Raises:
        StudyRejected: ``image_unreadable`` if an image cannot be read or the images of a view differ in size,
            ``wrong_series`` without any image, ``study_too_large``.
    """
    images: dict[str, dict[str, bytes]] = defaultdict(dict)
    masks: dict[str, dict[str, bytes]] = defaultdict(dict)
    for name, content in files.items():
        described = landmark_image(name)
        if described is not None:
            (masks if described.is_mask else images)[described.view][described.frame] = content
    if not images:
        raise StudyRejected("wrong_series", "There is no landmark image.")
    faults: list[dict[str, str]] = []
    views = {view: _view(images[view], masks[view], view, faults, budget) for view in sorted(images)}
    return LandmarkViews(views, faults)


def _view(
    images: Mapping[str, bytes],
    masks: Mapping[str, bytes],
    view: str,
    faults: list[dict[str, str]],
    budget: Budget,
) -> xr.Dataset:
    frames = sorted(images)
    stack = [_grey(images[frame], budget) for frame in frames]
    if len({image.shape for image in stack}) > 1:
        raise StudyRejected("image_unreadable", f"The images of {view} differ in size.")
    points = np.full((len(frames), len(_LEVELS), 2), np.nan)
    for k, frame in enumerate(frames):
        reason = "label_missing" if frame not in masks else _mark(masks[frame], stack[k].shape, points[k], budget)
        if reason:
            faults.append({"file": f"{view}/{frame}", "reason": reason, "detail": ""})
    dataset = cine_view(
        np.stack(stack)[:, None].astype(np.uint16),
        time_ms=np.full(len(frames), np.nan),
        pixel_mm=(PIXEL_MM, PIXEL_MM),
        position_mm=np.zeros((1, 3)),
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=float("nan"),
        thickness_mm=float("nan"),
        flags=["geometry_assumed"],
        frame_names=frames,
        intensity_offset=0,
        intensity_scale=1,
    )
    return with_reference(dataset, landmark_px=points)


def _mark(mask: bytes, shape: tuple[int, ...], points: npt.NDArray[np.float64], budget: Budget) -> str:
    """Put the middle of each level into ``points (point, 2)``; returns why not, if so."""
    try:
        levels = _grey(mask, budget)
    except StudyRejected as rejected:
        if rejected.reason != "image_unreadable":
            raise
        return "label_corrupt"
    if levels.shape != shape:
        return "label_grid_mismatch"
    if set(np.unique(levels).tolist()) - {0, *_LEVELS}:
        return "label_class_unknown"
    for k, level in enumerate(_LEVELS):
        places = np.argwhere(levels == level)
        if len(places):
            points[k] = places.mean(axis=0)
    return ""


@faults_as(partial(StudyRejected, "image_unreadable"), StudyRejected)
def _grey(content: bytes, budget: Budget) -> npt.NDArray[Any]:
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        budget.decode(image.width * image.height * (1 if image.mode == "L" else _LAYERS))
        return np.asarray(image if image.mode == "L" else image.convert("L"))
