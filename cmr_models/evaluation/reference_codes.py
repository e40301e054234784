"""Label codes of the public data sets, and the corresponding codes of this project.

The tables are from the descriptions of the data sets: ACDC (Bernard et al. 2018, doi:10.1109/TMI.2018.2837502), M&Ms
(Campello et al. 2021, doi:10.1109/TMI.2021.3090082), M&Ms-2 (Martín-Isla et al. 2023, doi:10.1109/JBHI.2023.3267857),
EMIDEC (Lalande et al. 2020, doi:10.3390/data5040089), MyoPS 2020 (Li et al. 2023, doi:10.1016/j.media.2023.102808).
In files named as by ukbb_cardiac, the RV has code 3, or 4 in older atlas labels. Rescan is read as preprocessed for
CineMA, which has the codes of this project.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cmr_models.contracts import EDEMA, LV, MYOCARDIUM, NO_REFLOW, RV, SCAR

CODES: Mapping[str, Mapping[int, int]] = {
    "acdc": {1: RV, 2: MYOCARDIUM, 3: LV},
    "mnms": {1: LV, 2: MYOCARDIUM, 3: RV},
    "mnms2": {1: LV, 2: MYOCARDIUM, 3: RV},
    "rescan": {1: RV, 2: MYOCARDIUM, 3: LV},
    "emidec": {1: LV, 2: MYOCARDIUM, 3: SCAR, 4: NO_REFLOW},
    "myops": {500: LV, 600: RV, 200: MYOCARDIUM, 1220: EDEMA, 2221: SCAR},
    "ukbb": {1: LV, 2: MYOCARDIUM, 3: RV, 4: RV},
    "cinema": {1: RV, 2: MYOCARDIUM, 3: LV},
}
"""Data set -> its code -> code of this project. Background is 0 in all."""

FEWEST_EDGES: Final = 200
"""Of pixels: in one slice of 1.5 mm pixels, the left ventricle has some 100."""
_NEXT: Final = 0.01
_WALL: Final = (MYOCARDIUM, SCAR, NO_REFLOW, EDEMA)
_MOSTLY: Final = 0.5


def translate_codes(values: npt.NDArray[Any], data_set: str) -> npt.NDArray[np.uint8]:
    """Translate the codes of a data set to those of :mod:`cmr_models.contracts`.

    Real numbers that a scaling in the file has moved by less than a hundredth are the codes next to them. Others, as
    interpolation leaves them, are unknown.

    Raises:
        KeyError: for a data set without a table.
        ValueError: if ``values`` contain a code that is neither 0 nor in the table.
    """
    codes = {0: 0, **CODES[data_set]}
    if values.dtype.kind == "f":
        whole = np.round(values)
        values = np.where(np.isclose(values, whole, rtol=0, atol=_NEXT), whole, values)
    unknown = sorted(set(np.unique(values).tolist()) - set(codes))
    if unknown:
        raise ValueError(f"unknown label codes {unknown[:5]}; {data_set} has {sorted(codes)}")
    ours = np.zeros(values.shape, np.uint8)
    for theirs, code in codes.items():
        ours[values == theirs] = code
    return ours


def is_pool_in_wall(labels: npt.NDArray[np.integer]) -> bool:
    """Whether the wall surrounds what is called left ventricle, and more of it than of what is called right ventricle.

    In labels with the codes of another convention it does not. Labels without a wall, or with less than
    :data:`FEWEST_EDGES` around the left ventricle, tell nothing, and are True. In the 200 drawn volumes of ACDC's
    training set the wall has at least 0.98 of the border of the left ventricle, and at most 0.44 of the right one's; in
    the 4-chamber views of M&Ms-2, 0.82 and 0.37.

    Args:
        labels: ``(..., row, col)`` in the codes of :mod:`cmr_models.contracts`.
    """
    wall = np.isin(labels, _WALL)
    (left, n_edges), (right, _) = (_border(labels == code, wall) for code in (LV, RV))
    return not wall.any() or n_edges < FEWEST_EDGES or (left >= _MOSTLY and left > right)


def _border(inside: npt.NDArray[np.bool_], wall: npt.NDArray[np.bool_]) -> tuple[float, int]:
    """Of the edges between ``inside`` and other pixels of its plane, the share with ``wall`` beyond, and how many."""
    n_edges = n_wall = 0
    for axis in (-2, -1):
        for order in (slice(None), slice(None, None, -1)):
            here, there, beyond = (np.moveaxis(mask, axis, 0)[order] for mask in (inside, inside, wall))
            edges = here[:-1] & ~there[1:]
            n_edges += int(edges.sum())
            n_wall += int((edges & beyond[1:]).sum())
    return n_wall / max(n_edges, 1), n_edges
