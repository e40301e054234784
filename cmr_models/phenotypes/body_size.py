"""Body surface area from height and weight, by which volumes and masses are indexed."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Size = TypeVar("_Size", float, npt.NDArray[np.float64])


def body_surface_m2(height_cm: _Size, weight_kg: _Size) -> _Size:
    """Body surface area (m²) of one person or of an array of people.

    Reference:
        Du Bois and Du Bois 1916: 0.007184 kg^0.425 cm^0.725.
    """
    surface_m2: _Size = 0.007184 * weight_kg**0.425 * height_cm**0.725
    return surface_m2
