"""Participants from fields of UK Biobank: in any order, some of whom never came, with answers at several visits."""

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.biobank import FieldTable, build_participants, further_fields
from cmr_models.analysis.biobank.people import nations, needed_fields
from cmr_models.analysis.spec import StudySpec


def _spec(**changes: Any) -> StudySpec:
    days = dict.fromkeys(("england", "scotland", "wales"), datetime.date(2024, 10, 31))
    content: dict[str, Any] = {
        "name": "test",
        "tables": {"ukb": "ukb.csv"},
        "people": {"sex": {"field": 31, "instance": 0}},
        "dates": {"censoring": {"inpatient": days, "death": days}},
        "outcomes": [{"name": "death", "sources": [{"kind": "death"}]}],
        "exposures": [{"name": "lvef_pct"}],
        "covariate_sets": {"sex": ["sex"]},
        "primary": "sex",
    }
    return StudySpec.model_validate(content | changes)


# Four people in no order; 40 never came to imaging.
_TABLE: dict[str, list[Any]] = {
    "eid": [30, 10, 40, 20],
    "31-0.0": [0, 1, 1, 0],
    "34-0.0": [1950, 1946, 1990, 1961],
    "52-0.0": [6, 12, 1, 2],
    "53-2.0": ["2016-06-16", "2015-01-02", None, "2019-11-30"],
    "54-0.0": [11010, 11004, 11003, None],
}


def _built(columns: dict[str, list[Any]] | None = None, **changes: Any) -> pd.DataFrame:
    return build_participants(FieldTable.of(pd.DataFrame(_TABLE | (columns or {}))), _spec(**changes))


def test_who_came_is_in_with_age_from_the_middle_of_the_month_of_birth() -> None:
    people = _built()
    assert people["participant"].tolist() == ["30", "10", "20"]
    assert people.index.tolist() == [0, 1, 2]
    assert people["visit"].tolist() == ["2"] * 3
    born = [datetime.date(1950, 6, 15), datetime.date(1946, 12, 15), datetime.date(1961, 2, 15)]
    came = [datetime.date(2016, 6, 16), datetime.date(2015, 1, 2), datetime.date(2019, 11, 30)]
    assert people["birth_date"].tolist() == [pd.Timestamp(day) for day in born]
    assert people["entry_date"].tolist() == [pd.Timestamp(day) for day in came]
    # 24108, 24855 and 21472 days
    assert people["age_years"].tolist() == [66.0041, 68.0493, 58.7871]
    assert people["nation"].tolist() == ["england", "scotland", None]
    assert people["sex"].tolist() == ["female", "male", "female"]


