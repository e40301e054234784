"""The label codes of the public data sets, and what they are here: 1 RV, 2 myocardium, 3 LV, then scar and its like.

The tables are from the data sets' own descriptions: ACDC (Bernard et al. 2018, doi:10.1109/TMI.2018.2837502), M&Ms
(Campello et al. 2021, doi:10.1109/TMI.2021.3090082), M&Ms-2 (Martín-Isla et al. 2023, doi:10.1109/JBHI.2023.3267857),
EMIDEC (Lalande et al. 2020, doi:10.3390/data5040089), MyoPS 2020 (Li et al. 2023, doi:10.1016/j.media.2023.102808).
Files in the names of ukbb_cardiac number the RV 3, and 4 in the atlas labels before it. Rescan is read as CineMA's
preprocessing leaves it, whose codes are those here.
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
"""Data set -> its code -> ours. Background is 0 in all."""


def translate_codes(values: npt.NDArray[Any], data_set: str) -> npt.NDArray[np.uint8]:
    """Codes of a data set as codes of :mod:`cmr_models.contracts`.

    Raises:
        KeyError: for a data set without a table.
        ValueError: if ``values`` hold anything but 0 and the codes of the table.
    """
    codes = {0: 0, **CODES[data_set]}
    unknown = sorted(set(np.unique(values).tolist()) - set(codes))
    if unknown:
        raise ValueError(f"codes {unknown[:5]} are none of {sorted(codes)}")
    ours = np.zeros(values.shape, np.uint8)
    for theirs, code in codes.items():
        ours[values == theirs] = code
    return ours
