"""A simulated perfusion acquisition as one ISMRMRD file of images (``pip install cmr-cohort[ismrmrd]``).

Under ``dataset`` there are four groups of images, which differ in matrix or preparation: ``myocardium``,
``myocardium_proton_density``, ``aif`` and ``aif_proton_density``. Pixels are the simulated float32 magnitudes, row
by row. The header of an image holds:

- ``set`` is the sequence, 0 for the myocardium and 1 for the arterial input; the XML header has one encoding for each;
- ``slice`` is counted from the base, ``contrast`` is the echo, ``repetition`` the beat from the first proton density;
- ``acquisition_time_stamp`` is in milliseconds since midnight;
- ``position`` is the centre of the image, ``read_dir`` runs along a row and ``phase_dir`` down a column (LPS, mm);
- ``image_series_index`` and ``image_index`` are the SeriesNumber and InstanceNumber of the DICOM files.

The attributes of an image hold echo time, saturation delay (InversionTime, 0 for proton density), flip angle and
repetition time.

Reference: Inati et al., ISMRM Raw data format, MRM 2017;77:411; image header: ismrmrd.readthedocs.io, "Image Data".
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from cmr_models.simulate.dicom import Session
from cmr_models.simulate.perfusion.frames import (
    COL_DIR,
    ROW_DIR,
    THICKNESS_MM,
    Frame,
    ScannerSeries,
    list_frames,
    list_series,
)
from cmr_models.simulate.perfusion.series import SimulatedScan, SimulatedSeries

_FIELD_T, _RESONANCE_HZ = 1.5, 63_670_000  # as in the DICOM files
_SEQUENCES = ("myocardium", "aif")


def write_ismrmrd(
    scan: SimulatedScan,
    file: Path,
    session: Session,
    *,
    stress: bool,
    start_s: float = 600.0,
    first_number: int = 40,
) -> None:
    """Write every image of a perfusion acquisition, with an XML header, to a new ISMRMRD file.

    Args:
        scan: the acquired series.
        file: path of the new file.
        session: the visit to which the images belong.
        stress: whether the names of the series say stress or rest.
        start_s: time of the first beat after the start of the session.
        first_number: number of the first series; the others follow.

    Raises:
        ModuleNotFoundError: if the package ismrmrd is not installed.
        FileExistsError: if the file exists.
        ValueError: without a myocardial series.
    """
    if not scan.myocardium:
        raise ValueError("a dual-sequence acquisition needs at least one myocardial series, got none")
    ismrmrd = _import_ismrmrd()
    content = io.BytesIO()  # the file is written only when it is complete
    with ismrmrd.Dataset(content) as dataset:
        dataset.write_xml_header(_header(ismrmrd.xsd, scan, session).toXML())
        for series in list_series(scan, stress=stress, first_number=first_number):
            for group, image in _images(ismrmrd, series, session.start_s + start_s):
                dataset.append_image(group, image)
    with file.open("xb") as target:
        target.write(content.getbuffer())


def _import_ismrmrd() -> Any:
    try:
        import ismrmrd
    except ImportError as error:
        raise ModuleNotFoundError(
            "writing ISMRMRD needs the package ismrmrd: pip install cmr-cohort[ismrmrd]"
        ) from error
    return ismrmrd


def _images(ismrmrd: Any, series: ScannerSeries, clock_s: float) -> Iterator[tuple[str, Any]]:
    """Group and image of each frame of a series."""
    pixels, frames = list_frames(series.simulated, clock_s)
    for k, (image, frame) in enumerate(zip(pixels, frames, strict=True)):
        made = ismrmrd.Image.from_array(
            np.ascontiguousarray(image, np.float32),
            transpose=False,
            image_index=k + 1,
            image_type=ismrmrd.IMTYPE_MAGNITUDE,
            **_geometry(series),
            **_counters(series, frame),
        )
        made.meta = _attributes(series, frame)
        yield _SEQUENCES[series.arterial] + "_proton_density" * frame.proton_density, made


def _geometry(series: ScannerSeries) -> dict[str, tuple[float, ...]]:
    return {
        "field_of_view": _field_of_view_mm(series.simulated),
        "position": tuple(series.centre_mm),
        "read_dir": tuple(ROW_DIR),
        "phase_dir": tuple(COL_DIR),
        "slice_dir": tuple(np.cross(ROW_DIR, COL_DIR)),
    }


def _counters(series: ScannerSeries, frame: Frame) -> dict[str, int]:
    return {
        "set": int(series.arterial),
        "slice": series.slice,
        "contrast": frame.echo,
        "repetition": frame.beat,
        "image_series_index": series.number,
        "acquisition_time_stamp": round(frame.clock_s * 1000),
    }


def _attributes(series: ScannerSeries, frame: Frame) -> dict[str, Any]:
    return {
        "DataRole": "Image",
        "SeriesDescription": series.description,
        "ImageRowDir": [float(v) for v in ROW_DIR],
        "ImageColumnDir": [float(v) for v in COL_DIR],
        "EchoTime": float(frame.echo_ms),
        "InversionTime": float(frame.saturation_ms),
        "FlipAngle": float(frame.flip_deg),
        "RepetitionTime": float(series.simulated.acquisition.readout.tr_ms),
    }


def _header(xsd: Any, scan: SimulatedScan, session: Session) -> Any:
    """The XML header: visit, scanner and an encoding for each sequence."""
    return xsd.ismrmrdHeader(
        version=1,
        subjectInformation=xsd.subjectInformationType(
            patientID=session.participant, patientWeight_kg=session.weight_kg, patientGender=session.sex
        ),
        studyInformation=xsd.studyInformationType(
            studyDate=_xml_date(session.date), studyInstanceUID=session.study_uid, bodyPartExamined="HEART"
        ),
        measurementInformation=xsd.measurementInformationType(
            patientPosition=xsd.patientPositionType.HFS, frameOfReferenceUID=session.frame_of_reference_uid
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(systemFieldStrength_T=_FIELD_T),
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=_RESONANCE_HZ),
        encoding=[
            _encoding(xsd, next(iter(scan.myocardium.values())), 0, len(scan.myocardium)),
            _encoding(xsd, scan.aif, 1, 1),
        ],
    )


def _xml_date(day: str) -> Any:
    from xsdata.models.datatype import XmlDate

    return XmlDate.from_date(date.fromisoformat(day))


def _encoding(xsd: Any, one: SimulatedSeries, sequence: int, n_slices: int) -> Any:
    """The encoding of one sequence, on the grid of its images."""
    echoes, rows, cols, beats = one.images.shape
    x, y, z = _field_of_view_mm(one)
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=cols, y=rows, z=1), fieldOfView_mm=xsd.fieldOfViewMm(x=x, y=y, z=z)
    )

    def limit(first: int, last: int) -> Any:
        return xsd.limitType(minimum=first, maximum=last, center=first)

    return xsd.encodingType(
        encodedSpace=space,
        reconSpace=space,
        encodingLimits=xsd.encodingLimitsType(
            slice=limit(0, n_slices - 1),
            contrast=limit(0, echoes - 1),
            repetition=limit(0, one.proton_density.shape[-1] + beats - 1),
            set=limit(sequence, sequence),
        ),
        trajectory=xsd.trajectoryType.CARTESIAN,
    )


def _field_of_view_mm(one: SimulatedSeries) -> tuple[float, float, float]:
    """Field of view along a row, down a column and through the slice (mm)."""
    rows, cols = one.images.shape[1:3]
    return cols * one.acquisition.pixel_mm, rows * one.acquisition.pixel_mm, THICKNESS_MM
