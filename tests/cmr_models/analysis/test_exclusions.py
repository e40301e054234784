"""Who is left out, at the bounds of each rule, in which order, and which outcomes go with them."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.exclusions import exclude
from cmr_models.analysis.spec import Exclusion

# Two visits of 07; numbers at, under and over 40 and 60; a missing one; rows that are not sorted.
PEOPLE = pd.DataFrame(
    {
        "participant": ["9", "07", "3", "07", "5", "8", "1"],
        "visit": ["2", "3", "2", "2", "2", "2", "2"],
        "lvef": [40.0, 39.9, np.nan, 60.0, 60.1, 55.0, 70.0],
        "site": ["A", "B", None, "A", "C", "1", "A"],
        "flag": [1, 0, 1, 0, 0, 0, 2],
        "known": [True, False, False, True, True, True, True],
    },
    index=[4, 2, 9, 1, 7, 5, 3],
)
OUTCOMES = pd.DataFrame(
    [
        ("7", "2", "gout", 1),
        ("5", "2", "gout", 0),
        ("3", "2", "death", 1),
        ("1", "2.0", "gout", 1),
        ("99", "2", "gout", 1),
        ("07", "3", "death", 0),
        ("9", "2", "death", 0),
    ],
    columns=["participant", "visit", "condition", "prevalent"],
)


def _left(*rules: Exclusion) -> list[str]:
    left, _, _ = exclude(PEOPLE, OUTCOMES, rules)
    return [f"{person}-{visit}" for person, visit in zip(left["participant"], left["visit"], strict=True)]


def _rule(**given: object) -> Exclusion:
    return Exclusion(name="rule", **given)  # type: ignore[arg-type]


EVERYBODY = ["9-2", "07-3", "3-2", "07-2", "5-2", "8-2", "1-2"]


@pytest.mark.parametrize(
    ("rule", "out"),
    [
        (_rule(column="lvef", below=40), ["07-3"]),  # a person of 40 stays
        (_rule(column="lvef", above=60), ["5-2", "1-2"]),  # a person of 60 stays
        (_rule(column="lvef", below=40, above=60), ["07-3", "5-2", "1-2"]),
        (_rule(column="lvef", below=40, missing=True), ["07-3", "3-2"]),
        (_rule(column="lvef", missing=True), ["3-2"]),
        (_rule(column="lvef", values=("60", "70.0"), below=40), ["07-3", "07-2", "1-2"]),
        (_rule(column="site", values=("A",)), ["9-2", "07-2", "1-2"]),
        (_rule(column="site", values=("1", "C")), ["5-2", "8-2"]),
        (_rule(column="site", missing=True, values=("B",)), ["07-3", "3-2"]),
        (_rule(column="flag", values=("1", "2")), ["9-2", "3-2", "1-2"]),
        (_rule(column="known", values=("False",)), ["07-3", "3-2"]),
        # 007 is not 7, and another visit of the same person goes with the one of the record
        (_rule(prevalent="gout"), ["1-2"]),
        (_rule(prevalent="death"), ["3-2"]),
    ],
)
def test_a_rule_leaves_out_whom_it_means_and_nobody_at_its_bound(rule: Exclusion, out: list[str]) -> None:
    assert _left(rule) == [name for name in EVERYBODY if name not in out]


def test_a_prevalent_record_leaves_out_every_visit_of_the_person() -> None:
    outcomes = OUTCOMES.assign(participant=OUTCOMES["participant"].replace("7", "07"))
    left, _, _ = exclude(PEOPLE, outcomes, [_rule(prevalent="gout")])
    assert left["participant"].tolist() == ["9", "3", "5", "8"]


def test_rules_are_applied_in_their_order_and_the_flow_adds_up() -> None:
    rules = [
        Exclusion(name="weak", column="lvef", below=55),
        Exclusion(name="site A", column="site", values=("A",)),
        Exclusion(name="nobody", column="lvef", above=100),
    ]
    left, outcomes, flow = exclude(PEOPLE, OUTCOMES, rules)
    assert left["participant"].tolist() == ["3", "5", "8"]
    assert left.index.tolist() == [0, 1, 2]
    assert list(flow) == ["outcome", "group_by", "group", "step", "n"]
    assert flow[["group_by", "step", "n"]].to_numpy().tolist() == [
        ["overall", "participants", 7.0],
        ["people", "excluded: weak", 2.0],
        ["people", "excluded: site A", 2.0],  # the third of site A was weak already
        ["people", "excluded: nobody", 0.0],
        ["people", "analysed", 3.0],
    ]
    assert (flow["group"] == flow["step"]).all()
    assert (flow["outcome"] == "").all()
    assert outcomes[["participant", "condition"]].to_numpy().tolist() == [["5", "gout"], ["3", "death"]]
    assert outcomes.index.tolist() == [0, 1]


def test_outcomes_stay_with_the_visit_that_stays() -> None:
    _, outcomes, _ = exclude(PEOPLE, OUTCOMES, [_rule(column="lvef", below=45)])
    assert outcomes[["participant", "visit"]].to_numpy().tolist() == [["5", "2"], ["3", "2"], ["1", "2.0"]]


def test_rules_that_cannot_be_applied_name_themselves() -> None:
    with pytest.raises(ValueError, match="exclusion rule: no column 'bmi'"):
        _left(_rule(column="bmi", below=1))
    for bound in ({"below": 1}, {"above": 1}):
        with pytest.raises(ValueError, match="exclusion rule: site is text"):
            _left(_rule(column="site", **bound))
    with pytest.raises(ValueError, match=r"flag holds numbers, and \['A'\] are none"):
        _left(_rule(column="flag", values=("1", "A")))
