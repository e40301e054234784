"""What the cells of a DICOM image mean: which bits hold the value, its sign, padding, and whether high is bright.

Both readers hand over the cells as they lie in the file; here alone they become pixels, so that an image has the same
pixels whichever reader takes it. Rules, in this order (PS3.5 section 8.1.1; PS3.3 C.7.6.3.1, C.7.5.1.1.2, C.11.1):

1. The value is the bits from High Bit down, Bits Stored of them, extended by its sign if Pixel Representation is 1.
2. Other bits are no part of it. They may repeat the sign. Bits that an overlay claims (60xx,0102) are left out. So are
   unclaimed ones, unless they lie above the value and the image is smoother with them than without: then Bits Stored
   is wrong, and they count (``bits_stored_exceeded``).
3. Padding (Pixel Padding Value, up to Range Limit) is not image: it becomes zero, or the lowest value if that is less.
4. MONOCHROME1 means that low is bright: values are mirrored within Bits Stored.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.sources.dicom.image import MODALITY_LUT, OVERLAY_BITS, TAGS, Image

Cells = npt.NDArray[np.unsignedinteger]
Values = npt.NDArray[np.integer]
_Mask = npt.NDArray[np.bool_]

_ALLOCATED: Final = (8, 16, 32)
_GREY: Final = ("", "MONOCHROME1", "MONOCHROME2")


class Layout(NamedTuple):
    """Where the value lies in a cell: ``stored`` bits, the lowest at ``low``, of ``allocated``."""

    allocated: int
    stored: int
    low: int
    signed: bool

    @property
    def mask(self) -> int:
        return int((1 << self.stored) - 1)

    @property
    def bounds(self) -> tuple[int, int]:
        """The lowest and the highest value."""
        half = 1 << (self.stored - 1)
        return (-half, half - 1) if self.signed else (0, self.mask)

    def dtype(self, kind: str) -> np.dtype[np.integer]:
        return np.dtype(f"{kind}{self.allocated // 8}")


_DECISIVE: Final = (
    *(TAGS[name] for name in ("bits_allocated", "bits_stored", "high_bit", "pixel_representation", "photometric")),
    TAGS["rescale_slope"],
    TAGS["rescale_intercept"],
    MODALITY_LUT,
)


def layout_of(image: Image) -> Layout:
    """As the header says; Bits Stored and High Bit where they are missing are as large as they can be."""
    return _understand(tuple(image.values.get(tag) for tag in _DECISIVE))[0]


def fault_of_header(image: Image) -> str:
    """The reason code for which an image of one sample a pixel cannot be read rightly; empty if it can."""
    return _understand(tuple(image.values.get(tag) for tag in _DECISIVE))[1]


@lru_cache(maxsize=512)
def _understand(decisive: tuple[bytes | None, ...]) -> tuple[Layout, str]:
    """Layout and fault of a header with these values of :data:`_DECISIVE`: thousands of images share them."""
    held = {tag: raw for tag, raw in zip(_DECISIVE, decisive, strict=True) if raw is not None}
    image = Image(held, None)
    allocated = image.integer("bits_allocated")
    stored = image.integer("bits_stored", allocated)
    high = image.integer("high_bit", stored - 1)
    layout = Layout(allocated, stored, high + 1 - stored, image.integer("pixel_representation") == 1)
    return layout, _fault(image, layout)


def _fault(image: Image, layout: Layout) -> str:
    if layout.allocated not in _ALLOCATED:
        return "pixel_format_unsupported"
    if not (layout.stored >= 1 and layout.low >= 0 and layout.low + layout.stored <= layout.allocated):
        return "pixel_bits_contradict"
    if image.text("photometric") not in _GREY:
        return "pixel_meaning_unknown"
    return "modality_lut_unread" if MODALITY_LUT in image.values else fault_of_rescale(image)


def fault_of_rescale(image: Image) -> str:
    """``rescale_invalid`` if a slope or intercept is stated that is none."""
    for name in ("rescale_slope", "rescale_intercept"):
        if image.text(name) and not math.isfinite(image.number(name)):
            return "rescale_invalid"
    return "rescale_invalid" if image.number("rescale_slope") == 0 else ""


def put_pixels(image: Image, cells: Cells) -> None:
    """Set the pixels of ``image`` and flags, or its fault, from ``cells (..., row, col)`` of Bits Allocated."""
    layout = layout_of(image)
    values = _values(cells, layout)
    padding = _padding(cells, values, image, layout)
    other = _other_bits(cells, values, padding, layout)
    flags = {_judge(other, cells, values, image, layout)} if other else set()
    if "pixel_bits_contradict" in flags:
        image.fault = "pixel_bits_contradict"
        return
    if "bits_stored_exceeded" in flags:
        values = _with_all_bits(cells, image, layout)
    if image.text("photometric") == "MONOCHROME1":
        values = (sum(layout.bounds) - values.astype(np.int64)).astype(values.dtype)
        flags.add("brightness_inverted")
    if padding is not None and _blank(values, padding, is_bright_low=image.number("rescale_slope") < 0):
        flags.add("padding_removed")
    image.pixels, image.flags = values, frozenset(flags)


def _values(cells: Cells, layout: Layout) -> Values:
    """A new array, in the type of the cells with the sign of the values."""
    if layout.stored == layout.allocated:
        return cells.astype(layout.dtype("i" if layout.signed else "u"))
    if not layout.signed:
        shifted = cells >> layout.low if layout.low else cells
        return np.asarray(shifted & cells.dtype.type(layout.mask))
    to_top = layout.allocated - layout.low - layout.stored
    return np.asarray((cells << to_top).view(layout.dtype("i")) >> (layout.allocated - layout.stored))


# bits that hold no value


def _other_bits(cells: Cells, values: Values, padding: _Mask | None, layout: Layout) -> int:
    """Bits beside the value that are set somewhere, but in padding, and do more than repeat the sign."""
    if layout.stored == layout.allocated or (
        not layout.signed and not layout.low and int(cells.max(initial=0)) <= layout.mask
    ):
        return 0
    unsigned = values.view(cells.dtype)
    mask = cells.dtype.type(layout.mask)
    odd = cells != ((unsigned & mask) << layout.low)
    if layout.signed:
        odd &= cells != (unsigned << layout.low)
    if padding is not None:
        odd &= ~padding
    return int(np.bitwise_or.reduce(cells[odd], initial=0)) & ~(layout.mask << layout.low)


def _judge(other: int, cells: Cells, values: Values, image: Image, layout: Layout) -> str:
    """The reason code of ``other`` bits: left out, needed, or a contradiction."""
    unclaimed = other & ~_claimed(image, layout)
    if unclaimed & ((1 << layout.low) - 1):
        return "pixel_bits_contradict"
    if not unclaimed or _roughness(_with_all_bits(cells, image, layout)) >= _roughness(values):
        return "overlay_removed"
    is_mirrored = image.text("photometric") == "MONOCHROME1"  # about a middle that nobody knows
    return "pixel_bits_contradict" if is_mirrored or layout.low else "bits_stored_exceeded"


def _with_all_bits(cells: Cells, image: Image, layout: Layout) -> Values:
    """Values as if all bits of a cell were theirs, but for those that overlays claim."""
    kept = cells & cells.dtype.type(~_claimed(image, layout) & ((1 << layout.allocated) - 1))
    return np.asarray(kept.view(layout.dtype("i")) if layout.signed else kept)


def _claimed(image: Image, layout: Layout) -> int:
    """Bits beside the value in which overlays lie: one cannot lie in a bit of the value."""
    places = {image.integer(name) for name in OVERLAY_BITS}
    return sum(1 << place for place in places if 0 < place < 32) & ~(layout.mask << layout.low)


def _roughness(values: Values) -> float:
    """Sum of the differences between neighbours."""
    wide = values.astype(np.float64)
    return float(sum(np.abs(np.diff(wide, axis=axis)).sum() for axis in (-2, -1)))


# padding


def _padding(cells: Cells, values: Values, image: Image, layout: Layout) -> _Mask | None:
    """Which pixels are padding; None if the header declares none, or only the zero that it is anyway."""
    if not image.raw("padding"):
        return None
    ends = [_number(image, name, layout) for name in ("padding", "padding_limit") if image.raw(name)]
    is_bright_low = image.number("rescale_slope") < 0 or image.text("photometric") == "MONOCHROME1"
    if ends == [0] and not layout.signed and not is_bright_low:
        return None
    least, most = layout.bounds
    if all(least <= end <= most for end in ends):
        where = values
    else:  # software pads whole cells, without regard to Bits Stored
        where = cells.astype(layout.dtype("i" if layout.signed else "u"))
    return np.asarray((where >= min(ends)) & (where <= max(ends)))


def _number(image: Image, name: str, layout: Layout) -> int:
    """A padding value, 16 bits with the sign of the pixels, whatever the value representation says."""
    number = image.integer(name)
    if layout.signed and layout.allocated == 8 and number < 256:
        return number - 256 if number >= 128 else number
    return number - 65_536 if layout.signed and number >= 32_768 else number


def _blank(values: Values, padding: _Mask, *, is_bright_low: bool) -> bool:
    """Set padding to background; whether anything changed."""
    if not padding.any():
        return False
    image = values[~padding]
    if is_bright_low:
        background = int(image.max(initial=np.iinfo(values.dtype).min)) if image.size else 0
    else:
        background = int(image.min(initial=0))
    changed = bool((values[padding] != background).any())
    values[padding] = background
    return changed
