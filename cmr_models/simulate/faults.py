"""Faults of archives: one function for each fault, and the reason code or flag that the pipeline must give.

A fault takes archives by file name, as :func:`cmr_models.simulate.ukb_archives` makes them, and returns
damaged ones. Where nothing else is said, it damages the short-axis archive.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from cmr_models.simulate.archive import Members, zipped
from cmr_models.simulate.dicom import new_uid
from cmr_models.simulate.editing import (
    Archives,
    Rng,
    break_position,
    central_offsets,
    change_bytes,
    change_every_image,
    change_members,
    change_one_file,
    change_plane,
    choose_plane,
    encode_image,
    is_image,
    planes_in_order,
    read_image,
    renew_uids,
    sax_name,
)


class Fault(NamedTuple):
    """A way to damage a study.

    Attributes:
        apply: function from archives to damaged archives.
        expected: reason code or flag (:mod:`cmr_models.reasons`) that the study must get; "" where the fault must
            not change the result.
        kind: "quarantined", "excluded" or "flag", or "ok" for ``expected=""``.
    """

    apply: Callable[[Archives, Rng], Archives]
    expected: str
    kind: str


def truncate_zip(archives: Archives, rng: Rng) -> Archives:
    """Truncate the file at 20 to 90 % of its length, as a stopped download does."""
    return change_bytes(archives, lambda content: content[: int(len(content) * rng.uniform(0.2, 0.9))])


def break_crc(archives: Archives, rng: Rng) -> Archives:
    """Write a wrong checksum for one member."""

    def damage(content: bytes) -> bytes:
        found = central_offsets(content)
        member, at = found[int(rng.integers(len(found)))]
        wrong, out = struct.pack("<I", member.CRC ^ 0xDEADBEEF), bytearray(content)
        out[at + 16 : at + 20] = out[member.header_offset + 14 : member.header_offset + 18] = wrong
        return bytes(out)

    return change_bytes(archives, damage)


def replace_with_zip_bomb(archives: Archives, rng: Rng) -> Archives:
    """Replace the archive with one that becomes a thousand times larger when it is inflated."""
    del rng
    members = [(f"{k}.dcm", bytes(16 * 2**20)) for k in range(4)]
    return archives | {sax_name(archives): zipped(members, compress_level=9)}


def escape_folder(archives: Archives, rng: Rng) -> Archives:
    """Name a member so that it would be written outside the folder."""
    return change_members(archives, rng, lambda members, _: [("../../outside.dcm", members[0][1]), *members[1:]])


def make_name_absolute(archives: Archives, rng: Rng) -> Archives:
    """Give a member an absolute path."""
    return change_members(archives, rng, lambda members, _: [("/outside.dcm", members[0][1]), *members[1:]])


def duplicate_name(archives: Archives, rng: Rng) -> Archives:
    """Give two members the same name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns about the duplicate name
        return change_members(archives, rng, lambda members, _: [*members, (members[0][0], members[1][1])])


def mark_encrypted(archives: Archives, rng: Rng) -> Archives:
    """Mark every member as protected by a password."""
    del rng

    def damage(content: bytes) -> bytes:
        out = bytearray(content)
        for member, at in central_offsets(content):
            out[member.header_offset + 6] |= 1
            out[at + 8] |= 1
        return bytes(out)

    return change_bytes(archives, damage)


def empty_zip(archives: Archives, rng: Rng) -> Archives:
    """Remove all members of all archives; a study is empty only if all of its archives are."""
    del rng
    return dict.fromkeys(archives, zipped([]))


def replace_with_text(archives: Archives, rng: Rng) -> Archives:
    """Replace all images with text files."""
    del rng
    return dict.fromkeys(archives, zipped([("readme.txt", b"no images here\n"), ("manifest.csv", b"filename\n")]))


def relabel_as_flow(archives: Archives, rng: Rng) -> Archives:
    """Label every series as a velocity series, as if the archives held the wrong field."""
    del rng

    def relabel(image: FileDataset, frame: int) -> FileDataset:
        image.SeriesDescription = image.ProtocolName = "flow_250_tp_AoV_bh_ePAT@c_P"
        image.ImageType = ["ORIGINAL", "PRIMARY", "P", "RETRO", "DIS2D"]
        image.SequenceName = "*fl2d1_v250in"
        return image

    return change_every_image(archives, relabel)


def relabel_as_mapping(archives: Archives, rng: Rng) -> Archives:
    """Label every series as a T1 map."""
    del rng

    def relabel(image: FileDataset, frame: int) -> FileDataset:
        image.SeriesDescription = image.ProtocolName = "ShMOLLI_192i_SAX_b2s_SAX_b2s_SAX_b2s_T1MAP"
        image.ImageType = ["DERIVED", "PRIMARY", "T1 MAP", "DIS2D"]
        return image

    return change_every_image(archives, relabel)


