"""The direct reader says what pydicom says; whatever is unusual goes through pydicom; damage has a reason."""

import io
import logging
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_factory import Series, dataset, encode, pixels
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from cmr_models.reasons import StudyRejected
from tasks.sources.dicom import KEPT, TAGS, Image, direct, read_header, read_images
from tasks.sources.dicom.by_pydicom import read_with_pydicom
from tasks.sources.limits import Budget, Limits

_IDENTIFYING = (0x00100010, 0x00100030, 0x00080080, 0x00080090, 0x00101000, 0x00104000, 0x00080050)


def _same(ours: Image, theirs: Image) -> None:
    for name in TAGS:
        assert ours.raw(name).strip(b" \x00") == theirs.raw(name).strip(b" \x00"), name
    np.testing.assert_array_equal(ours.pixels, theirs.pixels)


def _variants() -> dict[str, Dataset]:
    plain = dataset(Series())
    with_sequence = dataset(Series())
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2"
    item.Rows = 7
    nested = Dataset()
    nested.ReferencedImageSequence = Sequence([item, item])
    with_sequence.ReferencedStudySequence = Sequence([nested])
    undefined = dataset(Series())
    undefined.ReferencedStudySequence = Sequence([nested])
    undefined["ReferencedStudySequence"].is_undefined_length = True
    nested.is_undefined_length_sequence_item = True
    private = dataset(Series())
    block = private.private_block(0x0029, "ACME", create=True)
    block.add_new(1, "OB", bytes(90_000))
    block.add_new(2, "UN", b"1234")
    return {"plain": plain, "sequence": with_sequence, "undefined": undefined, "private": private}


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("name", ["plain", "sequence", "undefined", "private"])
def test_the_direct_reader_agrees_with_pydicom(name: str, implicit: bool) -> None:
    ds = _variants()[name]
    if implicit:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data = encode(ds)
    read = direct.read_image(data, Budget(n_packed=10**6))
    assert read is not None
    _same(read, read_with_pydicom(data, Budget(n_packed=10**6))[0])


