"""Which connected pieces of a segmentation can be the heart: one left ventricle an image, near the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cmr_models.contracts import BACKGROUND, LV, MYOCARDIUM, RV

Labels = npt.NDArray[np.uint8]

_IN_PLANE = np.zeros((3, 3, 3), bool)
_IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)


def plausible_sax(labels: Labels, pixel_mm: float, reach_mm: float = 40.0, rv_reach_mm: float = 75.0) -> Labels:
    """Short-axis labels without islands and holes.

    In each image the largest left ventricle stays if it lies within ``reach_mm`` of the middle of all;
    holes in it are filled
    (papillary muscles belong to the pool); myocardium and right ventricle stay where they are the largest
    piece or at
    least a quarter of it, and near. Of the slices, only those in one run without a gap keep a left ventricle.

    Args:
        labels: ``(frame, slice, row, col)``.
        pixel_mm: pixel size.
        reach_mm: how far a slice's left ventricle may lie from the stack's.
        rv_reach_mm: how far the centre of a piece of the right ventricle may lie from it.

    Returns:
        Labels of the same shape.
    """
    stack = labels.reshape(-1, *labels.shape[2:]).copy()
    window = _occupied(stack)
    part = stack[:, window[0], window[1]]
    lv = _largest(part == LV)
    centre = _median_centre(lv)
    if centre is None:
        part[part == LV] = BACKGROUND
        return stack.reshape(labels.shape)
    lv &= _near(lv, centre, reach_mm / pixel_mm)
    lv = _without_holes(lv)
    in_slice = np.asarray(lv.reshape(*labels.shape[:2], -1).any(axis=(0, 2)))
    lv &= _longest_run(in_slice, labels.shape[0])
    for label, reach in ((MYOCARDIUM, rv_reach_mm), (RV, rv_reach_mm)):
        mask = part == label
        part[mask & ~_large_and_near(mask, centre, reach / pixel_mm)] = BACKGROUND
    part[(part == LV) & ~lv] = BACKGROUND
    part[lv] = LV
    return stack.reshape(labels.shape)


def largest_pieces(labels: Labels) -> Labels:
    """Labels ``(frame, slice, row, col)`` with only the largest piece of each class in each image."""
    stack = labels.reshape(-1, *labels.shape[2:]).copy()
    for label in range(1, int(stack.max(initial=0)) + 1):
        mask = stack == label
        stack[mask & ~_largest(mask)] = BACKGROUND
    return stack.reshape(labels.shape)


def _occupied(stack: Labels) -> tuple[slice, slice]:
    present = np.any(stack > 0, axis=0)
    if not present.any():
        return slice(0, 1), slice(0, 1)
    rows, cols = np.flatnonzero(present.any(1)), np.flatnonzero(present.any(0))
    return slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, cols[0] - 1), cols[-1] + 2)


def _pieces(
    mask: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Piece numbers ``(image, row, col)``, and each piece's size and image (number 0 is the outside)."""
    numbers, n_pieces = ndimage.label(mask, structure=_IN_PLANE)
    where = np.flatnonzero(mask)
    number = numbers.reshape(-1)[where]
    sizes = np.bincount(number, minlength=n_pieces + 1)
    image = np.zeros(n_pieces + 1, np.int64)
    image[number] = where // mask[0].size
    return numbers, sizes, image


def _largest_sizes(sizes: npt.NDArray[np.int64], image: npt.NDArray[np.int64], n_images: int) -> npt.NDArray[np.int64]:
    largest = np.zeros(n_images, np.int64)
    np.maximum.at(largest, image[1:], sizes[1:])
    return largest


def _largest(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    numbers, sizes, image = _pieces(mask)
    best = np.zeros(len(mask), np.int64)
    order = np.argsort(sizes[1:], kind="stable") + 1
    best[image[order]] = order
    return np.asarray(mask & (numbers == best[:, None, None]))


def _large_and_near(
    mask: npt.NDArray[np.bool_], centre: npt.NDArray[np.float64], reach_px: float
) -> npt.NDArray[np.bool_]:
    numbers, sizes, image = _pieces(mask)
    if sizes.size == 1:
        return mask
    middle = np.array(ndimage.center_of_mass(mask, numbers, np.arange(1, sizes.size)))[:, 1:]
    kept = np.zeros(sizes.size, bool)
    kept[1:] = sizes[1:] >= 0.25 * _largest_sizes(sizes, image, len(mask))[image[1:]]
    kept[1:] &= np.hypot(*(middle - centre).T) <= reach_px
    return np.asarray(kept[numbers])


def _without_holes(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    return ~_largest(~padded)[:, 1:-1, 1:-1]


def _centres(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """``(image, 2)`` centres; NaN where empty."""
    n_rows, n_cols = mask.shape[1:]
    area = mask.sum((1, 2))
    with np.errstate(invalid="ignore"):
        row = (mask.sum(2) @ np.arange(n_rows)) / area
        col = (mask.sum(1) @ np.arange(n_cols)) / area
    return np.stack([row, col], 1)


def _median_centre(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64] | None:
    """The middle of the images with at least half the median area, so that islands do not pull it."""
    area = mask.sum((1, 2))
    if not area.any():
        return None
    chosen = area >= 0.5 * np.median(area[area > 0])
    return np.asarray(np.median(_centres(mask[chosen]), axis=0))


def _near(mask: npt.NDArray[np.bool_], centre: npt.NDArray[np.float64], reach_px: float) -> npt.NDArray[np.bool_]:
    distance = np.hypot(*(np.nan_to_num(_centres(mask), nan=np.inf) - centre).T)
    return np.asarray(distance <= reach_px)[:, None, None]


def _longest_run(present: npt.NDArray[np.bool_], n_frames: int) -> npt.NDArray[np.bool_]:
    """``(frame * slice, 1, 1)``: True for the slices of the longest run in which ``present (slice)`` is
    True.
    """
    runs, n_runs = ndimage.label(present)
    if n_runs > 1:
        present = runs == 1 + np.argmax(np.bincount(runs)[1:])
    return np.tile(present, n_frames)[:, None, None]
