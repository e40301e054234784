"""A simulated perfusion acquisition as DICOM files of a Siemens scanner: one series per slice, one for the input.

:mod:`cmr_models.simulate.perfusion.frames` describes the series and their frames. ISMRMRD files are written by
:func:`cmr_models.simulate.perfusion.ismrmrd.write_ismrmrd` (``pip install cmr-cohort[ismrmrd]``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cmr_models.simulate.dicom import Series, Session, clock_time, encode_series, new_uid
from cmr_models.simulate.perfusion.frames import (
    COL_DIR,
    ROW_DIR,
    THICKNESS_MM,
    Frame,
    ScannerSeries,
    list_frames,
    list_series,
)
from cmr_models.simulate.perfusion.series import SimulatedScan

_LARGEST = 3600  # largest stored value; 12 bits hold 4095


def encode_scan(
    rng: np.random.Generator,
    scan: SimulatedScan,
    session: Session,
    *,
    stress: bool,
    start_s: float = 600.0,
    first_number: int = 40,
) -> list[tuple[str, bytes]]:
    """File name and content of every image of a perfusion acquisition.

    Args:
        rng: source of UIDs.
        scan: the acquired series.
        session: the visit to which they belong.
        stress: whether the names of the series say stress or rest.
        start_s: time of the first beat after the start of the session.
        first_number: SeriesNumber of the first series; the others follow.
    """
    files: list[tuple[str, bytes]] = []
    for series in list_series(scan, stress=stress, first_number=first_number):
        files += encode_series(session, _series(rng, series, session, start_s), rng)
    return files


def _series(rng: np.random.Generator, series: ScannerSeries, session: Session, start_s: float) -> Series:
    one = series.simulated
    pixel, (rows, cols) = one.acquisition.pixel_mm, one.images.shape[1:3]
    images, frames = list_frames(one, session.start_s + start_s)
    return Series(
        description=series.description,
        number=series.number,
        uid=new_uid(rng),
        images=_scale_to_12_bits(images),
        position_mm=series.centre_mm - (cols - 1) / 2 * pixel * ROW_DIR - (rows - 1) / 2 * pixel * COL_DIR,
        row_dir=ROW_DIR,
        col_dir=COL_DIR,
        pixel_mm=(pixel, pixel),
        thickness_mm=THICKNESS_MM,
        cycle_ms=float(np.median(np.diff(one.time_s)) * 1000),
        start_s=start_s,
        image_type=("ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"),
        sequence_name="*tfl2d1_44" if one.acquisition.readout.kind == "flash" else "*tfi2d1_44",
        n_planned=1,
        extra={"RepetitionTime": f"{one.acquisition.readout.tr_ms:.4g}"},
        frame_tags=[_tags(frame) for frame in frames],
    )


def _scale_to_12_bits(images: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Scale all images of a series by one factor."""
    return np.asarray(np.round(images * (_LARGEST / images.max())), np.uint16)


def _tags(frame: Frame) -> dict[str, Any]:
    clock = clock_time(frame.clock_s)
    return {
        "AcquisitionTime": clock,
        "ContentTime": clock,
        "FlipAngle": f"{frame.flip_deg:.4g}",
        "InversionTime": f"{frame.saturation_ms:.4g}",
        "EchoTime": f"{frame.echo_ms:.4g}",
        "EchoNumbers": frame.echo + 1,
    }
