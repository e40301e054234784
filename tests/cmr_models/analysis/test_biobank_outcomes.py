"""Outcomes from several registers, instances and causes, each person a row of a table made by hand."""

import datetime
from typing import Any

import pandas as pd
import pytest

from cmr_models.analysis.biobank import FieldTable, build_outcomes, build_participants, spec_fields
from cmr_models.analysis.biobank.outcomes import needed_fields
from cmr_models.analysis.spec import StudySpec

_SCANNED, _END = datetime.date(2016, 6, 15), datetime.date(2020, 12, 31)
_BIRTH = datetime.date(1950, 6, 15)


def _spec(sources: list[dict[str, Any]], **changes: Any) -> StudySpec:
    days = dict.fromkeys(("england", "scotland", "wales"), _END)
    content: dict[str, Any] = {
        "name": "test",
        "tables": {"ukb": "ukb.csv"},
        "people": {"sex": {"field": 31, "instance": 0}},
        "dates": {"censoring": {"inpatient": days, "death": days, "cancer": days}},
        "outcomes": [{"name": "illness", "sources": sources}],
        "exposures": [{"name": "lvef_pct"}],
        "covariate_sets": {"sex": ["sex"]},
        "primary": "sex",
    }
    return StudySpec.model_validate(content | changes)


def _data(people: list[dict[str, Any]]) -> FieldTable:
    """A row a person; ids 1, 2, ... unless given; fields that nobody has are empty."""
    fixed = {"31-0.0": 0, "34-0.0": 1950, "52-0.0": 6, "53-2.0": str(_SCANNED), "54-0.0": 11010}
    names = {name for person in people for name in person} | {"40000-0.0", "191-0.0"}
    rows = [{"eid": k, **fixed, **dict.fromkeys(names - set(fixed) - {"eid"}), **p} for k, p in enumerate(people, 1)]
    return FieldTable.of(pd.DataFrame(rows).astype(object))


def _built(people: list[dict[str, Any]], sources: list[dict[str, Any]], **changes: Any) -> Any:
    """Rows by participant, with days of follow-up from the scan, and the flow by step."""
    data, spec = _data(people), _spec(sources, **changes)
    built = build_outcomes(data, build_participants(data, spec), spec)
    rows = built.outcomes.set_index("participant")
    begin, end = (
        ((rows[name] * 365.25).round().astype(int) - (_SCANNED - _BIRTH).days) for name in ("entry_years", "exit_years")
    )
    steps = built.flow.set_index("step")["n"].astype(int).to_dict()
    return rows.assign(begin=begin, end=end), {step: n for step, n in steps.items() if n}


def _until(day: str) -> int:
    return (datetime.date.fromisoformat(day) - _SCANNED).days


def test_every_instance_of_a_register_is_read_and_each_code_with_its_own_date() -> None:
    people: list[dict[str, Any]] = [
        {"40006-0.0": "C50", "40005-0.0": "2019-01-01", "40006-1.0": "C509", "40005-1.0": "2018-01-01"},
        {"40006-0.0": "C18", "40005-0.0": "2017-01-01", "40006-2.0": "C500", "40005-2.0": "2019-05-05"},
        {"40006-1.0": "C61", "40005-1.0": "2017-03-03"},
        {"40005-1.0": "2017-03-03"},  # a date without a code is none
    ]
    rows, _ = _built(people, [{"kind": "cancer", "codes": ["C50"]}])
    assert rows["event"].tolist() == [1, 1, 0, 0]
    assert rows["end"].tolist() == [
        _until("2018-01-01"),
        _until("2019-05-05"),
        _until("2020-12-31"),
        _until("2020-12-31"),
    ]
    rows, _ = _built(people, [{"kind": "cancer"}])  # any cancer
    assert rows["end"].tolist() == [_until(day) for day in ("2018-01-01", "2017-01-01", "2017-03-03", "2020-12-31")]
    assert rows["cause"].tolist() == [1, 1, 1, 0]


