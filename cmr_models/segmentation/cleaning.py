"""Cleaning of labels: in each image one left ventricle, near those of the other images, without islands or holes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cmr_models.contracts import BACKGROUND, LV, MYOCARDIUM, RV, VENTRICLES
from cmr_models.contracts.labels import APART, ATRIUM, LEFT_BY_LV, OPEN, RESTING, WHOLE, WITHOUT_LV
from cmr_models.segmentation.certainty import steady
from cmr_models.segmentation.end_slices import atrial_slices, left_by_lv, not_enclosed, resting_rv

Labels = npt.NDArray[np.uint8]

_IN_PLANE = np.zeros((3, 3, 3), bool)
_IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)
_NEXT_SLICE = np.array([[False] * 3, [True] * 3, [False] * 3])  # of (frame, slice)


class Cleaned(NamedTuple):
    """Labels without islands and holes, and why a ventricle was left out.

    Attributes:
        labels: ``(frame, slice, row, col)``.
        left_out: ``(frame, slice, ventricle)`` uint8: the reason, of :data:`cmr_models.contracts.SLICE_ANSWERS`; 0
            where the ventricle stays or was not there before.
    """

    labels: Labels
    left_out: npt.NDArray[np.uint8]


def clean_sax(labels: Labels, pixel_mm: float, reach_mm: float = 40.0, rv_reach_mm: float = 75.0) -> Labels:
    """The labels of :func:`clean_with_reasons`."""
    return clean_with_reasons(labels, pixel_mm, reach_mm, rv_reach_mm).labels


def clean_with_reasons(labels: Labels, pixel_mm: float, reach_mm: float = 40.0, rv_reach_mm: float = 75.0) -> Cleaned:
    """Short-axis labels without islands and holes, and why a slice lost a ventricle.

    From the slice with most myocardium outwards, each image keeps the largest piece that overlaps the left ventricle
    of the slice before, over all frames; in the first one it must lie within ``reach_mm`` of the middle of the stack.
    Holes in it are filled: papillary muscles belong to the pool. Myocardium and right ventricle stay where they are
    the largest piece or at least a quarter of it, and near; a right ventricle only in slices that have a left one in
    the same frame or lie next to them (both bases descend), and not where the next slice has the inside of the left
    one. At the ends of the stack, images that show atria and great vessels lose what was taken for a ventricle: see
    :mod:`cmr_models.segmentation.end_slices`.

    Args:
        labels: ``(frame, slice, row, col)``.
        pixel_mm: pixel size.
        reach_mm: how far the left ventricle of the first slice may lie from the middle of all.
        rv_reach_mm: how far the centre of a piece of the right ventricle may lie from it.
    """
    stack = labels.reshape(-1, *labels.shape[2:]).copy()
    window = _bounding_box(stack)
    part = stack[:, window[0], window[1]]
    centre = _median_centre(_largest_piece_per_image(part == LV))
    if centre is None:
        return Cleaned(stack.reshape(labels.shape), np.zeros((*labels.shape[:2], len(VENTRICLES)), np.uint8))
    shape = labels.shape[:2]
    heart_px, rv_px = (_areas(mask, shape) for mask in (part != BACKGROUND, part == RV))
    lv, lv_reasons = _clean_lv(part, shape, centre, pixel_mm, reach_mm)
    rv_reasons = _clean_rv(part, lv, shape, heart_px, centre, rv_reach_mm / pixel_mm)
    part[(part == LV) & ~lv] = BACKGROUND
    part[lv] = LV
    remaining = {code: _areas(part == code, shape) > 0 for code in VENTRICLES}
    left_out = [_first_reason(reasons, remaining[code]) for code, reasons in ((RV, rv_reasons), (LV, lv_reasons))]
    left_out[0][rv_px == 0] = WHOLE
    return Cleaned(stack.reshape(labels.shape), np.stack(left_out, axis=-1))


Reasons = list[tuple[int, npt.NDArray[np.bool_]]]
"""Codes of :data:`cmr_models.contracts.SLICE_ANSWERS`, and ``(frame, slice)`` the images to which they apply."""


def _clean_lv(
    part: Labels, shape: tuple[int, int], centre: npt.NDArray[np.float64], pixel_mm: float, reach_mm: float
) -> tuple[npt.NDArray[np.bool_], Reasons]:
    """The left ventricle ``(image, row, col)``, and why it is not in other images; they lose their wall in ``part``."""
    pool = part == LV
    walls_px, heart_px = (_areas(mask, shape) for mask in (part == MYOCARDIUM, part != BACKGROUND))
    by_slice = pool.reshape(*shape, *pool.shape[1:])
    kept = _chain_slices(by_slice, walls_px.sum(axis=0), centre, reach_mm / pixel_mm)
    reasons: Reasons = [(APART, by_slice.any(axis=(2, 3)) & ~kept.any(axis=(2, 3)))]
    atrial = np.broadcast_to(atrial_slices(kept.sum(axis=(2, 3)), heart_px), shape)
    kept[atrial] = False
    there = kept.any(axis=(2, 3))
    open_base = there & steady(not_enclosed(kept.sum(axis=(2, 3)), walls_px, pixel_mm))
    kept[open_base] = False
    part[(open_base | atrial).reshape(-1, 1, 1) & (part == MYOCARDIUM)] = BACKGROUND
    found = by_slice.any(axis=(2, 3))
    reasons += [(ATRIUM, atrial & found), (OPEN, open_base)]
    return _fill_holes(kept.reshape(pool.shape)), reasons


def _clean_rv(
    part: Labels,
    lv: npt.NDArray[np.bool_],
    shape: tuple[int, int],
    heart_px: npt.NDArray[np.int64],
    centre: npt.NDArray[np.float64],
    reach_px: float,
) -> Reasons:
    """Take out of ``part`` what is not the right ventricle, nor wall; why the ventricle is not in some images."""
    has_lv = lv.any(axis=(1, 2)).reshape(shape)
    beyond = ~ndimage.binary_dilation(has_lv, _NEXT_SLICE)
    part[(beyond.reshape(-1, 1, 1) | _inside_next_lv(lv, shape[0])) & (part == RV)] = BACKGROUND
    for label in (MYOCARDIUM, RV):
        mask = part == label
        part[mask & ~_keep_large_and_near(mask, centre, reach_px)] = BACKGROUND
    rv = part == RV
    rv_px, lv_px = (_areas(mask, shape) for mask in (rv, lv))
    resting, left = (steady(flags) for flags in (resting_rv(rv_px, lv_px, heart_px), left_by_lv(lv_px, heart_px)))
    part[rv & (resting | left).reshape(-1, 1, 1)] = BACKGROUND
    return [(WITHOUT_LV, beyond), (APART, rv_px == 0), (LEFT_BY_LV, left), (RESTING, resting)]


def _first_reason(reasons: Reasons, remaining: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """``(frame, slice)``: the first reason that applies to each image without the ventricle."""
    codes, applies = zip(*reasons, strict=True)
    first = np.select([flags & ~remaining for flags in applies], [np.uint8(code) for code in codes], np.uint8(WHOLE))
    return np.asarray(first, np.uint8)


def keep_largest_pieces(labels: Labels) -> Labels:
    """Labels ``(frame, slice, row, col)`` with only the largest piece of each class in each image.

    Of the myocardium, every piece stays that is at least a quarter of the largest and touches the left ventricle: a
    long-axis plane that cuts a thin apex shows two walls.
    """
    stack = labels.reshape(-1, *labels.shape[2:]).copy()
    for label in sorted(range(1, int(stack.max(initial=0)) + 1), key=lambda code: code == MYOCARDIUM):
        mask = stack == label
        kept = _largest_piece_per_image(mask)
        if label == MYOCARDIUM:
            kept |= _large_pieces_beside(mask, stack == LV)
        stack[mask & ~kept] = BACKGROUND
    return stack.reshape(labels.shape)


def _large_pieces_beside(mask: npt.NDArray[np.bool_], pool: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The pieces ``(image, row, col)`` at least a quarter as large as the image's largest that touch ``pool``."""
    numbers, sizes, image = _pieces(mask)
    kept = np.zeros(sizes.size, bool)
    kept[numbers[ndimage.binary_dilation(pool, _IN_PLANE)]] = True
    kept &= sizes >= 0.25 * _largest_sizes(sizes, image, len(mask))[image]
    kept[0] = False
    return np.asarray(kept[numbers])


