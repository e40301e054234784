"""NIfTI in two files, a header (.hdr) and its numbers (.img), as the single file that says the same."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import partial

import nibabel as nib

from cmr_models.contracts.foreign import faults_as
from cmr_models.reasons import StudyRejected

_VERSIONS = {
    b"ni1": (nib.Nifti1Header, b"n+1"),
    b"ni2": (nib.Nifti2Header, b"n+2"),
}
"""By the mark of a header of a pair: what reads it, and the mark of a single file."""
_PLACES = {348: 344, 540: 4}
"""Where the mark lies, by the length that a header states in its first four bytes."""


@faults_as(partial(StudyRejected, "nifti_corrupt"), StudyRejected)
def joined(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """``files`` by name, pairs under the name of their header.

    Raises:
        StudyRejected: ``nifti_corrupt`` for a header that is none of a NIfTI pair, such as one of Analyze 7.5.
    """
    images = {name[:-4]: content for name, content in files.items() if _ending(name) == ".img"}
    whole = {name: content for name, content in files.items() if _ending(name) not in (".hdr", ".img")}
    return whole | {
        name: _single(content, images.get(name[:-4], b"")) for name, content in files.items() if _ending(name) == ".hdr"
    }


def _ending(name: str) -> str:
    return name[-4:].lower()


def _single(header: bytes, image: bytes) -> bytes:
    lengths = [struct.unpack(order + "i", header[:4])[0] for order in "<>"] if len(header) >= 4 else []
    place = next((_PLACES[length] for length in lengths if length in _PLACES), 0)
    mark = header[place : place + 3]
    if not place or mark not in _VERSIONS:
        raise StudyRejected("nifti_corrupt", "A .hdr file is no header of NIfTI.")
    version, single_mark = _VERSIONS[mark]
    if len(header) < version.template_dtype.itemsize:
        raise StudyRejected("nifti_corrupt", "A .hdr file is cut off.")
    fields = version(header[: version.template_dtype.itemsize], check=False)
    offset = float(fields["vox_offset"])
    start = int(offset) if math.isfinite(offset) and offset > 0 else 0
    fields["vox_offset"] = version.single_vox_offset
    fields["magic"] = single_mark + bytes(fields["magic"])[3:]
    block = bytes(fields.binaryblock)
    return block + bytes(version.single_vox_offset - len(block)) + image[start:]
