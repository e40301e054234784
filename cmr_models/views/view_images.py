"""The images of one view of a study, as a network takes them: pixels, their geometry, where the heart should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from cmr_models.views.geometry import normal, plane_offset_mm
from cmr_models.views.heart_location import crossing_px


@dataclass(frozen=True)
class ViewImages:
    """Pixels and geometry of one view.

    Attributes:
        view: "sax" or a long-axis view.
        images: ``(frame, slice, row, col)``.
        pixel_mm: row and column spacing.
        offset_mm: ``(slice,)`` place of each slice along the stack.
        crossing_px: (row, col) where the long-axis planes meet; None if unknown.
        directions: ``(xyz, 3)`` unit vectors towards the next slice, row and column (LPS); None if unknown.
    """

    view: str
    images: npt.NDArray[Any]
    pixel_mm: tuple[float, float]
    offset_mm: tuple[float, ...] = (0.0,)
    crossing_px: tuple[float, float] | None = None
    directions: npt.NDArray[np.float64] | None = None

    @property
    def slice_mm(self) -> float | None:
        """Distance of neighbouring slices, the usual one if they differ; None of a single slice."""
        return float(np.median(np.abs(np.diff(self.offset_mm)))) if len(self.offset_mm) > 1 else None


def gather_view_images(
    views: Mapping[str, xr.Dataset], view: str, images: npt.NDArray[Any] | None = None
) -> ViewImages:
    """The images of ``view``; the other views give the crossing and need no pixels.

    Args:
        views: cine views of the study.
        view: one of them.
        images: to take in place of its own intensities.
    """
    dataset = views[view]
    pixels = dataset["intensity"].values if images is None else images
    row_mm, col_mm = (float(mm) for mm in dataset["pixel_mm"].values)
    offset_mm = tuple(map(float, plane_offset_mm(dataset, (pixels.shape[2], pixels.shape[3]))))
    return ViewImages(
        view, pixels, (row_mm, col_mm), offset_mm, crossing_px(views, view), _directions(dataset, offset_mm)
    )


def _directions(dataset: xr.Dataset, offset_mm: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Of the first plane; slices follow each other along its normal or against it."""
    along_row, down_column = (np.asarray(dataset[name].values, np.float64)[0] for name in ("row_dir", "col_dir"))
    across = normal(along_row, down_column) * (1 if offset_mm[-1] >= offset_mm[0] else -1)
    return np.stack([across, down_column, along_row], axis=1)