def _areas(mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """``(frame, slice)`` pixels of ``mask (frame * slice, row, col)``."""
    return np.asarray(mask.sum(axis=(1, 2)).reshape(shape[:2]))


def _bounding_box(stack: Labels) -> tuple[slice, slice]:
    present = np.any(stack > 0, axis=0)
    if not present.any():
        return slice(0, 1), slice(0, 1)
    rows, cols = np.flatnonzero(present.any(1)), np.flatnonzero(present.any(0))
    return slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)


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


def _largest_piece_per_image(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    numbers, sizes, image = _pieces(mask)
    best = np.zeros(len(mask), np.int64)
    order = np.argsort(sizes[1:], kind="stable") + 1
    best[image[order]] = order
    return np.asarray(mask & (numbers == best[:, None, None]))


def _keep_large_and_near(
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


def _fill_holes(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    return ~_largest_piece_per_image(~padded)[:, 1:-1, 1:-1]


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


def _chain_slices(
    pool: npt.NDArray[np.bool_], wall_px: npt.NDArray[np.int64], centre: npt.NDArray[np.float64], reach_px: float
) -> npt.NDArray[np.bool_]:
    """``(frame, slice, row, col)``: the pieces of ``pool`` that are connected from slice to slice.

    They start in the slice with most wall: a full stomach can be larger than any ventricle, but has none. Where most
    images are lost from there, that slice has something else; then they start where most are connected.
    """
    rows, cols = np.indices(pool.shape[2:])
    around = np.hypot(rows - centre[0], cols - centre[1]) <= reach_px
    present = pool.any(axis=(2, 3))
    filled = np.flatnonzero(present.any(axis=0))
    by_wall = filled[np.argsort(-wall_px[filled], kind="stable")]
    best = np.zeros_like(pool)
    for first in by_wall:
        kept = _chain_from(int(first), pool, around)
        if kept.any(axis=(2, 3)).sum() > best.any(axis=(2, 3)).sum():
            best = kept
        if 2 * best.any(axis=(2, 3)).sum() > present.sum():
            break
    return best


def _chain_from(first: int, pool: npt.NDArray[np.bool_], around: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The pieces connected with the largest one of slice ``first`` that reaches into ``around (row, col)``."""
    kept = np.zeros_like(pool)
    kept[:, first] = _largest_touching(pool[:, first], around)
    for onward in (range(first + 1, pool.shape[1]), range(first - 1, -1, -1)):
        footprint = np.any(kept[:, first], axis=0)
        for k in onward:
            kept[:, k] = _largest_touching(pool[:, k], footprint)
            footprint = np.any(kept[:, k], axis=0)
    return kept


def _largest_touching(mask: npt.NDArray[np.bool_], footprint: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The largest piece of each image of ``mask (image, row, col)`` of those that overlap ``footprint (row, col)``."""
    numbers, sizes, _ = _pieces(mask)
    touching = np.zeros(sizes.size, bool)
    touching[numbers[:, footprint]] = True
    touching[0] = False
    return _largest_piece_per_image(touching[numbers])


def _inside_next_lv(lv: npt.NDArray[np.bool_], n_frames: int) -> npt.NDArray[np.bool_]:
    """Pixels that lie in the left ventricle of a neighbouring slice of the same frame, two pixels or more inside it."""
    core = ndimage.binary_erosion(lv, _IN_PLANE, iterations=2).reshape(n_frames, -1, *lv.shape[1:])
    beside = np.zeros_like(core)
    beside[:, 1:] |= core[:, :-1]
    beside[:, :-1] |= core[:, 1:]
    return np.asarray(beside.reshape(lv.shape))
