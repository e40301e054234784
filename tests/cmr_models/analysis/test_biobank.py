"""UK Biobank's tables: names, codings, placeholder dates, windows, and the way back from a simulated export."""

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmr_models.analysis.biobank import (
    Column,
    FieldTable,
    build_outcomes,
    build_participants,
    check_fields,
    parse_column,
)
from cmr_models.analysis.biobank.fields import Field
from cmr_models.analysis.biobank.outcomes import matches
from cmr_models.analysis.biobank.placeholders import PLACEHOLDERS, read_dates
from cmr_models.analysis.spec import StudySpec
from cmr_models.simulate.biobank import ukb_table
from cmr_models.simulate.cohort import SimulatedCohort, simulate_cohort
from cmr_models.simulate.planted import CohortSettings

_PLANTED = CohortSettings(hazard_factor=4.0, prevalence_factor=2.0)


def study(**changes: Any) -> StudySpec:
    """A spec of heart failure and death."""
    days = dict.fromkeys(("england", "scotland", "wales"), datetime.date(2024, 10, 31))
    content: dict[str, Any] = {
        "name": "test",
        "tables": {"ukb": "ukb.csv"},
        "people": {"sex": {"field": 31, "instance": 0}, "systolic_mmhg": {"field": 4080, "arrays": "mean"}},
        "dates": {"censoring": {"inpatient": days, "death": days, "cancer": days}},
        "outcomes": [
            {"name": "heart_failure", "sources": [{"kind": "first_occurrence", "field": 131354}]},
            {"name": "death", "sources": [{"kind": "death"}]},
        ],
        "exposures": [{"name": "lvef_pct"}],
        "covariate_sets": {"sex": ["sex"]},
        "primary": "sex",
    }
    return StudySpec.model_validate(content | changes)


def _people(**columns: list[Any]) -> FieldTable:
    """People scanned on 2016-06-15, born in June 1950, first assessed in Leeds."""
    n = len(next(iter(columns.values())))
    fixed = {"eid": list(range(1, n + 1)), "31-0.0": [0] * n, "34-0.0": [1950] * n, "52-0.0": [6] * n}
    fixed |= {"53-2.0": ["2016-06-15"] * n, "54-0.0": [11010] * n, "4080-2.0": [120] * n}
    empty = {name: [None] * n for name in ("40000-0.0", "191-0.0", "131354-0.0")}
    return FieldTable.of(pd.DataFrame(fixed | empty | columns))


def _built(data: FieldTable, **changes: Any) -> pd.DataFrame:
    spec = study(**changes)
    people = build_participants(data, spec)
    return build_outcomes(data, people, spec).outcomes


@pytest.fixture(scope="module")
def cohort() -> SimulatedCohort:
    return simulate_cohort(400, np.random.default_rng(4), _PLANTED)


# special codes


def _tv(values: list[Any], **field: Any) -> list[float]:
    content = {"name": "television", "kind": "integer", **field}
    people = {"sex": {"field": 31, "instance": 0}, "tv": {"field": 1070}}
    spec = study(fields={1070: content}, people=people)
    found: list[float] = build_participants(_people(**{"1070-2.0": values}), spec)["tv"].tolist()
    return found


def test_declared_codes_of_integers_are_what_they_stand_for() -> None:
    codes = {-10: "0.5", -3: None, -1: None}
    np.testing.assert_array_equal(_tv([2, -3, -1, -10, None], codes=codes), [2, np.nan, np.nan, 0.5, np.nan])


def test_no_answer_is_missing_in_every_integer_field() -> None:
    np.testing.assert_array_equal(_tv([2, -3, -1, 0]), [2, np.nan, np.nan, 0])


@pytest.mark.parametrize("code", [-10, -818, -121, -2])
def test_a_negative_integer_that_nobody_explained_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match=rf"1070-2\.0: unknown_code \(1\) {code}: list what they mean"):
        _tv([2, code, -1])


def test_special_values_of_a_continuous_field_are_refused_and_a_deprivation_index_is_not() -> None:
    with pytest.raises(ValueError, match="-3, -818: list what they mean"):
        _tv([2.5, -3, -818], kind="continuous")
    assert _tv([2.5, -3, -1.75], kind="continuous") == [2.5, -3, -1.75]


def test_codes_count_in_no_mean_of_several_answers() -> None:
    spec = study(people={"sex": {"field": 31, "instance": 0}, "systolic_mmhg": {"field": 4080, "arrays": "mean"}})
    people = build_participants(_people(**{"4080-2.0": [120, 130], "4080-2.1": [-1, 140]}), spec)
    assert people["systolic_mmhg"].tolist() == [120, 135]


