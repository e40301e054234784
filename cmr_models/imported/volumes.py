"""A volume as an nnU-Net sees it, and the way back: transpose, crop to what is not zero, normalise, resample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cmr_models.imported.plan import Plan
from cmr_models.imported.resampling import new_shape, resample

Array = npt.NDArray[np.float32]

_SMALLEST_SD = 1e-8


class Place(NamedTuple):
    """Where the network's voxels lie in a volume; axes are those of the network.

    Attributes:
        shape: of the whole volume.
        box: first voxel and the one after the last, of each axis, of the part that is not zero.
        spacing_mm: of the volume.
        seen_mm: of the network's input.
        seen_shape: of the network's input.
    """

    shape: tuple[int, ...]
    box: tuple[tuple[int, int], ...]
    spacing_mm: tuple[float, ...]
    seen_mm: tuple[float, ...]
    seen_shape: tuple[int, ...]

    @property
    def part(self) -> tuple[slice, ...]:
        """The part that is not zero."""
        return tuple(slice(*ends) for ends in self.box)


def to_network(volume: npt.NDArray[Any], spacing_mm: tuple[float, float, float], plan: Plan) -> tuple[Array, Place]:
    """The network's input of one volume.

    Args:
        volume: ``(slice, row, col)``.
        spacing_mm: voxel size of the three axes.
        plan: of the network.

    Returns:
        ``(a, b, c)`` float32, axes as in the plan, and where it lies.
    """
    turned = np.ascontiguousarray(volume, np.float32).transpose(plan.transpose)
    turned_mm = tuple(spacing_mm[axis] for axis in plan.transpose)
    inside = ndimage.binary_fill_holes(turned != 0)
    box = _box(inside)
    part = tuple(slice(*ends) for ends in box)
    seen_mm = plan.spacing_mm if len(plan.spacing_mm) == 3 else (turned_mm[0], *plan.spacing_mm)
    shape = tuple(stop - start for start, stop in box)
    seen_shape = new_shape(shape, turned_mm, seen_mm)
    normal = normalise(turned[part].copy(), inside[part], plan)
    seen = resample(normal[None], seen_shape, turned_mm, seen_mm, plan.image)[0]
    return seen, Place(turned.shape, box, turned_mm, seen_mm, seen_shape)


def probabilities(logits: npt.NDArray[Any], place: Place, plan: Plan) -> Array:
    """Class probabilities ``(class, slice, row, col)`` on the volume's own grid; background outside the box."""
    fine = _on_grid(logits, place, plan).astype(np.float32)
    powers = np.exp(fine - fine.max(axis=0))
    whole = np.zeros((len(fine), *place.shape), np.float32)
    whole[0] = 1
    whole[(slice(None), *place.part)] = powers / powers.sum(axis=0)
    return whole.transpose(0, *(1 + axis for axis in _inverse(plan)))


def labels(logits: npt.NDArray[Any], place: Place, plan: Plan) -> npt.NDArray[np.uint8]:
    """Our codes ``(slice, row, col)`` on the volume's own grid."""
    codes = np.array(plan.codes, np.uint8)
    whole = np.zeros(place.shape, np.uint8)
    whole[place.part] = codes[_on_grid(logits, place, plan).argmax(axis=0)]
    return whole.transpose(_inverse(plan))


def normalise(image: Array, inside: npt.NDArray[np.bool_], plan: Plan) -> Array:
    """An image with the plan's scale of intensities; ``inside`` is where it is not zero."""
    if plan.normalisation == "none":
        return image
    if plan.normalisation == "rescale_to_0_1":
        raised = image - image.min()
        return np.asarray(raised / max(raised.max(), _SMALLEST_SD), np.float32)
    if plan.normalisation == "ct":
        about: Mapping[str, float] = plan.intensities or {}
        clipped = np.clip(image, about["percentile_00_5"], about["percentile_99_5"])
        return np.asarray((clipped - about["mean"]) / max(about["std"], _SMALLEST_SD), np.float32)
    chosen = inside if plan.mask_normalisation else np.ones_like(inside)
    values = image[chosen]
    image[chosen] = (values - values.mean()) / max(values.std(), _SMALLEST_SD)
    return image


def _on_grid(logits: npt.NDArray[Any], place: Place, plan: Plan) -> npt.NDArray[Any]:
    shape = tuple(stop - start for start, stop in place.box)
    return resample(logits, shape, place.seen_mm, place.spacing_mm, plan.output)


def _inverse(plan: Plan) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.argsort(plan.transpose))


def _box(inside: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """First voxel and the one after the last of each axis; the whole volume if it is empty."""
    if not inside.any():
        return tuple((0, n) for n in inside.shape)
    others = [tuple(other for other in range(inside.ndim) if other != axis) for axis in range(inside.ndim)]
    found = [np.flatnonzero(inside.any(axis=other)) for other in others]
    return tuple((int(places[0]), int(places[-1]) + 1) for places in found)
