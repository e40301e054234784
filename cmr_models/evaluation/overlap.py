"""Overlap of labels with a reference: Dice, intersection over union, Hausdorff distance. Missing is NaN, never 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]


def dice(predicted: Mask, reference: Mask) -> float:
    """Dice overlap; NaN where neither has the structure, 0 where only one has it."""
    _check_shapes(predicted, reference)
    total = int(predicted.sum()) + int(reference.sum())
    return 2 * int((predicted & reference).sum()) / total if total else float("nan")


def intersection_over_union(predicted: Mask, reference: Mask) -> float:
    """Jaccard overlap; NaN where neither has the structure."""
    _check_shapes(predicted, reference)
    union = int((predicted | reference).sum())
    return int((predicted & reference).sum()) / union if union else float("nan")


def hausdorff_95_mm(predicted: Mask, reference: Mask, spacing_mm: Sequence[float]) -> float:
    """The larger of the two 95th percentiles of distances between surfaces.

    The percentile is computed for each direction, then the larger one is taken, as in MONAI.

    Args:
        predicted: mask with any number of axes.
        reference: mask of the same shape.
        spacing_mm: spacing along each axis.

    Returns:
        Distance in mm; NaN if either mask is empty.
    """
    _check_shapes(predicted, reference)
    if not predicted.any() or not reference.any():
        return float("nan")
    part = _bounding_box(predicted | reference)
    surfaces = [_surface(mask[part]) for mask in (predicted, reference)]
    ways = []
    for here, there in (surfaces, surfaces[::-1]):
        distance = ndimage.distance_transform_edt(~there, sampling=spacing_mm)
        ways.append(float(np.percentile(distance[here], 95)))
    return max(ways)


def _bounding_box(mask: Mask) -> tuple[slice, ...]:
    """Bounding box of a mask with a margin of one voxel; the distances do not depend on anything outside."""
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    return tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)


def _surface(mask: Mask) -> Mask:
    """Voxels of the mask that share a face with a voxel outside it; beyond the image is outside."""
    return np.asarray(mask & ~ndimage.binary_erosion(mask), bool)


def _check_shapes(predicted: Mask, reference: Mask) -> None:
    if predicted.shape != reference.shape:
        raise ValueError(f"labels of shape {predicted.shape} cannot be compared with a reference of {reference.shape}")
