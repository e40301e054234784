"""Stored numbers mean what the header says, by whichever reader; what cannot be read rightly has its own reason."""

import io
from copy import deepcopy
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import Series, dataset, encode
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

from cmr_models.reasons import StudyRejected
from tasks.sources.dicom import Image, direct, read_images
from tasks.sources.dicom.by_pydicom import read_with_pydicom
from tasks.sources.dicom.image import TAGS
from tasks.sources.dicom.pixel_values import Layout, _number, put_pixels
from tasks.sources.limits import Budget

_SHAPE = (6, 8)
_RAMP = np.arange(48).reshape(_SHAPE)


def _dataset(cells: np.ndarray, stored: int | None = None, **header: Any) -> Dataset:
    """An image whose pixel data are ``cells``, with ``stored`` bits of their type."""
    ds = dataset(Series(shape=_SHAPE))
    ds.BitsAllocated = 8 * cells.dtype.itemsize
    ds.BitsStored = stored or ds.BitsAllocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(cells.dtype.kind == "i")
    ds.PixelData = cells.tobytes()
    for name, value in header.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    return ds


def _overlay(ds: Dataset, *bits: int) -> Dataset:
    for k, bit in enumerate(bits):
        ds.add_new((0x6000 + 2 * k, 0x0100), "US", 16)
        ds.add_new((0x6000 + 2 * k, 0x0102), "US", bit)
    return ds


def _read(ds: Dataset) -> Image:
    """The image, the same from both readers."""
    data = encode(ds)
    (image,) = read_images(data)
    (other,) = read_with_pydicom(data, Budget(n_packed=10**6))
    assert (image.fault, image.flags) == (other.fault, other.flags)
    np.testing.assert_array_equal(image.pixels, other.pixels)
    return image


def _check(ds: Dataset, expected: Any, *flags: str) -> None:
    image = _read(ds)
    assert image.fault == ""
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.flags == set(flags)


# bits


def test_bits_beside_the_value_are_left_out_where_an_overlay_claims_them() -> None:
    cells = _RAMP.astype(np.uint16)
    cells[::2] |= 1 << 12
    cells[:, ::3] |= 1 << 15
    _check(_overlay(_dataset(cells, 12), 12, 15), _RAMP, "overlay_removed")


def test_remains_of_an_overlay_whose_header_is_gone_are_left_out_too() -> None:
    cells = _RAMP.astype(np.uint16)
    cells[2, 1:7:2] |= 1 << 13
    _check(_dataset(cells, 12), _RAMP, "overlay_removed")


def test_pixels_brighter_than_bits_stored_allows_are_not_wrapped_around() -> None:
    cells = (_RAMP * 120).astype(np.uint16)
    _check(_dataset(cells, 12), cells, "bits_stored_exceeded")
    _check(_overlay(_dataset(cells | 1 << 15, 12), 15), cells, "bits_stored_exceeded")
    signed = (_RAMP * 120 - 2500).astype(np.int16)
    _check(_dataset(signed, 12), signed, "bits_stored_exceeded")
    assert _read(_dataset(cells, 12, PhotometricInterpretation="MONOCHROME1")).fault == "pixel_bits_contradict"


def test_the_value_may_lie_high_in_the_cell() -> None:
    cells = (_RAMP << 4).astype(np.uint16)
    _check(_dataset(cells, 12, HighBit=15), _RAMP)
    assert _read(_dataset(cells | 2, 12, HighBit=15)).fault == "pixel_bits_contradict"
    _check(_overlay(_dataset((cells | 2).astype(np.uint16), 12, HighBit=15), 1), _RAMP, "overlay_removed")


@pytest.mark.parametrize("repeats_the_sign", [True, False])
def test_signed_values_in_part_of_a_cell_keep_their_sign(repeats_the_sign: bool) -> None:
    values = (_RAMP - 20).astype(np.int16)
    cells = values if repeats_the_sign else values & 0xFFF
    _check(_dataset(cells, 12), values)


