"""Steps between an image and the input of an imported network, each with the way back for the network's output.

They compute what the transforms of MONAI 1.6 of the same purpose do (arXiv:2211.02701). Images are ``(1, ...)`` and
outputs ``(class, ...)``, with the axes of the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Protocol

import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

LINEAR, NEAREST = "linear", "nearest"
RESIZE_MODES = ("area", "nearest", "nearest-exact", "bilinear", "trilinear", "bicubic")
_MOST_VOXELS = 2**28

Box = tuple[tuple[int, int], ...]
Undo = Callable[[Tensor, str], Tensor]
"""From an output on the step's grid to one on the grid before it, "linear" or "nearest"."""


class Geometry(NamedTuple):
    """Where an image lies.

    Attributes:
        spacing_mm: voxel size along each axis.
        directions: ``(3, axis)`` unit vectors of the axes (to the right, front, head); None if unknown.
    """

    spacing_mm: tuple[float, ...]
    directions: npt.NDArray[np.float64] | None = None


class Step(Protocol):
    """One step."""

    def apply(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry, Undo | None]:
        """The image after the step, where it lies, and the way back; None where voxels stay where they are."""
        ...


@dataclass(frozen=True)
class Orient:
    """Axes turned to the nearest ones of ``axcodes`` ("RAS"); an image of unknown directions lies so already."""

    axcodes: str

    def __post_init__(self) -> None:
        if sorted("RAS".find(_SAME_AXIS.get(code, "?")) for code in self.axcodes) != [0, 1, 2]:
            raise ValueError(f"an orientation is three letters of L or R, P or A, I or S; got {self.axcodes!r}")

    def apply(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry, Undo | None]:
        """See :class:`Step`."""
        if geometry.directions is None:
            return image, geometry, None
        nibabel: Any = nib.orientations
        start = nibabel.io_orientation(np.pad(geometry.directions, ((0, 1), (0, 1))) + np.diag([0, 0, 0, 1]))
        turn = nibabel.ornt_transform(start, nibabel.axcodes2ornt(tuple(self.axcodes)))
        order = [int(axis) for axis in np.argsort(turn[:, 0])]
        flips = [axis + 1 for axis in range(3) if turn[axis, 1] < 0]
        turned = image.flip(flips).permute(0, *(axis + 1 for axis in order))
        signs = turn[:, 1]
        place = Geometry(
            tuple(geometry.spacing_mm[axis] for axis in order), (geometry.directions * signs)[:, order].astype(float)
        )
        back = [int(axis) for axis in np.argsort(order)]

        def undo(output: Tensor, _: str) -> Tensor:
            return output.permute(0, *(axis + 1 for axis in back)).flip(flips)

        return turned, place, undo


_SAME_AXIS = {"R": "R", "L": "R", "A": "A", "P": "A", "S": "S", "I": "S"}


@dataclass(frozen=True)
class Space:
    """Voxels of ``spacing_mm``, the first one where it was; an axis keeps its own where that is not positive."""

    spacing_mm: tuple[float, ...]
    mode: str = LINEAR

    def __post_init__(self) -> None:
        if self.mode not in (LINEAR, NEAREST) or not all(mm <= 0 or 0.01 <= mm <= 1000 for mm in self.spacing_mm):
            raise ValueError(f"a spacing in mm and 'linear' or 'nearest' are needed, got {self}")

    def apply(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry, Undo | None]:
        """See :class:`Step`."""
        old = geometry.spacing_mm
        new = tuple(mm if mm > 0 else was for mm, was in zip(self.spacing_mm, old, strict=True))
        sizes = tuple(image.shape[1:])
        wanted = [round((n - 1) * was / mm + 1) for n, was, mm in zip(sizes, old, new, strict=True)]
        _check_size(wanted)

        def undo(output: Tensor, mode: str) -> Tensor:
            return _resampled(output, sizes, [was / mm for was, mm in zip(old, new, strict=True)], mode)

        seen = _resampled(image, wanted, [mm / was for was, mm in zip(old, new, strict=True)], self.mode)
        return seen, Geometry(new, geometry.directions), undo


@dataclass(frozen=True)
class Resize:
    """``shape`` voxels over the same field of view; an axis keeps its own number where that is not positive."""

    shape: tuple[int, ...]
    mode: str = "area"
    align_corners: bool | None = None

    def __post_init__(self) -> None:
        if self.mode not in RESIZE_MODES:
            raise ValueError(f"an image is resized by {', '.join(RESIZE_MODES)}, got {self.mode!r}")

    def apply(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry, Undo | None]:
        """See :class:`Step`."""
        before = tuple(image.shape[1:])
        wanted = _filled(self.shape, before)
        _check_size(wanted)
        scales = [old / new for old, new in zip(before, wanted, strict=True)]
        spacing_mm = tuple(mm * scale for mm, scale in zip(geometry.spacing_mm, scales, strict=True))

        def undo(output: Tensor, mode: str) -> Tensor:
            return _interpolated(output, before, NEAREST if mode == NEAREST else self.mode, self.align_corners)

        seen = _interpolated(image, wanted, self.mode, self.align_corners)
        return seen, Geometry(spacing_mm, geometry.directions), undo


