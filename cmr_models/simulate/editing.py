"""Edit the DICOM files in an archive: open it, change images or members, and close it again."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import FileDataset
from pydicom.uid import UID

from cmr_models.simulate.archive import SAX_FIELD, Members, unzipped, zipped
from cmr_models.simulate.dicom import new_uid

Archives = dict[str, bytes]
Rng = np.random.Generator
ChangeMembers = Callable[[Members, Rng], Members]
ChangeImage = Callable[[FileDataset, int], FileDataset]

_POSITION = re.compile(rb"\x20\x00\x32\x00DS(..)", re.DOTALL)


def sax_name(archives: Mapping[str, bytes]) -> str:
    """File name of the short-axis archive.

    Raises:
        ValueError: if there is none.
    """
    for name in archives:
        if f"_{SAX_FIELD}_" in name:
            return name
    raise ValueError(f"no short-axis archive (field {SAX_FIELD}) among {sorted(archives)}")


def change_bytes(archives: Archives, change: Callable[[bytes], bytes]) -> Archives:
    """Change the bytes of the short-axis archive."""
    name = sax_name(archives)
    return archives | {name: change(archives[name])}


def change_members(archives: Archives, rng: Rng, change: ChangeMembers) -> Archives:
    """Change the members of the short-axis archive."""
    return change_bytes(archives, lambda content: zipped(change(unzipped(content), rng)))


def change_every_image(archives: Archives, change: ChangeImage) -> Archives:
    """Change every image of every archive."""
    return {
        name: zipped(
            [(file, _change_image(data, change, 0) if is_image(file) else data) for file, data in unzipped(content)]
        )
        for name, content in archives.items()
    }


def change_plane(archives: Archives, rng: Rng, change: ChangeImage) -> Archives:
    """Change the images of one plane of the short-axis archive; ``change`` is also given the frame."""

    def edit(members: Members, rng: Rng) -> Members:
        frames = {name: frame for frame, name in enumerate(choose_plane(members, rng))}
        return [(name, _change_image(data, change, frames[name]) if name in frames else data) for name, data in members]

    return change_members(archives, rng, edit)


def change_one_file(members: Members, rng: Rng, change: Callable[[bytes], bytes]) -> Members:
    """Change the bytes of one image, chosen at random."""
    images = [k for k, (name, _) in enumerate(members) if is_image(name)]
    chosen = images[int(rng.integers(len(images)))]
    return [(name, change(data) if k == chosen else data) for k, (name, data) in enumerate(members)]


def planes_in_order(members: Members) -> list[list[str]]:
    """File names of the cine planes from the base to the apex; frames are in order."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    at: dict[str, float] = {}
    for name, data in members:
        if not is_image(name):
            continue
        header = dcmread(io.BytesIO(data), stop_before_pixels=True)
        if "InlineVF" in header.SeriesDescription or "CINE" not in header.SeriesDescription:
            continue
        row, col = np.reshape(np.asarray(header.ImageOrientationPatient, float), (2, 3))
        uid = f"{header.SeriesInstanceUID} {header.ImagePositionPatient}"
        at[uid] = float(np.asarray(header.ImagePositionPatient, float) @ np.cross(row, col))
        found[uid].append((int(header.InstanceNumber), name))
    return [[name for _, name in sorted(found[uid])] for uid in sorted(found, key=lambda uid: at[uid])]


def choose_plane(members: Members, rng: Rng) -> list[str]:
    """Choose a plane in the middle third of the stack; returns its file names."""
    stack = planes_in_order(members)
    return stack[int(rng.integers(len(stack) // 3, max(len(stack) // 3 + 1, 2 * len(stack) // 3)))]


def read_image(data: bytes) -> FileDataset:
    """Read one DICOM image."""
    return dcmread(io.BytesIO(data))


def encode_image(image: FileDataset) -> bytes:
    """Encode an image as a DICOM file."""
    buffer = io.BytesIO()
    dcmwrite(buffer, image, enforce_file_format=True)
    return buffer.getvalue()


def renew_uids(image: FileDataset, series_uid: str, rng: Rng) -> FileDataset:
    """Give an image a new instance UID and the series UID ``series_uid``."""
    image.SeriesInstanceUID = series_uid
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(new_uid(rng))
    return image


def break_position(data: bytes) -> bytes:
    """Set the position in a file to NaN. The bytes are edited, because pydicom refuses to write NaN."""
    found = _POSITION.search(data)
    if found is None:
        raise ValueError("the file has no ImagePositionPatient (0020,0032)")
    (length,) = struct.unpack("<H", found.group(1))
    return data[: found.end()] + rb"NaN\NaN\NaN".ljust(length) + data[found.end() + length :]


def is_image(name: str) -> bool:
    """Whether a member is a DICOM file."""
    return name.endswith(".dcm")


def central_offsets(content: bytes) -> list[tuple[zipfile.ZipInfo, int]]:
    """Each member and the offset of its entry in the central directory."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members, at = archive.infolist(), archive.start_dir
    offsets = []
    for member in members:
        offsets.append((member, at))
        lengths = struct.unpack("<3H", content[at + 28 : at + 34])
        at += 46 + sum(lengths)
    return offsets


def _change_image(data: bytes, change: ChangeImage, frame: int) -> bytes:
    return encode_image(change(read_image(data), frame))