def test_an_overlay_cannot_claim_bits_of_the_value() -> None:
    cells = (_RAMP * 120).astype(np.uint16)  # 47 * 120 = 5640 needs 13 bits
    _check(_overlay(_dataset(cells, 12), 5), cells, "bits_stored_exceeded")


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4"])
def test_cells_of_every_size_and_sign_keep_their_values(kind: str) -> None:
    values = (_RAMP * 2 - (30 if kind[0] == "i" else 0)).astype(kind)
    _check(_dataset(values), values)


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ({"BitsStored": 17, "HighBit": 16}, "pixel_bits_contradict"),
        ({"BitsStored": 12, "HighBit": 10}, "pixel_bits_contradict"),
        ({"BitsStored": 0}, "pixel_bits_contradict"),
        ({"BitsAllocated": 12}, "pixel_format_unsupported"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "pixel_format_unsupported"),
        ({"BitsAllocated": 64}, "pixel_format_unsupported"),
        ({"PhotometricInterpretation": "HSV"}, "pixel_meaning_unknown"),
        ({"PhotometricInterpretation": "YBR_FULL"}, "pixel_meaning_unknown"),
        ({"RescaleSlope": "0"}, "rescale_invalid"),
        ({"RescaleSlope": "nan"}, "rescale_invalid"),
        ({"RescaleSlope": "1", "RescaleIntercept": "inf"}, "rescale_invalid"),
        ({"Rows": 3}, "pixel_data_contradict"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "pixel_data_contradict"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_read_rightly_is_refused_by_its_name(header: dict[str, Any], fault: str) -> None:
    image = _read(_dataset(_RAMP.astype(np.uint16), **header))
    assert (image.pixels, image.fault, image.has_colour) == (None, fault, False)


def test_bits_stored_and_high_bit_may_be_missing() -> None:
    _check(_dataset(_RAMP.astype(np.uint16), BitsStored=None, HighBit=None), _RAMP)


def test_real_numbers_and_lookup_tables_are_refused_by_their_names() -> None:
    ds = _dataset(_RAMP.astype(np.uint16))
    del ds.PixelData
    ds.FloatPixelData = _RAMP.astype("<f4").tobytes()
    assert _read(ds).fault == "pixel_format_unsupported"
    ds = _dataset(_RAMP.astype(np.uint16))
    table = Dataset()
    table.add_new(0x00283002, "US", [48, 0, 16])
    table.add_new(0x00283006, "OW", _RAMP[::-1].astype("<u2").tobytes())
    ds.ModalityLUTSequence = Sequence([table])
    assert _read(ds).fault == "modality_lut_unread"


# brightness, colour


def test_where_low_is_bright_values_are_mirrored() -> None:
    _check(
        _dataset((4095 - _RAMP).astype(np.uint16), 12, PhotometricInterpretation="MONOCHROME1"),
        _RAMP,
        "brightness_inverted",
    )
    _check(
        _dataset((-1 - _RAMP).astype(np.int16), PhotometricInterpretation="MONOCHROME1"), _RAMP, "brightness_inverted"
    )


def test_sequences_without_items_say_nothing() -> None:
    ds = _dataset(_RAMP.astype(np.uint16))
    ds.ModalityLUTSequence = ds.RealWorldValueMappingSequence = Sequence([])
    for undefined in (False, True):
        ds["ModalityLUTSequence"].is_undefined_length = undefined
        _check(ds, _RAMP)


def test_a_palette_is_colour() -> None:
    image = _read(_dataset(_RAMP.astype(np.uint8), PhotometricInterpretation="PALETTE COLOR"))
    assert (image.pixels, image.fault, image.has_colour) == (None, "", True)


# padding


def _padded(values: np.ndarray, stored: int | None, number: int, vr: str, limit: int | None = None) -> Dataset:
    ds = _dataset(values, stored)
    ds.add_new(0x00280120, vr, number)
    if limit is not None:
        ds.add_new(0x00280121, vr, limit)
    return ds


def test_padding_becomes_background() -> None:
    outside = _RAMP % 8 < 2
    background = np.where(outside, 0, _RAMP)
    for kind, number, vr in (("<i2", -32768, "SS"), ("<u2", 65535, "US"), ("<i2", -2000, "SS"), ("<i2", 63536, "US")):
        true = number - 65_536 if kind == "<i2" and number > 32767 else number
        cells = np.where(outside, true, _RAMP).astype(kind)
        _check(_padded(cells, None, number, vr), background, "padding_removed")


def test_padding_that_pays_no_heed_to_bits_stored_is_padding_and_no_overlay() -> None:
    outside = _RAMP % 8 < 2
    cells = np.where(outside, 0xF830, _RAMP).astype(np.uint16)
    _check(_padded(cells, 12, 0xF830, "US"), np.where(outside, 0, _RAMP), "padding_removed")


def test_padding_may_be_a_range_and_lies_below_negative_pixels() -> None:
    values = (_RAMP - 30).astype(np.int16)
    cells = np.where(_RAMP < 5, -1000 + _RAMP, values).astype(np.int16)
    for ends in ((-1000, -990), (-990, -1000)):
        _check(_padded(cells, None, ends[0], "SS", ends[1]), np.maximum(values, -25), "padding_removed")


def test_padding_with_the_zero_that_is_background_changes_nothing() -> None:
    _check(_padded(_RAMP.astype(np.uint16), 12, 0, "US"), _RAMP)


def test_padding_of_an_image_with_low_bright_is_dark() -> None:
    ds = _padded(_RAMP.astype(np.uint16), 12, 0, "US")
    ds.PhotometricInterpretation = "MONOCHROME1"
    expected = np.where(_RAMP == 0, 4095 - 47, 4095 - _RAMP)
    (image,) = read_images(encode(ds))
    assert image.pixels is not None
    np.testing.assert_array_equal(image.pixels.ravel()[1:], expected.ravel()[1:])
    assert image.pixels[0, 0] <= expected.min()


# every encoding


@pytest.mark.parametrize("kind", ["<u1", "<u2", "<i2"])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_every_native_encoding_gives_the_same_pixels(kind: str, syntax: str) -> None:
    values = (_RAMP - (20 if kind[1] == "i" else 0)).astype(kind)
    ds = _dataset(values)
    cells = values.astype(values.dtype.newbyteorder(">")) if syntax == ExplicitVRBigEndian else values
    ds.PixelData = cells.tobytes()
    if syntax == ExplicitVRBigEndian and kind == "<u1":
        ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer,
        ds,
        force_encoding=True,
        little_endian=syntax != ExplicitVRBigEndian,
        implicit_vr=syntax == ImplicitVRLittleEndian,
    )
    (image,) = read_images(buffer.getvalue())
    np.testing.assert_array_equal(image.pixels, values)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(("kind", "stored"), [("u1", 8), ("u2", 12), ("u2", 16), ("i2", 16), ("i2", 12)])