@dataclass(frozen=True)
class CropForeground:
    """The box around values above ``threshold``, wider by ``margin``, its sides multiples of ``multiple``.

    What lies beyond the image is zero, unless the box must stay inside (``allow_smaller``).
    """

    threshold: float = 0.0
    margin: tuple[int, ...] = (0,)
    multiple: tuple[int, ...] = (1,)
    allow_smaller: bool = False

    def apply(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry, Undo | None]:
        """See :class:`Step`."""
        inside, n_axes = (image > self.threshold)[0], image.ndim - 1
        if not inside.any():
            return image, geometry, None
        box = []
        for axis, margin, multiple in zip(
            range(n_axes), _each(self.margin, n_axes), _each(self.multiple, n_axes), strict=True
        ):
            found = torch.nonzero(inside.movedim(axis, 0).reshape(inside.shape[axis], -1).any(1)).flatten()
            start, stop = int(found[0]) - margin, int(found[-1]) + 1 + margin
            if self.allow_smaller:
                start, stop = max(start, 0), min(stop, inside.shape[axis])
            size = math.ceil((stop - start) / multiple) * multiple
            start -= (size - (stop - start)) // 2
            box.append((start, start + size))
        return _boxed(image, geometry, tuple(box))


@dataclass(frozen=True)
class Pad:
    """Zeros around: to at least ``shape`` (where positive), and to multiples of ``multiple``; half before, or none."""

    shape: tuple[int, ...] = (0,)
    multiple: tuple[int, ...] = (1,)
    before: bool = True

    def apply(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry, Undo | None]:
        """See :class:`Step`."""
        box = []
        n_axes = image.ndim - 1
        for n, size, multiple in zip(
            image.shape[1:], _each(self.shape, n_axes), _each(self.multiple, n_axes), strict=True
        ):
            wanted = math.ceil(max(n, size) / multiple) * multiple
            start = -((wanted - n) // 2) if self.before else 0
            box.append((start, start + wanted))
        return _boxed(image, geometry, tuple(box))


@dataclass(frozen=True)
class CentreCrop:
    """At most ``shape`` voxels in the middle; an axis keeps all where that is not positive."""

    shape: tuple[int, ...]

    def apply(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry, Undo | None]:
        """See :class:`Step`."""
        before = tuple(image.shape[1:])
        box = []
        for n, size in zip(before, _filled(self.shape, before), strict=True):
            start = max(n // 2 - size // 2, 0)
            box.append((start, min(start + size, n)))
        return _boxed(image, geometry, tuple(box))


@dataclass(frozen=True)
class ScaleIntensity:
    """Values from ``lowest`` to ``highest``; a constant image becomes itself times ``lowest``."""

    lowest: float = 0.0
    highest: float = 1.0

    def apply(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry, Undo | None]:
        """See :class:`Step`."""
        least, most = image.min(), image.max()
        if least == most:
            return image * self.lowest, geometry, None
        return (image - least) / (most - least) * (self.highest - self.lowest) + self.lowest, geometry, None


@dataclass(frozen=True)
class ScaleRange:
    """Values ``from_low`` and ``from_high`` become ``low`` and ``high``, those beyond are cut off if ``clip``.

    Where ``percentiles``, the first two are percentiles of the image. Without ``low`` and ``high``, as if 0 and 1.
    """

    from_low: float
    from_high: float
    low: float | None = None
    high: float | None = None
    clip: bool = False
    percentiles: bool = False

    def apply(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry, Undo | None]:
        """See :class:`Step`."""
        start, stop = self.from_low, self.from_high
        if self.percentiles:
            start, stop = (float(value) for value in np.percentile(image.numpy(), (start, stop)))
        if start == stop:
            return image - start + (self.low or 0.0), geometry, None
        scaled = (image - start) / (stop - start)
        if self.low is not None and self.high is not None:
            scaled = scaled * (self.high - self.low) + self.low
        return scaled.clamp(self.low, self.high) if self.clip else scaled, geometry, None


@dataclass(frozen=True)
class Normalise:
    """Values less ``mean`` by ``sd``, or by those of the image; ``nonzero``: of and in what is not zero alone."""

    mean: float | None = None
    sd: float | None = None
    nonzero: bool = False

    def apply(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry, Undo | None]:
        """See :class:`Step`."""
        chosen = image != 0 if self.nonzero else torch.ones_like(image, dtype=torch.bool)
        if not chosen.any():
            return image, geometry, None
        values = image[chosen]
        mean = values.mean() if self.mean is None else self.mean
        sd = float(values.std(unbiased=False)) if self.sd is None else self.sd
        normal = image.clone()
        normal[chosen] = (values - mean) / (sd or 1.0)
        return normal, geometry, None


@dataclass(frozen=True)
class DivideByMaximum:
    """Values by the largest one; an image without positive values stays as it is."""

    def apply(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, Geometry, Undo | None]:
        """See :class:`Step`."""
        most = image.max()
        return image / most if most > 0 else image, geometry, None


KINDS: Mapping[str, Any] = {
    "orientation": Orient,
    "spacing": Space,
    "resize": Resize,
    "crop_foreground": CropForeground,
    "pad": Pad,
    "centre_crop": CentreCrop,
    "scale_intensity": ScaleIntensity,
    "scale_range": ScaleRange,
    "normalise": Normalise,
    "divide_by_maximum": DivideByMaximum,
}
"""Name of a step in a card -> its class."""


def step_table(step: Step) -> dict[str, Any]:
    """Plain values of a step, for a model card."""
    name = next(name for name, kind in KINDS.items() if kind is type(step))
    values = {key: value for key, value in asdict(step).items() if value is not None}  # type: ignore[call-overload]
    return {"step": name, **{key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}}


def step_of(table: Mapping[str, Any]) -> Step:
    """The step that :func:`step_table` wrote.

    Raises:
        ValueError: if it is unknown or has an unknown entry.
        TypeError: if it lacks one.
    """
    kind = KINDS.get(str(table.get("step")))
    known = {item.name for item in fields(kind)} if kind else set()
    if kind is None or not set(table) - {"step"} <= known:
        raise ValueError(f"unknown step {dict(table)}; known are {', '.join(KINDS)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key != "step"}
    made: Step = kind(**values)
    return made


def run_steps(image: Tensor, geometry: Geometry, steps: Sequence[Step]) -> tuple[Tensor, Geometry, tuple[Undo, ...]]:
    """The image after all steps, where it lies, and the ways back, in the order of the steps."""
    undos = []
    for step in steps:
        image, geometry, undo = step.apply(image, geometry)
        undos += [undo] if undo else []
    return image, geometry, tuple(undos)


def run_back(output: Tensor, undos: Sequence[Undo], mode: str) -> Tensor:
    """An output of the network on the grid of the image."""
    for undo in reversed(undos):
        output = undo(output, mode)
    return output


def _resampled(image: Tensor, sizes: Sequence[int], steps: Sequence[float], mode: str) -> Tensor:
    """Voxel i of each axis from place i times its step; places beyond the last voxel are the last one."""
    for axis, (size, step) in enumerate(zip(sizes, steps, strict=True), start=1):
        last = image.shape[axis] - 1
        if step == 1 and size == last + 1:
            continue
        places = (torch.arange(size, dtype=torch.float64) * step).clamp(0, last)
        if mode == NEAREST:
            image = image.index_select(axis, places.round().long())
            continue
        lower = places.floor().long()
        weights = (places - lower).to(image.dtype).reshape([-1 if i == axis else 1 for i in range(image.ndim)])
        upper = (lower + 1).clamp(max=last)
        image = image.index_select(axis, lower) * (1 - weights) + image.index_select(axis, upper) * weights
    return image


def _interpolated(image: Tensor, shape: Sequence[int], mode: str, align_corners: bool | None) -> Tensor:
    if tuple(image.shape[1:]) == tuple(shape):
        return image
    aligned = align_corners if mode in ("bilinear", "trilinear", "bicubic") else None
    return F.interpolate(image[None], tuple(shape), mode=mode, align_corners=aligned)[0]


def _boxed(image: Tensor, geometry: Geometry, box: Box) -> tuple[Tensor, Geometry, Undo | None]:
    """The part of an image in a box, zero where that reaches beyond it."""
    before = tuple(image.shape[1:])
    _check_size([stop - start for start, stop in box])
    if box == tuple((0, n) for n in before):
        return image, geometry, None

    def undo(output: Tensor, _: str) -> Tensor:
        return _moved(output, tuple((-start, n - start) for (start, _), n in zip(box, before, strict=True)))

    return _moved(image, box), geometry, undo


def _moved(image: Tensor, box: Box) -> Tensor:
    around = [n for (start, stop), size in zip(box, image.shape[1:], strict=True) for n in (-start, stop - size)]
    pairs = [around[i : i + 2] for i in range(0, len(around), 2)]
    return F.pad(image, [n for pair in reversed(pairs) for n in pair])


def _filled(shape: Sequence[int], before: Sequence[int]) -> tuple[int, ...]:
    wanted = _each(shape, len(before))
    return tuple(size if size > 0 else n for size, n in zip(wanted, before, strict=True))


def _each(values: Sequence[int], n_axes: int) -> Sequence[int]:
    return list(values) * n_axes if len(values) == 1 else values


def _check_size(sizes: Sequence[int]) -> None:
    if math.prod(sizes) > _MOST_VOXELS:
        raise ValueError(f"the network's input would have {list(sizes)} voxels, more than {_MOST_VOXELS}")
