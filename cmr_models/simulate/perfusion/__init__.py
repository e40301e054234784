"""Simulated first-pass perfusion with known myocardial blood flow.

``curves`` (contrast agent in the blood), ``tissue`` (flow of the myocardium), ``scene`` (a slice of the chest),
``motion`` (breathing), ``signal`` (saturation recovery); ``series`` puts them together: :func:`simulated_scan`.
``frames`` says where the series lie; ``dicom`` and ``ismrmrd`` write files; ``training`` draws random series.
"""

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
