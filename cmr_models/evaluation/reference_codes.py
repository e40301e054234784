"""Label codes of the public data sets, and the corresponding codes of this project.

The tables are from the descriptions of the data sets: ACDC (Bernard et al. 2018, doi:10.1109/TMI.2018.2837502), M&Ms
(Campello et al. 2021, doi:10.1109/TMI.2021.3090082), M&Ms-2 (Martín-Isla et al. 2023, doi:10.1109/JBHI.2023.3267857),
EMIDEC (Lalande et al. 2020, doi:10.3390/data5040089), MyoPS 2020 (Li et al. 2023, doi:10.1016/j.media.2023.102808).
In files named as by ukbb_cardiac, the RV has code 3, or 4 in older atlas labels. Rescan is read as preprocessed for
CineMA, which has the codes of this project.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def translate_codes(values: npt.NDArray[Any], data_set: str) -> npt.NDArray[np.uint8]:
    """Translate the codes of a data set to those of :mod:`cmr_models.contracts`.

    Raises:
        KeyError: for a data set without a table.
        ValueError: if ``values`` contain a code that is neither 0 nor in the table.
    """
    codes = {0: 0, **CODES[data_set]}
    unknown = sorted(set(np.unique(values).tolist()) - set(codes))
    if unknown:
        raise ValueError(f"unknown label codes {unknown[:5]}; {data_set} has {sorted(codes)}")
    ours = np.zeros(values.shape, np.uint8)
    for theirs, code in codes.items():
        ours[values == theirs] = code
    return ours