def test_a_death_counts_by_any_of_its_causes_and_from_its_first_certificate() -> None:
    people: list[dict[str, Any]] = [
        {"40000-0.0": "2018-02-02", "40000-1.0": "2018-02-01", "40001-0.0": "I219", "40002-0.0": "J18"},
        {"40000-0.0": "2018-02-02", "40001-0.0": "C50", "40002-0.1": "I21.0", "40002-0.0": "J18"},
        {"40000-0.0": "2018-02-02", "40001-0.0": "C50", "40001-1.0": "I21"},
        {"40000-0.0": "2018-02-02", "40001-0.0": "C50", "40002-1.0": "I21 Acute"},
        {"40000-0.0": "2018-02-02", "40001-0.0": "C50"},
        {"40001-0.0": "I21"},  # a cause without a day
    ]
    rows, flow = _built(people, [{"kind": "death", "codes": ["I21"]}])
    assert rows["cause"].tolist() == [1, 1, 1, 1, 2, 0]
    assert rows["end"].tolist() == [_until("2018-02-01"), *[_until("2018-02-02")] * 4, _until("2020-12-31")]
    assert flow == {"came to the visit": 6, "incident": 4, "died of something else": 1, "followed to the end": 1}
    of_any, _ = _built(people, [{"kind": "death"}])
    assert of_any["cause"].tolist() == [1, 1, 1, 1, 1, 0]


_CODE, _DAY, _CODE_1, _DAY_1 = "41270-0.0", "41280-0.0", "41270-0.1", "41280-0.1"
_HOSPITAL = [{"kind": "icd10", "codes": ["I50"]}]


@pytest.mark.parametrize(
    ("person", "left", "undated_is_prevalent"),
    [
        # of one register: a record without a day beside one with; only that of the condition counts
        ({_CODE: "I50", _DAY: None, _CODE_1: "I501", _DAY_1: "2018-01-01"}, None, [1, 0]),
        ({_CODE: "I10", _DAY: None, _CODE_1: "I501", _DAY_1: "2018-01-01"}, [0, 1], [0, 1]),
        ({_CODE: "I50", _DAY: "1900-01-01", _CODE_1: "I501", _DAY_1: "2010-01-01"}, [1, 0], [1, 0]),
        ({_CODE: "I50", _DAY: "1902-02-02"}, [1, 0], [1, 0]),
        ({_CODE: "I10", _DAY: "1902-02-02"}, [0, 0], [0, 0]),
        # the same of two: first occurrences and the hospital
        ({"131354-0.0": "1909-09-09", _CODE: "I50", _DAY: "2018-01-01"}, None, [1, 0]),
        ({"131354-0.0": "1903-03-03", _CODE: "I50", _DAY: "2018-01-01"}, [1, 0], [1, 0]),
        ({"131354-0.0": "2017-05-05", _CODE: "I50", _DAY: "2018-01-01"}, [0, 1], [0, 1]),
    ],
)
def test_a_record_without_a_day_leaves_out_unless_the_person_was_ill_before(
    person: dict[str, Any], left: list[int] | None, undated_is_prevalent: list[int]
) -> None:
    people = [{"131354-0.0": None, _CODE: None, _DAY: None}, person]
    sources = [{"kind": "first_occurrence", "field": 131354}, *_HOSPITAL]
    rows, flow = _built(people, sources)
    assert rows.index.tolist() == (["1"] if left is None else ["1", "2"])
    assert flow.get("record without a day", 0) == (left is None)
    if left is not None:
        assert rows.loc["2", ["prevalent", "event"]].tolist() == left
    rows, flow = _built(people, sources, windows={"undated": "prevalent"})
    assert rows.loc["2", ["prevalent", "event"]].tolist() == undated_is_prevalent