def truncate_dicom(archives: Archives, rng: Rng) -> Archives:
    """Truncate one DICOM file in the middle of its pixels."""

    def cut(members: Members, rng: Rng) -> Members:
        return change_one_file(members, rng, lambda data: data[: int(len(data) * rng.uniform(0.4, 0.9))])

    return change_members(archives, rng, cut)


def corrupt_pixels(archives: Archives, rng: Rng) -> Archives:
    """Give one file a compressed transfer syntax and bytes that no decoder can read."""

    def garble(data: bytes) -> bytes:
        image = read_image(data)
        image.file_meta.TransferSyntaxUID = JPEG2000Lossless
        image.PixelData = encapsulate([rng.bytes(2048)])
        image["PixelData"].VR = "OB"
        image["PixelData"].is_undefined_length = True
        return encode_image(image)

    return change_members(archives, rng, lambda members, rng: change_one_file(members, rng, garble))


def remove_orientation(archives: Archives, rng: Rng) -> Archives:
    """Remove the orientation from all files of a plane."""

    def remove(image: FileDataset, frame: int) -> FileDataset:
        del image.ImageOrientationPatient
        return image

    return change_plane(archives, rng, remove)


def break_positions(archives: Archives, rng: Rng) -> Archives:
    """Set the positions of a plane to NaN."""

    def damage(members: Members, rng: Rng) -> Members:
        plane = set(choose_plane(members, rng))
        return [(name, break_position(data) if name in plane else data) for name, data in members]

    return change_members(archives, rng, damage)


def mix_patients(archives: Archives, rng: Rng) -> Archives:
    """Give one series the identifier of another person."""
    other = str(int(rng.integers(5_000_000, 6_000_000)))

    def rename(image: FileDataset, frame: int) -> FileDataset:
        image.PatientID = image.PatientName = other
        return image

    return change_plane(archives, rng, rename)


def remove_half_of_frames(archives: Archives, rng: Rng) -> Archives:
    """Remove every second frame of every plane."""

    def thin(members: Members, rng: Rng) -> Members:
        removed = {name for files in planes_in_order(members) for name in files[1::2]}
        return [member for member in members if member[0] not in removed]

    return change_members(archives, rng, thin)


def remove_one_frame(archives: Archives, rng: Rng) -> Archives:
    """Remove one frame of one plane."""

    def thin(members: Members, rng: Rng) -> Members:
        files = choose_plane(members, rng)
        removed = files[int(rng.integers(1, len(files) - 1))]
        return [member for member in members if member[0] != removed]

    return change_members(archives, rng, thin)


