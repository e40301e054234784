"""DICOM images from bytes: header values on a whitelist, and pixels.

:mod:`~tasks.sources.dicom.reading`: ``read_images``, ``read_header``; start here.
:mod:`~tasks.sources.dicom.image`: ``Image``, and the whitelist of tags.
:mod:`~tasks.sources.dicom.direct`: the small strict reader, which reads the headers of usual files.
:mod:`~tasks.sources.dicom.by_pydicom`: compressed, deflated, big-endian and multi-frame files.
:mod:`~tasks.sources.dicom.pixel_values`: what the stored numbers mean, for both.
:mod:`~tasks.sources.dicom.frames`: frames of multi-frame files.
"""

from tasks.sources.dicom.direct import UnusualEncodingError, claims_to_be_an_image
from tasks.sources.dicom.image import KEPT, TAGS, USED, Image, canonical_uid
from tasks.sources.dicom.reading import read_header, read_images

__all__ = [
    "KEPT",
    "TAGS",
    "USED",
    "Image",
    "UnusualEncodingError",
    "canonical_uid",
    "claims_to_be_an_image",
    "read_header",
    "read_images",
]