def test_windows_move_the_bounds_and_time_ends_with_them() -> None:
    # 30 days after the scan: 2016-07-15; 60: 2016-08-14; two years after the scan (730.5 days, so 730): 2018-06-15
    days = ["2016-07-15", "2016-07-16", "2016-08-14", "2016-08-15", "2018-06-15", "2018-06-16", "2019-01-01", None]
    people = [{_CODE: "I50" if day else None, _DAY: day} for day in days]
    windows = {"prevalent_until_days": 30, "incident_from_days": 60, "incident_until_years": 2.0}
    rows, flow = _built(people, _HOSPITAL, windows=windows)
    assert rows.index.tolist() == ["1", "4", "5", "6", "7", "8"]
    assert rows["prevalent"].tolist() == [1, 0, 0, 0, 0, 0]
    assert rows["event"].tolist() == [0, 1, 1, 0, 0, 0]
    assert rows["begin"].tolist() == [60] * 6
    assert rows["end"].tolist() == [730, 61, 730, 730, 730, 730]
    assert flow == {
        "came to the visit": 8, "prevalent": 1, "incident": 2, "followed to the end": 3,
        "record, death or end before follow-up": 2,
    }  # fmt: skip


def test_a_prevalent_person_has_a_time_also_when_it_ended_before_it_began() -> None:
    before = {_CODE: "I50", _DAY: "2010-01-01"}
    rows, _ = _built([before, {**before, "40000-0.0": "2016-06-15"}, {**before, "191-0.0": "2017-01-01"}], _HOSPITAL)
    assert rows["prevalent"].tolist() == [1, 1, 1]
    assert rows["end"].tolist() == [_until("2020-12-31"), 1, _until("2017-01-01")]
    assert (rows["event"] == 0).all()
    assert (rows["cause"] == 0).all()


def test_loss_ends_follow_up_and_what_comes_after_it_is_not_known() -> None:
    people: list[dict[str, Any]] = [
        {"191-0.0": "2018-01-01", _CODE: "I50", _DAY: "2018-01-01"},
        {"191-0.0": "2018-01-01", _CODE: "I50", _DAY: "2018-01-02"},
        {"191-0.0": "2018-01-01", "40000-0.0": "2018-01-01"},
        {"191-0.0": "2018-01-01", "40000-0.0": "2018-01-02"},
        {"191-0.0": "2016-06-15"},  # on the day of the scan
        {"191-0.0": "2016-06-16"},
    ]
    rows, flow = _built(people, _HOSPITAL)
    assert rows["cause"].to_dict() == {"1": 1, "2": 0, "3": 2, "4": 0, "6": 0}
    assert rows["end"].tolist() == [*[_until("2018-01-01")] * 4, 1]
    assert flow["record, death or end before follow-up"] == 1
    without, _ = _built(
        people, _HOSPITAL, dates={"censoring": _spec([{"kind": "death"}]).dates.censoring, "lost_field": None}
    )
    assert without["cause"].to_dict() == {"1": 1, "2": 1, "3": 2, "4": 2, "5": 0, "6": 0}


