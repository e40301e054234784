"""Cine DICOM files as a 1.5 T scanner by Siemens writes them: one image in each file, explicit little endian."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr, write_data_element, write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Session:
    """What is common to all files of one visit."""

    participant: str
    study_uid: str
    frame_of_reference_uid: str
    date: str  # YYYYMMDD
    start_s: float  # of the day
    weight_kg: float = 80.0
    sex: str = "O"


@dataclass(frozen=True)
class Series:
    """One DICOM series.

    Attributes:
        description: as on the scanner's console.
        number: SeriesNumber.
        uid: SeriesInstanceUID.
        images: ``(frame, row, col)`` uint16.
        position_mm: ``(frame, 3)`` or ``(3,)``.
        row_dir: ``(3,)`` along a row.
        col_dir: ``(3,)`` down a column.
        pixel_mm: row and column spacing.
        thickness_mm: SliceThickness.
        spacing_mm: SpacingBetweenSlices; None leaves the tag out.
        time_ms: ``(frame,)`` TriggerTime; None leaves it out.
        cycle_ms: NominalInterval.
        start_s: acquisition after the session's start.
        image_type: ImageType.
        sequence_name: Siemens sequence.
        n_planned: CardiacNumberOfImages; the frames by default.
        private_bytes: size of the private block in each file.
        extra: header entries by keyword.
        frame_tags: header entries of each frame by keyword; empty for none.
    """

    description: str
    number: int
    uid: str
    images: npt.NDArray[np.uint16]
    position_mm: FloatArray
    row_dir: FloatArray
    col_dir: FloatArray
    pixel_mm: tuple[float, float]
    thickness_mm: float
    cycle_ms: float
    start_s: float
    spacing_mm: float | None = None
    time_ms: FloatArray | None = None
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "M", "RETRO", "NORM", "DIS2D")
    sequence_name: str = "*tfi2d1_14"
    n_planned: int | None = None
    private_bytes: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    frame_tags: Sequence[dict[str, Any]] = ()


def new_uid(rng: np.random.Generator) -> str:
    """A UID in the UUID-derived arc 2.25 (DICOM PS3.5, B.2), from ``rng`` so that a seed fixes it."""
    high, low = (int(v) for v in rng.integers(0, 2**63, 2))
    return f"2.25.{(high << 63 | low) | 1 << 125}"


def series_of_view(
    view: xr.Dataset, k: int, *, description: str, number: int, start_s: float, rng: np.random.Generator
) -> Series:
    """Make a series of plane ``k`` of a cine view."""
    spacing = float(view.attrs["slice_mm"])
    return Series(
        description=description,
        number=number,
        uid=new_uid(rng),
        images=view["intensity"].to_numpy()[:, k],
        position_mm=view["position_mm"].to_numpy()[k],
        row_dir=view["row_dir"].to_numpy()[k],
        col_dir=view["col_dir"].to_numpy()[k],
        pixel_mm=(float(view["pixel_mm"][0]), float(view["pixel_mm"][1])),
        thickness_mm=float(view.attrs["thickness_mm"]),
        cycle_ms=60000 / float(view.attrs["heart_rate_bpm"]),
        start_s=start_s,
        spacing_mm=spacing if np.isfinite(spacing) else None,
        time_ms=view["time_ms"].to_numpy(),
    )


def encode_series(session: Session, series: Series, rng: np.random.Generator) -> list[tuple[str, bytes]]:
    """File name and content of every image of a series, in order.

    Tags that are the same in all files are encoded once. pydicom writes every tag.
    """
    shared = _header(session, series)
    correct_ambiguous_vr(shared, True)
    common = _encode_elements(shared)
    positions = np.broadcast_to(series.position_mm, (len(series.images), 3))
    files = []
    for frame in range(len(series.images)):
        uid = new_uid(rng)
        elements = common | _encode_elements(_frame_header(series, frame, positions[frame], uid))
        files.append((f"{uid}.dcm", _preamble(uid) + b"".join(elements[tag] for tag in sorted(elements))))
    return files


def _frame_header(series: Series, frame: int, position_mm: FloatArray, uid: str) -> Dataset:
    """The tags that differ between frames."""
    image = series.images[frame]
    own = Dataset()
    own.BitsAllocated, own.PixelRepresentation = 16, 0
    own.SOPInstanceUID = uid
    own.InstanceNumber = frame + 1
    own.ImagePositionPatient = [_decimal_string(float(v)) for v in position_mm]
    own.SliceLocation = _decimal_string(float(position_mm @ np.cross(series.row_dir, series.col_dir)))
    if series.time_ms is not None:
        own.TriggerTime = _decimal_string(float(series.time_ms[frame]))
    for name, value in (series.frame_tags[frame] if series.frame_tags else {}).items():
        setattr(own, name, value)
    own.LargestImagePixelValue = int(image.max())
    own.PixelData = np.ascontiguousarray(image, "<u2").tobytes()
    correct_ambiguous_vr(own, True)
    return own


def _encode_elements(dataset: Dataset) -> dict[int, bytes]:
    """Each element of a dataset as pydicom writes it, by tag."""
    encoded = {}
    for element in dataset:
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_data_element(buffer, element)
        encoded[int(element.tag)] = buffer.getvalue()
    return encoded


def _preamble(uid: str) -> bytes:
    """The file meta information of PS3.10."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID("2.25.240107611364310117331118143012563121001")
    buffer = DicomBytesIO(b"\0" * 128 + b"DICM")
    buffer.seek(132)
    write_file_meta_info(buffer, meta)
    return buffer.getvalue()