def remove_slice(archives: Archives, rng: Rng) -> Archives:
    """Remove a plane in the middle of the stack."""

    def remove(members: Members, rng: Rng) -> Members:
        stack = planes_in_order(members)
        removed = set(stack[int(rng.integers(len(stack) // 3, 2 * len(stack) // 3))])
        return [member for member in members if member[0] not in removed]

    return change_members(archives, rng, remove)


def repeat_series(archives: Archives, rng: Rng) -> Archives:
    """Acquire a plane twice; the later series replaces the earlier one."""

    def repeat(members: Members, rng: Rng) -> Members:
        uid, contents = new_uid(rng), dict(members)
        again: Members = []
        for name in choose_plane(members, rng):
            image = renew_uids(read_image(contents[name]), uid, rng)
            image.SeriesNumber = int(image.SeriesNumber) + 50
            image.SeriesTime = image.AcquisitionTime = image.ContentTime = "195900.000000"
            again.append((f"{image.SOPInstanceUID}.dcm", encode_image(image)))
        return [*members, *again]

    return change_members(archives, rng, repeat)


def shrink_matrix(archives: Archives, rng: Rng) -> Archives:
    """Crop the matrix of one plane about its centre."""

    def crop(image: FileDataset, frame: int) -> FileDataset:
        pixels = image.pixel_array
        margin = 8
        cut = np.ascontiguousarray(pixels[margin:-margin, margin:-margin])
        row, col = np.reshape(np.asarray(image.ImageOrientationPatient, float), (2, 3))
        step = float(image.PixelSpacing[0]) * margin
        corner = np.asarray(image.ImagePositionPatient, float) + step * (row + col)
        image.Rows, image.Columns = cut.shape
        image.ImagePositionPatient = [f"{v:.9g}" for v in corner]
        image.PixelData = cut.tobytes()
        return image

    return change_plane(archives, rng, crop)


def make_trigger_irregular(archives: Archives, rng: Rng) -> Archives:
    """Make the trigger delays of a plane uneven, as an arrhythmia does."""
    late_ms = float(rng.uniform(60, 90))

    def delay(image: FileDataset, frame: int) -> FileDataset:
        if frame >= 6:
            image.TriggerTime = f"{float(image.TriggerTime) + late_ms * (1 + frame % 3):.6g}"
        return image

    return change_plane(archives, rng, delay)


def rotate_slice(archives: Archives, rng: Rng) -> Archives:
    """Rotate one plane by 4 degrees against the stack, about its centre."""
    angle = np.deg2rad(4.0)

    def turn(image: FileDataset, frame: int) -> FileDataset:
        row, col = np.reshape(np.asarray(image.ImageOrientationPatient, float), (2, 3))
        new = row * np.cos(angle) + np.cross(row, col) * np.sin(angle)
        half = float(image.PixelSpacing[1]) * (int(image.Columns) - 1) / 2
        corner = np.asarray(image.ImagePositionPatient, float) + half * (row - new)
        image.ImageOrientationPatient = [f"{v:.9g}" for v in (*new, *col)]
        image.ImagePositionPatient = [f"{v:.9g}" for v in corner]
        return image

    return change_plane(archives, rng, turn)


def remove_manifest(archives: Archives, rng: Rng) -> Archives:
    """Remove the manifest. The headers say everything, so the result must not change."""
    return change_members(archives, rng, lambda members, _: [m for m in members if is_image(m[0])])


def falsify_manifest(archives: Archives, rng: Rng) -> Archives:
    """Write a manifest that lists files that do not exist."""

    def rewrite(members: Members, rng: Rng) -> Members:
        columns = b"filename,patientid,studyid,seriesid,date,modality,series discription\n"
        text = columns + b"absent.dcm,1,2,3,May 1, 2014,MR,x\n"
        return [(name, content if is_image(name) else text) for name, content in members]

    return change_members(archives, rng, rewrite)


def merge_series(archives: Archives, rng: Rng) -> Archives:
    """Give all planes the same series, as a few early sites did."""

    def merge(members: Members, rng: Rng) -> Members:
        uid, contents, out = new_uid(rng), dict(members), []
        count = 0
        for files in planes_in_order(members):
            for name in files:
                count += 1
                image = read_image(contents[name])
                image.SeriesInstanceUID, image.SeriesDescription = uid, "CINE_segmented_SAX"
                image.SeriesNumber, image.InstanceNumber = 20, count
                out.append((name, encode_image(image)))
        return out + [member for member in members if not is_image(member[0])]

    return change_members(archives, rng, merge)


def corrupt_nifti(archives: Archives, rng: Rng) -> Archives:
    """Overwrite the header of NIfTI files with noise and truncate them; for folders of NIfTI instead of archives."""
    return {
        name: rng.bytes(352) + content[352 : len(content) // 3] if ".nii" in name else content
        for name, content in archives.items()
    }


FAULTS: Mapping[str, Fault] = {
    "truncated_zip": Fault(truncate_zip, "zip_corrupt", "quarantined"),
    "crc_broken_zip": Fault(break_crc, "zip_corrupt", "quarantined"),
    "zip_bomb": Fault(replace_with_zip_bomb, "zip_bomb", "quarantined"),
    "climbing_name": Fault(escape_folder, "zip_hostile_name", "quarantined"),
    "absolute_name": Fault(make_name_absolute, "zip_hostile_name", "quarantined"),
    "duplicate_name": Fault(duplicate_name, "zip_hostile_name", "quarantined"),
    "encrypted_zip": Fault(mark_encrypted, "zip_encrypted", "quarantined"),
    "empty_zip": Fault(empty_zip, "no_dicom", "quarantined"),
    "no_dicom": Fault(replace_with_text, "no_dicom", "quarantined"),
    "only_flow": Fault(relabel_as_flow, "wrong_series", "quarantined"),
    "only_mapping": Fault(relabel_as_mapping, "wrong_series", "quarantined"),
    "truncated_dicom": Fault(truncate_dicom, "dicom_corrupt", "quarantined"),
    "undecodable_pixels": Fault(corrupt_pixels, "dicom_corrupt", "quarantined"),
    "missing_geometry": Fault(remove_orientation, "geometry_missing", "quarantined"),
    "nan_geometry": Fault(break_positions, "geometry_missing", "quarantined"),
    "mixed_patients": Fault(mix_patients, "mixed_patients", "quarantined"),
    "many_frames_missing": Fault(remove_half_of_frames, "frames_missing", "quarantined"),
    "single_frame_missing": Fault(remove_one_frame, "frame_missing", "flag"),
    "slice_gap": Fault(remove_slice, "slice_gap", "flag"),
    "repeated_series": Fault(repeat_series, "series_repeated", "excluded"),
    "mixed_matrix": Fault(shrink_matrix, "matrix_mixed", "flag"),
    "irregular_trigger": Fault(make_trigger_irregular, "trigger_irregular", "flag"),
    "rotated_slice": Fault(rotate_slice, "slice_rotated", "flag"),
    "manifest_missing": Fault(remove_manifest, "", "ok"),
    "manifest_wrong": Fault(falsify_manifest, "manifest_mismatch", "flag"),
    "one_series": Fault(merge_series, "", "ok"),
}

NIFTI_FAULTS: Mapping[str, Fault] = {
    "corrupt_nifti": Fault(corrupt_nifti, "nifti_corrupt", "quarantined"),
}