def test_every_compressed_encoding_gives_the_same_pixels(syntax: str, kind: str, stored: int) -> None:
    values = (np.tile(_RAMP, (8, 8)) - (20 if kind[0] == "i" else 0)).astype(kind)
    ds = _dataset(values, stored, Rows=48, Columns=64)
    ds.compress(syntax)
    (image,) = read_images(encode(ds))
    np.testing.assert_array_equal(image.pixels, values)
    assert (image.fault, image.flags) == ("", set())


_ENCODED = [RLELossless, JPEGLSLossless, JPEG2000Lossless]


def _compressed(ds: Dataset, syntax: str) -> Dataset:
    """``ds`` with its cells encoded as they are, all their bits, whatever the header makes of them."""
    said = (ds.BitsStored, ds.HighBit, ds.PixelRepresentation, ds.get("PhotometricInterpretation"))
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = ds.BitsAllocated, ds.BitsAllocated - 1, 0
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.compress(syntax, generate_instance_uid=False)
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation, ds.PhotometricInterpretation = said
    return ds


@pytest.mark.parametrize("syntax", _ENCODED)
@pytest.mark.parametrize("count", [2, 1, None])
@pytest.mark.filterwarnings("ignore")
def test_encoded_frames_that_the_header_does_not_count_are_refused_as_plain_ones_are(syntax: str, count: Any) -> None:
    ds = _dataset(np.tile(_RAMP, (3, 8, 8)).astype(np.uint16), NumberOfFrames=3, Rows=48, Columns=64, TriggerTime=None)
    ds.FrameTime = "40"
    ds.compress(syntax)
    assert len(read_images(encode(ds))) == 3
    ds.NumberOfFrames = count
    (image,) = read_images(encode(ds))
    assert (image.pixels, image.fault) == (None, "pixel_data_contradict")


