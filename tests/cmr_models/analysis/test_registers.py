"""Records of several registers become one outcome: the first record, the first end, every step counted by hand."""

import datetime
from typing import Any

import pandas as pd
import pytest

from cmr_models.analysis.biobank import FieldTable, build_outcomes, build_participants
from cmr_models.analysis.biobank.outcomes import matches
from cmr_models.analysis.spec import StudySpec

_NATIONS = ("england", "scotland", "wales")
_SCANNED = datetime.date(2016, 6, 15)
_DEATH = {"name": "death", "sources": [{"kind": "death"}]}


def _ends(**days: datetime.date) -> dict[str, dict[str, datetime.date]]:
    return {register: dict.fromkeys(_NATIONS, day) for register, day in days.items()}


def _outcomes(sources: list[dict[str, Any]], ends: dict[str, Any], **columns: list[Any]) -> Any:
    """Rows of the condition ``heart_failure`` of people scanned on one day, and the flow of all."""
    n = len(next(iter(columns.values())))
    fixed: dict[str, list[Any]] = {
        "eid": list(range(1, n + 1)), "31-0.0": [0] * n, "34-0.0": [1950] * n, "52-0.0": [6] * n,
        "53-2.0": [str(_SCANNED)] * n, "54-0.0": [11010] * n, "40000-0.0": [None] * n, "191-0.0": [None] * n,
    }  # fmt: skip
    spec = StudySpec.model_validate(
        {
            "name": "test",
            "tables": {"ukb": "ukb.csv"},
            "people": {"sex": {"field": 31, "instance": 0}},
            "dates": {"censoring": ends},
            "outcomes": [{"name": "heart_failure", "sources": sources}, _DEATH],
            "exposures": [{"name": "lvef_pct"}],
            "covariate_sets": {"sex": ["sex"]},
            "primary": "sex",
        }
    )
    data = FieldTable.of(pd.DataFrame(fixed | columns))
    built = build_outcomes(data, build_participants(data, spec), spec)
    return built.outcomes[built.outcomes["condition"] == "heart_failure"].reset_index(drop=True), built.flow


def _days(rows: pd.DataFrame) -> list[int]:
    return [round(days) for days in (rows["exit_years"] - rows["entry_years"]) * 365.25]


def _until(*day: int) -> int:
    return (datetime.date(*day) - _SCANNED).days


_HOSPITAL_AND_CANCER = [{"kind": "icd10", "codes": ["I50"]}, {"kind": "cancer", "codes": ["C38"]}]
_FIELDS = {"41270-0.0": None, "41280-0.0": None, "40006-0.0": None, "40005-0.0": None}


def _records(*people: dict[str, str]) -> dict[str, list[Any]]:
    return {name: [person.get(name) for person in people] for name in _FIELDS}


def test_people_are_followed_until_the_first_of_the_registers_ends() -> None:
    ends = _ends(
        inpatient=datetime.date(2022, 10, 31), cancer=datetime.date(2020, 12, 31), death=datetime.date(2023, 11, 30)
    )
    nothing, hospital_late, hospital, cancer = (
        {},
        {"41270-0.0": "I500", "41280-0.0": "2021-03-01"},  # after the register of cancer had ended
        {"41270-0.0": "I500", "41280-0.0": "2019-03-01"},
        {"40006-0.0": "C380", "40005-0.0": "2018-01-01"},
    )
    rows, _ = _outcomes(_HOSPITAL_AND_CANCER, ends, **_records(nothing, hospital_late, hospital, cancer))
    assert _days(rows) == [_until(2020, 12, 31), _until(2020, 12, 31), _until(2019, 3, 1), _until(2018, 1, 1)]
    assert rows["event"].tolist() == [0, 0, 1, 1]
    assert rows["cause"].tolist() == [0, 0, 1, 1]


def test_of_several_records_the_first_counts_whichever_register_has_it() -> None:
    end = datetime.date(2022, 12, 31)
    both = {"41270-0.0": "I500", "41280-0.0": "2019-03-01", "40006-0.0": "C380", "40005-0.0": "2018-05-01"}
    rows, _ = _outcomes(_HOSPITAL_AND_CANCER, _ends(inpatient=end, cancer=end, death=end), **_records(both))
    assert _days(rows) == [_until(2018, 5, 1)]