def test_a_categorical_field_without_words_stays_a_category() -> None:
    fields = {1558: {"name": "alcohol", "kind": "categorical"}}
    spec = study(fields=fields, people={"sex": {"field": 31, "instance": 0}, "alcohol": {"field": 1558}})
    people = build_participants(_people(**{"1558-2.0": [1.0, None, 3.0]}), spec)
    assert people["alcohol"].tolist() == ["1", None, "3"]


# names of columns


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("31-0.0", (31, 0, 0)),
        ("4080-2.1", (4080, 2, 1)),
        ("f.41270.0.12", (41270, 0, 12)),
        ("p31", (31, 0, 0)),
        ("p131354", (131354, 0, 0)),
        ("participant.p53_i2", (53, 2, 0)),
        ("p4080_i2_a1", (4080, 2, 1)),
        ("p41280_a3", (41280, 0, 3)),
    ],
)
def test_every_style_of_column_name_is_read(name: str, column: tuple[int, int, int]) -> None:
    assert parse_column(name) == Column(*column)


@given(st.text(max_size=12))
def test_any_other_name_is_no_field(name: str) -> None:
    parsed = parse_column(name)
    assert parsed is None or str(parsed.field) in name.replace("_", "")


def test_two_exports_of_one_column_are_refused() -> None:
    with pytest.raises(ValueError, match="are the same column"):
        FieldTable.of(pd.DataFrame({"eid": [1], "31-0.0": [0], "p31": [0]}))


def test_a_participant_twice_is_refused_without_saying_who() -> None:
    with pytest.raises(ValueError, match="1 rows repeat a participant") as error:
        FieldTable.of(pd.DataFrame({"eid": [4711, 4711]}))
    assert "4711" not in str(error.value)


@pytest.mark.parametrize("cell", ['["I48", "I500"]', "I48|I500"])
def test_codes_in_one_cell_are_taken_apart(cell: str) -> None:
    table = FieldTable.of(pd.DataFrame({"eid": [1, 2], "p41270": [cell, None]}))
    values = table.values(41270)
    assert values.iloc[0].tolist() == ["I48", "I500"]
    assert values.iloc[1].isna().all()


# the dictionary


def test_absent_fields_wrong_types_and_unknown_codes_are_all_named() -> None:
    data = _people(**{"4080-2.0": ["high", 120], "31-0.0": [0, 7]})
    with pytest.raises(ValueError, match="wrong_type") as error:
        build_participants(data, study(people={"sex": {"field": 31, "instance": 0}, "systolic_mmhg": {"field": 4080},
                                               "smoking": {"field": 20116}}))  # fmt: skip
    text = str(error.value)
    assert "31-0.0: unknown_code (1) 7: not in the coding" in text
    assert "4080-2.0: wrong_type (1) integer expected" in text
    assert "field 20116 instance 2: absent" in text
    assert "high" not in text  # values that are no codes are people's


def test_a_field_that_nobody_described_is_named() -> None:
    findings = check_fields(_people(**{"31-0.0": [0]}), [(99999, 0)])
    assert findings["problem"].tolist() == ["unknown_field"]
    described = {99999: Field("own", "continuous")}
    assert check_fields(_people(**{"99999-0.0": [1.5]}), [(99999, 0)], described).empty


def test_codes_become_our_words_and_exported_words_are_read_too() -> None:
    people = build_participants(_people(**{"31-0.0": [0, 1, "Female"]}), study())
    assert people["sex"].tolist() == ["female", "male", "female"]


# dates


@pytest.mark.parametrize("day", PLACEHOLDERS)
def test_a_placeholder_is_never_a_day(day: str) -> None:
    dated = read_dates(pd.Series([day, "2015-03-02", None], name="x"))
    assert np.isnat(dated.date).tolist() == [True, False, True]
    assert int(dated.undated[0]) + int(dated.at_birth[0]) == 1


@pytest.mark.parametrize(("day", "kept"), [("1902-02-02", 1), ("1903-03-03", 1), ("1900-01-01", 0), ("2037-07-07", 0)])
def test_a_record_from_birth_is_prevalent_and_one_without_a_day_is_left_out(day: str, kept: int) -> None:
    table = _built(_people(**{"131354-0.0": [day, None]}))
    first = table[(table["condition"] == "heart_failure") & (table["participant"] == "1")]
    assert len(first) == kept
    assert first["prevalent"].tolist() == [1] * kept
    assert not first["event"].any()


def test_undated_records_count_as_prevalent_if_the_spec_says_so() -> None:
    table = _built(_people(**{"131354-0.0": ["1909-09-09"]}), windows={"undated": "prevalent"})
    assert table.loc[table["condition"] == "heart_failure", "prevalent"].tolist() == [1]


