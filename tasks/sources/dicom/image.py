"""One DICOM image as it is read: the header values that are kept or used, and the pixels."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from cmr_models.reasons import StudyRejected

KEPT: Final[Mapping[str, int]] = {
    "image_type": 0x00080008,
    "modality": 0x00080060,
    "manufacturer": 0x00080070,
    "manufacturer_model": 0x00081090,
    "series_description": 0x0008103E,
    "patient_size_m": 0x00101020,
    "patient_weight_kg": 0x00101030,
    "scanning_sequence": 0x00180020,
    "sequence_variant": 0x00180021,
    "scan_options": 0x00180022,
    "sequence_name": 0x00180024,
    "thickness_mm": 0x00180050,
    "repetition_time_ms": 0x00180080,
    "echo_time_ms": 0x00180081,
    "inversion_ms": 0x00180082,
    "field_strength_t": 0x00180087,
    "phase_encodings": 0x00180089,
    "echo_train_length": 0x00180091,
    "protocol_name": 0x00181030,
    "trigger_ms": 0x00181060,
    "nominal_interval_ms": 0x00181062,
    "heart_rate_bpm": 0x00181088,
    "cardiac_images": 0x00181090,
    "flip_angle_deg": 0x00181314,
    "series_number": 0x00200011,
    "instance_number": 0x00200013,
    "position_mm": 0x00200032,
    "orientation": 0x00200037,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "pixel_mm": 0x00280030,
    "rescale_intercept": 0x00281052,
    "rescale_slope": 0x00281053,
}
"""The whitelist: the only header values that may reach a published file."""

USED: Final[Mapping[str, int]] = {
    "sop_class": 0x00080016,
    "study_date": 0x00080020,
    "series_date": 0x00080021,
    "acquisition_date": 0x00080022,
    "study_time": 0x00080030,
    "series_time": 0x00080031,
    "acquisition_time": 0x00080032,
    "acquisition_datetime": 0x0008002A,
    "complex_component": 0x00089208,
    "content_time": 0x00080033,
    "patient_id": 0x00100020,
    "study_uid": 0x0020000D,
    "series_uid": 0x0020000E,
    "acquisition_number": 0x00200012,
    "temporal_position": 0x00200100,
    "temporal_index": 0x00209128,
    "nominal_delay_ms": 0x00209153,
    "phase_pct": 0x00209241,
    "actual_delay_ms": 0x00209252,
    "frame_acquisition_datetime": 0x00189074,
    "frame_reference_datetime": 0x00189151,
    "temporal_offset_s": 0x0020930D,
    "philips_imaging_block": 0x20010010,
    "philips_phase": 0x20011008,
    "frame_reference_ms": 0x00541300,
    "samples_per_pixel": 0x00280002,
    "photometric": 0x00280004,
    "frames": 0x00280008,
    "bits_allocated": 0x00280100,
    "bits_stored": 0x00280101,
    "high_bit": 0x00280102,
    "pixel_representation": 0x00280103,
    "padding": 0x00280120,
    "padding_limit": 0x00280121,
    "philips_block": 0x20050010,
    "philips_scale_slope": 0x2005100E,
    **{f"overlay_bit_{k}": 0x60000102 + 0x20000 * k for k in range(16)},
}
"""Looked at to group, order and decode the images, and never stored."""

OVERLAY_BITS: Final = tuple(name for name in USED if name.startswith("overlay_bit_"))
"""Overlay Bit Position of the sixteen overlay planes that a file may have (PS3.3 C.9.2)."""

MODALITY_LUT: Final = 0x00283000
"""Modality LUT Sequence: only that it is there, and not empty, is kept."""

REAL_WORLD_VALUES: Final = 0x00409096
"""Real World Value Mapping Sequence: only that it is there, and not empty, is kept."""

TAGS: Final[Mapping[str, int]] = {**KEPT, **USED}
"""Every header value that is read, by name."""

BINARY_TAGS: Final = frozenset(
    TAGS[name]
    for name in (
        "rows", "columns", "samples_per_pixel", "bits_allocated", "bits_stored", "high_bit", "pixel_representation",
        "padding", "padding_limit", *OVERLAY_BITS,
    )
)  # fmt: skip
"""Those stored as 16-bit numbers; all others are text, but for Philips' scale slope."""

