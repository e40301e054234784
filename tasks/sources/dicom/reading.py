"""Where DICOM bytes become images: the direct reader first, pydicom for what it leaves."""

from __future__ import annotations

from tasks.sources.dicom import direct
from tasks.sources.dicom.image import Image


def read_images(data: bytes) -> list[Image]:
    """Images in the bytes of one file: one, several if it is an enhanced multi-frame file, or none.

    Raises:
        StudyRejected: ``dicom_corrupt`` if it is a DICOM image that is cut off or cannot be decoded.
    """
    if not direct.looks_like_dicom(data):
        return []
    try:
        image = direct.read_image(data)
    except direct.UnusualEncodingError:
        from tasks.sources.dicom.by_pydicom import (
            read_with_pydicom,  # pydicom takes a second to load; few files need it
        )

        return read_with_pydicom(data)
    return [] if image is None else [image]


def read_header(data: bytes) -> Image | None:
    """Header values alone, from the first bytes of a file; None if they are not those of a DICOM file."""
    if not direct.looks_like_dicom(data):
        return None
    try:
        return Image(direct.read_values(data), None)
    except direct.UnusualEncodingError:
        from tasks.sources.dicom.by_pydicom import header_with_pydicom

        return header_with_pydicom(data)
