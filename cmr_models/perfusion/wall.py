"""Pixels of the wall that a perfusion measurement can use: away from blood and fat, and off the bounds of the fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from cmr_models.contracts import LV, MYOCARDIUM
from cmr_models.perfusion.kinetics.btex_fit import HIGHEST_FLOW_ML_MIN_G

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_FEWEST_WALL_PIXELS = 30
_FEWEST_SEGMENT_PIXELS = 5
_DEPTHS_PX = (2.1, 1.5, 1.0)
_AT_BOUND = 0.995  # of the highest flow
_STATISTICS = ["mean", "median", "sd", "min", "max"]


def inner_wall(wall: Mask) -> Mask:
    """The innermost pixels of the wall ``(row, col)``: as far from blood and fat as leaves 30 of them, or all."""
    depth = ndimage.distance_transform_edt(wall)
    for deeper in _DEPTHS_PX:
        inner = depth > deeper
        if inner.sum() >= _FEWEST_WALL_PIXELS:
            return np.asarray(inner)
    return wall


def reliable_pixels(labels: Labels, segment: npt.NDArray[np.uint8]) -> Mask:
    """Wall pixels whose flow is used, ``(slice, row, col)``: those at a border show blood or fat as well.

    A segment that would keep fewer than 5 pixels, as in a thin wall, uses all that do not touch the pool.
    """
    wall = labels == MYOCARDIUM
    inner = np.stack([ndimage.distance_transform_edt(plane) > 1 for plane in wall])
    kept = np.bincount(segment[inner], minlength=17)
    thin = kept[segment] < _FEWEST_SEGMENT_PIXELS
    beside_pool = ndimage.binary_dilation(labels == LV, np.ones((1, 3, 3), bool))
    return np.asarray(np.where(thin, wall & ~beside_pool, inner), bool)


def mask_flow_at_bound(tables: Mapping[str, pd.DataFrame]) -> bool:
    """Set segments whose median flow is the highest that the fit allows to missing, in every table.

    Half of their pixels, or more, then have a flow above that bound, and the median is not known.

    Args:
        tables: quantity -> rows of :func:`cmr_models.aha.statistics`, in one order; changed in place.

    Returns:
        Whether there was such a segment.
    """
    bounded = (tables["mbf_ml_min_g"]["median"] >= _AT_BOUND * HIGHEST_FLOW_ML_MIN_G).to_numpy()
    for table in tables.values():
        table.loc[bounded, _STATISTICS] = np.nan
    return bool(bounded.any())
