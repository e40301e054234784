"""Small DICOM studies for tests, with any planes, header values and faults."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from tasks.sources.dicom import Image
from tasks.sources.dicom.image import BINARY_TAGS, TAGS

AXIS = np.array([0.6, -0.6, -0.52915026])
"""Base to apex, LPS."""


@dataclass(frozen=True)
class Series:
    """One plane over the heart cycle, 24 x 20 pixels; irregular as scanners are: oblong pixels, a late first frame."""

    number: int = 1
    normal: np.ndarray = field(default_factory=lambda: AXIS)
    centre: np.ndarray = field(default_factory=lambda: np.zeros(3))
    frames: int = 10
    shape: tuple[int, int] = (24, 20)
    pixel_mm: float | tuple[float, float] = (8.0, 7.5)
    cycle_ms: float = 900.0
    start_ms: float = 17.2
    uid: str = ""
    turn_deg: float = 0.0
    header: Mapping[str, Any] = field(default_factory=dict)
    dropped: tuple[int, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Between rows, between columns."""
        return self.pixel_mm if isinstance(self.pixel_mm, tuple) else (self.pixel_mm, self.pixel_mm)


def sax(n: int = 8, spacing: float = 10.0, **settings: Any) -> list[Series]:
    """A short-axis stack, base first, with one series for each plane."""
    heights = (np.arange(n) - n // 2) * spacing
    return [Series(number=10 + k, centre=h * AXIS, **settings) for k, h in enumerate(heights)]


def lax(turn_deg: float, number: int, offset_mm: float = 0.0, **settings: Any) -> Series:
    """A long-axis plane, rotated about the axis, starting from the left of the patient."""
    left = np.array([1.0, 0, 0]) - AXIS[0] * AXIS
    left /= np.linalg.norm(left)
    up = np.cross(AXIS, left)
    turn = np.deg2rad(turn_deg)
    normal = np.sin(turn) * left - np.cos(turn) * up
    return Series(number=number, normal=normal, centre=offset_mm * normal, **settings)


def files(series: Iterable[Series], **study: Any) -> list[tuple[str, bytes]]:
    """Name and content of every image of a study."""
    return [
        (f"{one.number}_{frame}_{k}.dcm", encode(dataset(one, frame, **study)))
        for k, one in enumerate(series)
        for frame in range(one.frames)
        if frame not in one.dropped
    ]


def dataset(one: Series, frame: int = 0, patient: str = "P1", study_uid: str = "1.2.3") -> FileDataset:
    """One image as a pydicom dataset."""
    row, col = directions(one.normal, one.turn_deg)
    row_mm, col_mm = one.spacing_mm
    corner = one.centre - (row * (one.shape[1] - 1) * col_mm + col * (one.shape[0] - 1) * row_mm) / 2
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{one.number}.{frame + 1}"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    ds.ImageType, ds.Modality, ds.Manufacturer = ["ORIGINAL", "PRIMARY", "M"], "MR", "ACME"
    ds.PatientID, ds.PatientName, ds.PatientBirthDate = patient, "Secret^Name", "19500101"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, one.uid or f"1.2.3.{one.number}"
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = one.number, frame + 1, 1
    ds.AcquisitionDate, ds.AcquisitionTime = "20200102", f"10{one.number % 60:02d}00.0"
    ds.TriggerTime = f"{one.start_ms + frame * one.cycle_ms / one.frames:.4f}"
    ds.NominalInterval, ds.CardiacNumberOfImages = round(one.cycle_ms), one.frames
    ds.SliceThickness, ds.EchoTime, ds.RepetitionTime = "8", "1.5", "40"
    ds.ImagePositionPatient = [f"{x:.5f}" for x in corner]
    ds.ImageOrientationPatient = [f"{x:.6f}" for x in (*row, *col)]
    ds.PixelSpacing = list(one.spacing_mm)
    ds.Rows, ds.Columns = one.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = pixels(one, frame).tobytes()
    for name, value in one.header.items():
        setattr(ds, name, value)
    return ds


def pixels(one: Series, frame: int) -> np.ndarray:
    """Pixels of an image; every image differs, so that a test notices a misplaced one."""
    rng = np.random.default_rng([one.number, frame])
    return rng.integers(0, 4000, one.shape, dtype=np.uint16)


def directions(normal: np.ndarray, turn_deg: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Row and column direction of a plane."""
    start = np.array([0.0, 0, -1]) if abs(normal[2]) < 0.8 else np.array([0.0, 1, 0])
    col = start - (start @ normal) * normal
    col /= np.linalg.norm(col)
    row = np.cross(col, normal)
    turn = np.deg2rad(turn_deg)
    return row * np.cos(turn) + col * np.sin(turn), col * np.cos(turn) - row * np.sin(turn)


def encode(ds: Dataset) -> bytes:
    """Encode a dataset as the bytes of a file."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_files(folder: Path, content: Iterable[tuple[str, bytes]]) -> Path:
    """Write files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content:
        (folder / name).write_bytes(data)
    return folder


def write_zip(path: Path, content: Iterable[tuple[str, bytes]]) -> Path:
    """Write files into a zip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content:
            archive.writestr(name, data)
    return path


def change(ds: FileDataset, **header: Any) -> FileDataset:
    """Set header values of one image; None removes one."""
    for name, value in header.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    return ds


def beating(one: Series, frame: int, **header: Any) -> FileDataset:
    """An image of a heart that contracts and relaxes once in the frames of the series; ``header`` as in ``change``."""
    rows, cols = np.mgrid[: one.shape[0], : one.shape[1]]
    phase = frame / one.frames
    radius = 8 - 4 * (np.sin(phase / 0.7 * np.pi) if phase < 0.35 else np.cos((phase - 0.35) / 1.3 * np.pi))
    distance = np.hypot(rows - one.shape[0] / 2, cols - one.shape[1] / 2)
    ds = dataset(one, frame)
    ds.PixelData = (100 + one.number + 800 / (1 + np.exp(distance - radius))).astype("<u2").tobytes()
    return change(ds, **header)


def set_header(series: list[Series], **header: Any) -> list[Series]:
    """Set header values of series."""
    return [replace(one, header={**one.header, **header}) for one in series]


def header_images(**columns: Sequence[object]) -> list[Image]:
    """Images without pixels, one for each entry of ``columns``, which are header values by name; None is no value."""
    rows = zip(*columns.values(), strict=True)
    named = ({TAGS[name]: value for name, value in zip(columns, row, strict=True)} for row in rows)
    return [Image({tag: _raw(tag, value) for tag, value in row.items() if value is not None}, None) for row in named]


def _raw(tag: int, value: object) -> bytes:
    return int(str(value)).to_bytes(2, "little") if tag in BINARY_TAGS else str(value).encode()
