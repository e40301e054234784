"""Whole files of every kind that is read, small, and the hostile ones that did harm once; all made by code."""

from __future__ import annotations

import bz2
import copy
import gzip
import io
import json
import lzma
import sqlite3
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

from benchmarks.fuzz.edits import zipped
from cmr_models.contracts import cine_study, cine_view
from tasks.state import store
from tasks.state.ledger import Outcome, SourceFile, open_ledger
from tasks.state.zarr_encoding import encode_tree


def image(k: int = 0, n_frames: int = 1, side: int = 32) -> FileDataset:
    """A DICOM image of a short-axis cine."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, MRImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{k + 1}"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, f"1.2.3.{k + 1}"
    ds.ImageType, ds.Modality, ds.Manufacturer = ["ORIGINAL", "PRIMARY", "M"], "MR", "ACME"
    ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID = "P1", "1.2.3", "1.2.3.4"
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionDate = 1, k + 1, "20200102"
    ds.TriggerTime, ds.NominalInterval, ds.CardiacNumberOfImages = f"{75 * k}", 900, 12
    ds.SliceThickness, ds.EchoTime, ds.RepetitionTime = "8", "1.5", "40"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 10 * (k // 12)], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.Rows, ds.Columns = [2.0, 2.0], side, side
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    if n_frames > 1:
        ds.NumberOfFrames, ds.FrameTime = n_frames, "75"
    rng = np.random.default_rng(k)
    ds.PixelData = rng.integers(0, 4000, (n_frames, side, side), dtype=np.uint16).tobytes()
    return ds


def dicom_bytes(ds: FileDataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A DICOM file in an encoding."""
    if syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        ds.compress(syntax)
    elif syntax == ExplicitVRBigEndian:
        ds["PixelData"].value = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.set_original_encoding(syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@cache
def dicom() -> list[bytes]:
    """Every encoding, several frames, and those that once stopped a run or filled the memory."""
    syntaxes = (
        ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
        RLELossless, JPEG2000Lossless, JPEGLSLossless,
    )  # fmt: skip
    whole = [dicom_bytes(image(), syntax) for syntax in syntaxes] + [dicom_bytes(image(n_frames=6))]
    items = [empty_items(4000, is_open=is_open, syntax=RLELossless) for is_open in (True, False)]
    return [
        *whole,
        *enhanced(),
        *items,
        long_deflated()[:65_536],
        odd_group_2(),
        *(bomb for _, bomb in codestream_bombs()),
    ]


def enhanced() -> list[bytes]:
    """Enhanced images of four frames, whose headers are in sequences; plain and compressed."""
    ds = image(n_frames=4)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    ds.SharedFunctionalGroupsSequence = Sequence([_group(0)])
    ds.PerFrameFunctionalGroupsSequence = Sequence([_group(k) for k in range(4)])
    return [dicom_bytes(copy.deepcopy(ds), syntax) for syntax in (ExplicitVRLittleEndian, RLELossless)]


def _group(k: int) -> Dataset:
    """Where and when a frame lies, and what its numbers mean."""
    place, plane, measures, beat, scale, group = (Dataset() for _ in range(6))
    place.ImagePositionPatient, plane.ImageOrientationPatient = [0, 0, 10 * (k // 2)], [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [2.0, 2.0], "8"
    beat.NominalCardiacTriggerDelayTime = 75.0 * (k % 2)
    scale.RescaleSlope, scale.RescaleIntercept = "1.5", "0"
    group.PlanePositionSequence, group.PlaneOrientationSequence = Sequence([place]), Sequence([plane])
    group.PixelMeasuresSequence, group.CardiacSynchronizationSequence = Sequence([measures]), Sequence([beat])
    group.PixelValueTransformationSequence = Sequence([scale])
    return group


def long_deflated() -> bytes:
    """A legal deflated file beyond the bytes that are looked at first."""
    return dicom_bytes(image(side=256), DeflatedExplicitVRLittleEndian)


def odd_group_2() -> bytes:
    """The deflated encoding, and a value representation in group 2 that there is not."""
    content = dicom_bytes(image(), DeflatedExplicitVRLittleEndian)
    return content.replace(b"\x02\x00\x12\x00UI", b"\x02\x00\x12\x00QQ")


def codestream_bombs(side: int = 30_000) -> list[tuple[str, bytes]]:
    """Compressed frames of a few pixels that claim ``side`` squared, with and without the header's consent."""
    bombs = []
    for syntax, mark, place, form in (
        (JPEGLSLossless, b"\xff\xf7", 5, ">HH"),
        (JPEG2000Lossless, b"\xff\x51", 6, ">LL"),
    ):
        content = bytearray(dicom_bytes(image(), syntax))
        at = content.index(mark, 256) + place
        content[at : at + struct.calcsize(form)] = struct.pack(form, side, side)
        bombs.append((f"{syntax.name}, codestream alone", bytes(content)))
        rows, columns = (content.index(struct.pack("<HH", 0x28, n) + b"US\x02\x00") + 8 for n in (0x10, 0x11))
        for at in (rows, columns):
            content[at : at + 2] = struct.pack("<H", side)
        bombs.append((f"{syntax.name}, header too", bytes(content)))
    return bombs


def empty_items(n_items: int, *, is_open: bool, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """An image whose header holds a sequence of so many empty items, of undefined length or of a stated one."""
    whole = dicom_bytes(image(), syntax)
    end = whole.index(struct.pack("<HH", 0x7FE0, 0x0010) + b"O")
    item, close = struct.pack("<HHL", 0xFFFE, 0xE000, 0), struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    length = 0xFFFFFFFF if is_open else 8 * n_items
    sequence = struct.pack("<HH2sHL", 0x0028, 0x3000, b"SQ", 0, length) + item * n_items + (close if is_open else b"")
    return whole[:end] + sequence + whole[end:]


def empty_elements(n: int, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A header of so many empty elements, and no image."""
    start = dicom_bytes_of_meta(dicom_bytes(image(), syntax))
    return start + struct.pack("<HH2sH", 0x0009, 0x1001, b"LO", 0) * n


def deflated_bomb(n_bytes: int, group_2_bytes: int = 0) -> bytes:
    """A deflated DICOM file that inflates to ``n_bytes``, behind so many bytes of other elements of group 2."""
    ds = image()
    if group_2_bytes:
        ds.file_meta.PrivateInformationCreatorUID, ds.file_meta.PrivateInformation = "1.2.3", bytes(group_2_bytes)
    whole = dicom_bytes(ds, DeflatedExplicitVRLittleEndian)
    start = len(dicom_bytes_of_meta(whole))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    element = struct.pack("<HH2sHL", 0x0029, 0x1001, b"OB", 0, n_bytes)
    block = bytes(2**20)
    packed = packer.compress(element) + b"".join(packer.compress(block) for _ in range(n_bytes // len(block)))
    return whole[:start] + packed + packer.flush()


def dicom_bytes_of_meta(content: bytes) -> bytes:
    """The preamble and group 2 of a file."""
    (length,) = struct.unpack_from("<L", content, 140)
    return content[: 144 + length]


@cache
def archives() -> list[bytes]:
    """Zips of one study."""
    files = {f"{k}.dcm": dicom_bytes(image(k)) for k in range(24)}
    hostile = zipped({f"{k}.dcm": empty_items(8100, is_open=True, syntax=RLELossless) for k in range(100)})
    few = dict(list(files.items())[:2])
    return [
        zipped(files),
        *odd_archives(few),
        zipped({**few, "manifest.csv": b"filename,patientid\n0.dcm,1\n"}),
        zipped({"a/b": b"x" * 9}),
        hostile,
    ]


def odd_archives(files: dict[str, bytes]) -> list[bytes]:
    """The same files in a zip of 64 bits, in one that was streamed, with repeats and a comment, and nested."""
    wide, streamed, repeated = io.BytesIO(), _Unseekable(), io.BytesIO()
    with zipfile.ZipFile(wide, "w") as archive:
        for name, content in files.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    with zipfile.ZipFile(streamed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with zipfile.ZipFile(repeated, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.comment = b"comment"
        for name, content in [*files.items(), *files.items()]:
            archive.writestr(f"folder/{name}", content)
    return [wide.getvalue(), streamed.getvalue(), repeated.getvalue(), zipped({"a.zip": wide.getvalue(), **files})]


class _Unseekable(io.BytesIO):
    """Makes ``zipfile`` write sizes behind each member."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation


@cache
def pairs() -> list[bytes]:
    """Headers and images of NIfTI in two files, each behind the length of the header, of both versions."""
    found = []
    for kind in (nib.Nifti1Pair, nib.Nifti2Pair):
        volume = kind(np.arange(8 * 8 * 4, dtype=np.int16).reshape(8, 8, 4), np.eye(4))
        holders = {name: nib.FileHolder(fileobj=io.BytesIO()) for name in ("header", "image")}
        volume.to_file_map(holders)
        header, pixels = (holders[name].fileobj.getvalue() for name in ("header", "image"))
        found.append(struct.pack("<H", len(header)) + header + pixels)
    return found


@cache
def nifti() -> list[bytes]:
    """Volumes of several types, a series, a scale that overflows, and a version 2."""
    rng = np.random.default_rng(1)
    kinds = (np.int16, np.uint8, np.float32, np.float64)
    volumes = [nib.Nifti1Image(rng.integers(0, 99, (12, 10, 5)).astype(kind), np.eye(4)) for kind in kinds]
    volumes.append(nib.Nifti1Image(rng.integers(0, 99, (12, 10, 4, 6)).astype(np.int16), np.diag([2, 2, 9, 1])))
    scaled = nib.Nifti1Image(np.ones((8, 8, 4), np.float64), np.eye(4))
    scaled.get_data_dtype()
    steep = bytearray(scaled.to_bytes())
    steep[112:120] = struct.pack("<ff", 3e38, 3e38)
    steep[352:360] = struct.pack("<d", 1e300)
    plain = [volume.to_bytes() for volume in volumes] + [bytes(steep)]
    described = nib.Nifti1Image(np.ones((8, 8, 4), np.int16), np.eye(4))
    described.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"text " * 20))
    swapped = nib.Nifti1Image(np.ones((8, 8, 4), ">i2"), np.eye(4), nib.Nifti1Header(endianness=">"))
    kinds_of_few = (np.complex64, np.int64, np.uint32)
    odd = [nib.Nifti1Image(np.ones((8, 8, 4), kind), np.eye(4), dtype=kind) for kind in kinds_of_few]
    plain += [volume.to_bytes() for volume in (described, swapped, *odd)]
    second = nib.Nifti2Image(rng.integers(0, 99, (8, 8, 4)).astype(np.int16), np.eye(4)).to_bytes()
    return [
        *plain,
        second,
        *(gzip.compress(one, 1, mtime=0) for one in plain[:2]),
        gzip.compress(bytes(10**6), mtime=0),
    ]


@cache
def png() -> list[bytes]:
    """Grey, coloured and indexed images."""
    grey = Image.fromarray((np.eye(16) * 255).astype(np.uint8))
    deep = Image.fromarray((np.eye(16) * 60_000).astype(np.uint16))
    found = []
    for picture in (*(grey.convert(mode) for mode in ("L", "RGB", "P", "1", "LA")), deep):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def png_bomb(side: int) -> bytes:
    """A black PNG of ``side`` squared."""
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, "PNG", compress_level=9)
    return buffer.getvalue()


@cache
def safetensors() -> list[bytes]:
    from safetensors.torch import save

    tied = {"a": torch.zeros(2), "b": torch.ones(3, dtype=torch.bfloat16), "c": torch.ones(2, 2, dtype=torch.bool)}
    return [save(tied), save({"a": torch.zeros(2, 3), "b": torch.ones(4, dtype=torch.float16)}), save({})]


CARD = b"""name = "x"
task = "segment_sax"
kind = "UNet2d"
pixel_mm = 1.0
size = 64
training_data = ["a"]
views = ["sax"]
[config]
channels = [4, 8]
[training_settings]
steps = 3
"""
HUB = b"""model:
  views: sax
  out_chans: 4
  convunetr:
    size: tiny
    enc_patch_size: [4, 4, 1]
    enc_scale_factor: [2, 2, 1]
    enc_conv_chans: [32, 64]
    enc_conv_n_blocks: 2
    dec_chans: [32, 64]
    dec_patch_size: [2, 2, 1]
    dec_scale_factor: [2, 2, 1]
    dropout: 0.1
    drop_path: 0.1
data:
  sax: {patch_size: [192, 192, 16], in_chans: 1}
"""
SETTINGS = b"""directory = "cohort"
sources = ["."]
participants = "people.csv"
[compute]
profile = "in-process"
[convert]
max_inflated_mb = 64
[analysis]
conditions = ["death"]
group_by = ["sex"]
[analysis.outcome_columns]
condition = "disease"
"""
SPEC = b"""name: study
question: does it
tables: {participants: people.csv, outcomes: ill.csv}
exposures:
  - {name: lvef_pct}
conditions: [death]
covariate_sets: {basic: [age_years, sex]}
primary: basic
"""
YAML_BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    f"{chr(98 + k)}: &{chr(98 + k)} [{','.join(['*' + chr(97 + k)] * 9)}]\n".encode() for k in range(9)
)
DEEP_TOML = b"a." * 20_000 + b"a = 1"
RECIPE = b"steps = 3\nlearning_rate = 1e-3\n"
WITHDRAWN = b'1\n2,3\n"4"\n'
FACTS = (b"ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\n", b"External code,Age\nA0S9V9,12\n")
TABLE = b'''participant,visit,sex,age_years,weight_kg,centre,smoking
1,2,male,61.5,80,11010,never
2,2,female,55.25,,11011,current
007,3,,1e3,"a ""b""",11012,
'''
BIOBANK = (
    b"\t".join(
        (b"f.eid", b"f.31.0.0", b"f.34.0.0", b"f.53.2.0", b"f.54.2.0", b"f.21000.0.0", b"f.41270.0.0", b"f.40000.0.0")
    )
    + b"""
1\t0\t1950\t2016-05-01\t11025\t1001\t["I48", "I500"]\t
2\t1\t1961\t2017-03-02\t11026\t-1\tI21|I22\t2020-02-29
3\t\t1944\t1900-01-01\t11027\t\t\t
"""
)
OVERFLOW = b"a\n1e3081000010\n"
TOKENS = (b"1234567", "Müller".encode(), "\u202eabc\ufeff".encode(), b"../../etc", b"CON", b"\xff\xfe")


@cache
def packed_tables() -> list[bytes]:
    """Tables that are packed, though their names may say that they are not."""
    return [gzip.compress(TABLE, mtime=0), bz2.compress(TABLE), lzma.compress(TABLE), zipped({"people.csv": TABLE})]


@cache
def parquet() -> list[bytes]:
    frame = pd.read_csv(io.BytesIO(TABLE))
    found = []
    for table in (frame, frame.astype(str), frame[["age_years"]]):
        buffer = io.BytesIO()
        table.to_parquet(buffer)
        found.append(buffer.getvalue())
    one_list, long_text = pa.table({"participant": ["1"], "x": [[1, 2]]}), ["x" * 10**6] * 400
    rows = pa.table({"participant": pa.array(np.zeros(20_000_000, np.int8))})
    for table in (one_list, rows, pa.table({"participant": long_text}), *_odd_tables()):
        buffer = io.BytesIO()
        pq.write_table(table, buffer, store_schema=False)
        found.append(buffer.getvalue())
    return found


def _odd_tables() -> list[pa.Table]:
    """Columns of kinds that a table of people seldom has, and tables without rows or columns."""
    kinds = {
        "participant": pa.array([1, None, 3], pa.uint64()),
        "amount": pa.array([1, None, 3]).cast(pa.decimal128(38, 10)),
        "day": pa.array([0, 2**40, None], pa.timestamp("ns", tz="Europe/Berlin")),
        "date": pa.array([0, -(2**30), None], pa.date32()),
        "level": pa.array(["a", None, "a"]).dictionary_encode(),
        "bytes": pa.array([b"\xff\xfe", b"", None], pa.binary()),
        "real": pa.array([float("nan"), float("inf"), 1e308]),
        "flag": pa.array([True, None, False]),
        "time": pa.array([0, 1, None], pa.time64("us")),
        "nothing": pa.nulls(3),
    }
    whole = pa.table(kinds)
    named_alike = pa.Table.from_arrays([kinds["level"], kinds["real"]], names=["participant", "participant"])
    record = pa.table(
        {"participant": pa.array([{"a": 1}, None]), "m": pa.array([[("a", 1)], []], pa.map_("str", "i4"))}
    )
    return [whole, whole.slice(0, 0), pa.table({}), named_alike, record]


@cache
def studies() -> list[bytes]:
    """A published study, and zips that are none."""
    view = cine_view(
        np.arange(2 * 2 * 6 * 5, dtype=np.uint16).reshape(2, 2, 6, 5),
        time_ms=np.arange(2) * 40.0,
        pixel_mm=(1.8, 1.9),
        position_mm=[[0, 0, 0], [0, 0, 10]],
        row_dir=(1, 0, 0),
        col_dir=(0, 1, 0),
        slice_mm=10,
        thickness_mm=8,
        flags=[],
    )
    tree = cine_study({"sax": view}, key="k1", participant="1")
    whole = written(lambda path: store.publish(encode_tree(tree), path), "1.zarr.zip")
    attributes = json.dumps({"attributes": {"key": "k1", "converter_version": 2}, "zarr_format": 3}).encode()
    stored = {"zarr.json": 0}
    return [whole, zipped({"zarr.json": attributes}, stored), zipped({"a": b"b"}), zipped({"zarr.json": b"[]"}, stored)]


def receipts() -> list[bytes]:
    return [json.dumps({"key": "k", "status": "absent", "reason": "no_sax", "detail": "", "schema": 1}).encode()]


@cache
def ledgers() -> list[bytes]:
    """A ledger with an outcome and a source."""

    def make(path: Path) -> None:
        with open_ledger(path) as ledger:
            ledger.record([Outcome("1-2", "convert", "ok", key="k", summary={"views": {}})])
            ledger.remember_sources([SourceFile("/a", 1, 2, {"studies": []})], forget_others=True)
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        connection.close()

    return [written(make, "ledger.sqlite")]


def written(make: Callable[[Path], object], name: str) -> bytes:
    """The bytes of the file that ``make`` writes."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / name)
        return (Path(folder) / name).read_bytes()