def test_the_direct_reader_agrees_with_pydicom_on_every_real_scan(real_data: Path) -> None:
    folders = [real_data / name for name in ("dicom_study/patient1", "sunnybrook_dicom", "perfusion/dicom")]
    paths = [p for folder in folders for p in sorted(folder.rglob("*")) if p.suffix in (".dcm", "") and p.is_file()]
    checked = 0
    for path in paths[::7]:
        data = path.read_bytes()
        if data[128:132] != b"DICM":
            continue
        read = direct.read_image(data, Budget(n_packed=10**6))
        assert read is not None
        _same(read, read_with_pydicom(data, Budget(n_packed=10**6))[0])
        checked += 1
    assert checked > 100


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_give_the_same_image(syntax: str) -> None:
    one = Series()
    ds = dataset(one)
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = pixels(one, 0).astype(">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    (image,) = read_images(_as_written(ds))
    np.testing.assert_array_equal(image.pixels, pixels(one, 0))
    assert image.numbers("pixel_mm") == (8.0, 7.5)


def _is_little(ds: Dataset) -> bool:
    return bool(ds.file_meta.TransferSyntaxUID.is_little_endian)


def _as_written(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, force_encoding=True, little_endian=_is_little(ds), implicit_vr=False)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_pixels_come_out_unchanged(syntax: str) -> None:
    ds = dataset(Series(shape=(64, 48)))
    ds.compress(syntax)
    (image,) = read_images(encode(ds))
    np.testing.assert_array_equal(image.pixels, pixels(Series(shape=(64, 48)), 0))


def test_signed_and_eight_bit_pixels_keep_their_values() -> None:
    signed = np.arange(-240, 240, dtype=np.int16).reshape(24, 20)
    ds = dataset(Series())
    ds.PixelRepresentation, ds.PixelData = 1, signed.tobytes()
    np.testing.assert_array_equal(read_images(encode(ds))[0].pixels, signed)
    ds = dataset(Series())
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelData = 7, bytes(range(240)) * 2
    assert read_images(encode(ds))[0].pixels.max() == 239


def test_an_enhanced_file_gives_an_image_a_frame() -> None:
    ds = dataset(Series())
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    frames = np.stack([pixels(Series(), k) for k in range(3)])
    ds.NumberOfFrames, ds.PixelData = 3, frames.tobytes()
    ds.PerFrameFunctionalGroupsSequence = Sequence([_functional_group(k) for k in range(3)])
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = [1.5, 1.25]
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    images = read_images(encode(ds))
    assert [image.number("trigger_ms") for image in images] == [0.0, 40.0, 80.0]
    assert {image.numbers("pixel_mm") for image in images} == {(1.5, 1.25)}
    np.testing.assert_array_equal(np.stack([image.pixels for image in images]), frames)


def _functional_group(k: int) -> Dataset:
    group, timing = Dataset(), Dataset()
    timing.NominalCardiacTriggerDelayTime = 40.0 * k
    group.CardiacSynchronizationSequence = Sequence([timing])
    return group


def test_times_that_a_file_stores_in_binary_are_numbers_for_both_readers() -> None:
    ds = dataset(Series())
    ds.NominalCardiacTriggerDelayTime, ds.NominalPercentageOfCardiacPhase, ds.TemporalPositionIndex = 93.75, 12.5, 4
    names = ("nominal_delay_ms", "phase_pct", "temporal_index")
    for data in (encode(ds), encode(ds)[132:]):
        (image,) = read_images(data)
        assert [image.number(name) for name in names] == [93.75, 12.5, 4]


def test_a_file_without_preamble_is_read() -> None:
    data = encode(dataset(Series()))
    (image,) = read_images(data[132:])
    assert image.integer("rows") == 24


@pytest.mark.parametrize("content", [b"", b"text", b"filename,seriesid\n" * 100, bytes(5000)])
def test_what_is_no_dicom_gives_no_image(content: bytes) -> None:
    assert read_images(content) == []


def test_a_report_without_pixels_gives_no_image() -> None:
    ds = dataset(Series())
    for name in ("Rows", "Columns", "PixelData"):
        delattr(ds, name)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"
    assert read_images(encode(ds)) == []


def test_a_file_that_calls_itself_an_image_and_tells_nothing_is_corrupt() -> None:
    content = bytes(128) + b"DICM" + bytes(range(256)) * 20
    with pytest.raises(StudyRejected, match=r"dicom_corrupt.*header cannot be read"):
        read_images(content)
    assert read_images(content[:200] + b"1.2.840.10008.1.3.10" + content[200:]) == []  # a DICOMDIR


def test_a_deflated_file_that_inflates_without_end_is_refused_before_it_fills_memory() -> None:
    ds = dataset(Series())
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = _as_written(ds)
    limits = Limits(max_total_bytes=3_000_000)
    for content in (data, data[132:]):
        assert len(read_images(content, Budget(limits))) == 1
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    beginning = direct.preface(data)[1]
    content = data[:beginning] + bomb.compress(bytes(10**7)) + bomb.flush()
    with pytest.raises(StudyRejected, match="study_too_large"):
        read_images(content, Budget(limits))
    assert read_header(content) is None


@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.9, 0.99])
def test_an_image_that_is_cut_off_is_corrupt(share: float) -> None:
    data = encode(dataset(Series()))
    with pytest.raises(StudyRejected, match="dicom_corrupt"):
        read_images(data[: max(200, int(share * len(data)))])


@pytest.mark.parametrize(
    ("syntax", "reason"), [("1.2.840.10008.1.2.4.100", "dicom_encoding"), ("1.2.3", "dicom_corrupt")]
)
def test_an_encoding_without_a_decoder_is_not_called_damage(syntax: str, reason: str) -> None:
    ds = dataset(Series())
    ds.file_meta.TransferSyntaxUID = syntax  # MPEG-2, and nobody's
    ds.PixelData = encapsulate([bytes(64)])
    with pytest.raises(StudyRejected, match=reason):
        read_images(encode(ds))


def test_a_damaged_compressed_image_is_corrupt() -> None:
    ds = dataset(Series())
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    ds.PixelData = encapsulate([b"\xff\x4f\xff\x51 no codestream"])
    with pytest.raises(StudyRejected, match="dicom_corrupt"):
        read_images(encode(ds))


