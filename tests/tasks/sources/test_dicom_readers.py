"""What each reader takes from a header and what it leaves: sequences, the last element, files without an image."""

from typing import Any

import numpy as np
import pytest
from dicom_factory import Series, change, dataset, encode
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cmr_models.reasons import StudyRejected
from tasks.sources.dicom import direct
from tasks.sources.dicom.by_pydicom import header_with_pydicom, read_with_pydicom
from tasks.sources.dicom.image import MODALITY_LUT, REAL_WORLD_VALUES, TAGS
from tasks.sources.limits import Budget

_SPECTROSCOPY = "1.2.840.10008.5.1.4.1.1.4.2"
_FRAME_HEADERS = 0x52009230


def _dataset(**header: Any) -> Dataset:
    return change(dataset(Series(shape=(3, 5))), **header)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("ModalityLUTSequence", MODALITY_LUT), ("RealWorldValueMappingSequence", REAL_WORLD_VALUES),
        ("PerFrameFunctionalGroupsSequence", _FRAME_HEADERS),
    ],
)  # fmt: skip
def test_of_sequences_three_are_seen_if_they_hold_an_item_and_nothing_else_is(name: str, tag: int) -> None:
    item = Dataset()
    item.RescaleType = "US"
    told = {name: Sequence([item]), "ReferencedImageSequence": Sequence([item])}
    empty = {name: Sequence([]), "ReferencedImageSequence": Sequence([])}
    full, none = (direct.read_values(encode(_dataset(**header)), Budget()) for header in (told, empty))
    assert set(full) - set(none) == {tag}
    assert set(none) <= set(TAGS.values())


def test_a_mapping_to_real_values_goes_to_the_reader_that_understands_it() -> None:
    item = Dataset()
    item.RealWorldValueSlope, item.RealWorldValueIntercept = 2.5, -4.0
    data = encode(_dataset(RealWorldValueMappingSequence=Sequence([item])))
    with pytest.raises(direct.UnusualEncodingError):
        direct.read_image(data, Budget())
    (image,) = read_with_pydicom(data, Budget())
    assert (image.number("rescale_slope"), image.number("rescale_intercept")) == (2.5, -4.0)


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4"])
def test_an_enhanced_image_without_headers_of_frames_goes_to_the_reader_that_understands_it(sop_class: str) -> None:
    with pytest.raises(direct.UnusualEncodingError):  # PS3.4, table B.5-1: Enhanced and Legacy Converted Enhanced MR
        direct.read_image(encode(_dataset(SOPClassUID=sop_class)), Budget())


def test_a_header_that_ends_with_a_value_has_that_value_and_one_byte_less_has_not() -> None:
    ds = _dataset(PixelData=None, PixelRepresentation=1)
    data = encode(ds)
    assert direct.read_values(data, Budget())[TAGS["pixel_representation"]] == b"\1\0"
    cut = direct.read_values(data[:-1], Budget())
    assert TAGS["pixel_representation"] not in cut
    assert cut[TAGS["high_bit"]] == b"\x0b\0"


def test_pixels_of_just_less_than_two_images_are_one_and_of_two_contradict() -> None:
    """An image of 3 x 5 pixels of two bytes has 30 bytes."""
    own = np.arange(15, dtype="<u2").tobytes()
    for extra, fault in ((bytes(28), ""), (bytes(30), "pixel_data_contradict"), (bytes(32), "pixel_data_contradict")):
        data = encode(_dataset(PixelData=own + extra))
        (slow,) = read_with_pydicom(data, Budget())
        quick = direct.read_image(data, Budget())
        assert quick is not None
        assert (quick.fault, slow.fault) == (fault, fault)
        if not fault:
            np.testing.assert_array_equal(quick.pixels, np.arange(15).reshape(3, 5))
    for missing in (1, 2):
        data = encode(_dataset(PixelData=own))[:-missing]
        with pytest.raises(StudyRejected, match="dicom_corrupt"):
            direct.read_image(data, Budget())


@pytest.mark.parametrize("missing", ["Rows", "PixelData"])
@pytest.mark.filterwarnings("ignore")
def test_a_file_that_lacks_pixels_or_their_size_is_no_image_unless_it_says_so(missing: str) -> None:
    ds = _dataset(**{missing: None})
    with pytest.raises(StudyRejected) as refused:
        read_with_pydicom(encode(ds), Budget())
    assert (refused.value.reason, refused.value.detail) == ("dicom_corrupt", "An image has no pixels.")
    other = _dataset(Rows=None, SOPClassUID=_SPECTROSCOPY)
    assert read_with_pydicom(encode(other), Budget()) == []


def test_a_header_alone_has_no_pixels_and_damage_is_none() -> None:
    found = header_with_pydicom(encode(_dataset(PatientSize="1.75")), Budget())
    assert found is not None
    assert (found.pixels, found.number("patient_size_m"), found.integer("rows")) == (None, 1.75, 3)
