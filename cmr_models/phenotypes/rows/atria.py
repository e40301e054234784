"""Rows of the atria: largest and smallest areas in the four-chamber view."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cmr_models.phenotypes.phenotype import Phenotype, Value


def _largest(curve: npt.NDArray[np.float64]) -> Value:
    return float(np.nanmax(curve))


def _smallest(curve: npt.NDArray[np.float64]) -> Value:
    return float(np.nanmin(curve))


ATRIA: tuple[Phenotype, ...] = (
    Phenotype(
        "la_area_max_cm2", "cm²", "Largest left-atrial area in the four-chamber view",
        ("la_cm2",), _largest, (3, 80), indexed=True,
    ),
    Phenotype(
        "la_area_min_cm2", "cm²", "Smallest left-atrial area in the four-chamber view",
        ("la_cm2",), _smallest, (1, 80), indexed=True,
    ),
    Phenotype(
        "ra_area_max_cm2", "cm²", "Largest right-atrial area in the four-chamber view",
        ("ra_cm2",), _largest, (3, 80), indexed=True,
    ),
    Phenotype(
        "ra_area_min_cm2", "cm²", "Smallest right-atrial area in the four-chamber view",
        ("ra_cm2",), _smallest, (1, 80), indexed=True,
    ),
)  # fmt: skip
