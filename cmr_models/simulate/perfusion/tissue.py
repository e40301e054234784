"""Blood flow of a simulated myocardium by AHA segment and layer; one coronary territory may be ischaemic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cmr_models.perfusion.kinetics import btex
from cmr_models.simulate.perfusion.curves import GRID_S

Floats = npt.NDArray[np.float64]

# AHA segments by coronary artery (Cerqueira et al., Circulation 2002;105:539).
TERRITORIES: Mapping[str, tuple[int, ...]] = {
    "LAD": (1, 2, 7, 8, 13, 14),
    "RCA": (3, 4, 9, 10, 15),
    "LCx": (5, 6, 11, 12, 16),
}


@dataclass(frozen=True)
class Tissue:
    """Kinetic parameters, each (16, 2): segment, then endocardial and epicardial half.

    Attributes:
        mbf_ml_min_g: blood flow.
        ps_ml_min_g: permeability-surface product.
        vb_ml_g: blood volume.
        visf_ml_g: interstitial volume.
        delay_s: delay after the blood of the left ventricle.
        ischaemic: the segments, 1 to 16, of the ischaemic territory; empty if there is none.
        hematocrit: in large vessels.
    """

    mbf_ml_min_g: Floats
    ps_ml_min_g: Floats
    vb_ml_g: Floats
    visf_ml_g: Floats
    delay_s: Floats
    ischaemic: tuple[int, ...]
    hematocrit: float = 0.42


def draw_tissue(rng: np.random.Generator, *, stress: bool, territory: str | None = None) -> Tissue:
    """Draw a myocardium: flow of 0.5 to 1.2 mL/min/g at rest, 1.6 to 3.6 at stress, less in an ischaemic territory.

    Ranges: Kellman 2017, Brown 2018 and the ranges of the tables in the MATLAB reference.

    Raises:
        ValueError: for a territory that is not in :data:`TERRITORIES`.
    """
    if territory is not None and territory not in TERRITORIES:
        raise ValueError(f"unknown territory {territory!r}; known are {sorted(TERRITORIES)}")
    base = rng.uniform(1.6, 3.6) if stress else rng.uniform(0.5, 1.2)
    gradient = rng.uniform(0.92, 1.05) if stress else rng.uniform(1.0, 1.2)
    mbf = base * rng.normal(1, 0.05, (16, 1)) * np.array([[gradient, 2 - gradient]])
    ischaemic = TERRITORIES[territory] if territory else ()
    rows = np.array(ischaemic, int) - 1
    if stress:
        mbf[rows] *= np.array([[rng.uniform(0.25, 0.5), rng.uniform(0.4, 0.7)]])
    else:
        mbf[rows] *= rng.uniform(0.85, 1.0)
    shape = (16, 2)
    delay = np.full(shape, rng.uniform(0.0, 1.0))
    delay[rows] += rng.uniform(0.0, 1.0)
    return Tissue(
        mbf_ml_min_g=mbf,
        ps_ml_min_g=rng.uniform(0.7, 1.4) * rng.normal(1, 0.05, shape),
        vb_ml_g=rng.uniform(0.06, 0.12) * rng.normal(1, 0.05, shape),
        visf_ml_g=rng.uniform(0.16, 0.28) * rng.normal(1, 0.05, shape),
        delay_s=delay,
        ischaemic=ischaemic,
    )


def tissue_curves(tissue: Tissue, blood: Floats) -> Floats:
    """Tissue concentration, (16, 2, time) mmol/L every :data:`GRID_S` seconds, from that in the left ventricle."""
    return btex.tissue(
        blood,
        GRID_S,
        mbf=tissue.mbf_ml_min_g,
        vb=tissue.vb_ml_g,
        ps=tissue.ps_ml_min_g,
        visf=tissue.visf_ml_g,
        delay_s=tissue.delay_s,
        hematocrit=tissue.hematocrit,
    )
