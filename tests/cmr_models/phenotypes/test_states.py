"""The state of a study: one word for each way to end."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.phenotypes.states import STATES, state_of, states_of


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


@pytest.mark.parametrize(
    "verdicts",
    [
        pd.Series([True, False, None], dtype=object),
        pd.Series([True, False, None], dtype="boolean"),
        pd.Series([1.0, 0.0, np.nan]),
        pd.Series([1, 0, pd.NA], dtype="Int64"),
        pd.Series(["Yes", " no", None], dtype=object),
        pd.Series(["TRUE", "FALSE", None], dtype=object),
        pd.Series(["1", "0.0", None], dtype=object),
        pd.Series(["true", "false", pd.NA], dtype="string"),
    ],
)
def test_a_verdict_is_the_same_however_a_table_holds_it(verdicts):
    found = states_of(pd.DataFrame({"status": "ok", "qc_ok": verdicts}))
    assert found.tolist() == ["passed", "doubted", "doubted"]


def test_a_table_of_the_users_own_has_no_doubted_studies():
    found = states_of(pd.DataFrame({"status": ["ok", "quarantined", "absent", "retired"]}))
    assert found.tolist() == ["passed", "set_aside", "absent", ""]


@pytest.mark.parametrize("verdict", ["pass", "T", "y", "2", 2, -1.0, ""])
def test_a_verdict_in_words_of_its_own_is_refused(verdict):
    with pytest.raises(ValueError, match="1 of 2 cells of qc_ok are neither true, false, yes, no, 1, 0 nor empty"):
        states_of(pd.DataFrame({"status": "ok", "qc_ok": [True, verdict]}))


@pytest.mark.parametrize("status", ["OK", "", None, "done"])
def test_a_status_that_no_stage_gives_is_refused(status):
    with pytest.raises(ValueError, match="1 of 2 cells of status are none of ok, absent, quarantined, retired"):
        states_of(pd.DataFrame({"status": ["ok", status]}))
