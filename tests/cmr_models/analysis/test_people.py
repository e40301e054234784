"""Who is in an analysis: whom each join keeps, which visit is the first, and what doubted studies do."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.exclusions import exclude
from cmr_models.analysis.matching import check_outcomes, people_flow
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.people import (
    analysis_outcome,
    analysis_people,
    at_risk_rows,
    complete_rows,
    is_doubted,
    usable,
)
from cmr_models.analysis.spec import Exclusion
from cmr_models.contracts.identifiers import safe_id

_SPEC = AnalysisSpec(phenotypes=("lvef_pct",), conditions=("death",), covariates=(), group_by=())


_NO_OUTCOMES = pd.DataFrame(columns=["participant", "visit", "condition", "prevalent", "entry_years", "exit_years"])


def _studies(people: list[str], visits: list[str], **more: object) -> pd.DataFrame:
    values = {"status": "ok", "qc_ok": True, "lvef_pct": np.arange(len(people), dtype=float), **more}
    return pd.DataFrame({"participant": people, "visit": visits, **values})


def _people(people: list[str], visits: list[str], ages: list[float], **more: object) -> pd.DataFrame:
    return pd.DataFrame({"participant": people, "visit": visits, "age_years": ages, **more})


@pytest.mark.parametrize("raw", ["B-1000009", "Müller, A", "0012", "12.0", " 7 ", "a/b\\c", "Ø#1"])
def test_a_person_meets_the_row_with_the_hospitals_own_identifier(raw: str) -> None:
    studies = _studies([safe_id(raw), "other"], ["2", "2"])
    found = analysis_people(studies, _people([raw, "other"], ["2", "2.0"], [50.0, 60.0]), _SPEC)
    assert sorted(found["age_years"]) == [50.0, 60.0]


def test_half_a_cohort_that_meets_no_row_is_an_error_that_counts_it() -> None:
    names = [f"{k:04d}" for k in range(1, 11)]
    listed = [name if k % 2 else name.lstrip("0") for k, name in enumerate(names)]
    with pytest.raises(ValueError, match=r"5 of 10 people .* no row; 5 would meet if case, leading zeros") as caught:
        analysis_people(_studies(names, ["2"] * 10), _people(listed, ["2"] * 10, [50.0] * 10), _SPEC)
    assert "0001" not in str(caught.value)
    allowed = _SPEC.model_copy(update={"unmatched_max": 0.5})
    found = analysis_people(_studies(names, ["2"] * 10), _people(listed, ["2"] * 10, [50.0] * 10), allowed)
    assert found["age_years"].notna().sum() == 5


def test_rows_under_another_visit_are_named_as_such() -> None:
    studies = _studies(["1", "2", "3"], ["0a1b2c3d", "9f8e7d6c", "2"])
    with pytest.raises(ValueError, match="2 are listed under another visit"):
        analysis_people(studies, _people(["1", "2", "3"], ["2"] * 3, [50, 60, 70]), _SPEC)


def test_outcomes_that_are_about_other_people_are_an_error() -> None:
    names, visits = ["1", "2", "3"], ["2", "2", "2"]
    people = analysis_people(_studies(names, visits), _people(names, visits, [50, 60, 70]), _SPEC)
    outcomes = pd.DataFrame({"participant": ["1", "02", "03"], "visit": visits, "condition": "death"})
    with pytest.raises(ValueError, match="outcomes: 2 of 3 people"):
        check_outcomes(people, outcomes, 0.1)
    check_outcomes(people, outcomes, 0.7)
    check_outcomes(people, outcomes.assign(participant=["1", "2", "03"]), 0.1)  # a single person may be missing


def test_a_condition_whose_rows_are_those_of_the_ill_is_an_error_and_one_without_rows_is_none() -> None:
    names, visits = [f"{k}" for k in range(10)], ["2"] * 10
    people = analysis_people(_studies(names, visits), _people(names, visits, [50.0] * 10), _SPEC)
    death, gout = ({"visit": "2", "condition": condition} for condition in ("death", "gout"))
    rows = [*({"participant": name, **death} for name in names), *({"participant": k, **gout} for k in "012345")]
    outcomes = pd.DataFrame(rows)
    check_outcomes(people, outcomes, 0.1, ("death", "stroke"))
    check_outcomes(people, outcomes, 0.4, ("death", "gout"))
    with pytest.raises(ValueError, match="outcomes, gout: 4 of 10 people"):
        check_outcomes(people, outcomes, 0.39, ("death", "gout"))


# visits


def test_the_first_visit_is_that_at_the_lower_age_whatever_the_names() -> None:
    studies = _studies(["p", "p", "q", "q"], ["ffff0000", "0000ffff", "00000001", "f0000000"])
    people = _people(["p", "p", "q", "q"], list(studies["visit"]), [50.0, 54.0, 61.0, 70.0])
    found = analysis_people(studies, people, _SPEC)
    assert found["visit"].tolist() == ["ffff0000", "00000001"]
    assert not found["visits_contradict"].any()


def test_numbers_order_visits_of_one_age_and_ten_comes_after_nine() -> None:
    studies, people = _studies(["p", "p"], ["10", "9"]), _people(["p", "p"], ["10", "9"], [50.0, 50.0])
    assert analysis_people(studies, people, _SPEC)["visit"].tolist() == ["9"]


def test_a_day_decides_before_an_age() -> None:
    people = _people(["p", "p"], ["bb", "aa"], [50.0, 50.0], visit_date=["2015-01-02", "2016-03-04"])
    assert analysis_people(_studies(["p", "p"], ["aa", "bb"]), people, _SPEC)["visit"].tolist() == ["bb"]


@pytest.mark.parametrize("ages", [[50.0, 50.0], [50.0, np.nan]])
@pytest.mark.parametrize("visits", [["aaaa", "bbbb"], ["12345678", "87654321"]])
def test_an_order_that_nothing_tells_is_an_error(ages: list[float], visits: list[str]) -> None:
    with pytest.raises(ValueError, match="order_unknown: 1 people have several visits"):
        analysis_people(_studies(["p", "p"], visits), _people(["p", "p"], visits, ages), _SPEC)


def test_an_order_that_nothing_tells_of_few_people_leaves_these_out_and_counts_them() -> None:
    names = [*"abcdefgh", "p", "p", "q", "q", "q"]
    visits = [*["2"] * 8, "ffff", "eeee", "cccc", "bbbb", "aaaa"]
    studies = _studies(names, visits)
    people = _people(names, visits, [50.0] * 10 + [61.0, 60.0, 60.0])
    found = analysis_people(studies, people, _SPEC.model_copy(update={"unmatched_max": 0.2}))
    assert found["participant"].tolist() == list("abcdefgh")
    flow = people_flow(studies, people, _NO_OUTCOMES, found, (), include_doubted=False)
    n = flow[flow["group_by"] == "visits"].set_index("step")["n"].to_dict()
    assert n == {"first visit": 8, "order of visits unknown, left out": 5, "later visit, left out": 0}
    with pytest.raises(ValueError, match=r"order_unknown: 2 people .* `unmatched_max` \(now 0.19\)"):
        analysis_people(studies, people, _SPEC.model_copy(update={"unmatched_max": 0.19}))
    single = analysis_people(studies[:10], people[:10], _SPEC.model_copy(update={"unmatched_max": 0.0}))
    assert single["participant"].tolist() == list("abcdefgh")  # a single person may always be left out


def test_the_clock_of_the_scanner_orders_what_no_table_does() -> None:
    names, visits = ["p", "p", "q", "q", "r", "r"], ["ffff", "aaaa", "bbbb", "cccc", "dddd", "eeee"]
    told = ["20200301093000", "20200301141500", "20210102", "20200102", "20200101080000", "20200102080000"]
    ages = [50.0, 50.0, np.nan, np.nan, 61.0, 60.0]
    found = analysis_people(_studies(names, visits, acquired=told), _people(names, visits, ages), _SPEC)
    assert found["visit"].tolist() == ["ffff", "cccc", "eeee"]  # of r, the ages tell
    assert found["same_day"].tolist() == [True, False, False]
    assert "acquired" not in found


def test_of_the_studies_of_a_day_the_one_that_passed_is_taken_then_the_first() -> None:
    names = [name for name in "pqrst" for _ in range(2)]
    visits = [f"{name}{k}{'x' * 6}" for name in "pqrst" for k in range(2)]
    told = ["20200301090000", "20200301100000"] * 4 + ["20200301090000", "20200302100000"]
    studies = _studies(names, visits, acquired=told).astype({"qc_ok": object})
    studies.loc[0, "status"] = "absent"  # p: long axis first, short axis later
    studies.loc[2, "qc_ok"] = False  # q: done again
    # r: both passed; s: the first is not listed; t: the first of two days is not measured
    studies.loc[8, "status"] = "quarantined"
    people = _people(names, visits, [50.0] * 10).drop(index=6)
    found = analysis_people(studies, people, _SPEC.model_copy(update={"unmatched_max": 0.5}))
    assert [visit[:2] for visit in found["visit"]] == ["p1", "q1", "r0", "s1", "t0"]
    assert found["same_day"].tolist() == [True, True, True, True, False]
    flow = people_flow(studies, people, _NO_OUTCOMES, found, (), include_doubted=False)
    assert flow.set_index("step")["n"]["first of several studies of one day"] == 4
    assert flow.set_index("step")["n"]["later visit, left out"] == 5


def test_a_day_by_table_orders_visits_and_the_clock_those_of_one_day() -> None:
    visits = ["aaaa", "bbbb", "cccc"]
    told = ["20200102100000", "20200102093000", "20190101"]  # the last has no clock: no moment orders any of them
    people = _people(["p"] * 3, visits, [50.0] * 3, visit_date=["2020-01-02", "2020-01-02", "2020-01-03"])
    spec = _SPEC.model_copy(update={"unmatched_max": 1.0})
    found = analysis_people(_studies(["p"] * 3, visits, acquired=[*told[:2], "20200103080000"]), people, spec)
    assert found["visit"].tolist() == ["bbbb"]
    with pytest.raises(ValueError, match="order_unknown"):
        analysis_people(_studies(["p"] * 3, visits, acquired=[*told[:2], "20200103"]), people, spec)


def test_numbers_against_ages_are_counted_and_age_decides() -> None:
    studies, people = _studies(["p", "p"], ["2", "3"]), _people(["p", "p"], ["2", "3"], [60.0, 55.0])
    found = analysis_people(studies, people, _SPEC)
    assert found["visit"].tolist() == ["3"]
    assert found["visits_contradict"].tolist() == [True]


# doubted studies


def test_doubted_studies_stay_out_unless_they_are_taken_in() -> None:
    studies = _studies(["1", "2", "3"], ["2"] * 3, qc_ok=[True, False, None])
    people = _people(["1", "2", "3"], ["2"] * 3, [50.0, 51.0, 52.0])
    out = analysis_people(studies, people, _SPEC)
    assert out["doubted"].tolist() == [False, True, True]  # nobody judged the third
    np.testing.assert_array_equal(out["lvef_pct"], [0.0, np.nan, np.nan])
    taken = analysis_people(studies, people, _SPEC.model_copy(update={"include_doubted": True}))
    np.testing.assert_array_equal(taken["lvef_pct"], [0.0, 1.0, 2.0])


def test_a_table_of_the_users_own_without_verdicts_takes_part() -> None:
    studies = _studies(["1", "2"], ["2"] * 2).drop(columns="qc_ok")
    found = analysis_people(studies, _people(["1", "2"], ["2"] * 2, [50.0, 51.0]), _SPEC)
    np.testing.assert_array_equal(found["lvef_pct"], [0.0, 1.0])
    assert not found["doubted"].any()


def test_everybody_is_counted_out() -> None:
    studies = _studies(["1", "1", "2", "3", "4"], ["2", "3", "2", "2", "2"], qc_ok=[True, True, False, True, True])
    studies.loc[3, "status"] = "quarantined"
    people = _people(["1", "1", "2", "3", "9"], ["2", "3", "2", "2", "2"], [50.0, 53.0, 60.0, 61.0, 70.0])
    outcomes = pd.DataFrame({"participant": ["1", "2", "8"], "visit": "2", "condition": ["death", "gout", "death"]})
    outcomes = outcomes.assign(prevalent=0, entry_years=50.0, exit_years=[50.0, 60.0, 60.0])
    spec = _SPEC.model_copy(update={"unmatched_max": 1.0})
    found = analysis_people(studies, people, spec)
    flow = people_flow(studies, people, outcomes, found, ("death",), include_doubted=False)
    n = flow.set_index(["outcome", "group_by", "step"])["n"].to_dict()
    assert n["", "studies", "without a row of participants"] == 1
    assert n["", "visits", "later visit, left out"] == 1
    assert n["", "rows of participants", "without a study"] == 1
    assert n["", "rows of outcomes", "of no study"] == 1
    assert [n["", "first visits", k] for k in ("measured", "doubted, left out", "not measured")] == [2, 1, 1]
    assert n["death", "first visits", "without a row of the condition"] == 3
    totals = flow[flow["group_by"] != "overall"].groupby(["outcome", "group_by"])["n"].sum().to_dict()
    assert totals["", "studies"] == totals["", "visits"] == 5
    assert totals["", "first visits"] == totals["death", "first visits"] == 4
    assert n["death", "first visits, follow-up", "not followed for any time"] == 1  # the visit is the last day


def test_people_without_a_covariate_or_time_at_risk_are_counted() -> None:
    names = ["1", "2", "3", "4", "5"]
    studies = _studies(names, ["2"] * 5)
    people = _people(names, ["2"] * 5, [50.0] * 5, sex=["f", None, "m", "f", "m"])
    outcomes = pd.DataFrame({"participant": names, "visit": "2", "condition": "death", "prevalent": [0, 0, 1, 0, 0]})
    outcomes = outcomes.assign(entry_years=50.0, exit_years=[60.0, 55.0, 60.0, np.nan, 49.0])
    spec = _SPEC.model_copy(update={"covariates": ("sex",)})
    found = analysis_people(studies, people, spec)
    flow = people_flow(studies, people, outcomes, found, ("death",), include_doubted=False, covariates=("sex",))
    n = flow.set_index(["outcome", "group_by", "step"])["n"].to_dict()
    assert n["", "first visits, covariates", "without a covariate"] == 1
    followed = [n["death", "first visits, follow-up", step] for step in (
        "at risk", "with the condition at the visit", "not followed for any time"
    )]  # fmt: skip
    assert followed == [2, 1, 2]


# types


@pytest.mark.parametrize("odd", [".", "NA", "<5", "1e400", "unknown"])
def test_one_odd_cell_makes_no_hundred_indicators(odd: str) -> None:
    spec = _SPEC.model_copy(update={"covariates": ("sbp",)})
    names = [str(k) for k in range(1, 101)]
    people = _people(names, ["2"] * 100, [50.0] * 100, sbp=[odd, *map(str, range(100, 199))])
    with pytest.raises(ValueError, match="1 of 100 cells of sbp are not numbers") as caught:
        analysis_people(_studies(names, ["2"] * 100), people, spec)
    assert repr(odd) not in str(caught.value)


@pytest.mark.parametrize("cells", [["1,5", "2,0", "2,5"], ["1.234,5", "2.000,0", "17,1"], ["1,234", "2,000", "-3,5"]])
def test_numbers_with_a_comma_are_no_categories(cells: list[str]) -> None:
    people = _people(["1", "2", "3"], ["2"] * 3, [50.0] * 3, alcohol=cells)
    spec = _SPEC.model_copy(update={"covariates": ("alcohol",)})
    with pytest.raises(ValueError, match="3 of 3 cells of alcohol are numbers with a comma") as caught:
        analysis_people(_studies(["1", "2", "3"], ["2"] * 3), people, spec)
    assert cells[0] not in str(caught.value)


@pytest.mark.parametrize("role", ["covariates", "group_by", "strata"])
@pytest.mark.parametrize("levels", [["male", "Male", "female"], ["not  known", "not known", "x"]])
def test_levels_that_differ_in_letters_or_blanks_alone_are_refused(levels: list[str], role: str) -> None:
    names = ["1", "2", "3"]
    people = _people(names, ["2"] * 3, [50.0] * 3, kind=levels)
    spec = _SPEC.model_copy(update={role: ("kind",)})
    with pytest.raises(ValueError, match="2 levels of kind differ only in upper and lower case or in blanks"):
        analysis_people(_studies(names, ["2"] * 3), people, spec)
    declared = spec.model_copy(update={"types": {"kind": "text"}})
    assert len(analysis_people(_studies(names, ["2"] * 3), people, declared)) == 3


def test_a_number_for_everybody_makes_no_groups_and_whole_numbers_are_one_label() -> None:
    names = [str(k) for k in range(1, 61)]
    people = _people(names, ["2"] * 60, [50.0] * 60, score=np.arange(60.0), site=[1.0, np.nan] * 30)
    spec = _SPEC.model_copy(update={"group_by": ("score",)})
    with pytest.raises(ValueError, match="score is text with 60 different cells"):
        analysis_people(_studies(names, ["2"] * 60), people, spec)
    found = analysis_people(_studies(names, ["2"] * 60), people, _SPEC.model_copy(update={"group_by": ("site",)}))
    assert set(found["group site"]) == {"1", "unknown"}


@pytest.mark.parametrize(("name", "value"), [("age_years", -5.0), ("age_years", 999.0), ("height_cm", 1.75)])
def test_what_no_person_can_be_is_counted_and_refused(name: str, value: float) -> None:
    people = _people(["1", "2"], ["2"] * 2, [50.0] * 2, height_cm=170.0, weight_kg=70.0)
    people.loc[0, name] = value
    spec = _SPEC.model_copy(update={"group_by": ("bmi_class",)})
    with pytest.raises(ValueError, match=f"1 of 2 values of {name} are not between"):
        analysis_people(_studies(["1", "2"], ["2"] * 2), people, spec)


def test_free_text_is_no_category_unless_it_is_declared() -> None:
    names = [str(k) for k in range(1, 101)]
    people = _people(names, ["2"] * 100, [50.0] * 100, town=[f"town {k}" for k in names])
    spec = _SPEC.model_copy(update={"covariates": ("town",)})
    with pytest.raises(ValueError, match="town is text with 100 different cells"):
        analysis_people(_studies(names, ["2"] * 100), people, spec)
    declared = spec.model_copy(update={"types": {"town": "text"}})
    assert len(analysis_people(_studies(names, ["2"] * 100), people, declared)) == 100


def test_a_phenotype_and_an_event_that_are_no_numbers_are_refused_without_the_cell() -> None:
    people = _people(["1"], ["2"], [50.0])
    with pytest.raises(ValueError, match="1 of 1 values of lvef_pct are not numbers") as caught:
        analysis_people(_studies(["1"], ["2"], lvef_pct=["hidden"]), people, _SPEC)
    assert "hidden" not in str(caught.value)
    row = {"participant": "1", "visit": "2", "condition": "death", "prevalent": 0, "entry_years": 50.0}
    outcomes = pd.DataFrame([{**row, "exit_years": 51.0, "event": "hidden", "cause": 0}])
    found = analysis_people(_studies(["1"], ["2"]), people, _SPEC)
    with pytest.raises(ValueError, match="values of event are not numbers") as caught:
        analysis_outcome(found, outcomes, "death")
    assert "hidden" not in str(caught.value)


def test_an_exclusion_by_a_number_meets_the_number_however_the_column_is_stored() -> None:
    rule = Exclusion(name="coded", column="code", values=("1", "2"))
    people = _people(["1", "2", "3"], ["2"] * 3, [50.0] * 3, code=[1.0, np.nan, 3.0])
    outcomes = pd.DataFrame({"participant": ["1"], "visit": ["2"], "condition": "death", "prevalent": 0})
    left, _, flow = exclude(people, outcomes, [rule])
    assert left["participant"].tolist() == ["2", "3"]
    assert flow.loc[flow["step"] == "excluded: coded", "n"].tolist() == [1.0]
    with pytest.raises(ValueError, match="code holds numbers"):
        exclude(people, outcomes, [Exclusion(name="words", column="code", values=("yes",))])


# the table that models are fitted on


_WHOLE = AnalysisSpec(
    phenotypes=("lvef_pct", "lvm_g"), conditions=("death",), covariates=("sex", "weight_kg"), strata=("site",),
    group_by=("sex", "age_band", "bmi_class", "sex x age_band"), age_edges_years=(55.0, 65.0),
)  # fmt: skip


def test_a_person_has_the_phenotypes_covariates_and_groups_of_the_first_visit() -> None:
    studies = pd.DataFrame(
        {
            "participant": ["3", "1", "2", "1", "4"], "visit": ["2", "3", "2", "2", "2"],
            "status": ["quarantined", "ok", "ok", "ok", "ok"], "qc_ok": [True, True, False, True, True],
            "lvef_pct": [61.0, 62.0, 63.0, 64.0, 65.0], "lvm_g": ["90", "91", "92", "", None], "other": 1.0,
        },
        index=[5, 3, 9, 1, 2],
    )  # fmt: skip
    studies["lvm_g"] = studies["lvm_g"].replace("", None)
    people = pd.DataFrame(
        {
            "participant": ["2", "1", "3", "1"], "visit": ["2", "2", "2", "3"], "age_years": [64.9, 55.0, 65.0, 58.0],
            "sex": ["f", "m", None, "m"], "height_cm": [170.0, 180.0, 160.0, 180.0], "unused": 0,
            "weight_kg": [86.7, 70.0, np.nan, 71.0], "site": ["a", "b", "b", "b"],
            "visit_date": ["2015-01-01", "2015-01-02", None, "2016-01-01"],
        }
    )  # fmt: skip
    found = analysis_people(studies, people, _WHOLE.model_copy(update={"unmatched_max": 0.3}))
    assert found["participant"].tolist() == ["1", "2", "3", "4"]
    assert found["visit"].tolist() == ["2"] * 4
    assert found.index.tolist() == [0, 1, 2, 3]
    assert found["measured"].tolist() == [True, True, False, True]
    assert found["doubted"].tolist() == [False, True, False, False]
    np.testing.assert_array_equal(found["lvef_pct"], [64.0, np.nan, np.nan, 65.0])
    np.testing.assert_array_equal(found["lvm_g"], [np.nan] * 4)
    np.testing.assert_array_equal(found["weight_kg"], [70.0, 86.7, np.nan, np.nan])
    assert found["site"].tolist()[:3] == ["b", "a", "b"]
    assert found["group sex"].tolist() == ["m", "f", "unknown", "unknown"]
    assert found["group age_band"].tolist() == ["55-64", "55-64", ">=65", "unknown"]
    assert found["group bmi_class"].tolist() == ["normal", "obese", "unknown", "unknown"]  # 21.6, 30.0
    assert found["group sex x age_band"].tolist() == ["m x 55-64", "f x 55-64", "unknown x >=65", "unknown x unknown"]
    assert not {"visit_date", "unused", "other"} & set(found)
    taken = analysis_people(studies, people, _WHOLE.model_copy(update={"unmatched_max": 0.3, "include_doubted": True}))
    np.testing.assert_array_equal(taken["lvef_pct"], [64.0, 63.0, np.nan, 65.0])
    np.testing.assert_array_equal(taken["lvm_g"], [np.nan, 92.0, np.nan, np.nan])


@pytest.mark.parametrize(
    ("table", "column"),
    [("phenotypes", "status"), ("phenotypes", "lvm_g"), ("participants", "age_years"), ("participants", "sex"),
     ("participants", "site"), ("participants", "height_cm")],
)  # fmt: skip
def test_a_column_that_is_needed_and_absent_is_named_with_its_table(table: str, column: str) -> None:
    studies = _studies(["1"], ["2"], lvm_g=90.0)
    people = _people(["1"], ["2"], [50.0], sex="f", height_cm=170.0, weight_kg=70.0, site="a")
    given = {"phenotypes": studies, "participants": people}
    given[table] = given[table].drop(columns=column)
    with pytest.raises(ValueError, match=rf"{table}: columns \['{column}'\] are missing"):
        analysis_people(given["phenotypes"], given["participants"], _WHOLE)
    without = _WHOLE.model_copy(update={"group_by": ("sex",), "covariates": ()})
    assert len(analysis_people(studies, people.drop(columns=["height_cm", "weight_kg"]), without)) == 1


def test_two_rows_of_a_person_and_visit_are_refused_in_participants_and_in_outcomes() -> None:
    twice = _people(["1", "1.0", "2"], ["2", "2", "2"], [50.0, 50.0, 60.0])
    with pytest.raises(ValueError, match="participants: 1 rows repeat a participant and visit"):
        analysis_people(_studies(["1", "2"], ["2", "2"]), twice, _SPEC)
    people = analysis_people(_studies(["1"], ["2"]), _people(["1"], ["2"], [50.0]), _SPEC)
    outcomes = _rows_of_outcomes(("1", "2", "death", 0, 50.0, 51.0, 0), ("1.0", "2", "death", 0, 50.0, 52.0, 0))
    with pytest.raises(ValueError, match="death has more than one row"):
        analysis_outcome(people, outcomes, "death")


@pytest.mark.parametrize(
    ("name", "low", "high", "unit"), [("age_years", 0.0, 130.0, "years"), ("height_cm", 30.0, 280.0, "cm"),
                                      ("weight_kg", 1.0, 700.0, "kg")],
)  # fmt: skip
def test_a_person_may_be_at_the_bounds_of_what_is_possible(name: str, low: float, high: float, unit: str) -> None:
    spec = _SPEC.model_copy(update={"group_by": ("bmi_class",)})
    studies, people = _studies(["1", "2"], ["2"] * 2), _people(["1", "2"], ["2"] * 2, [50.0] * 2)
    people = people.assign(height_cm=170.0, weight_kg=70.0)
    assert analysis_people(studies, people.assign(**{name: [low, high]}), spec)[name].tolist() == [low, high]
    for bad in ([low - 0.1, high], [low, high + 0.1]):
        with pytest.raises(ValueError, match=f"1 of 2 values of {name} are not between {low:g} and {high:g}"):
            analysis_people(studies, people.assign(**{name: bad}), spec)
    for bad in (["inf", 50.0], ["x", None]):
        with pytest.raises(ValueError, match=rf"participants: 1 of 2 values of {name} are not numbers \({unit}\)"):
            analysis_people(studies, people.assign(**{name: pd.Series(bad, dtype=object)}), spec)


def _rows_of_outcomes(*rows: tuple[Any, ...]) -> pd.DataFrame:
    names = ["participant", "visit", "condition", "prevalent", "entry_years", "exit_years", "event"]
    return pd.DataFrame(rows, columns=names).assign(cause=0)


def test_the_outcome_of_a_condition_meets_its_person_and_only_time_after_entry_is_at_risk() -> None:
    names = ["5", "1", "4", "2", "3", "6"]
    people = analysis_people(_studies(names, ["2"] * 6), _people(names, ["2"] * 6, [50.0] * 6), _SPEC)
    outcomes = _rows_of_outcomes(
        ("6", "2", "death", 0, np.nan, 60.0, 0),
        ("1.0", "2", "death", 0, 50.0, 61.5, 1),
        ("2", "2", "death", 1, 50.0, 70.0, 0),
        ("2", "2", "gout", 0, 50.0, 52.0, 1),
        ("3", "2", "death", 0, 50.0, 50.0, 0),
        ("4", "3", "death", 0, 50.0, 60.0, 0),  # another visit
        ("5", "2", "death", 0, 50.0, 50.25, 0),
    )
    found = analysis_outcome(people, outcomes, "death")
    assert found["participant"].tolist() == ["1", "2", "3", "5", "6"]
    np.testing.assert_array_equal(found["follow_up_years"], [11.5, 20.0, 0.0, 0.25, np.nan])
    np.testing.assert_array_equal(found["event"], [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(found["exit_years"], [61.5, 70.0, 50.0, 50.25, 60.0])
    assert not {"condition", "cause"} & set(found)
    assert at_risk_rows(found)["participant"].tolist() == ["1", "5"]
    assert analysis_outcome(people, outcomes, "gout")["participant"].tolist() == ["2"]
    some = found.assign(sex=["f", None, "m", None, "f"])
    assert complete_rows(some, ["sex"])["participant"].tolist() == ["1", "3", "6"]
    assert complete_rows(some, ["sex", "follow_up_years"])["participant"].tolist() == ["1", "3"]
    assert len(complete_rows(some, [])) == 5


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("prevalent", 2, "prevalent of death must be 0 or 1"), ("event", 0.5, "event of death must be 0 or 1"),
        ("event", None, "event of death must be 0 or 1"), ("entry_years", -0.1, "1 of 2 values of entry_years"),
        ("exit_years", 130.5, "1 of 2 values of exit_years"), ("exit_years", "x", "exit_years are not numbers"),
    ],
)  # fmt: skip
def test_flags_other_than_0_and_1_and_impossible_ages_are_refused_in_the_condition_that_is_asked(
    column: str, cell: Any, message: str
) -> None:
    people = analysis_people(_studies(["1"], ["2"]), _people(["1"], ["2"], [50.0]), _SPEC)
    rows = _rows_of_outcomes(("1", "2", "death", 0, 50.0, 51.0, 0), ("1", "2", "gout", 0, 0.0, 130.0, 1)).astype(object)
    rows.loc[0, column] = cell
    rows = pd.concat([rows, rows.iloc[[1]].assign(condition="death", visit="3")])  # and one that is as it should be
    with pytest.raises(ValueError, match=message):
        analysis_outcome(people, rows, "death")
    assert analysis_outcome(people, rows, "gout")["follow_up_years"].tolist() == [130.0]
    with pytest.raises(ValueError, match=rf"outcomes: columns \['{column}'\] are missing"):
        analysis_outcome(people, rows.drop(columns=column), "gout")


def test_numbers_take_part_if_they_were_measured_and_nobody_doubts_them() -> None:
    studies = pd.DataFrame(
        {"status": ["ok", "ok", "ok", "absent", "quarantined"], "qc_ok": [True, False, None, True, False]}
    )
    assert is_doubted(studies).tolist() == [False, True, True, False, False]
    assert usable(studies, include_doubted=False).tolist() == [True, False, False, False, False]
    assert usable(studies, include_doubted=True).tolist() == [True, True, True, False, False]


def test_whole_numbers_with_missing_ones_become_plain_numbers() -> None:
    whole = pd.array([61, None, 55], "Int64")
    studies = _studies(["1", "2", "3"], ["2"] * 3, lvef_pct=whole)
    found = analysis_people(studies, _people(["1", "2", "3"], ["2"] * 3, pd.array([50, 60, None], "Int64")), _SPEC)  # type: ignore[arg-type]
    for name, right in (("lvef_pct", [61.0, np.nan, 55.0]), ("age_years", [50.0, 60.0, np.nan])):
        assert found[name].dtype == np.float64
        np.testing.assert_array_equal(found[name], right)
