"""Who meets a row of each table: every count of the flow by hand, and each bound of what may be missing."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.matching import LOSSES, check_outcomes, check_people, check_share, flow_row, people_flow

# Seven studies of six people, listed in no order. 4 has two visits; 6 is not listed, nor the second visit of 4.
STUDIES = pd.DataFrame(
    [("3", "2"), ("4", "3"), ("1", "2"), ("4", "2"), ("6", "2"), ("5", "2"), ("2", "2")],
    columns=["participant", "visit"],
)
LISTED = pd.DataFrame(
    [("5", "2"), ("2", "2"), ("1", "2"), ("9", "2"), ("3", "2.0"), ("4", "2"), ("1", "3"), ("8", "2")],
    columns=["participant", "visit"],
)
# First visits as the analysis sees them.
PEOPLE = pd.DataFrame(
    {
        "participant": ["1", "2", "3", "4", "5", "6"],
        "visit": "2",
        "measured": [True, True, False, True, True, True],
        "doubted": [False, True, False, False, True, False],
        "visits_contradict": [False, False, False, True, False, False],
        "same_day": [False, True, False, False, False, False],
        "sex": ["f", None, "m", "f", "f", None],
        "age": [50.0, 60.0, np.nan, 55.0, 61.0, np.nan],
    }
)
OUTCOMES = pd.DataFrame(
    [
        # condition, person, visit, prevalent, entry, exit
        ("death", "1", "2", 0, 50.0, 55.0),
        ("death", "2", "2.0", 0, 60.0, 60.0),  # no time
        ("death", "3", "2", 1, 50.0, 58.0),
        ("death", "4", "2", 0, 55.0, 54.0),  # ended before it began
        ("death", "5", "2", 0, 61.0, "unknown"),
        ("death", "6", "3", 0, 50.0, 58.0),  # another visit
        ("death", "9", "2", 0, 50.0, 58.0),  # nobody's
        ("gout", "1", "2", 1, 50.0, 50.0),
        ("gout", "2", "2", 0, 60.0, 61.0),
    ],
    columns=["condition", "participant", "visit", "prevalent", "entry_years", "exit_years"],
)


def _flow(
    *, include_doubted: bool = False, covariates: tuple[str, ...] = ("sex", "age")
) -> dict[str, dict[str, float]]:
    flow = people_flow(
        STUDIES, LISTED, OUTCOMES, PEOPLE, ["gout", "death"], include_doubted=include_doubted, covariates=covariates
    )
    assert list(flow) == ["outcome", "group_by", "group", "step", "n"]
    assert (flow["group"] == flow["step"]).all()
    found: dict[str, dict[str, float]] = {}
    for row in flow.to_dict("records"):
        found.setdefault(f"{row['outcome']}|{row['group_by']}", {})[row["step"]] = row["n"]
    return found


def test_every_step_from_the_studies_to_those_at_risk_is_counted() -> None:
    flow = _flow()
    assert list(flow) == [
        "|overall", "|studies", "|visits", "|rows of participants", "|rows of outcomes", "|first visits",
        "|first visits, covariates", "gout|first visits", "gout|first visits, follow-up", "death|first visits",
        "death|first visits, follow-up",
    ]  # fmt: skip
    assert flow["|overall"]["visits in another order than their numbers"] == 1
    assert flow["|studies"] == {"with a row of participants": 5, "without a row of participants": 2}
    assert (flow["|visits"]["first visit"], flow["|visits"]["later visit, left out"]) == (6, 1)
    assert sum(flow["|visits"].values()) == 7
    assert flow["|rows of participants"] == {"with a study": 5, "without a study": 3}
    assert flow["|rows of outcomes"] == {"of a study": 7, "of no study": 2}
    assert flow["|first visits"] == {"measured": 3, "doubted, left out": 2, "not measured": 1}
    assert flow["|first visits, covariates"] == {"with every covariate": 3, "without a covariate": 3}
    row, none = "with a row of the condition", "without a row of the condition"
    assert flow["death|first visits"] == {row: 5, none: 1}
    assert flow["gout|first visits"] == {row: 2, none: 4}
    ill, idle = "with the condition at the visit", "not followed for any time"
    assert flow["death|first visits, follow-up"] == {"at risk": 1, ill: 1, idle: 3}
    assert flow["gout|first visits, follow-up"] == {"at risk": 1, ill: 1, idle: 0}


def test_doubted_studies_are_counted_as_taken_in_and_fewer_covariates_lose_fewer() -> None:
    flow = _flow(include_doubted=True, covariates=("age",))
    assert flow["|first visits"] == {"measured": 3, "doubted, taken in": 2, "not measured": 1}
    assert flow["|first visits, covariates"] == {"with every covariate": 4, "without a covariate": 2}
    assert _flow(covariates=())["|first visits, covariates"] == {"with every covariate": 6, "without a covariate": 0}


def test_what_a_run_names_among_the_losses_is_a_step_of_the_flow() -> None:
    steps = {step for group in _flow().values() for step in group}
    own = {name for name in LOSSES if "withdrew" not in name and "network" not in name}
    assert own <= steps
    assert flow_row("death", "studies", "lost", 3) == {
        "outcome": "death", "group_by": "studies", "group": "lost", "step": "lost", "n": 3.0,
    }  # fmt: skip


def _share(n_lost: int, n: int, allowed: float) -> None:
    names = [str(k) for k in range(n)]
    studies = pd.DataFrame({"participant": [*names, names[-1]], "visit": ["2"] * n + ["3"]})  # one has two visits
    rows = pd.DataFrame({"participant": names[n_lost:], "visit": "2"})
    check_share(studies, set(names[n_lost:]), rows, allowed, "people")


@pytest.mark.parametrize(
    ("n_lost", "n", "allowed", "is_refused"),
    [
        (2, 10, 0.2, False), (3, 10, 0.2, True), (1, 10, 0.0, False), (2, 10, 0.0, True), (1, 2, 0.0, False),
        (1, 1, 1.0, True), (10, 10, 1.0, True), (9, 10, 1.0, False), (0, 1, 0.0, False), (3, 4, 0.75, False),
    ],
)  # fmt: skip
def test_a_share_may_be_missing_one_person_always_and_everybody_never(
    n_lost: int, n: int, allowed: float, is_refused: bool
) -> None:
    if not is_refused:
        _share(n_lost, n, allowed)
        return
    with pytest.raises(ValueError, match=f"people: {n_lost} of {n} people with a study have no row"):
        _share(n_lost, n, allowed)


def test_nobody_is_asked_of_no_studies() -> None:
    check_share(STUDIES.iloc[:0], set(), LISTED, 0.0, "people")


def test_the_message_tells_how_both_sides_are_written_and_why_they_may_not_meet() -> None:
    studies = pd.DataFrame(
        {"participant": ["AB-0012", "AB-0013", "AB-0014", "AB-0015"], "visit": ["2", "2", "2", "07"]}
    )
    rows = pd.DataFrame(
        {"participant": ["ab12x", "ab 0013", "AB-0014", "Ab.0012", "AB-0015"], "visit": ["1", "1", "3", "1", "1"]}
    )
    with pytest.raises(ValueError, match="4 of 4 people") as caught:
        check_people(studies, rows, 0.25)
    message = str(caught.value)
    assert (
        "; 2 are listed under another visit; 2 would meet if case, leading zeros and punctuation were ignored;"
        in message
    )
    assert "column visit is written like '9', that of the studies like '9'; `unmatched_max` (now 0.25)" in message
    assert "that of the studies like 'AA-9999'" in message
    with pytest.raises(ValueError, match=r"people with a study have no row; the table has no rows; `unmatched_max`"):
        check_people(studies, rows.iloc[:0], 0.5)
    check_people(studies, rows.assign(visit="2").iloc[[2, 4]], 0.75)  # one of four meets
    check_people(
        STUDIES, LISTED.assign(visit="2"), 0.0
    )  # the visit that is listed is enough; one of six may be missing


def test_each_condition_needs_a_row_of_as_many_people_unless_the_table_does_not_know_it() -> None:
    names = [str(k) for k in range(10)]
    people = pd.DataFrame({"participant": names, "visit": "2"})

    def rows(condition: str, n: int, visit: str = "2") -> pd.DataFrame:
        return pd.DataFrame({"participant": names[:n], "visit": visit, "condition": condition})

    table = pd.concat([rows("death", 10), rows("gout", 8, "2.0"), rows("stroke", 7)])
    check_outcomes(people, table, 0.2, ("death", "gout", "unheard"))
    with pytest.raises(ValueError, match="outcomes, stroke: 3 of 10 people"):
        check_outcomes(people, table, 0.2, ("unheard", "gout", "stroke"))
    with pytest.raises(ValueError, match="outcomes: 3 of 10 people"):
        check_outcomes(people, rows("stroke", 7), 0.2)
    with pytest.raises(ValueError, match="outcomes: 10 of 10 people"):
        check_outcomes(people, rows("death", 10, "3"), 0.9)
