"""Which visit of a person is the first: the day before the age, the age before the number, whatever order rows have."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.visits import first_visits


def _first(*visits: tuple[str, str, Any, Any], with_days: bool = True) -> list[tuple[str, str, bool]]:
    """Person, visit and contradiction of the first visits; given: person, visit, day, age."""
    people = pd.DataFrame(visits, columns=["participant", "visit", "visit_date", "age_years"])
    studies = people[["participant", "visit"]].assign(lvef=np.arange(len(people)) + 40.0)
    studies.index = pd.Index(range(len(studies) + 5, 5, -1))
    listed = people.iloc[::-1] if with_days else people.iloc[::-1].drop(columns="visit_date")
    found = first_visits(studies, listed)
    assert list(found)[:4] == ["participant", "visit", "lvef", "visits_contradict"]
    at = [[(p, v) for p, v, *_ in visits].index(key) for key in zip(found["participant"], found["visit"], strict=True)]
    assert found["lvef"].tolist() == [40.0 + k for k in at]
    return [(str(p), str(v), bool(c)) for p, v, c in found[["participant", "visit", "visits_contradict"]].to_numpy()]


@pytest.mark.parametrize(
    ("visits", "right"),
    [
        # days before ages and numbers; what contradicts is told
        ([("p", "2", "2016-01-01", 50.0), ("p", "3", "2015-01-01", 55.0)], ("3", True)),
        ([("p", "3", "2016-01-01", 50.0), ("p", "2", "2015-12-31", 55.0)], ("2", False)),
        # a visit without a day: ages decide for this person
        ([("p", "2", "2014-01-01", 56.0), ("p", "3", None, 55.0)], ("3", True)),
        ([("p", "a", "2014-01-01", 56.0), ("p", "b", None, 55.0)], ("b", False)),
        # neither day nor age of every visit: numbers
        ([("p", "10", None, np.nan), ("p", "9", "2016-01-01", 51.0)], ("9", False)),
        # one day: numbers, whatever the ages say; one age: numbers
        ([("p", "3", "2016-01-01", 50.0), ("p", "2", "2016-01-01", 55.0)], ("2", False)),
        ([("p", "12", None, 50.0), ("p", "7", None, 50.0), ("p", "8", None, 50.0)], ("7", False)),
        # four digits are a number, five are a digest
        ([("p", "9999", None, np.nan), ("p", "1000", None, np.nan)], ("1000", False)),
        ([("p", "10000", None, 50.0), ("p", "2", None, 51.0)], ("10000", False)),  # 2 is not compared with no number
        # later visits need no order among themselves
        ([("p", "x", None, 60.0), ("p", "y", None, 55.0), ("p", "z", None, 60.0)], ("y", False)),
        # the first by age is the second by number of three
        ([("p", "4", None, 60.0), ("p", "3", None, 55.0), ("p", "2", None, 58.0)], ("3", True)),
    ],
)
def test_the_first_visit_by_the_best_clock_that_every_visit_has(visits: list[Any], right: tuple[str, bool]) -> None:
    assert _first(*visits) == [("p", *right)]
    assert _first(*visits[::-1]) == [("p", *right)]


def test_people_stand_in_order_and_each_is_judged_alone() -> None:
    found = _first(
        ("q", "3", "2016-01-01", 60.0), ("r", "b", None, 44.0), ("p", "2", None, 70.0), ("q", "2", "2015-01-01", 61.0),
        ("p", "3", None, 65.0), ("a", "7", None, np.nan), ("r", "a", "2020-01-01", 45.0),
    )  # fmt: skip
    assert found == [("a", "7", False), ("p", "3", True), ("q", "2", False), ("r", "b", False)]
    assert _first(("q", "3", None, 60.0), ("p", "2", None, 70.0)) == [("p", "2", False), ("q", "3", False)]
    assert _first(("p", "a", None, 50.0), ("p", "b", None, 49.0), with_days=False) == [("p", "b", False)]


@pytest.mark.parametrize(
    "visits",
    [
        [("p", "a", None, 50.0), ("p", "b", None, 50.0)],
        [("p", "a", None, np.nan), ("p", "b", None, 50.0)],
        [("p", "a", "2016-01-01", 50.0), ("p", "b", "2016-01-01", 51.0)],  # one day: its ages do not tell
        [("p", "12345", None, 50.0), ("p", "12346", None, 50.0)],
        [("p", "a", None, 50.0), ("p", "b", None, 50.0), ("p", "c", None, 60.0)],
        [("p", "3", None, 50.0), ("p", "b", None, 50.0)],
    ],
)
def test_two_visits_that_nothing_tells_apart_are_refused_and_counted(visits: list[Any]) -> None:
    with pytest.raises(ValueError, match="order_unknown: 1 people have several visits"):
        _first(*visits)
    with pytest.raises(ValueError, match="order_unknown: 2 people have several visits"):
        _first(*visits, ("o", "2", None, 50.0), *[("q", *rest) for _, *rest in visits], ("o", "3", None, 50.0))


def test_a_visit_that_nobody_listed_has_no_time() -> None:
    studies = pd.DataFrame({"participant": ["p", "p"], "visit": ["3", "2"]})
    listed = pd.DataFrame({"participant": ["p", "p", "o"], "visit": ["3", "3.5", "2"], "age_years": [50.0, 40.0, 30.0]})
    assert first_visits(studies, listed)["visit"].tolist() == ["2"]