def scout_series(view: xr.Dataset, *, number: int, rng: np.random.Generator) -> Iterator[Series]:
    """A localiser: three orthogonal single images with the same series UID."""
    uid = new_uid(rng)
    axes = np.eye(3)
    image = np.abs(rng.normal(0, 12, (1, 128, 128))) + 90 * _disc(128)
    for row, col in ((axes[0], axes[1]), (axes[0], -axes[2]), (axes[1], -axes[2])):
        corner = -192 * (row + col)
        yield Series(
            description="Thorax_Cor_Tra",
            number=number,
            uid=uid,
            images=image.astype(np.uint16),
            position_mm=corner,
            row_dir=row,
            col_dir=col,
            pixel_mm=(3.0, 3.0),
            thickness_mm=6.0,
            cycle_ms=60000 / float(view.attrs["heart_rate_bpm"]),
            start_s=0.0,
            image_type=("ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"),
            sequence_name="*fl2d1",
        )


def result_series(template: Series, *, number: int, rng: np.random.Generator) -> Series:
    """The result of the scanner's inline analysis: the same plane again, with contours drawn into the pixels."""
    images = template.images.copy()
    rows, cols = images.shape[1] // 2, images.shape[2] // 2
    images[:, rows - 20 : rows + 20, cols] = 4095
    return replace(
        template,
        description="CINE_segmented_SAX_InlineVF",
        number=number,
        uid=new_uid(rng),
        images=images,
        image_type=("DERIVED", "SECONDARY", "M", "RETRO", "NORM", "DIS2D"),
    )


def flow_series(template: Series, *, number: int, rng: np.random.Generator) -> Series:
    """A phase-contrast velocity series of the same plane."""
    noise = rng.integers(0, 4096, template.images.shape, dtype=np.uint16)
    return replace(
        template,
        description="flow_250_tp_AoV_bh_ePAT@c_P",
        number=number,
        uid=new_uid(rng),
        images=np.where(template.images > 40, 2048 + noise // 32, noise).astype(np.uint16),
        image_type=("ORIGINAL", "PRIMARY", "P", "RETRO", "DIS2D"),
        sequence_name="*fl2d1_v250in",
    )


def mapping_series(template: Series, *, number: int, rng: np.random.Generator) -> Series:
    """A native T1 map of the same plane."""
    return replace(
        template,
        description="ShMOLLI_192i_SAX_b2s_SAX_b2s_SAX_b2s_T1MAP",
        number=number,
        uid=new_uid(rng),
        images=np.clip(template.images[:1].astype(np.uint32) * 3, 0, 4095).astype(np.uint16),
        time_ms=None,
        image_type=("DERIVED", "PRIMARY", "T1 MAP", "DIS2D"),
        sequence_name="*tfi2d1_42",
    )


def _header(session: Session, series: Series) -> Dataset:
    """The tags that are the same in all files of a series."""
    header = Dataset()
    rows, cols = series.images.shape[1:]
    values: dict[str, Any] = {
        **_identity(session, series),
        **_sequence(series),
        "PixelSpacing": [_decimal_string(series.pixel_mm[0]), _decimal_string(series.pixel_mm[1])],
        "ImageOrientationPatient": [_decimal_string(float(v)) for v in (*series.row_dir, *series.col_dir)],
        "SliceThickness": _decimal_string(series.thickness_mm),
        "Rows": rows,
        "Columns": cols,
        "AcquisitionMatrix": [0, cols, rows, 0],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "SmallestImagePixelValue": 0,
        "WindowCenter": _decimal_string(float(series.images.max()) * 0.35),
        "WindowWidth": _decimal_string(max(1.0, float(series.images.max()) * 0.7)),
        **series.extra,
    }
    for name, value in values.items():
        setattr(header, name, value)
    if series.spacing_mm is not None:
        header.SpacingBetweenSlices = _decimal_string(series.spacing_mm)
    _add_private(header, series)
    return header


def _identity(session: Session, series: Series) -> dict[str, Any]:
    acquired = clock_time(session.start_s + series.start_s)
    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": list(series.image_type),
        "SOPClassUID": MRImageStorage,
        "StudyDate": session.date,
        "SeriesDate": session.date,
        "AcquisitionDate": session.date,
        "ContentDate": session.date,
        "StudyTime": clock_time(session.start_s),
        "SeriesTime": clock_time(session.start_s + series.start_s + 9),
        "AcquisitionTime": acquired,
        "ContentTime": acquired,
        "AccessionNumber": "",
        "Modality": "MR",
        "Manufacturer": "SIEMENS",
        "StudyDescription": "CMR",
        "SeriesDescription": series.description,
        "ManufacturerModelName": "Aera",
        "PatientName": session.participant,
        "PatientID": session.participant,
        "PatientBirthDate": "",
        "PatientSex": session.sex,
        "PatientWeight": _decimal_string(session.weight_kg),
        "BodyPartExamined": "HEART",
        "ProtocolName": series.description,
        "PatientPosition": "HFS",
        "StudyInstanceUID": session.study_uid,
        "SeriesInstanceUID": series.uid,
        "FrameOfReferenceUID": session.frame_of_reference_uid,
        "StudyID": "1",
        "SeriesNumber": series.number,
        "AcquisitionNumber": 1,
        "SoftwareVersions": "syngo MR D13A",
    }


