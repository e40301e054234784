"""A simulated perfusion scan as the DICOM files of a Siemens scanner: one series a slice, and the arterial input's.

Within a series the proton-density frames come first, at a low flip angle and without saturation delay; the second echo
of the input has its own echo time. Each image carries the clock time of its beat.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cmr_models.simulate.dicom import Series, Session, encode_series, new_uid
from cmr_models.simulate.perfusion import SimulatedScan, SimulatedSeries

SLICE_SPACING_MM = 16.0
_THICKNESS_MM = 8.0
_ROW_DIR = np.array([0.71, 0.61, -0.35]) / np.linalg.norm([0.71, 0.61, -0.35])
_COL_DIR = np.cross(np.cross(_ROW_DIR, [0.05, 0.45, -0.89]), _ROW_DIR)
_COL_DIR /= np.linalg.norm(_COL_DIR)
_TOWARDS_APEX = np.cross(_COL_DIR, _ROW_DIR)  # to the left, the front and down
_LARGEST = 3600  # of 12 bits
_SECONDS_OF_DAY = 86400


def encode_scan(
    rng: np.random.Generator,
    scan: SimulatedScan,
    session: Session,
    *,
    stress: bool,
    start_s: float = 600.0,
    first_number: int = 40,
) -> list[tuple[str, bytes]]:
    """File name and content of every image of a scan.

    Args:
        rng: source of UIDs.
        scan: what was acquired.
        session: the visit it belongs to.
        stress: names the series so.
        start_s: of the first beat, after the session's start.
        first_number: SeriesNumber of the first series; the others follow.
    """
    files: list[tuple[str, bytes]] = []
    for series in _all_series(rng, scan, session, stress, start_s, first_number):
        files += encode_series(session, series, rng)
    return files


def _all_series(
    rng: np.random.Generator, scan: SimulatedScan, session: Session, stress: bool, start_s: float, number: int
) -> Iterator[Series]:
    state = "STRESS" if stress else "REST"
    for k, (level, one) in enumerate(scan.myocardium.items()):
        place = (k - (len(scan.myocardium) - 1) / 2) * SLICE_SPACING_MM
        yield _series(rng, one, session, f"{state}_perf_SAX_{level}", number + k, place, start_s)
    yield _series(rng, scan.aif, session, f"{state}_perf_AIF", number + len(scan.myocardium), 0.0, start_s)


def _series(
    rng: np.random.Generator,
    one: SimulatedSeries,
    session: Session,
    description: str,
    number: int,
    place_mm: float,
    start_s: float,
) -> Series:
    pixel, (rows, cols) = one.acquisition.pixel_mm, one.images.shape[1:3]
    corner = place_mm * _TOWARDS_APEX - (cols - 1) / 2 * pixel * _ROW_DIR - (rows - 1) / 2 * pixel * _COL_DIR
    images, tags = _frames(one, session.start_s + start_s)
    return Series(
        description=description,
        number=number,
        uid=new_uid(rng),
        images=images,
        position_mm=corner,
        row_dir=_ROW_DIR,
        col_dir=_COL_DIR,
        pixel_mm=(pixel, pixel),
        thickness_mm=_THICKNESS_MM,
        cycle_ms=float(np.median(np.diff(one.time_s)) * 1000),
        start_s=start_s,
        image_type=("ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"),
        sequence_name="*tfl2d1_44" if one.acquisition.readout.kind == "flash" else "*tfi2d1_44",
        n_planned=1,
        extra={"RepetitionTime": f"{one.acquisition.readout.tr_ms:.4g}"},
        frame_tags=tags,
    )


def _frames(one: SimulatedSeries, clock_s: float) -> tuple[npt.NDArray[np.uint16], list[dict[str, Any]]]:
    """Images (frame, row, col) on one scale, and the entries of each: proton density, then echo by echo."""
    readout = one.acquisition.readout
    density = np.moveaxis(one.proton_density, -1, 0)
    echoes = [np.moveaxis(echo, -1, 0) for echo in one.images]
    before_s = clock_s - float(np.median(np.diff(one.time_s))) * np.arange(len(density), 0, -1)
    tags = [_tags(t, readout.proton_density.flip_deg, 0.0, readout.echo_ms[0], 1) for t in before_s]
    for k, echo_ms in enumerate(readout.echo_ms):
        tags += [_tags(clock_s + t, readout.flip_deg, readout.saturation_ms, echo_ms, k + 1) for t in one.time_s]
    stacked = np.concatenate([density, *echoes])
    return np.round(stacked * (_LARGEST / stacked.max())).astype(np.uint16), tags


def _tags(clock_s: float, flip_deg: float, saturation_ms: float, echo_ms: float, echo: int) -> dict[str, Any]:
    clock = _clock(clock_s)
    return {
        "AcquisitionTime": clock,
        "ContentTime": clock,
        "FlipAngle": f"{flip_deg:.4g}",
        "InversionTime": f"{saturation_ms:.4g}",
        "EchoTime": f"{echo_ms:.4g}",
        "EchoNumbers": echo,
    }


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds % _SECONDS_OF_DAY, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{int(hours):02d}{int(minutes):02d}{rest:09.6f}"