def test_an_encoded_frame_may_lie_in_several_fragments_and_none_may_be_missing() -> None:
    ds = _compressed(_dataset(np.tile(_RAMP, (8, 8)).astype(np.uint16), 12, Rows=48, Columns=64), JPEG2000Lossless)
    (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
    ds.PixelData = encapsulate([frame], fragments_per_frame=3)
    (image,) = read_images(encode(ds))
    np.testing.assert_array_equal(image.pixels, np.tile(_RAMP, (8, 8)))
    ds = _frames(3, FrameTime="40")
    ds.compress(RLELossless)
    ds.NumberOfFrames = 4
    with pytest.raises(StudyRejected, match="dicom_corrupt"):
        read_images(encode(ds))


def test_fragments_under_the_name_of_a_plain_encoding_are_no_pixels() -> None:
    ds = _dataset(_RAMP.astype(np.uint16))
    ds.PixelData = encapsulate([ds.PixelData])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = RLELossless
    plain = ExplicitVRLittleEndian.encode().ljust(len(RLELossless), b"\0")
    with pytest.raises(StudyRejected, match="dicom_corrupt"):
        read_images(encode(ds).replace(RLELossless.encode(), plain))


def test_twelve_bits_in_an_encoding_of_which_only_eight_can_be_decoded_are_not_called_damaged() -> None:
    ds = _dataset(_RAMP.astype(np.uint16), 12)
    ds.PixelData = encapsulate([b"\xff\xd8\xff\xc1" + bytes(60)])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    if set(get_decoder(JPEGExtended12Bit).available_plugins) - {"pillow"}:
        pytest.skip("a decoder of twelve bits is installed")
    with pytest.raises(StudyRejected, match="dicom_encoding"):
        read_images(encode(ds))


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_the_sign_is_that_of_the_header_and_not_that_of_the_encoded_image(syntax: str) -> None:
    values = np.tile(_RAMP - 20, (8, 8)).astype(np.int16)
    for stored in (12, 16):
        pattern = (values.astype(np.int32) & (2**stored - 1)).astype(np.uint16)
        ds = _compressed(_dataset(pattern, stored, Rows=48, Columns=64, PixelRepresentation=1), syntax)
        (image,) = read_images(encode(ds))
        np.testing.assert_array_equal(image.pixels, values)


def test_a_file_from_before_the_file_meta_information_is_read() -> None:
    ds = _dataset(_RAMP.astype(np.uint16))
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data = encode(ds)
    (image,) = read_images(data[direct.preface(data)[1] :])
    np.testing.assert_array_equal(image.pixels, _RAMP)


# the law


def _by_hand(cell: int, allocated: int, stored: int, high: int, signed: bool) -> int:
    """The value of one cell, digit by digit."""
    digits = f"{cell:0{allocated}b}"[::-1][high + 1 - stored : high + 1][::-1]
    value = int(digits, 2)
    return value - 2**stored if signed and digits[0] == "1" else value


@st.composite
def _any_image(draw: st.DrawFn, margin: int = 0) -> tuple[Dataset, np.ndarray, tuple[int, int, int, bool]]:
    """Header and cells, random but for a ``margin`` of zeros; encoders take cells of up to 16 bits only."""
    allocated = draw(st.sampled_from([8, 16] if margin else [8, 16, 32]))
    stored = draw(st.integers(1, allocated))
    high = draw(st.integers(stored - 1, allocated - 1))
    signed = draw(st.booleans())
    seed = draw(st.integers(0, 2**32 - 1))
    cells = np.random.default_rng(seed).integers(0, 2**allocated, _SHAPE, dtype=np.uint64)
    if draw(st.booleans()):  # only value bits are set
        cells &= np.uint64(((1 << stored) - 1) << (high + 1 - stored))
    cells = np.pad(cells, margin)
    size = dict(zip(("Rows", "Columns"), cells.shape, strict=True))
    ds = _dataset(cells.astype(f"<u{allocated // 8}"), stored, HighBit=high, PixelRepresentation=int(signed), **size)
    ds.PhotometricInterpretation = draw(st.sampled_from(["MONOCHROME2", "MONOCHROME2 ", "MONOCHROME1", ""]))
    if draw(st.booleans()):
        ds.add_new(0x00280120, "US", draw(st.sampled_from([0, 1, 255, 4095, 63536, 65535])))
    if draw(st.booleans()):
        ds.add_new(0x00280121, "US", draw(st.sampled_from([0, 10, 40_000])))
    if draw(st.booleans()):
        ds.RescaleSlope = draw(st.sampled_from(["1", "2.5", "-1", "0"]))
    _overlay(ds, *draw(st.lists(st.integers(0, 31), max_size=3)))
    ds.file_meta.TransferSyntaxUID = draw(
        st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
    )
    return ds, cells, (allocated, stored, high, signed)


@settings(max_examples=250, deadline=None)
@given(_any_image())
@pytest.mark.filterwarnings("ignore")
def test_any_image_has_the_same_pixels_by_either_reader_and_by_hand(
    drawn: tuple[Dataset, np.ndarray, tuple[int, int, int, bool]],
) -> None:
    ds, cells, layout = drawn
    image = _read(ds)
    if image.fault or {"padding_removed", "bits_stored_exceeded"} & image.flags:
        return
    expected = np.array([[_by_hand(int(cell), *layout) for cell in row] for row in cells])
    if "brightness_inverted" in image.flags:
        _, stored, _, signed = layout
        expected = (-1 if signed else 2**stored - 1) - expected
    np.testing.assert_array_equal(image.pixels, expected)


@settings(max_examples=60, deadline=None)
@given(_any_image(margin=30), st.sampled_from(_ENCODED))
@pytest.mark.filterwarnings("ignore")
def test_any_image_has_the_same_pixels_when_it_is_compressed(
    drawn: tuple[Dataset, np.ndarray, tuple[int, int, int, bool]], syntax: str
) -> None:
    plain = _read(drawn[0])
    (image,) = read_images(encode(_compressed(deepcopy(drawn[0]), syntax)))
    assert (image.fault, image.flags) == (plain.fault, plain.flags)
    np.testing.assert_array_equal(image.pixels, plain.pixels)


# frames


def _frames(n: int = 5, **header: Any) -> Dataset:
    ds = _dataset(np.stack([_RAMP + 100 * k for k in range(n)]).astype(np.uint16), 12, NumberOfFrames=n)
    ds.TriggerTime = None
    for name, value in header.items():
        setattr(ds, name, value)
    return ds


@pytest.mark.parametrize(
    ("header", "times"),
    [
        ({"FrameTime": "40", "FrameIncrementPointer": 0x00181063}, [0, 40, 80, 120, 160]),
        ({"FrameTime": "40", "TriggerTime": "15"}, [15, 55, 95, 135, 175]),
        ({"FrameTimeVector": [0, 10, 20, 30, 40], "FrameIncrementPointer": 0x00181065}, [0, 10, 30, 60, 100]),
        ({"FrameTimeVector": [0, 10, 20, 30, 40], "FrameTime": "7"}, [0, 10, 30, 60, 100]),
        (
            {"FrameTimeVector": [0, 1, 1, 1, 1], "FrameTime": "7", "FrameIncrementPointer": 0x00181063},
            [0, 7, 14, 21, 28],
        ),
        ({"TriggerTime": [12, 5, 30, 45, 70], "FrameTime": "40"}, [12, 5, 30, 45, 70]),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_classic_file_of_many_frames_gives_an_image_a_frame_at_its_time(
    header: dict[str, Any], times: list[float]
) -> None:
    images = read_images(encode(_frames(**header)))
    assert [image.number("trigger_ms") for image in images] == times
    assert [image.number("instance_number") for image in images] == [1, 2, 3, 4, 5]
    for k, image in enumerate(images):
        np.testing.assert_array_equal(image.pixels, _RAMP + 100 * k)


@pytest.mark.filterwarnings("ignore")
def test_a_time_vector_that_holds_times_is_told_by_its_sum() -> None:
    """Steps of 0, 75, ..., 825 ms would come to 4950 ms: no heartbeat lasts as long."""
    images = read_images(encode(_frames(12, FrameTimeVector=[75 * k for k in range(12)])))
    assert [image.number("trigger_ms") for image in images] == [75 * k for k in range(12)]


@pytest.mark.parametrize(("step_ms", "is_time"), [("75", True), ("33", False)])
@pytest.mark.filterwarnings("ignore")
def test_a_frame_time_that_is_a_viewers_orders_frames_and_times_none(step_ms: str, is_time: bool) -> None:
    """Of 900 ms, 12 frames of 33 ms would cover 44 %."""
    images = read_images(encode(_frames(12, FrameTime=step_ms, NominalInterval=900)))
    trigger = [image.number("trigger_ms") for image in images]
    if is_time:
        assert trigger == [75 * k for k in range(12)]
    else:
        assert np.isnan(trigger).all()
        assert [image.number("temporal_position") for image in images] == list(range(1, 13))


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"CineRate": 25, "RecommendedDisplayFrameRate": 30},
        {"FrameTime": "0"},
        {"FrameTime": "40", "FrameIncrementPointer": 0x00182005},  # slice locations: frames are places
        {"FrameTimeVector": [0, 10]},
        {"TriggerTime": [1, 1, 1, 1, 1]},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_frames_without_times_are_refused_by_their_name(header: dict[str, Any]) -> None:
    (image,) = read_images(encode(_frames(**header)))
    assert (image.pixels, image.fault) == (None, "multiframe_unordered")


def test_frames_that_the_header_does_not_count_are_refused() -> None:
    ds = _frames(FrameTime="40")
    for n in (None, 3):
        ds.NumberOfFrames = n
        (image,) = read_images(encode(ds))
        assert image.fault == "pixel_data_contradict"


def _enhanced(*slopes: Any, real_world: bool = False) -> Dataset:
    ds = _frames(len(slopes))
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    groups = []
    for slope in slopes:
        group, value = Dataset(), Dataset()
        if real_world:
            value.RealWorldValueSlope, value.RealWorldValueIntercept = slope, -5.0
            group.RealWorldValueMappingSequence = Sequence([value])
        else:
            value.RescaleSlope, value.RescaleIntercept = slope, "-5"
            group.PixelValueTransformationSequence = Sequence([value])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return ds


@pytest.mark.parametrize("real_world", [False, True])
def test_every_frame_of_an_enhanced_file_has_its_own_slope(real_world: bool) -> None:
    images = read_images(encode(_enhanced(0.5, 2.0, 1.5, real_world=real_world)))
    assert [image.number("rescale_slope") for image in images] == [0.5, 2.0, 1.5]
    assert {image.number("rescale_intercept") for image in images} == {-5.0}


def _both(rescale: Any, *real_world: float) -> list[Image]:
    """Frames with a rescale slope that all share, and a real-world mapping of their own."""
    ds, value, shared = _enhanced(*real_world, real_world=True), Dataset(), Dataset()
    value.RescaleSlope, value.RescaleIntercept = rescale, "0"
    shared.PixelValueTransformationSequence = Sequence([value])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    return read_images(encode(ds))


def test_a_rescale_slope_of_one_says_nothing_and_gives_way_to_the_real_world_mapping() -> None:
    assert [image.number("rescale_slope") for image in _both("1.0", 0.5, 2.0, 1.0)] == [0.5, 2.0, 1.0]
    assert [image.number("rescale_slope") for image in _both("3", 0.5, 2.0, 1.0)] == [3, 3, 3]
    ds = _dataset(_RAMP.astype(np.uint16), RescaleSlope="1", RescaleIntercept="0.0")
    value = Dataset()
    value.RealWorldValueSlope, value.RealWorldValueIntercept = 0.25, 3.0
    ds.RealWorldValueMappingSequence = Sequence([value])
    assert [_read(ds).number(name) for name in ("rescale_slope", "rescale_intercept")] == [0.25, 3.0]
    ds.RescaleSlope = "2"
    assert [_read(ds).number(name) for name in ("rescale_slope", "rescale_intercept")] == [2.0, 0.0]


@pytest.mark.parametrize("enhanced", [True, False])
@pytest.mark.parametrize(
    ("table", "first", "slope", "intercept", "fault"),
    [
        ([6.0, 6.5, 7.0, 7.5], 10, 0.5, 1.0, ""),  # 6 = 0.5 * 10 + 1
        ([4.0, 2.0, 0.0, -2.0], -1, -2.0, 2.0, ""),  # 4 = -2 * -1 + 2
        ([0.0, 0.5, 1.5, 4.0], 0, 1.0, 0.0, "modality_lut_unread"),  # a curve
        ([3.0, 3.0, 3.0], 0, 1.0, 0.0, "modality_lut_unread"),  # every pixel the same
    ],
)
def test_a_real_world_table_that_is_a_straight_line_is_a_slope_and_another_is_refused(
    enhanced: bool, table: list[float], first: int, slope: float, intercept: float, fault: str
) -> None:
    value = Dataset()
    value.add_new(0x00409216, "SS", first)  # Real World Value First Value Mapped
    value.RealWorldValueLUTData = table
    ds = _frames(2) if enhanced else _dataset(_RAMP.astype(np.uint16))
    if enhanced:
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
        group = Dataset()
        group.RealWorldValueMappingSequence = Sequence([value])
        ds.PerFrameFunctionalGroupsSequence = Sequence([group, Dataset()])
        ds.SharedFunctionalGroupsSequence = Sequence([group])
    else:
        ds.RealWorldValueMappingSequence = Sequence([value])
    for image in read_images(encode(ds)):
        assert image.fault == fault
        if not fault:
            assert [image.number(name) for name in ("rescale_slope", "rescale_intercept")] == [slope, intercept]


def test_one_frame_with_a_slope_of_zero_is_refused_and_other_frames_are_not() -> None:
    images = read_images(encode(_enhanced("1", "0", "1")))
    assert [image.fault for image in images] == ["", "rescale_invalid", ""]


def test_headers_for_other_than_all_frames_are_refused() -> None:
    ds = _enhanced("1", "2", "3")
    del ds.PerFrameFunctionalGroupsSequence[1]
    assert [image.fault for image in read_images(encode(ds))] == ["multiframe_unordered"]


def test_a_single_frame_with_headers_of_frames_is_read_with_them() -> None:
    ds = _enhanced("2.5")
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.4"  # legacy converted
    (image,) = read_images(encode(ds))
    assert image.number("rescale_slope") == 2.5
    np.testing.assert_array_equal(image.pixels, _RAMP)


@pytest.mark.parametrize(
    ("raw", "allocated", "signed", "expected"),
    [
        (b"\x7f\x00", 8, True, 127), (b"\x80\x00", 8, True, -128), (b"\xff\x00", 8, True, -1),
        (b"\x00\x01", 8, True, 256),
        (b"\x80\xff", 8, True, -128), (b"\xff\x7f", 16, True, 32_767), (b"\x00\x80", 16, True, -32_768),
        (b"\xff\xff", 16, False, 65_535), (b"\x80\x00", 8, False, 128), (b"\x80\x00", 16, True, 128),
    ],
)  # fmt: skip
def test_a_padding_value_has_the_sign_of_the_pixels(raw: bytes, allocated: int, signed: bool, expected: int) -> None:
    image = Image({TAGS["padding"]: raw}, None)
    assert _number(image, "padding", Layout(allocated, allocated, 0, signed)) == expected


@pytest.mark.parametrize(
    ("padding", "expected"), [(0, [0, 1, 5, 9]), (1, [0, 0, 5, 9]), (5, [0, 1, 0, 9]), (7, [0, 1, 5, 9])]
)
def test_padding_of_any_value_becomes_the_background(padding: int, expected: list[int]) -> None:
    header = {"bits_allocated": 16, "bits_stored": 12, "high_bit": 11, "padding": padding}
    image = Image({TAGS[name]: number.to_bytes(2, "little") for name, number in header.items()}, None)
    put_pixels(image, np.array([[0, 1, 5, 9]], np.uint16))
    assert image.pixels is not None
    assert image.pixels.tolist() == [expected]
    assert image.flags == (frozenset() if padding in (0, 7) else {"padding_removed"})


def test_bytes_in_words_of_a_big_endian_file_are_put_in_order() -> None:
    values = (np.arange(np.prod(_SHAPE)) % 251).astype(np.uint8).reshape(_SHAPE)
    ds = _dataset(values)
    ds.PixelData = values.reshape(-1, 2)[:, ::-1].tobytes()  # of each word the high byte first
    ds["PixelData"].VR = "OW"
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, force_encoding=True, little_endian=False, implicit_vr=False)
    (image,) = read_images(buffer.getvalue())
    np.testing.assert_array_equal(image.pixels, values)


@pytest.mark.parametrize(
    ("length", "following", "is_empty"),
    [
        (0, b"anything", True), (0xFFFFFFFF, b"\xfe\xff\xdd\xe0", True), (0xFFFFFFFF, b"\xfe\xff\x00\xe0", False),
        (8, b"\xfe\xff\xdd\xe0", False), (8, b"\xfe\xff\x00\xe0", False),
    ],
)  # fmt: skip
def test_a_sequence_is_empty_without_bytes_or_if_it_ends_at_once(length: int, following: bytes, is_empty: bool) -> None:
    assert direct._is_empty(b"xx" + following, 2, length) is is_empty


def test_padding_is_a_range_and_counts_in_values_where_these_lie_high_in_the_cell() -> None:
    def found(high_bit: int, cells: list[int], **padding: int) -> tuple[list[int], set[str]]:
        header = {"bits_allocated": 16, "bits_stored": 12, "high_bit": high_bit, **padding}
        image = Image({TAGS[name]: number.to_bytes(2, "little") for name, number in header.items()}, None)
        put_pixels(image, np.array([cells], np.uint16))
        assert image.pixels is not None
        return image.pixels[0].tolist(), set(image.flags)

    removed = {"padding_removed"}
    assert found(11, [0, 3, 6, 9], padding=0, padding_limit=5) == ([0, 0, 6, 9], removed)
    assert found(11, [0, 3, 6, 9], padding=6, padding_limit=3) == ([0, 0, 0, 9], removed)  # either way round
    assert found(15, [0, 5 << 4, 9 << 4], padding=5) == ([0, 0, 9], removed)
    assert found(15, [0, 5 << 4, 9 << 4], padding=5 << 4) == ([0, 5, 9], set())  # a value, and no cell
