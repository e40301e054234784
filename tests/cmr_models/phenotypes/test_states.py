"""The state of a study: one word for each way to end."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.phenotypes.states import STATES, state_of


@pytest.mark.parametrize(
    ("status", "qc_ok", "state"),
    [
        ("ok", True, "passed"),
        ("ok", np.True_, "passed"),
        ("ok", False, "doubted"),
        ("ok", np.False_, "doubted"),
        ("ok", None, "doubted"),  # nobody has checked it
        ("ok", pd.NA, "doubted"),
        ("ok", float("nan"), "doubted"),
        ("quarantined", None, "set_aside"),
        ("quarantined", True, "set_aside"),
        ("absent", pd.NA, "absent"),
        ("retired", True, ""),
    ],
)
def test_every_end_of_a_study_has_one_state(status, qc_ok, state):
    assert state_of(status, qc_ok) == state


def test_states_are_told_by_words_of_their_own():
    assert [state.code for state in STATES] == ["passed", "doubted", "set_aside", "absent"]
    assert len({state.title for state in STATES}) == len(STATES)
