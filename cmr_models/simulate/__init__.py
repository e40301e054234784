"""Simulated hearts with known volumes, realistic cine images of them, and archives packaged like those of UK Biobank.

One person: ``traits`` (size and function), ``details`` (what else varies), ``anatomy`` (the beating
heart), ``body`` (the organs around it).
Images: ``planes`` (position), ``scene`` (content), ``imaging`` (the scanner), ``training`` (random labelled images).
Files: ``dicom``, ``archive`` (zips like those of UK Biobank), ``faults`` (damaged archives), ``perfusion``.
People: ``cohort`` (tables with planted effects), ``measured`` (phenotypes without images), ``biobank`` (an export).
"""

from cmr_models.simulate.anatomy import Heart
from cmr_models.simulate.archive import Packaging, simulate_study, ukb_archives
from cmr_models.simulate.faults import FAULTS
from cmr_models.simulate.imaging import simulate_view
from cmr_models.simulate.settings import ImagingSettings
from cmr_models.simulate.training import training_long_axis, training_slices, training_stacks
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
    "training_long_axis",
    "training_slices",
    "training_stacks",
    "ukb_archives",
]