def test_a_record_on_the_day_of_the_scan_is_prevalent_and_the_next_day_incident() -> None:
    table = _built(_people(**{"131354-0.0": ["2016-06-15", "2016-06-16"]}))
    rows = table[table["condition"] == "heart_failure"]
    assert rows["prevalent"].tolist() == [1, 0]
    assert rows["event"].tolist() == [0, 1]
    assert (rows["exit_years"] - rows["entry_years"]).iloc[1] == pytest.approx(1 / 365.25)


def test_the_first_two_years_are_left_out_on_demand() -> None:
    data = _people(**{"131354-0.0": ["2017-06-15", "2019-06-15"]})
    table = _built(data, windows={"incident_from_days": 730})
    rows = table[table["condition"] == "heart_failure"]
    assert rows["participant"].tolist() == ["2"]  # whose record lies after the two years
    born, begun = datetime.date(1950, 6, 15), datetime.date(2018, 6, 15)
    assert rows["entry_years"].iloc[0] == pytest.approx((begun - born).days / 365.25)


def test_time_that_is_free_of_events_by_definition_is_refused() -> None:
    with pytest.raises(ValueError, match="free of events by definition"):
        study(windows={"prevalent_until_days": 30})


def test_death_loss_and_the_end_of_records_end_the_watch() -> None:
    data = _people(**{
        "40000-0.0": ["2018-01-01", None, None, "2025-01-01"],
        "191-0.0": [None, "2019-01-01", None, None],
    })  # fmt: skip
    table = _built(data).set_index(["condition", "participant"])
    exits = table.loc["heart_failure", "exit_years"] - table.loc["heart_failure", "entry_years"]
    days = [(datetime.date(*d) - datetime.date(2016, 6, 15)).days for d in ((2018, 1, 1), (2019, 1, 1), (2024, 10, 31))]
    assert (exits * 365.25).round().tolist() == [days[0], days[1], days[2], days[2]]
    assert table.loc["heart_failure", "cause"].tolist() == [2, 0, 0, 0]
    assert table.loc["death", "event"].tolist() == [1, 0, 0, 0]


def test_records_end_earlier_in_another_nation() -> None:
    days = {"england": "2024-10-31", "scotland": "2022-08-31", "wales": "2022-05-31"}
    censoring = {"inpatient": days, "death": dict.fromkeys(days, "2024-10-31")}
    data = _people(**{"54-0.0": [11010, 11005, 11003], "131354-0.0": ["2023-01-01"] * 3})
    table = _built(data, dates={"censoring": censoring})
    assert table.loc[table["condition"] == "heart_failure", "event"].tolist() == [1, 0, 0]


def test_a_record_dated_after_death_counts_at_death() -> None:
    data = _people(**{"131354-0.0": ["2018-02-01"], "40000-0.0": ["2018-01-01"]})
    row = _built(data).set_index("condition").loc["heart_failure"]
    assert (row["event"], row["cause"]) == (1, 1)
    died, scanned = datetime.date(2018, 1, 1), datetime.date(2016, 6, 15)
    assert row["exit_years"] - row["entry_years"] == pytest.approx((died - scanned).days / 365.25)


# codes


def test_icd10_codes_match_their_children_and_ranges_and_no_neighbour() -> None:
    second = ["I50 Heart failure", "K50", "I25.1", "", "I20"]
    codes = pd.DataFrame({"a": ["I500", "I51", "I219", "I24", None], "b": second})
    assert matches(codes, ["I50"]).any(axis=1).tolist() == [True, False, False, False, False]
    assert matches(codes, ["I20-I25"]).any(axis=1).tolist() == [False, False, True, True, True]
    assert not matches(codes, ["I50.1"]).any()


def test_a_hospital_code_has_the_date_of_its_own_position() -> None:
    data = _people(**{
        "41270-0.0": ["I10", "Z00"], "41270-0.1": ["I500", "I509"],
        "41280-0.0": ["2010-01-01", "2010-01-01"], "41280-0.1": ["2018-01-01", "2019-01-01"],
    })  # fmt: skip
    outcomes = [{"name": "heart_failure", "sources": [{"kind": "icd10", "codes": ["I50"]}]}]
    rows = _built(data, outcomes=outcomes)
    assert rows["prevalent"].tolist() == [0, 0]
    assert rows["event"].tolist() == [1, 1]


def test_more_codes_than_dates_is_an_incomplete_export() -> None:
    data = _people(**{"41270-0.0": ["I10"], "41270-0.1": ["I500"], "41280-0.0": ["2010-01-01"]})
    outcomes = [{"name": "heart_failure", "sources": [{"kind": "icd10", "codes": ["I50"]}]}]
    with pytest.raises(ValueError, match="more codes than field 41280 has dates"):
        _built(data, outcomes=outcomes)


# the way back