def test_nothing_that_names_a_person_can_be_kept() -> None:
    assert not set(KEPT.values()) & set(_IDENTIFYING)
    (image,) = read_images(encode(dataset(Series())))
    assert b"Secret" not in b"".join(image.values.values())
    assert b"19500101" not in b"".join(image.values.values())


def test_a_header_is_read_from_the_first_bytes_alone() -> None:
    header = read_header(encode(dataset(Series()))[:1200])
    assert header is not None
    assert header.text("study_uid") == "1.2.3"


_WHOLE = encode(_variants()["undefined"])


def _end(content: bytes) -> str:
    """What becomes of the bytes: "read", or a reason. Any other error is the test's."""
    try:
        images = read_images(content)
        read_header(content)
    except StudyRejected as rejected:
        return rejected.reason
    return "read" if all(isinstance(image, Image) for image in images) else "nonsense"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_gives_an_image_or_a_reason(data: Any) -> None:
    content = bytearray(_WHOLE)
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, min(1600, len(content) - 1)))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    assert _end(bytes(content[: cut or len(content)])) in ("read", "dicom_corrupt", "dicom_encoding")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_data_set_behind_a_true_preface_gives_an_image_or_a_reason(body: bytes) -> None:
    preface = encode(dataset(Series()))
    start = 132 + 12 + struct.unpack_from("<L", preface, 140)[0]
    assert _end(preface[:start] + body) in ("read", "dicom_corrupt", "dicom_encoding")


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    position=st.lists(st.floats(-500, 500), min_size=3, max_size=3),
    trigger=st.floats(0, 2000),
    description=st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"), max_size=30),
)
def test_any_image_that_pydicom_writes_is_read_as_pydicom_reads_it(
    rows: int, columns: int, position: list[float], trigger: float, description: str
) -> None:
    ds = dataset(Series(shape=(rows, columns)))
    ds.ImagePositionPatient = [f"{x:.4f}" for x in position]
    ds.TriggerTime, ds.SeriesDescription = f"{trigger:.3f}", description
    data = encode(ds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pydicom.dcmread(io.BytesIO(data))
        expected = theirs.pixel_array
    (image,) = read_images(data)
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.numbers("position_mm") == tuple(map(float, theirs.ImagePositionPatient))
    assert image.number("trigger_ms") == float(theirs.TriggerTime)


def test_pydicom_says_nothing_while_it_reads(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    read = pydicom.dcmread

    def quoting(*arguments: Any, **named: Any) -> Dataset:
        logging.getLogger("pydicom").warning("invalid value 'Miller'")
        warnings.warn("invalid value 'Miller'", stacklevel=1)
        return read(*arguments, **named)

    monkeypatch.setattr(pydicom, "dcmread", quoting)
    before = logging.getLogger("pydicom").level
    assert len(read_with_pydicom(encode(_variants()["plain"]), Budget(n_packed=10**6))) == 1
    assert caplog.records == []
    assert logging.getLogger("pydicom").level == before


def test_importing_the_readers_leaves_the_logger_of_pydicom_alone() -> None:
    command = (
        "import logging, pydicom; before = logging.getLogger('pydicom').level;"
        "import tasks.sources.dicom.by_pydicom; assert logging.getLogger('pydicom').level == before"
    )
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


@pytest.mark.parametrize(
    ("data", "looks_so"),
    [
        (bytes(128) + b"DICM", True), (b"x" * 128 + b"DICM", True), (b"x" * 300, False), (bytes(300), False),
        (b"", False),
        (b"\x08\x00\x05\x00xxxxx", True), (b"\x02\x00\x10\x00xxxxx", True), (b"\x08\x00\x05\x00xxxx", False),
        (b"\x08\x00\x05\x01xxxxx", False), (b"\x08\x01\x05\x00xxxxx", False), (b"\x10\x00\x05\x00xxxxx", False),
    ],
)  # fmt: skip
def test_dicom_begins_with_its_word_or_with_an_element_of_group_two_or_eight(data: bytes, looks_so: bool) -> None:
    assert direct.looks_like_dicom(data) is looks_so
    if not looks_so:
        assert read_images(data) == []
