"""Label codes of public data sets, copied from their descriptions a second time."""

import numpy as np
import pytest

from cmr_models.contracts import EDEMA, LV, MYOCARDIUM, NO_REFLOW, RV, SCAR
from cmr_models.evaluation.reference_codes import CODES, translate_codes

EXPECTED = {
    "acdc": ([0, 1, 2, 3], [0, RV, MYOCARDIUM, LV]),
    "rescan": ([3, 2, 1, 0], [LV, MYOCARDIUM, RV, 0]),
    "cinema": ([1, 2, 3], [RV, MYOCARDIUM, LV]),
    "mnms": ([1, 2, 3], [LV, MYOCARDIUM, RV]),
    "mnms2": ([1, 2, 3], [LV, MYOCARDIUM, RV]),
    "ukbb": ([1, 2, 3, 4], [LV, MYOCARDIUM, RV, RV]),
    "emidec": ([1, 2, 3, 4], [LV, MYOCARDIUM, SCAR, NO_REFLOW]),
    "myops": ([200, 500, 600, 1220, 2221], [MYOCARDIUM, LV, RV, EDEMA, SCAR]),
}


@pytest.mark.parametrize("data_set", CODES)
def test_each_data_set_has_its_own_codes(data_set: str) -> None:
    theirs, ours = EXPECTED[data_set]
    found = translate_codes(np.array([theirs, theirs[::-1]]), data_set)
    assert found.tolist() == [ours, ours[::-1]]
    assert found.dtype == np.uint8


def test_an_unknown_code_or_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown label codes \[4\]; acdc has \[0, 1, 2, 3\]"):
        translate_codes(np.array([0, 4]), "acdc")
    with pytest.raises(KeyError):
        translate_codes(np.array([0]), "nobody")
