"""Estimates of a kinetic model for the pixels of a region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Fitted:
    """Estimates of n pixels.

    Attributes:
        values: variable name -> (n,); variables that the model does not have are left out.
        residual: (n,) root mean square misfit, mmol/L.
        converged: (n,) whether the fit came to rest.
        at_bound: (n,) whether flow or a volume stands at its bound.
        region_delay_s: the delay that the pixels share; NaN where the model has none.
    """

    values: dict[str, npt.NDArray[np.float64]]
    residual: npt.NDArray[np.float64]
    converged: npt.NDArray[Any]
    at_bound: npt.NDArray[Any]
    region_delay_s: float = float("nan")