def test_months_are_read_as_numbers_or_names_and_a_missing_one_leaves_the_age_open() -> None:
    people = _built({"52-0.0": ["September", "december", 1, None]})
    assert people["birth_date"].tolist()[:2] == [pd.Timestamp(1950, 9, 15), pd.Timestamp(1946, 12, 15)]
    assert people["age_years"].isna().tolist() == [False, False, True]
    assert people["birth_date"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize(("year", "is_child"), [(1998, False), (1997, False), (1999, True)])
def test_nobody_under_18_is_taken(year: int, is_child: bool) -> None:
    # born in the middle of May; 18 years and one month, 19 years, 17 years at the visit of 2016-06-16
    columns = {"34-0.0": [year, 1946, 2015, 1961], "52-0.0": [5, 12, 1, 2]}  # the child of 2015 never came
    if not is_child:
        assert _built(columns)["age_years"].iloc[0] == pytest.approx(2016 - year + 32 / 365.25, abs=0.003)
        return
    with pytest.raises(ValueError, match="1 people are under 18 at the visit"):
        _built(columns)


def test_answers_are_the_first_the_last_or_the_mean_of_the_visit_that_is_named() -> None:
    fields = {1558: {"name": "alcohol", "kind": "categorical"}}
    columns = {
        "4080-2.0": [120, None, 1, 150], "4080-2.1": [131, 144, 2, -1], "4080-2.2": [142, 151, 3, None],
        "4080-0.0": [99, 98, 97, 96], "1558-2.0": [1, 2, 3, 4], "1558-2.1": [5, 6, 7, 8],
        "102-3.0": [61, 62, 63, 64],
    }  # fmt: skip
    people = {
        "sex": {"field": 31, "instance": 0},
        **{how: {"field": 4080, "arrays": how} for how in ("first", "last", "mean")},
        "before": {"field": 4080, "instance": 0},
        "pulse": {"field": 102, "instance": 3},
        "alcohol": {"field": 1558},
        "alcohol_last": {"field": 1558, "arrays": "last"},
    }
    found = _built(columns, people=people, fields=fields)
    np.testing.assert_array_equal(found["first"], [120, np.nan, 150])
    np.testing.assert_array_equal(found["last"], [142, 151, np.nan])
    np.testing.assert_array_equal(found["mean"], [131, 147.5, 150])  # of those that are there
    assert found["before"].tolist() == [99, 98, 96]
    assert found["pulse"].tolist() == [61, 62, 64]
    assert found["alcohol"].tolist() == ["1", "2", "4"]
    assert found["alcohol_last"].tolist() == ["5", "6", "8"]


def test_phenotypes_of_the_biobank_are_those_of_the_imaging_visit_and_dates_and_text_stay_as_written() -> None:
    columns = {
        "24103-2.0": [61.5, None, 1.0, 55.25], "24103-3.0": [1.0] * 4, "20005-2.0": ["a", "b", "c", "d"],
        "9-2.0": [2.5, -3.0, 0.0, 4.0],
    }  # fmt: skip
    exposures = [{"name": "lvef_ukb", "field": 24103}, {"name": "lvef_pct"}, {"name": "own", "field": 9}]
    fields = {20005: {"name": "note", "kind": "text"}, 9: {"name": "own", "kind": "continuous", "codes": {-3: None}}}
    found = _built(
        columns,
        exposures=exposures,
        fields=fields,
        people={"sex": {"field": 31, "instance": 0}, "note": {"field": 20005}},
    )
    np.testing.assert_array_equal(found["lvef_ukb"], [61.5, np.nan, 55.25])
    np.testing.assert_array_equal(found["own"], [2.5, np.nan, 4.0])
    assert found["note"].tolist() == ["a", "b", "d"]
    assert "lvef_pct" not in found


def test_another_imaging_visit_is_read_throughout() -> None:
    columns = {
        "53-3.0": ["2020-06-15", None, "2021-01-01", None],
        "24103-3.0": [50.0, 51, 52, 53],
        "4080-3.0": [1, 2, 3, 4],
    }
    people = {"sex": {"field": 31, "instance": 0}, "sbp": {"field": 4080}}
    found = _built(columns, instance=3, people=people, exposures=[{"name": "lvef", "field": 24103}])
    assert found[["participant", "visit", "lvef", "sbp"]].to_numpy().tolist() == [
        ["30", "3", 50.0, 1],
        ["40", "3", 52.0, 3],
    ]
    assert found["nation"].tolist() == ["england", "wales"]
    spec = _spec(instance=3, people=people, exposures=[{"name": "lvef", "field": 24103}, {"name": "own"}])
    assert needed_fields(spec) == {(31, 0), (4080, 3), (24103, 3), (34, 0), (52, 0), (53, 3), (54, 0)}


def test_a_table_that_lacks_what_is_needed_names_all_of_it() -> None:
    data = FieldTable.of(pd.DataFrame({name: _TABLE[name] for name in ("eid", "31-0.0", "34-0.0")}))
    with pytest.raises(ValueError, match="is not as the field dictionary says") as caught:
        build_participants(data, _spec())
    for where in ("field 52 instance 0: absent", "field 53 instance 2: absent", "field 54 instance 0: absent"):
        assert where in str(caught.value)
    with pytest.raises(ValueError, match="no `dates`"):
        needed_fields(_spec().model_copy(update={"dates": None}))


def test_fields_of_the_spec_have_all_that_it_says() -> None:
    (found,) = further_fields(
        _spec(fields={9: {"name": "n", "kind": "integer", "codes": {-3: None}, "unit": "mm"}})
    ).items()
    assert found[0] == 9
    assert (found[1].name, found[1].kind, dict(found[1].codes), found[1].unit) == ("n", "integer", {-3: None}, "mm")


_NATIONS = {
    "scotland": [11004, 11005, "Glasgow", "edinburgh"],
    "wales": [11003, 11022, 11023, "Cardiff", "SWANSEA", "Wrexham"],
    "england": [11001, 11002, 11006, 11021, 10003, "11010", "Leeds", 11024],
}


def test_a_nation_is_that_of_the_first_centre_by_code_or_name() -> None:
    cells = [(centre, nation) for nation, centres in _NATIONS.items() for centre in centres]
    cells = [*cells[::2], (None, None), *cells[1::2]]
    found = nations(pd.Series([centre for centre, _ in cells], index=range(len(cells), 0, -1), dtype=object))
    assert found.tolist() == [nation for _, nation in cells]
    assert found.index[0] == len(cells)