def _sequence(series: Series) -> dict[str, Any]:
    return {
        "ScanningSequence": "GR",
        "SequenceVariant": ["SK", "SP"],
        "ScanOptions": ["CT", "PFP"] if series.time_ms is not None else "",
        "MRAcquisitionType": "2D",
        "SequenceName": series.sequence_name,
        "AngioFlag": "N",
        "RepetitionTime": _decimal_string(round(series.cycle_ms / max(len(series.images), 1), 2)),
        "EchoTime": "1.1",
        "NumberOfAverages": "1",
        "ImagingFrequency": "63.67",
        "ImagedNucleus": "1H",
        "EchoNumbers": 1,
        "MagneticFieldStrength": "1.5",
        "NumberOfPhaseEncodingSteps": int(series.images.shape[1] * 0.8),
        "EchoTrainLength": 1,
        "PercentSampling": "80",
        "PercentPhaseFieldOfView": "100",
        "PixelBandwidth": "1185",
        "NominalInterval": round(series.cycle_ms),
        "CardiacNumberOfImages": series.n_planned or len(series.images),
        "TransmitCoilName": "Body",
        "InPlanePhaseEncodingDirection": "COL",
        "FlipAngle": "80",
        "SAR": "1.2",
    }


def _add_private(header: Dataset, series: Series) -> None:
    """Add a private block as large as in real files; it holds only repeated text."""
    if series.private_bytes <= 0:
        return
    block = header.private_block(0x0029, "SIMULATED CSA HEADER", create=True)
    text = f"### protocol of {series.description} ###\n".encode()
    block.add_new(0x10, "OB", (text * (series.private_bytes // len(text) + 1))[: series.private_bytes // 2 * 2])


def join_series(series: Sequence[Series], description: str, number: int, uid: str) -> Series:
    """Join the planes of one cine into a single series, plane after plane."""
    first = series[0]
    n_frames = len(first.images)
    return replace(
        first,
        description=description,
        number=number,
        uid=uid,
        images=np.concatenate([s.images for s in series]),
        position_mm=np.concatenate([np.broadcast_to(s.position_mm, (n_frames, 3)) for s in series]),
        time_ms=None if first.time_ms is None else np.tile(first.time_ms, len(series)),
        n_planned=n_frames,
    )


def _decimal_string(value: float) -> str:
    """A DICOM decimal string, at most 16 characters."""
    return f"{value:.9g}"


def clock_time(seconds: float) -> str:
    """A DICOM time (HHMMSS.FFFFFF) from seconds since midnight."""
    minutes, rest = divmod(seconds % 86400, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{int(hours):02d}{int(minutes):02d}{rest:09.6f}"


def _disc(n: int) -> FloatArray:
    grid = np.arange(n) - n / 2
    return np.asarray((np.hypot(grid[:, None], grid[None]) < 0.42 * n).astype(np.float64))
