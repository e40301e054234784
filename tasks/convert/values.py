"""Pixels of the images of one view -> the uint16 of a published view, on one scale.

What a stored value stands for (PS3.3 C.11.1.1.2 and C.7.6.16.2.9) is ``slope * value + intercept``. Where all images of
a view have the same slope and intercept, values are published as they are stored. Where they differ (Philips fills the
bits of every frame), stored values of two frames cannot be compared, so all become ``slope * value + intercept`` first,
in steps as fine as the finest slope, or as 16 bits allow for the whole range. The same is done where a slope is
negative, because high would then be dark.

Philips has a second scale: what the receiver measured is ``(slope * value + intercept) / (slope * scale slope)``, with
the private Scale Slope (2005,100E). It replaces the first where all images have one and ``slope * scale slope`` differs
between them.

Reference:
    Chenevert et al. Errors in quantitative image analysis due to platform-dependent image scaling. Transl Oncol
    2014;7:65-71.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.sources.dicom import Image
from tasks.sources.dicom.pixel_values import layout_of

CLIPPED_FRAMES: Final = 3
_UINT16_MAX: Final = 65_535
_SAME: Final = 1e-6
"""Headers spell one slope with six digits or more."""

Scales = npt.NDArray[np.float64]
"""``(image, 2)``: slope and intercept of each image."""


class Storage(NamedTuple):
    """How a view's values are stored: value = stored * ``scale`` + ``offset``.

    Attributes:
        offset: of the lowest value.
        scale: step between stored values.
        scales: by the identity of an image, its slope and intercept, if images had scales of their own.
    """

    offset: float
    scale: float
    scales: dict[int, tuple[float, float]]

    @property
    def is_rescaled(self) -> bool:
        """Whether images had scales of their own."""
        return bool(self.scales)

    def store(self, image: Image) -> npt.NDArray[Any]:
        """The pixels of ``image`` as they are published, of a type that holds them."""
        pixels = image.pixels
        assert pixels is not None
        if self.scales:
            slope, intercept = self.scales[id(image)]
            steps = (pixels * (slope / self.scale)) + (intercept - self.offset) / self.scale
            return np.asarray(np.clip(np.round(steps), 0, _UINT16_MAX), np.uint16)  # only rounding can step over an end
        if (self.offset, self.scale) == (0, 1):
            return pixels
        return np.asarray((pixels.astype(np.int64) - int(self.offset)) // int(self.scale))


def storage_of(images: Sequence[Image], *, as_received: bool = False) -> Storage:
    """The storage of the images of one view; ``as_received`` if the receiver's scale has to be used."""
    shown = [image for image in images if image.pixels is not None]
    scales = _received_scales(shown) if as_received else differing_scales(shown)
    if scales is None:
        low, high = _range(shown)
        return Storage(low, max(1, -(-(high - low) // _UINT16_MAX)), {})
    ends = np.array([_ends(image, *scale) for image, scale in zip(shown, scales, strict=True)])
    lowest, highest = min(0.0, float(ends.min())), float(ends.max())
    finest = float(np.abs(scales[:, 0]).min())
    own = {id(image): (float(slope), float(start)) for image, (slope, start) in zip(shown, scales, strict=True)}
    return Storage(lowest, max(finest, (highest - lowest) / _UINT16_MAX), own)


def n_clipped(images: Sequence[Image]) -> int:
    """How many pixels of a plane stay at the largest value that its bits hold, in :data:`CLIPPED_FRAMES` or more."""
    at_top = [image.pixels == layout_of(image).bounds[1] for image in images if image.pixels is not None]
    return int((np.sum(at_top, axis=0) >= CLIPPED_FRAMES).sum())


def differing_scales(images: Sequence[Image]) -> Scales | None:
    """Slope and intercept of each image; None if all have the same, and high is bright."""
    spelt = {tuple(image.raw(name) for name in _SCALE) for image in images}
    if len(spelt) == 1 and not images[0].number("rescale_slope") < 0:
        return None
    scales = _stated_scales(images)
    if is_received_otherwise(images):
        scales = _received_scales(images)
    differ = _differ(scales[:, 0]) or _differ(scales[:, 1])
    return scales if differ or (scales[:, 0] < 0).any() else None


def is_received_otherwise(images: Sequence[Image]) -> bool:
    """Whether rescaled values of ``images`` cannot be compared, and Philips' scale slope makes that good."""
    receiver = np.array([_philips_scale_slope(image) for image in images])
    return bool(len(images) and np.isfinite(receiver).all()) and _differ(_stated_scales(images)[:, 0] * receiver)


def _stated_scales(images: Sequence[Image]) -> Scales:
    return np.array([(_or(i.number("rescale_slope"), 1.0), _or(i.number("rescale_intercept"), 0.0)) for i in images])


def _received_scales(images: Sequence[Image]) -> Scales:
    scales = _stated_scales(images)
    receiver = np.array([_philips_scale_slope(image) for image in images])
    return np.asarray(scales / (scales[:, :1] * receiver[:, None]))


_PHILIPS_BLOCK: Final = "philips mr imaging dd 001"
"""Their other blocks, DD 002 to 006, have other things in that place."""

_SCALE: Final = ("rescale_slope", "rescale_intercept", "philips_block", "philips_scale_slope")


def _philips_scale_slope(image: Image) -> float:
    """The private Scale Slope, if the header is Philips' and it is a positive number; else NaN."""
    block, raw = image.text("philips_block").lower(), image.raw("philips_scale_slope")
    is_theirs = block == _PHILIPS_BLOCK if block else image.text("manufacturer").lower().startswith("philips")
    if len(raw) != 4 or not is_theirs:
        return float("nan")
    (slope,) = struct.unpack("<f", raw)
    return float(slope) if np.isfinite(slope) and slope > 0 else float("nan")


def _differ(values: npt.NDArray[np.float64]) -> bool:
    return bool(np.ptp(values) > _SAME * np.abs(values).max())


def _ends(image: Image, slope: float, intercept: float) -> tuple[float, float]:
    pixels = image.pixels
    assert pixels is not None
    ends = (slope * float(pixels.min()) + intercept, slope * float(pixels.max()) + intercept)
    return min(ends), max(ends)


def _range(images: Sequence[Image]) -> tuple[int, int]:
    """Zero or the lowest value if negative, and the highest; without a look where the type says enough."""
    arrays = [image.pixels for image in images if image.pixels is not None]
    low = min((int(a.min()) for a in arrays if a.dtype.kind == "i"), default=0)
    high = max(int(a.max()) if a.dtype.itemsize > 2 else int(np.iinfo(a.dtype).max) for a in arrays)
    return min(low, 0), high


def _or(value: float, default: float) -> float:
    return value if np.isfinite(value) else default
