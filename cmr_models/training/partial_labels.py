"""What contours of the left ventricle alone say about every pixel of a short-axis image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cmr_models.contracts import BACKGROUND, LV, MYOCARDIUM, RV

_THIN_WALL_MM = 2.5
_THICK_WALL_MM = 35.0
_FAR_RV_MM = 100.0


def lv_only_possible(lv: npt.NDArray[np.bool_], pixel_mm: float) -> npt.NDArray[np.uint8]:
    """Bit sets of possible classes (:mod:`cmr_models.training.partial_label_losses`) from the left-ventricular pool.

    Inside the contour: LV. Outside it not LV, and by the distance from the contour: nearer than the thinnest septum not
    RV; farther than the thickest wall not myocardium; farther than the widest right ventricle only background.

    Args:
        lv: ``(row, col)``, the drawn pool; empty if a reader saw no pool in the whole image.
        pixel_mm: pixel size; a rough one will do.

    Returns:
        ``(row, col)`` uint8 bit sets.
    """
    background, rv, myocardium, pool = (np.uint8(1 << label) for label in (BACKGROUND, RV, MYOCARDIUM, LV))
    if not lv.any():
        return np.full(lv.shape, background | rv | myocardium, np.uint8)
    distance_mm = ndimage.distance_transform_edt(~lv) * pixel_mm
    possible = np.full(lv.shape, background, np.uint8)
    possible[distance_mm < _THICK_WALL_MM] |= myocardium
    possible[(distance_mm > _THIN_WALL_MM) & (distance_mm < _FAR_RV_MM)] |= rv
    possible[lv] = pool
    return possible


def ring_possible(
    lv: npt.NDArray[np.bool_], epicardium: npt.NDArray[np.bool_], pixel_mm: float
) -> npt.NDArray[np.uint8]:
    """Bit sets of possible classes from the left-ventricular pool and the outer border of its muscle.

    Inside both: LV; between them: myocardium; outside: background, or RV where that can be. The right ventricle is not
    drawn, so that nothing outside is known to be background but what lies farther than the widest right ventricle.

    Args:
        lv: ``(row, col)``, the drawn pool.
        epicardium: ``(row, col)``, all that lies inside the outer border.
        pixel_mm: pixel size; a rough one will do.

    Returns:
        ``(row, col)`` uint8 bit sets.
    """
    background, rv, myocardium, pool = (np.uint8(1 << label) for label in (BACKGROUND, RV, MYOCARDIUM, LV))
    inside = lv | epicardium
    if not inside.any():
        return lv_only_possible(lv, pixel_mm)
    possible = np.full(lv.shape, background, np.uint8)
    possible[ndimage.distance_transform_edt(~inside) * pixel_mm < _FAR_RV_MM] |= rv
    possible[epicardium] = myocardium
    possible[lv] = pool
    return possible
