"""Every header value that is read has the tag of DICOM's dictionary (PS3.6)."""

import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword

from tasks.sources.dicom.image import (
    BINARY_TAGS,
    KEPT,
    MODALITY_LUT,
    OVERLAY_BITS,
    REAL_WORLD_VALUES,
    TAGS,
    USED,
    canonical_uid,
    with_numbers_as_text,
)

KEYWORDS = {
    "image_type": "ImageType", "modality": "Modality", "manufacturer": "Manufacturer",
    "manufacturer_model": "ManufacturerModelName", "series_description": "SeriesDescription",
    "patient_size_m": "PatientSize", "patient_weight_kg": "PatientWeight", "scanning_sequence": "ScanningSequence",
    "sequence_variant": "SequenceVariant", "scan_options": "ScanOptions", "sequence_name": "SequenceName",
    "thickness_mm": "SliceThickness", "repetition_time_ms": "RepetitionTime", "echo_time_ms": "EchoTime",
    "inversion_ms": "InversionTime", "field_strength_t": "MagneticFieldStrength",
    "phase_encodings": "NumberOfPhaseEncodingSteps", "echo_train_length": "EchoTrainLength",
    "protocol_name": "ProtocolName", "trigger_ms": "TriggerTime", "nominal_interval_ms": "NominalInterval",
    "heart_rate_bpm": "HeartRate", "cardiac_images": "CardiacNumberOfImages", "flip_angle_deg": "FlipAngle",
    "series_number": "SeriesNumber", "instance_number": "InstanceNumber", "position_mm": "ImagePositionPatient",
    "orientation": "ImageOrientationPatient", "rows": "Rows", "columns": "Columns", "pixel_mm": "PixelSpacing",
    "rescale_intercept": "RescaleIntercept", "rescale_slope": "RescaleSlope", "sop_class": "SOPClassUID",
    "series_date": "SeriesDate", "acquisition_date": "AcquisitionDate", "series_time": "SeriesTime",
    "acquisition_time": "AcquisitionTime", "acquisition_datetime": "AcquisitionDateTime",
    "complex_component": "ComplexImageComponent", "content_time": "ContentTime", "patient_id": "PatientID",
    "study_uid": "StudyInstanceUID", "series_uid": "SeriesInstanceUID", "acquisition_number": "AcquisitionNumber",
    "temporal_position": "TemporalPositionIdentifier", "temporal_index": "TemporalPositionIndex",
    "nominal_delay_ms": "NominalCardiacTriggerDelayTime", "phase_pct": "NominalPercentageOfCardiacPhase",
    "actual_delay_ms": "ActualCardiacTriggerDelayTime", "frame_acquisition_datetime": "FrameAcquisitionDateTime",
    "frame_reference_datetime": "FrameReferenceDateTime", "temporal_offset_s": "TemporalPositionTimeOffset",
    "frame_reference_ms": "FrameReferenceTime", "samples_per_pixel": "SamplesPerPixel",
    "photometric": "PhotometricInterpretation", "frames": "NumberOfFrames", "bits_allocated": "BitsAllocated",
    "bits_stored": "BitsStored", "high_bit": "HighBit", "pixel_representation": "PixelRepresentation",
    "padding": "PixelPaddingValue", "padding_limit": "PixelPaddingRangeLimit",
}  # fmt: skip
PRIVATE = {
    "philips_imaging_block": 0x20010010, "philips_phase": 0x20011008, "philips_block": 0x20050010,
    "philips_scale_slope": 0x2005100E,
}  # fmt: skip


def test_tags_are_those_of_the_dictionary() -> None:
    overlays = {name: 0x60000102 + 0x20000 * k for k, name in enumerate(OVERLAY_BITS)}
    assert {**{name: tag_for_keyword(word) for name, word in KEYWORDS.items()}, **PRIVATE, **overlays} == TAGS
    assert len(OVERLAY_BITS) == 16
    assert TAGS["overlay_bit_15"] == 0x601E0102
    assert (
        tag_for_keyword("ModalityLUTSequence"),
        tag_for_keyword("RealWorldValueMappingSequence"),
    ) == (MODALITY_LUT, REAL_WORLD_VALUES)
    assert not set(KEPT) & set(USED)


def test_binary_values_are_those_that_the_dictionary_keeps_as_short_numbers() -> None:
    short = {TAGS[name] for name, word in KEYWORDS.items() if dictionary_VR(TAGS[name]) in ("US", "US or SS")}
    assert short | {TAGS[name] for name in OVERLAY_BITS} == BINARY_TAGS


@pytest.mark.parametrize(
    ("name", "raw", "text"),
    [
        ("temporal_index", b"\x03\x01\x00\x00", b"259"),
        ("nominal_delay_ms", b"\x00\x00\x00\x00\x00\x00\x29\x40", b"12.5"),
        ("actual_delay_ms", b"\x00\x00\x00\x00\x00\x00\x29\xc0", b"-12.5"), ("phase_pct", b"\x00\x00\x48\x41", b"12.5"),
        ("temporal_offset_s", b"\x00\x00\x00\x00\x00\x00\xe0\x3f", b"0.5"), ("phase_pct", b"12.5%", b"12.5%"),
        ("trigger_ms", b"\x00\x00\x48\x41", b"\x00\x00\x48\x41"),
    ],
)  # fmt: skip
def test_numbers_of_other_formats_become_text(name: str, raw: bytes, text: bytes) -> None:
    assert with_numbers_as_text({TAGS[name]: raw}) == {TAGS[name]: text}


@pytest.mark.parametrize(
    ("uid", "canonical"), [("1.2.03.000", "1.2.3.0"), ("1.20.300", "1.20.300"), ("0.0", "0.0"), ("", ""), ("01", "1")]
)
def test_needless_zeros_of_a_uid_are_left_out(uid: str, canonical: str) -> None:
    assert canonical_uid(uid) == canonical
