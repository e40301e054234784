"""Rows of long-axis function, from the landmarks of the mitral valve and the apex."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cmr_models.phenotypes.long_axis_function import long_axis_function
from cmr_models.phenotypes.phenotype import Phenotype, Value

_FU = "Fu et al. 2026, doi:10.1038/s43856-026-01636-0"


def _mapse(landmark_mm: npt.NDArray[np.float64]) -> Value:
    return long_axis_function(landmark_mm, (1.0, 1.0))["mapse_mm"]


def _axis_shortening(landmark_mm: npt.NDArray[np.float64]) -> Value:
    return long_axis_function(landmark_mm, (1.0, 1.0))["axis_shortening_pct"]


LONG_AXIS: tuple[Phenotype, ...] = (
    Phenotype(
        "lax_2c_mapse_mm", "mm",
        "Mitral annular plane systolic excursion: mean way of both hinges between the frames of the longest and the "
        "shortest long axis, two-chamber view",
        ("lax_2c_landmark_mm",), _mapse, (0, 40), reference=_FU,
    ),
    Phenotype(
        "lax_2c_axis_shortening_pct", "%",
        "Shortening of the long axis (middle of the mitral hinges to the apex) over the cycle, two-chamber view",
        ("lax_2c_landmark_mm",), _axis_shortening, (0, 50), reference=_FU,
    ),
    Phenotype(
        "lax_4c_mapse_mm", "mm",
        "Mitral annular plane systolic excursion: mean way of both hinges between the frames of the longest and the "
        "shortest long axis, four-chamber view",
        ("lax_4c_landmark_mm",), _mapse, (0, 40), reference=_FU,
    ),
    Phenotype(
        "lax_4c_axis_shortening_pct", "%",
        "Shortening of the long axis (middle of the mitral hinges to the apex) over the cycle, four-chamber view",
        ("lax_4c_landmark_mm",), _axis_shortening, (0, 50), reference=_FU,
    ),
)  # fmt: skip
