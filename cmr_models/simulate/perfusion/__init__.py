"""Simulated first passes with known flow: curves, scenes, signal, DICOM and ISMRMRD."""

from cmr_models.simulate.perfusion.series import (
    MYOCARDIAL_SERIES,
    Acquisition,
    SimulatedScan,
    SimulatedSeries,
    simulated_scan,
)

__all__ = [
    "MYOCARDIAL_SERIES",
    "Acquisition",
    "SimulatedScan",
    "SimulatedSeries",
    "simulated_scan",
]
