"""nnU-Net's resampling of volumes: splines, slice by slice where slices are far apart.

As ``resample_data_or_seg_to_shape`` of nnunetv2 2.8 with ``skimage.transform.resize`` (mode "edge", no anti-aliasing):
Isensee et al., Nature Methods 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cmr_models.imported.plan import Resampling

Array = npt.NDArray[Any]

_ANISOTROPIC = 3.0
"""Slices are resampled one by one where the largest voxel side is more than this many times the smallest."""


def new_shape(shape: Sequence[int], spacing_mm: Sequence[float], wanted_mm: Sequence[float]) -> tuple[int, ...]:
    """Voxels of the same field of view at another spacing."""
    return tuple(round(mm / wanted * n) for n, mm, wanted in zip(shape, spacing_mm, wanted_mm, strict=True))


def resample(
    channels: Array,
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    wanted_mm: Sequence[float],
    how: Resampling,
) -> Array:
    """``channels (channel, a, b, c)`` on a grid of ``shape`` over the same field of view.

    Args:
        channels: of any floating-point type, which the result has too.
        shape: voxels of the new grid.
        spacing_mm: voxel size of ``channels``.
        wanted_mm: voxel size of the new grid.
        how: orders of the splines.
    """
    if channels.shape[1:] == tuple(shape):
        return channels
    axis = separate_axis(spacing_mm, wanted_mm, how.separate_z)
    result = np.empty((len(channels), *shape), channels.dtype)
    for channel, target in zip(channels, result, strict=True):
        volume = channel.astype(np.float64)
        target[...] = _resize(volume, shape, how.order) if axis is None else _by_slice(volume, shape, axis, how)
    return result


def separate_axis(spacing_mm: Sequence[float], wanted_mm: Sequence[float], separate_z: str) -> int | None:
    """The axis across which slices are resampled one by one; None if the volume is resampled whole."""
    if separate_z == "never":
        return None
    if separate_z == "always" or max(spacing_mm) / min(spacing_mm) > _ANISOTROPIC:
        deciding = spacing_mm
    elif max(wanted_mm) / min(wanted_mm) > _ANISOTROPIC:
        deciding = wanted_mm
    else:
        return None
    largest = [axis for axis, mm in enumerate(deciding) if max(deciding) / mm == 1]
    return largest[0] if len(largest) == 1 else None


def _by_slice(volume: Array, shape: Sequence[int], axis: int, how: Resampling) -> Array:
    """Every slice across ``axis`` resized, then the values between slices."""
    in_plane = [n for i, n in enumerate(shape) if i != axis]
    slices = [_resize(plane, in_plane, how.order) for plane in np.moveaxis(volume, axis, 0)]
    resized = np.stack(slices, axis)
    if resized.shape[axis] == shape[axis]:
        return resized
    scales = [old / new for old, new in zip(resized.shape, shape, strict=True)]
    places = [s * (i + 0.5) - 0.5 for s, i in zip(scales, np.mgrid[tuple(slice(n) for n in shape)], strict=True)]
    return np.asarray(ndimage.map_coordinates(resized, np.array(places), order=how.order_z, mode="nearest"))


def _resize(image: Array, shape: Sequence[int], order: int) -> Array:
    """A spline through ``image`` at the voxel centres of ``shape``, within the range of its values."""
    if image.shape == tuple(shape):
        return image
    zoom = [1 / (old / new) for old, new in zip(image.shape, shape, strict=True)]
    resized = ndimage.zoom(image, zoom, order=order, mode="nearest", grid_mode=True)
    return np.asarray(np.clip(resized, image.min(), image.max()))
