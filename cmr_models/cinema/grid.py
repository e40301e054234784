"""From a view's own grid to the one that CineMA's networks see, and back: 1 x 1 x 10 mm, a box around the heart.

Parameters first (:func:`place`), then applied (:func:`apply`, :func:`normalise`), then inverted (:func:`restore`,
:func:`to_study_px`). Network arrays are (x, y, z): x along a row of the image, y down a column, z along the stack.

Reference: Fu et al., Communications Medicine 2026: linear interpolation, voxels aligned at the edges of the image;
intensity clipped at the percentiles 0.95 and 99.5 of each frame, then 0 to 255 in whole steps.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SPACING_MM = (1.0, 1.0, 10.0)
SAX_SIZE, LAX_SIZE = (192, 192, 16), (256, 256)
CLIP_PERCENTILES = (0.95, 99.5)

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Position of the network's voxels in a view.

    Attributes:
        start: first column and row of the box, in pixels of the whole image at the network's spacing.
        size: columns and rows of the box that are image; the rest, to the model's size, is padding.
        pixel_mm: (row, column) spacing of the view.
        offset_mm: (slice,) place of each slice along the stack; (0,) for a single plane.
        plane_mm: (z,) place of each network slice on the same axis.
        spacing_mm: the network's pixel size.
    """

    start: tuple[int, int]
    size: tuple[int, int]
    pixel_mm: tuple[float, float]
    offset_mm: tuple[float, ...]
    plane_mm: tuple[float, ...]
    spacing_mm: float = SPACING_MM[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(x, y, z) before padding."""
        return (*self.size, len(self.plane_mm))

    def parameters(self) -> dict[str, Any]:
        """Plain values, kept beside what was computed with them."""
        return asdict(self)


def place(
    shape: tuple[int, int],
    pixel_mm: tuple[float, float],
    centre_px: tuple[float, float],
    offset_mm: npt.ArrayLike = (0.0,),
    *,
    box: tuple[int, int] = SAX_SIZE[:2],
    spacing_mm: tuple[float, float, float] = SPACING_MM,
) -> Grid:
    """The grid of a box of at most ``box`` voxels around ``centre_px``, inside the image as far as it is large enough.

    Args:
        shape: rows and columns of the view.
        pixel_mm: row and column spacing.
        centre_px: row and column in the middle of the box.
        offset_mm: (slice,) places of the slices along their normal, in any order; one for a single plane.
        box: columns and rows of the model's input.
        spacing_mm: x, y and z spacing of the network.

    Raises:
        ValueError: if a size is not positive and finite, two slices share a place, or an image would have no voxel.
    """
    offsets = np.asarray(offset_mm, np.float64)
    _check(shape, pixel_mm, centre_px, offsets)
    whole = [_n_voxels(n, mm, spacing_mm[0]) for n, mm in zip(shape, pixel_mm, strict=True)]  # rows, columns
    middle = [(c + 0.5) * mm / spacing_mm[0] for c, mm in zip(centre_px, pixel_mm, strict=True)]
    limits = (box[1], box[0])
    start = [min(max(0, int(m - most / 2)), max(0, n - most)) for m, n, most in zip(middle, whole, limits, strict=True)]
    size = [min(n, most) for n, most in zip(whole, limits, strict=True)]
    return Grid(
        (start[1], start[0]),
        (size[1], size[0]),
        (float(pixel_mm[0]), float(pixel_mm[1])),
        tuple(map(float, offsets)),
        _planes(offsets, spacing_mm[2]),
        float(spacing_mm[0]),
    )


def apply(images: npt.NDArray[np.generic], grid: Grid) -> Array:
    """Images ``(frame, slice, row, col)`` on the network's grid: ``(frame, x, y, z)`` float32, linear interpolation."""
    row_mm, col_mm = grid.pixel_mm
    cols = _weights(grid.start[0], grid.size[0], grid.spacing_mm / col_mm, images.shape[3])
    rows = _weights(grid.start[1], grid.size[1], grid.spacing_mm / row_mm, images.shape[2])
    along = _interpolation_weights(grid.plane_mm, grid.offset_mm)  # (z, slice)
    sampled = np.empty((images.shape[0], *grid.shape), np.float32)
    for frame, stack in enumerate(images):
        in_plane = np.stack([rows @ np.asarray(plane, np.float32) @ cols.T for plane in stack])  # (slice, y, x)
        sampled[frame] = np.tensordot(along, in_plane, 1).transpose(2, 1, 0)
    return sampled


def apply_labels(labels: npt.NDArray[np.integer], grid: Grid) -> npt.NDArray[np.uint8]:
    """Labels ``(frame, slice, row, col)`` at the nearest voxel: ``(frame, x, y, z)`` uint8."""
    row_mm, col_mm = grid.pixel_mm
    cols = _nearest(grid.start[0], grid.size[0], grid.spacing_mm / col_mm, labels.shape[3])
    rows = _nearest(grid.start[1], grid.size[1], grid.spacing_mm / row_mm, labels.shape[2])
    planes = _interpolation_weights(grid.plane_mm, grid.offset_mm).argmax(axis=1)
    return np.ascontiguousarray(labels[:, planes][:, :, rows][:, :, :, cols].transpose(0, 3, 2, 1), np.uint8)


def normalise(frames: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The published intensity rule, each frame on its own.

    Args:
        frames: ``(frame, x, y, z)`` on the network's grid, without padding.

    Returns:
        The same, in 0..1 in steps of 1/255, and ``(frame,)`` True where a frame has contrast; others are zeros.

    Raises:
        ValueError: if a value is not finite.
    """
    if not np.isfinite(frames).all():
        raise ValueError(f"images hold {int((~np.isfinite(frames)).sum())} values that are not finite; leave them out")
    low, high = np.percentile(frames.reshape(len(frames), -1), CLIP_PERCENTILES, axis=1).astype(np.float32)
    has_contrast = high > low
    width = np.where(has_contrast, high - low, 1.0).astype(np.float32)
    scaled = (frames - low[:, None, None, None]) / width[:, None, None, None]
    stepped = np.floor(np.clip(scaled, 0, 1) * 255) / 255
    return np.asarray(stepped * has_contrast[:, None, None, None], np.float32), has_contrast


def pad(frames: Array, size: tuple[int, ...]) -> Array:
    """``(..., x, y, z)`` with zeros at the end of each axis up to ``size``; larger axes stay as they are."""
    lead = frames.ndim - len(size)
    missing = [(0, max(0, want - have)) for want, have in zip(size, frames.shape[lead:], strict=True)]
    return np.pad(frames, [(0, 0)] * lead + missing) if any(more for _, more in missing) else frames


def restore(probabilities: Array, grid: Grid, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Labels of one frame on the view's own grid: the likeliest class at each voxel, by linear interpolation.

    Args:
        probabilities: ``(class, x, y, z)`` on the network's grid, without padding.
        grid: of :func:`place`.
        shape: rows and columns of the view.

    Returns:
        ``(slice, row, col)`` uint8; 0 outside the box.
    """
    sampled, (rows, cols) = sample_back(probabilities, grid, shape)
    labels = np.zeros((len(grid.offset_mm), *shape), np.uint8)
    labels[:, rows, cols] = sampled.argmax(axis=0)
    return labels


def sample_back(values: Array, grid: Grid, shape: tuple[int, int]) -> tuple[Array, tuple[slice, slice]]:
    """``(channel, x, y, z)`` at the view's own voxels inside the box: ``(channel, slice, row, col)``, and which rows
    and columns those are.
    """
    row_mm, col_mm = grid.pixel_mm
    row, rows = _back(grid.start[1], grid.size[1], row_mm / grid.spacing_mm, shape[0])
    col, cols = _back(grid.start[0], grid.size[0], col_mm / grid.spacing_mm, shape[1])
    along = _interpolation_weights(grid.offset_mm, grid.plane_mm)  # (slice, z)
    in_plane = rows @ np.moveaxis(values, (1, 2, 3), (3, 2, 1)) @ cols.T  # (channel, z, row, col)
    return np.asarray(np.moveaxis(np.tensordot(along, in_plane, (1, 1)), 0, 1), np.float32), (row, col)


def to_study_px(points_xy: npt.ArrayLike, grid: Grid) -> npt.NDArray[np.float64]:
    """Points ``(..., 2)`` (x, y) of the network's grid as (row, col) pixels of the view."""
    network = np.asarray(points_xy, np.float64) + np.asarray(grid.start) + 0.5
    col_row = network * grid.spacing_mm / np.array([grid.pixel_mm[1], grid.pixel_mm[0]]) - 0.5
    return np.asarray(col_row[..., ::-1])


def to_network_xy(points_px: npt.ArrayLike, grid: Grid) -> npt.NDArray[np.float64]:
    """Inverse of :func:`to_study_px`."""
    col_row = np.asarray(points_px, np.float64)[..., ::-1] + 0.5
    return np.asarray(
        col_row * np.array([grid.pixel_mm[1], grid.pixel_mm[0]]) / grid.spacing_mm - 0.5 - np.asarray(grid.start)
    )


def _planes(offsets: npt.NDArray[np.float64], spacing_mm: float) -> tuple[float, ...]:
    """Places of the network's slices: as many as fill the stack, the first aligned with its outer face."""
    if offsets.size == 1:
        return (float(offsets[0]),)
    slice_mm = float(np.median(np.diff(np.sort(offsets))))
    forward = 1.0 if offsets[-1] >= offsets[0] else -1.0
    first = float(offsets.min() if forward > 0 else offsets.max())
    n_planes = _n_voxels(1, float(np.ptp(offsets)) + slice_mm, spacing_mm)
    return tuple(first + forward * (0.5 * (spacing_mm - slice_mm) + spacing_mm * k) for k in range(n_planes))


def _n_voxels(n: int, mm: float, spacing_mm: float) -> int:
    return max(1, round(n * mm / spacing_mm))


def _weights(start: int, size: int, step: float, n: int) -> Array:
    """``(size, n)`` weights of linear interpolation at edge-aligned voxels; beyond the last centre, its value."""
    position = (start + np.arange(size) + 0.5) * step - 0.5
    return _linear(position, n)


def _nearest(start: int, size: int, step: float, n: int) -> npt.NDArray[np.intp]:
    position = (start + np.arange(size) + 0.5) * step - 0.5
    return np.clip(np.round(position), 0, n - 1).astype(np.intp)


def _back(start: int, size: int, step: float, n: int) -> tuple[slice, Array]:
    """The pixels of an axis of ``n`` inside the box, and the weights of the box's voxels there."""
    position = (np.arange(n) + 0.5) * step - 0.5 - start
    inside = np.flatnonzero((position >= -0.5) & (position <= size - 0.5))
    part = slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)
    return part, _linear(position[part], size)


def _linear(position: npt.NDArray[np.floating], n: int) -> Array:
    inside = np.clip(position, 0, n - 1)
    return np.asarray(np.clip(1 - np.abs(inside[:, None] - np.arange(n)), 0, None), np.float32)


def _interpolation_weights(target_mm: tuple[float, ...], source_mm: tuple[float, ...]) -> Array:
    """``(target, source)`` weights of linear interpolation between the two nearest places, clamped at the ends."""
    order = np.argsort(source_mm)
    places = np.asarray(source_mm)[order]
    position = np.interp(target_mm, places, np.arange(len(places)))
    weights = np.zeros((len(target_mm), len(places)), np.float32)
    weights[:, order] = _linear(position, len(places))
    return weights


def _check(
    shape: tuple[int, int],
    pixel_mm: tuple[float, float],
    centre_px: tuple[float, float],
    offsets: npt.NDArray[np.float64],
) -> None:
    if min(shape) < 1 or not all(math.isfinite(mm) and mm > 0 for mm in pixel_mm):
        raise ValueError(f"a view needs pixels of positive size, got {shape} of {pixel_mm} mm")
    if not all(map(math.isfinite, centre_px)):
        raise ValueError(f"the centre of the box must be finite, got {centre_px}")
    if offsets.ndim != 1 or offsets.size == 0 or not np.isfinite(offsets).all():
        raise ValueError(f"slices need finite positions along the stack, got {offsets.tolist()}")
    if offsets.size > 1 and np.diff(np.sort(offsets)).min() < 1e-3:
        raise ValueError(f"two slices have the same position in the stack: {np.sort(offsets).tolist()} mm; keep one")
