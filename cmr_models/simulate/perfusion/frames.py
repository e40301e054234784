"""Position of the series of a simulated perfusion acquisition and the parameters of each frame, for all file formats.

In a series, the proton-density frames come first, with a low flip angle and without saturation delay. The second echo
of the input series has its own echo time. Each frame has the clock time of its heart beat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmr_models.simulate.perfusion.series import SimulatedScan, SimulatedSeries

Floats = npt.NDArray[np.float64]

SLICE_SPACING_MM = 16.0
THICKNESS_MM = 8.0
ROW_DIR = np.array([0.71, 0.61, -0.35]) / np.linalg.norm([0.71, 0.61, -0.35])
COL_DIR = np.cross(np.cross(ROW_DIR, [0.05, 0.45, -0.89]), ROW_DIR)
COL_DIR /= np.linalg.norm(COL_DIR)
_TOWARDS_APEX = np.cross(COL_DIR, ROW_DIR)  # to the left, the front and down
_SECONDS_OF_DAY = 86400


@dataclass(frozen=True)
class ScannerSeries:
    """One series as the scanner stores it.

    Attributes:
        simulated: images and truth.
        description: as on the scanner's console.
        number: SeriesNumber.
        slice: index of the slice in its sequence, from the base.
        arterial: whether it is the arterial input or the myocardium.
        centre_mm: ``(3,)`` centre of the image, LPS.
    """

    simulated: SimulatedSeries
    description: str
    number: int
    slice: int
    arterial: bool
    centre_mm: Floats


@dataclass(frozen=True)
class Frame:
    """One image of a series.

    Attributes:
        clock_s: seconds since midnight, below 86400.
        flip_deg: flip angle.
        saturation_ms: delay from the saturation to the first pulse; 0 for proton density, which has no saturation.
        echo_ms: echo time.
        echo: number of the echo, from 0.
        beat: number of the heart beat, from 0 at the first proton-density frame; the same for both echoes.
        proton_density: whether the frame was acquired before the bolus, without saturation.
    """

    clock_s: float
    flip_deg: float
    saturation_ms: float
    echo_ms: float
    echo: int
    beat: int
    proton_density: bool


def list_series(scan: SimulatedScan, *, stress: bool, first_number: int) -> Iterator[ScannerSeries]:
    """The myocardial series from base to apex, then the series of the arterial input, at the middle slice.

    Args:
        scan: the acquired series.
        stress: whether the names of the series say stress or rest.
        first_number: SeriesNumber of the first series; the others follow.
    """
    state, n = "STRESS" if stress else "REST", len(scan.myocardium)
    for k, (level, one) in enumerate(scan.myocardium.items()):
        offset_mm = (k - (n - 1) / 2) * SLICE_SPACING_MM
        yield ScannerSeries(one, f"{state}_perf_SAX_{level}", first_number + k, k, False, offset_mm * _TOWARDS_APEX)
    yield ScannerSeries(scan.aif, f"{state}_perf_AIF", first_number + n, 0, True, np.zeros(3))


def list_frames(one: SimulatedSeries, clock_s: float) -> tuple[npt.NDArray[np.float32], list[Frame]]:
    """Images ``(frame, row, col)`` and the parameters of each: proton density first, then echo by echo.

    Args:
        one: the acquired series.
        clock_s: time of the first beat after the proton-density frames, in seconds since midnight.
    """
    readout = one.acquisition.readout
    density = np.moveaxis(one.proton_density, -1, 0)
    echoes = [np.moveaxis(echo, -1, 0) for echo in one.images]
    before_s = clock_s - float(np.median(np.diff(one.time_s))) * np.arange(len(density), 0, -1)
    parameters = [
        Frame(t % _SECONDS_OF_DAY, readout.proton_density.flip_deg, 0.0, readout.echo_ms[0], 0, k, True)
        for k, t in enumerate(before_s)
    ]
    for echo, echo_ms in enumerate(readout.echo_ms):
        parameters += [
            Frame(t % _SECONDS_OF_DAY, readout.flip_deg, readout.saturation_ms, echo_ms, echo, beat, False)
            for beat, t in enumerate(clock_s + one.time_s, start=len(density))
        ]
    return np.concatenate([density, *echoes]), parameters
