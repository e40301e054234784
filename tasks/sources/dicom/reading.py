"""Where DICOM bytes become images: the direct reader first, pydicom for what it leaves.

Here is the boundary of a file: whatever its bytes do to a reader, they give images or its documented error.
"""

from __future__ import annotations

from typing import Final

from cmr_models.contracts.foreign import faults_as
from cmr_models.reasons import StudyRejected
from tasks.sources.dicom import direct
from tasks.sources.dicom.image import Image, corrupt
from tasks.sources.limits import Budget

_LONGEST_HEADER: Final = 4 * 2**20
_INFLATED_BEGINNING: Final = 4
"""Times its size, or that of 64 kB: so far the header of a deflated file is looked at. Text packs so."""

_SPENT: Final = "study_too_large"


@faults_as(lambda kind: corrupt(f"It cannot be decoded ({kind})."), StudyRejected)
def read_images(data: bytes, budget: Budget | None = None) -> list[Image]:
    """Images in the bytes of one file: one, several if it is an enhanced multi-frame file, or none.

    Args:
        data: the file.
        budget: of the study; one of the file alone if None.

    Raises:
        StudyRejected: ``dicom_corrupt`` if it is a DICOM image that is cut off or cannot be decoded,
            ``dicom_encoding`` if nothing is installed that decodes it, ``study_too_large`` if the budget is spent.
    """
    if not direct.looks_like_dicom(data):
        return []
    budget = budget or Budget(n_packed=len(data))
    plain = direct.inflated(data, budget.left_to_inflate)
    if plain is not data:
        budget.inflate(len(plain))
    try:
        image = direct.read_image(plain, budget)
    except direct.UnusualEncodingError:
        from tasks.sources.dicom.by_pydicom import (
            read_with_pydicom,  # pydicom takes a second to load; few files need it
        )

        return read_with_pydicom(plain, budget)
    return [] if image is None else [image]


def read_header(data: bytes, budget: Budget | None = None) -> Image | None:
    """Header values alone, from the first bytes of a file; None if they are not those of a DICOM file, or damaged.

    Args:
        data: the first bytes.
        budget: of the file or archive that they are part of; one of their own if None.

    Raises:
        StudyRejected: ``study_too_large`` if the budget is spent.
    """
    try:
        return _header(data, budget or Budget(n_packed=len(data)))
    except StudyRejected as rejected:
        if rejected.reason == _SPENT:
            raise
        return None


@faults_as(corrupt, StudyRejected)
def _header(data: bytes, budget: Budget) -> Image | None:
    if not direct.looks_like_dicom(data):
        return None
    most_bytes = min(_LONGEST_HEADER, _INFLATED_BEGINNING * max(len(data), 65_536), budget.left_to_inflate)
    plain = direct.inflated(data, most_bytes, is_beginning=True)
    if plain is not data:
        budget.inflate(len(plain))
    try:
        return Image(direct.read_values(plain, budget), None)
    except direct.UnusualEncodingError:
        from tasks.sources.dicom.by_pydicom import header_with_pydicom

        return header_with_pydicom(plain, budget)
