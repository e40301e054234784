"""Where a value ends within its cell, one side and the other, on cells small enough to be read by eye."""

from collections.abc import Mapping

import numpy as np
import pytest

from tasks.sources.dicom.image import BINARY_TAGS, TAGS, Image
from tasks.sources.dicom.pixel_values import Layout, put_pixels

_WHOLE = {"bits_allocated": 16, "bits_stored": 16, "high_bit": 15, "pixel_representation": 0}
_LOW = {**_WHOLE, "bits_stored": 12, "high_bit": 11}
_HIGH = {**_WHOLE, "bits_stored": 12}


def _put(cells: list[list[int]], header: Mapping[str, object]) -> Image:
    values = {
        TAGS[name]: int(str(value)).to_bytes(2, "little") if TAGS[name] in BINARY_TAGS else str(value).encode()
        for name, value in header.items()
    }
    image = Image(values, None)
    put_pixels(image, np.array(cells, "<u2"))
    return image


@pytest.mark.parametrize(
    ("stored", "signed", "bounds"),
    [
        (1, True, (-1, 0)), (1, False, (0, 1)), (8, True, (-128, 127)), (8, False, (0, 255)),
        (12, True, (-2048, 2047)), (12, False, (0, 4095)), (16, True, (-32_768, 32_767)),
    ],
)  # fmt: skip
def test_the_lowest_and_the_highest_value_follow_from_bits_stored_and_the_sign(
    stored: int, signed: bool, bounds: tuple[int, int]
) -> None:
    assert Layout(16, stored, 0, signed).bounds == bounds


def test_low_is_bright_about_the_middle_of_signed_values_too() -> None:
    """Of 12 bits the mirror of -2048 is 2047, and of 5 it is -6."""
    image = _put([[0x800, 5], [0, 0x7FF]], {**_LOW, "pixel_representation": 1, "photometric": "MONOCHROME1"})
    assert image.pixels is not None
    assert image.pixels.tolist() == [[2047, -6], [-1, -2048]]


@pytest.mark.parametrize("bit", [0, 1, 3])
def test_a_bit_below_the_value_that_nobody_claims_contradicts_also_in_a_dark_image(bit: int) -> None:
    """No cell is larger than the mask of the value; the lowest bit is not claimed by overlays that are not there."""
    dark = _put([[1 << bit, 0x10], [0x20, 0]], _HIGH)
    assert (dark.pixels, dark.fault) == (None, "pixel_bits_contradict")
    claimed = _put([[1 << bit, 0x10], [0x20, 0]], {**_HIGH, "overlay_bit_2": bit})
    assert claimed.fault == ("" if bit else "pixel_bits_contradict")  # 0 stands for an overlay in its own data


def test_a_cell_as_large_as_the_mask_holds_no_other_bit() -> None:
    assert _put([[0xFFF, 0], [1, 2]], _LOW).flags == frozenset()
    beyond = _put([[0x1000, 0], [1, 2]], _LOW)
    assert beyond.pixels is not None
    assert (beyond.pixels.tolist(), beyond.flags) == ([[0, 0], [1, 2]], {"overlay_removed"})


@pytest.mark.parametrize(
    ("header", "expected", "is_removed"),
    [
        ({"padding": 0}, [[0, 7], [9, 4]], False),
        ({"padding": 0, "rescale_slope": "1"}, [[0, 7], [9, 4]], False),
        ({"padding": 0, "rescale_slope": "-1"}, [[9, 7], [9, 4]], True),  # dark is the largest where low is bright
        ({"padding": 0, "photometric": "MONOCHROME1"}, [[0, 65_528], [65_526, 65_531]], True),
        ({"padding": 7}, [[0, 0], [9, 4]], True),
        ({"padding": 4, "padding_limit": 7}, [[0, 0], [9, 0]], True),
        ({"padding": 9, "padding_limit": 7}, [[0, 0], [0, 4]], True),
        ({"padding": 5, "padding_limit": 6}, [[0, 7], [9, 4]], False),
    ],
    ids=["zero", "slope one", "slope below zero", "mirrored", "a value", "both ends", "ends exchanged", "in between"],
)
def test_padding_becomes_the_dark_end_whichever_that_is(
    header: dict[str, object], expected: list[list[int]], is_removed: bool
) -> None:
    image = _put([[0, 7], [9, 4]], {**_WHOLE, **header})
    assert image.pixels is not None
    assert image.pixels.tolist() == expected
    assert ("padding_removed" in image.flags) == is_removed