def test_a_record_on_the_last_day_counts_and_the_day_after_does_not() -> None:
    end = datetime.date(2020, 12, 31)
    records = [{"41270-0.0": "I500", "41280-0.0": day} for day in ("2020-12-31", "2021-01-01")]
    sources = [{"kind": "icd10", "codes": ["I50"]}]
    rows, _ = _outcomes(sources, _ends(inpatient=end, death=end), **_records(*records))
    assert rows["event"].tolist() == [1, 0]
    assert _days(rows) == [_until(2020, 12, 31)] * 2


def test_a_death_on_the_last_day_of_follow_up_is_a_death_and_later_ones_are_not_known() -> None:
    end = datetime.date(2020, 12, 31)
    died = ["2020-12-31", "2021-01-01", "2018-01-01"]
    sources = [{"kind": "icd10", "codes": ["I50"]}]
    rows, flow = _outcomes(sources, _ends(inpatient=end, death=end), **{**_records({}, {}, {}), "40000-0.0": died})
    assert rows["cause"].tolist() == [2, 0, 2]
    assert _days(rows) == [_until(2020, 12, 31), _until(2020, 12, 31), _until(2018, 1, 1)]
    steps = flow[flow["outcome"] == "heart_failure"].set_index("step")["n"]
    assert (steps["died of something else"], steps["followed to the end"], steps["came to the visit"]) == (2, 1, 3)


def test_every_step_of_the_flow_is_counted() -> None:
    end = datetime.date(2020, 12, 31)
    people = [
        {"41270-0.0": "I500", "41280-0.0": "1909-09-09"},  # no day
        {"41270-0.0": "I500", "41280-0.0": "2010-01-01"},  # before the scan
        {"41270-0.0": "I500", "41280-0.0": "2010-01-01"},
        {"41270-0.0": "I500", "41280-0.0": "2017-01-01"},
        {}, {}, {},
    ]  # fmt: skip
    died = [None] * 4 + ["2016-06-15", "2018-01-01", None]  # one on the day of the scan
    sources = [{"kind": "icd10", "codes": ["I50"]}]
    columns = {**_records(*people), "40000-0.0": died}
    rows, flow = _outcomes(sources, _ends(inpatient=end, death=end), **columns)
    steps = flow[flow["outcome"] == "heart_failure"].set_index("step")["n"].astype(int).to_dict()
    assert steps == {
        "came to the visit": 7, "record dated after death": 0, "record without a day": 1, "nation or birth unknown": 0,
        "record, death or end before follow-up": 1, "prevalent": 2, "incident": 1, "died of something else": 1,
        "followed to the end": 1,
    }  # fmt: skip
    assert rows["participant"].tolist() == ["2", "3", "4", "6", "7"]
    assert rows["prevalent"].tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("wanted", "code", "is_one"),
    [
        ("I05-I09", "I05", True), ("I05-I09", "I051", True), ("I05-I09", "I09.9", True), ("I05-I09", "I10", False),
        ("I05-I09", "I5", False), ("I05-I09", "I50", False), ("I08-I11", "I10", True), ("I08-I11", "I12", False),
        ("I08-I11", "I07", False), ("C00-C97", "C00.1", True), ("C00-C97", "D00", False), ("I21-I21", "I219", True),
    ],
)  # fmt: skip
def test_a_range_of_codes_holds_both_its_ends_also_those_of_one_digit(wanted: str, code: str, is_one: bool) -> None:
    assert matches(pd.DataFrame({"a": [code]}), [wanted]).tolist() == [[is_one]]


@pytest.mark.parametrize("wanted", ["I20-J25", "I25-I20"])
def test_a_range_over_letters_or_backwards_is_refused(wanted: str) -> None:
    with pytest.raises(ValueError, match="not a range within one chapter letter"):
        matches(pd.DataFrame({"a": ["I20"]}), [wanted])