_PALETTE: Final = "PALETTE COLOR"

_NUMBER_FORMATS: Final = {
    TAGS["temporal_index"]: "<L",
    TAGS["nominal_delay_ms"]: "<d",
    TAGS["phase_pct"]: "<f",
    TAGS["actual_delay_ms"]: "<d",
    TAGS["temporal_offset_s"]: "<d",
}
"""Those stored as one little-endian number of another format."""

ENHANCED: Final = "1.2.840.10008.5.1.4.1.1.4.1"
"""Class of enhanced MR files, which hold many frames."""

LEGACY_ENHANCED: Final = "1.2.840.10008.5.1.4.1.1.4.4"
"""Class of enhanced MR files that were made from classic ones."""

_IMAGE_CLASSES: Final = ("1.2.840.10008.5.1.4.1.1.4", ENHANCED, LEGACY_ENHANCED)


@dataclass(slots=True)
class Image:
    """One DICOM image.

    Attributes:
        values: raw header values of :data:`TAGS`.
        pixels: ``(row, col)``; None for colour, or if they cannot be read rightly.
        flags: reason codes of what was done to the pixels.
        fault: reason code for which the pixels cannot be read rightly; empty if they can.
    """

    values: dict[int, bytes]
    pixels: npt.NDArray[np.integer] | None
    flags: frozenset[str] = frozenset()
    fault: str = ""

    @property
    def has_colour(self) -> bool:
        """More than one sample a pixel, or a palette (PS3.3 C.7.6.3.1.2)."""
        return self.integer("samples_per_pixel", 1) > 1 or self.text("photometric") == _PALETTE

    @property
    def is_rescaled(self) -> bool:
        """Whether a rescale slope and intercept are stated that change the values."""
        slope = self.number("rescale_slope") if self.text("rescale_slope") else 1.0
        intercept = self.number("rescale_intercept") if self.text("rescale_intercept") else 0.0
        return (slope, intercept) != (1.0, 0.0)

    def raw(self, name: str) -> bytes:
        """Undecoded value; empty if absent."""
        return self.values.get(TAGS[name], b"")

    def text(self, name: str) -> str:
        """Value as text without padding; empty if absent."""
        return self.raw(name).decode("latin-1").strip(" \x00")

    def numbers(self, name: str) -> tuple[float, ...]:
        """Backslash-separated numbers; empty if absent or if any is not a number."""
        try:
            return tuple(float(part) for part in self.text(name).split("\\"))
        except ValueError:
            return ()

    def number(self, name: str) -> float:
        """First number; NaN if absent."""
        found = self.numbers(name)
        return found[0] if found else float("nan")

    def integer(self, name: str, default: int = 0) -> int:
        """An unsigned 16-bit value; ``default`` if absent."""
        raw = self.raw(name)
        return int.from_bytes(raw[:2], "little") if len(raw) >= 2 else default


def canonical_uid(uid: str) -> str:
    """A UID without the zeros before its numbers that some writers add (DICOM PS3.5, 9.1 forbids them)."""
    return ".".join(part.lstrip("0") or "0" for part in uid.split(".")) if uid else ""


def with_numbers_as_text(values: dict[int, bytes]) -> dict[int, bytes]:
    """``values`` as they are in a file, with numbers of other formats as text, as pydicom gives them."""
    for tag, form in _NUMBER_FORMATS.items():
        raw = values.get(tag, b"")
        if len(raw) == struct.calcsize(form):
            values[tag] = str(struct.unpack(form, raw)[0]).encode()
    return values


def corrupt(what: str) -> StudyRejected:
    """The rejection of a damaged DICOM file."""
    return StudyRejected("dicom_corrupt", what)


def check_without_pixels(image: Image, *, is_dicom_file: bool) -> None:
    """Reports and presentation states have no pixels; an image without them is cut off, or its header is damaged.

    Args:
        image: header values of a file without pixels.
        is_dicom_file: whether its first bytes say that it holds one data set (see ``claims_to_be_an_image``).

    Raises:
        StudyRejected: ``dicom_corrupt`` if the file should have pixels.
    """
    if image.text("sop_class") in _IMAGE_CLASSES or image.raw("rows"):
        raise corrupt("An image has no pixels.")
    if not image.raw("sop_class") and is_dicom_file:
        raise corrupt("A header cannot be read.")