def test_a_record_after_death_is_told_and_the_same_day_is_a_record() -> None:
    people: list[dict[str, Any]] = [
        {_CODE: "I50", _DAY: "2018-01-02", "40000-0.0": "2018-01-01"},
        {_CODE: "I50", _DAY: "2018-01-01", "40000-0.0": "2018-01-01"},
        {_CODE: "I50", _DAY: "2016-06-20", "40000-0.0": "2016-06-15"},  # died on the day of the scan
        {_CODE: "I50", _DAY: "2016-06-20", "40000-0.0": "2016-06-14"},
    ]
    rows, flow = _built(people, _HOSPITAL)
    assert rows[["prevalent", "event", "cause"]].to_numpy().tolist() == [[0, 1, 1], [0, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert rows["end"].tolist()[:2] == [_until("2018-01-01")] * 2
    assert flow == {"came to the visit": 4, "record dated after death": 3, "prevalent": 2, "incident": 2}


def test_people_of_unknown_nation_or_birth_are_left_out_and_rows_follow_the_participants() -> None:
    people: list[dict[str, Any]] = [
        {"eid": 9, "53-2.0": None, _CODE: "I50", _DAY: "2017-01-01"},  # never came
        {"eid": 4, "54-0.0": None, _CODE: "I50", _DAY: "2018-01-01"},
        {"eid": 7, _CODE: "I50", _DAY: "2019-01-01"},
        {"eid": 2, "34-0.0": None},
        {"eid": 6, "54-0.0": None, _CODE: "I50", _DAY: "2018-01-02", "40000-0.0": "2018-01-01"},  # after death
        {"eid": 5, _CODE: "I50", _DAY: "2010-01-01"},
        {"eid": 3, "54-0.0": None, _CODE: "I50", _DAY: "1900-01-01"},  # without a day as well: counted as that
    ]
    rows, flow = _built(people, _HOSPITAL)
    assert rows.index.tolist() == ["7", "5"]
    assert rows[["prevalent", "event"]].to_numpy().tolist() == [[0, 1], [1, 0]]
    assert rows["end"].tolist()[0] == _until("2019-01-01")
    assert flow == {
        "came to the visit": 6, "nation or birth unknown": 3, "record without a day": 1, "incident": 1, "prevalent": 1,
    }  # fmt: skip
    data, spec = _data(people), _spec(_HOSPITAL)
    built = build_outcomes(data, build_participants(data, spec).iloc[::-1], spec)
    assert built.outcomes["participant"].tolist() == ["5", "7"]
    assert built.outcomes["prevalent"].tolist() == [1, 0]
    assert built.outcomes.index.tolist() == [0, 1]
    assert list(built.outcomes) == [
        "participant", "visit", "condition", "prevalent", "entry_years", "exit_years", "event", "cause",
    ]  # fmt: skip
    assert built.outcomes[["visit", "condition"]].drop_duplicates().to_numpy().tolist() == [["2", "illness"]]


def test_the_nation_of_a_person_decides_until_when_and_of_two_registers_the_earlier_in_it() -> None:
    ends = {
        "inpatient": {"england": "2019-12-31", "scotland": "2018-08-31", "wales": "2017-05-31"},
        "cancer": {"england": "2020-12-31", "scotland": "2017-06-30", "wales": "2018-12-31"},
        "death": {"england": "2021-11-30", "scotland": "2021-11-30", "wales": "2021-11-30"},
    }
    people = [
        {"54-0.0": centre, _CODE: None, _DAY: None, "40006-0.0": None, "40005-0.0": None}
        for centre in (11003, 11004, 11010)
    ]
    both = [*_HOSPITAL, {"kind": "cancer"}]
    rows, _ = _built(people, both, dates={"censoring": ends})
    assert rows["end"].tolist() == [_until("2017-05-31"), _until("2017-06-30"), _until("2019-12-31")]
    rows, _ = _built(people, [{"kind": "death"}], dates={"censoring": ends})
    assert rows["end"].tolist() == [_until("2021-11-30")] * 3


def test_the_fields_that_are_needed_are_those_of_every_source() -> None:
    sources = [
        {"kind": "icd10", "codes": ["I50"]}, {"kind": "icd10", "codes": ["I50"], "field": 41202, "dates": 41262},
        {"kind": "cancer"}, {"kind": "death", "codes": ["I50"]}, {"kind": "algorithm", "field": 42000},
    ]  # fmt: skip
    outcome_fields = {41270, 41280, 41202, 41262, 40006, 40005, 40001, 40002, 40000, 191, 42000}
    assert spec_fields(_spec(sources)) == outcome_fields | {31, 34, 52, 53, 54}
    assert spec_fields(_spec([{"kind": "death"}])) == {40000, 191, 31, 34, 52, 53, 54}
    data = _data([{"40006-0.0": "C50", "40006-3.0": "C50", "40001-1.0": "I50", "40005-0.0": None, "40005-3.0": None}])
    spec = _spec(sources)
    assert spec.dates is not None
    needed = needed_fields(data, spec.outcomes[0].sources, spec.dates)
    assert needed == {
        (40000, 0), (191, 0), (41270, 0), (41280, 0), (41202, 0), (41262, 0), (40006, 0), (40006, 3), (40005, 0),
        (40005, 3), (40001, 1), (40002, 0), (42000, 0),
    }  # fmt: skip
    with pytest.raises(ValueError, match="field 41270 instance 0: absent"):
        build_outcomes(data, build_participants(data, spec), spec)