@pytest.mark.parametrize("style", ["main", "rap"])
def test_the_outcomes_of_a_simulated_export_are_those_simulated(cohort: SimulatedCohort, style: Any) -> None:
    table = ukb_table(cohort, np.random.default_rng(5), censoring_date=_PLANTED.censoring_date, style=style)
    sources: dict[str, list[dict[str, Any]]] = {
        "heart_failure": [{"kind": "first_occurrence", "field": 131354}, {"kind": "icd10", "codes": ["I50"]}],
        "myocardial_infarction": [{"kind": "algorithm", "field": 42000}],
        "diabetes": [{"kind": "icd10", "codes": ["E10-E14"]}],
        "cancer": [{"kind": "cancer", "codes": ["C50"]}],
        "death": [{"kind": "death"}],
    }
    spec = study(outcomes=[{"name": name, "sources": given} for name, given in sources.items()])
    data = FieldTable.of(table)
    people = build_participants(data, spec)
    built = build_outcomes(data, people, spec).outcomes.sort_values(["condition", "participant"])
    truth = cohort.outcomes[cohort.outcomes["condition"].isin(sources)].sort_values(["condition", "participant"])
    assert built["participant"].tolist() == truth["participant"].tolist()
    assert built["prevalent"].tolist() == truth["prevalent"].tolist()
    free = (truth["prevalent"] == 0).to_numpy()
    assert built["cause"].to_numpy()[free].tolist() == truth["cause"].to_numpy()[free].tolist()
    watched = [(one["exit_years"] - one["entry_years"]).to_numpy()[free] * 365.25 for one in (built, truth)]
    assert np.abs(watched[0] - watched[1]).max() < 1.01  # the simulation rounds the last day up
    assert np.abs(people["age_years"] - cohort.participants["age_years"]).max() < 0.06  # the middle of the month


def test_every_person_is_at_one_step_of_the_flow(cohort: SimulatedCohort) -> None:
    table = ukb_table(cohort, np.random.default_rng(5), censoring_date=_PLANTED.censoring_date)
    table.loc[:9, "131354-0.0"] = "1900-01-01"
    data = FieldTable.of(table)
    people = build_participants(data, study())
    flow = build_outcomes(data, people, study()).flow
    parts = flow[flow["group_by"] == "people"].groupby("outcome")["n"].sum()
    assert parts.tolist() == [400.0, 400.0]
    assert flow.set_index(["outcome", "step"]).loc[("heart_failure", "record without a day"), "n"] == 10


# codes, words and dates as exports have them


def _category(cells: list[Any]) -> list[Any]:
    data = _people(**{"6138-2.0": cells})
    spec = study(
        people={"degree": {"field": 6138}},
        fields={6138: {"name": "qualifications", "kind": "categorical"}},
        covariate_sets={"small": ["degree"]},
        primary="small",
    )
    return build_participants(data, spec)["degree"].tolist()


def test_no_answer_is_no_category() -> None:
    assert _category([1, 2, -3, -1, None]) == ["1", "2", None, None, None]
    assert _category(["Degree", "None of the above", "Prefer not to answer", "do not know"]) == [
        "Degree", "None of the above", None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("code", [-7, -121, -818])
def test_a_negative_category_that_nobody_explained_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match=rf"6138-2\.0: unknown_code \(1\) {code}: list what they mean"):
        _category([1, code])


def test_an_answer_in_words_that_the_coding_lacks_is_counted_and_not_quoted() -> None:
    data = _people(**{"31-0.0": ["Female", "Jane Doe"]})
    with pytest.raises(ValueError, match=r"31-0\.0: unknown_code \(1\) not in the coding") as caught:
        build_participants(data, study())
    assert "Jane" not in str(caught.value)


@pytest.mark.parametrize("cell", ["inf", "1e400", "1,5", "<5", "nan"])
def test_what_is_no_number_is_counted(cell: str) -> None:
    with pytest.raises(ValueError, match=r"4080-2\.0: wrong_type \(1\) integer expected"):
        build_participants(_people(**{"4080-2.0": ["120", cell]}), study())


def test_no_answer_in_words_is_a_missing_number() -> None:
    found = build_participants(_people(**{"4080-2.0": ["120", "Prefer not to answer"]}), study())
    np.testing.assert_array_equal(found["systolic_mmhg"], [120.0, np.nan])


@pytest.mark.parametrize("day", ["2016-06-15", "2016-6-15", "2016-06-15T10:30:00", "2016-06-15 00:00:00+00:00"])
def test_a_day_is_read_with_or_without_a_time(day: str) -> None:
    assert read_dates(pd.Series([day])).date[0] == np.datetime64("2016-06-15")


@pytest.mark.parametrize("day", ["15/06/2016", "20160615", "2016-06-15garbage", "2016-13-01", "42536", "2016"])
def test_a_day_in_another_form_is_counted_and_not_guessed(day: str) -> None:
    with pytest.raises(ValueError, match="1 values are not dates as YYYY-MM-DD"):
        read_dates(pd.Series([day]))
