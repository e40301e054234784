"""Simulated hearts: exact volumes, realistic cines, and archives packaged as UK Biobank packages them."""

from cmr_models.simulate.anatomy import Heart
from cmr_models.simulate.archive import Packaging, simulate_study, ukb_archives
from cmr_models.simulate.faults import FAULTS
from cmr_models.simulate.imaging import simulate_view
from cmr_models.simulate.settings import ImagingSettings
from cmr_models.simulate.training import training_slices
from cmr_models.simulate.traits import DISEASES, HeartTraits, sample_traits

__all__ = [
    "DISEASES",
    "FAULTS",
    "Heart",
    "HeartTraits",
    "ImagingSettings",
    "Packaging",
    "sample_traits",
    "simulate_study",
    "simulate_view",
    "training_slices",
    "ukb_archives",
]
