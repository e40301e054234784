"""Placement of a network's box in a view: around the heart, the same for training and for inference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from cmr_models.cinema import grid
from cmr_models.cinema.grid import Grid
from cmr_models.reasons import StudyRejected
from cmr_models.segmentation import shared_segmenter
from cmr_models.views.heart_location import HeartCentre, Locate, find_heart_centre
from cmr_models.views.view_images import ViewImages

_LOCATED_BY = {"sax": "segment_sax", "lax_4c": "segment_lax_4c"}
_MIN_GAP_MM = 0.1

FindCentre = Callable[[ViewImages], HeartCentre]


def centre_in_view(view_images: ViewImages) -> HeartCentre:
    """The middle of the heart, by the embedded network where it knows the view."""
    return find_heart_centre(
        view_images.images, view_images.pixel_mm, view_images.crossing_px, locator(view_images.view)
    )


def around_heart(
    view_images: ViewImages, size: tuple[int, ...], pixel_mm: float, find: FindCentre = centre_in_view
) -> tuple[Grid, HeartCentre]:
    """The grid of ``size`` (x, y ...) voxels around the heart, and how the heart was found.

    Args:
        view_images: one view.
        size: the network's input.
        pixel_mm: the network's pixel; along the stack it is that of :data:`cmr_models.cinema.grid.SPACING_MM`.
        find: the middle of the heart; give one that remembers where images are seen again and again.

    Raises:
        StudyRejected: ``planes_coincide`` if two short-axis planes share a place: the stack has no order.
    """
    places = np.sort(view_images.offset_mm)
    if view_images.view == "sax" and len(places) > 1 and np.diff(places).min() < _MIN_GAP_MM:
        raise StudyRejected("planes_coincide", f"Among {len(places)} planes.")
    middle = find(view_images)
    shape = (view_images.images.shape[2], view_images.images.shape[3])
    offset_mm = view_images.offset_mm if view_images.view == "sax" else view_images.offset_mm[:1]
    spacing_mm = (pixel_mm, pixel_mm, grid.SPACING_MM[2])
    return grid.place(
        shape, view_images.pixel_mm, middle.px, offset_mm, box=(size[0], size[1]), spacing_mm=spacing_mm
    ), middle


def locator(view: str) -> Locate | None:
    """A function that finds the heart with the embedded network; None for views that it does not know."""
    if view not in _LOCATED_BY:
        return None

    def locate(images: npt.NDArray[np.generic], pixel_mm: tuple[float, float]) -> tuple[tuple[float, float], float]:
        window, confidence = shared_segmenter("default", _LOCATED_BY[view]).locate_with_confidence(images, pixel_mm)
        return window.centre_px, confidence

    return locate
