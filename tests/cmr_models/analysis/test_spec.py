"""The spec: each default, each bound on both sides, what cannot be meant, and what the models get of it."""

import datetime
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.spec import StudySpec, departures

BASE: dict[str, Any] = {
    "name": "mass",
    "tables": {"participants": "p.csv", "outcomes": "o.csv"},
    "conditions": ["death", "gout"],
    "exposures": [{"name": "lvm_g"}, {"name": "lvef_pct", "transform": "log"}],
    "covariate_sets": {"few": ["sex"], "many": ["sex", "centre", "bmi"]},
    "primary": "few",
}
DAYS = {"england": "2022-10-31", "scotland": "2022-08-31", "wales": "2022-05-31"}
UKB: dict[str, Any] = {
    **{key: value for key, value in BASE.items() if key != "conditions"},
    "tables": {"ukb": "ukb.csv"},
    "dates": {"censoring": {"inpatient": DAYS, "death": DAYS}},
    "outcomes": [{"name": "mi", "sources": [{"kind": "icd10", "codes": ["I21", "I20-I25", "I50.1", "I5011"]}]}],
}


def test_models_have_the_documented_defaults() -> None:
    spec = AnalysisSpec()
    assert (spec.curve_groups, spec.curve_step_years, spec.horizon_years) == (4, 0.5, 5.0)
    assert (spec.minimum_cell, spec.minimum_events) == (5, 10)
    assert (spec.minimum_events_per_term, spec.unmatched_max, spec.permutations, spec.seed) == (3.0, 0.1, 499, 0)
    assert (spec.include_doubted, spec.strata, spec.age_edges_years) == (False, (), (55.0, 65.0, 75.0))
    assert dict(spec.margins) == {
        "adjusted_mean/lvef_pct": 2.0, "adjusted_mean/rvef_pct": 2.0, "harrell_phenotype": 0.05, "qc_pass": 0.02,
        "cox_age": 0.2231, "logistic": 0.2231,
    }  # fmt: skip
    assert spec.margins["cox_age"] == pytest.approx(np.log(1.25), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("curve_groups", [2, 10], [1, 11]), ("curve_step_years", [1e-9], [0.0]), ("horizon_years", [1e-9], [0.0]),
        ("minimum_cell", [1], [0]), ("minimum_events", [1], [0]), ("minimum_events_per_term", [0.0], [-0.1]),
        ("unmatched_max", [0.0, 1.0], [-0.01, 1.01]), ("permutations", [1], [0]), ("phenotypes", [("a",)], [()]),
        ("conditions", [("a",)], [()]), ("curve_group", [], [4]),
    ],
)  # fmt: skip
def test_each_value_of_the_models_is_allowed_at_its_bound_and_not_beyond(
    name: str, allowed: list[Any], refused: list[Any]
) -> None:
    for value in allowed:
        assert getattr(AnalysisSpec(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(ValidationError):
            AnalysisSpec(**{name: value})


def test_a_margin_of_a_phenotype_comes_before_that_of_its_model() -> None:
    spec = AnalysisSpec(margins={"mean": 1.0, "mean/lvm_g": 7.0}, families={"a": ("lvm_g",), "b": ("lvm_g", "x")})
    assert (spec.margin_of("mean", "lvm_g"), spec.margin_of("mean", "x")) == (7.0, 1.0)
    assert np.isnan(spec.margin_of("cox_age", "lvm_g"))
    assert (spec.family_of("lvm_g"), spec.family_of("x"), spec.family_of("y")) == ("a", "b", "other")


def test_a_study_has_the_documented_defaults() -> None:
    spec = StudySpec(**BASE)
    assert (spec.instance, spec.seed, spec.registered) == (2, 0, "")
    assert spec.windows.model_dump() == {
        "prevalent_until_days": 0, "incident_from_days": 0, "incident_until_years": None, "undated": "exclude",
    }  # fmt: skip
    assert (spec.fairness.specificity, spec.fairness.permutations, spec.fairness.horizon_years) == (0.9, 199, 5.0)
    assert (spec.missing.imputations, spec.missing.cycles) == (0, 5)
    prediction = spec.prediction
    assert (prediction.horizon_years, prediction.learner, prediction.folds, prediction.resamples) == (
        5.0,
        "cox",
        5,
        100,
    )
    assert prediction.thresholds == (0.01, 0.02, 0.05, 0.1, 0.2)
    assert (spec.disclosure.threshold, spec.disclosure.base) == (5, None)
    assert (spec.features.seen, spec.exposures[0].transform) == ("exclude", "none")
    dates = StudySpec(**UKB).dates
    assert dates is not None
    assert [dates.entry_field, dates.birth_year_field, dates.birth_month_field, dates.death_field, dates.lost_field,
            dates.nation_field] == [53, 34, 52, 40000, 191, 54]  # fmt: skip


def test_models_get_what_the_study_decides() -> None:
    spec = StudySpec(
        **BASE, strata=("centre",), families={"size": ("lvm_g",)}, curves={"groups": 3, "step_years": 0.25},
        fairness={"group_by": ["sex"], "intersections": [["sex", "age_band"]], "margins": {"auc": 0.1},
                  "permutations": 9,
                  "horizon_years": 4, "age_edges_years": [50, 60]},
        disclosure={"threshold": 7}, minimum_events=11, minimum_events_per_term=2, include_doubted=True,
        unmatched_max=0.3, types={"bmi": "number"}, missing_values=("-9",), seed=8,
    )  # fmt: skip
    models = spec.models(spec.covariate_sets["many"])
    assert models.model_dump() == {
        "phenotypes": ("lvm_g", "lvef_pct"), "conditions": ("death", "gout"), "covariates": ("sex", "bmi"),
        "strata": ("centre",), "families": {"size": ("lvm_g",)}, "group_by": ("sex", "sex x age_band"),
        "age_edges_years": (50.0, 60.0), "margins": {"auc": 0.1}, "curve_groups": 3, "curve_step_years": 0.25,
        "horizon_years": 4.0, "minimum_cell": 7, "minimum_events": 11, "minimum_events_per_term": 2.0,
        "include_doubted": True, "unmatched_max": 0.3, "types": {"bmi": "number"}, "missing_values": ("-9",),
        "permutations": 9, "seed": 8,
    }  # fmt: skip
    assert StudySpec(**UKB).outcome_names == ("mi",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"primary": "all"}, "primary.*'all'"),
        ({"exposures": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}, r"exposures \['a'\] are given twice"),
        ({"conditions": ["death", "death"]}, r"outcomes \['death'\] are given twice"),
        ({"conditions": []}, "need `conditions` and no `outcomes`"),
        ({"outcomes": UKB["outcomes"]}, "need `conditions` and no `outcomes`"),
        ({"families": {"size": ["lvm_g", "bsa"]}}, r"families.*'bsa'"),
        ({"exclusions": [{"name": "ill", "prevalent": "mi"}]}, r"exclusions.*'mi'"),
        ({"prediction": {"outcomes": ["death", "mi"]}}, r"prediction.*'mi'"),
        ({"prediction": {"thresholds": [0.2, 0.1]}}, "thresholds must ascend"),
        ({"prediction": {"thresholds": [0.1, 0.1]}}, "thresholds must ascend"),
        ({"prediction": {"thresholds": [0.0, 0.1]}}, "greater than 0"),
        ({"prediction": {"thresholds": [0.1, 1.0]}}, "less than 1"),
        ({"prediction": {"folds": 1}}, "greater than or equal to 2"),
        ({"prediction": {"horizon_years": 0}}, "greater than 0"),
        ({"prediction": {"resamples": -1}}, "greater than or equal to 0"),
        ({"fairness": {"specificity": 0.0}}, "greater than 0"),
        ({"fairness": {"specificity": 1.0}}, "less than 1"),
        ({"fairness": {"agreement": [{"measured": "a", "reference": "b", "margin": 0}]}}, "greater than 0"),
        ({"fairness": {"permutations": 0}}, "greater than or equal to 1"),
        ({"curves": {"groups": 1}}, "greater than or equal to 2"),
        ({"curves": {"groups": 11}}, "less than or equal to 10"),
        ({"missing": {"cycles": 0}}, "greater than or equal to 1"),
        ({"missing": {"imputations": -1}}, "greater than or equal to 0"),
        ({"disclosure": {"threshold": 0}}, "greater than or equal to 1"),
        ({"disclosure": {"base": 1}}, "greater than or equal to 2"),
        ({"windows": {"prevalent_until_days": 8, "incident_from_days": 7}}, "before prevalence ends"),
        ({"windows": {"prevalent_until_days": -1}}, "greater than or equal to 0"),
        ({"windows": {"incident_until_years": 0}}, "greater than 0"),
        ({"tables": {"participants": "p.csv"}}, "give `ukb`, or both"),
        ({"tables": {"ukb": "u.csv", "participants": "p.csv", "outcomes": "o.csv"}}, "give `ukb`, or both"),
        ({"exclusions": [{"name": "who", "column": "bmi"}]}, "give `prevalent`, or a `column` with"),
        ({"exclusions": [{"name": "who", "column": "bmi", "below": 1, "prevalent": "death"}]}, "give `prevalent`, or"),
        ({"exclusions": [{"name": "who"}]}, "give `prevalent`, or"),
        ({"instance": -1}, "greater than or equal to 0"),
        ({"minimum_events": 0}, "greater than or equal to 1"),
        ({"departures": [{"path": "seed", "why": "just"}]}, "at least 5 characters"),
        ({"name": "a b"}, "should match pattern"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StudySpec(**{**BASE, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"prediction": {"thresholds": [0.001, 0.999], "folds": 2, "resamples": 0, "outcomes": ["gout"]}},
        {"windows": {"prevalent_until_days": 7, "incident_from_days": 7}},
        {"disclosure": {"threshold": 1, "base": 2}}, {"curves": {"groups": 2}}, {"curves": {"groups": 10}},
        {"missing": {"imputations": 0, "cycles": 1}}, {"fairness": {"permutations": 1}}, {"instance": 0},
        {"departures": [{"path": "seed", "why": "a bug"}]},
        {"exclusions": [{"name": "who", "column": "bmi", "below": 0.0}]},
        {"exclusions": [{"name": "who", "column": "bmi", "above": 0.0}]},
        {"exclusions": [{"name": "who", "column": "bmi", "missing": True}]},
        {"exclusions": [{"name": "ill", "prevalent": "gout"}]},
    ],
)  # fmt: skip
def test_what_can_be_meant_is_allowed_at_its_bound(change: dict[str, Any]) -> None:
    StudySpec(**{**BASE, **change})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "icd10"}, "icd10 needs codes"),
        ({"kind": "first_occurrence"}, "first_occurrence needs the field"),
        ({"kind": "algorithm", "field": 42000, "codes": ["I21"]}, "algorithm needs the field"),
        ({"kind": "icd10", "codes": ["I2"]}, r"\['I2'\] are not ICD-10 codes"),
        ({"kind": "icd10", "codes": ["I21", "i21"]}, r"\['i21'\] are not ICD-10 codes"),
        ({"kind": "icd10", "codes": ["I20-I25.1"]}, "are not ICD-10 codes"),
        ({"kind": "icd10", "codes": ["I21.123"]}, "are not ICD-10 codes"),
        ({"kind": "cancer", "codes": ["C50"]}, r"dates.censoring lacks the registers \['cancer'\]"),
    ],
)
def test_a_source_without_what_it_needs_is_refused(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StudySpec(**{**UKB, "outcomes": [{"name": "x", "sources": [source]}]})


def test_sources_end_with_their_register_and_every_nation_has_a_day() -> None:
    sources = [{"kind": "death"}, {"kind": "first_occurrence", "field": 131}, {"kind": "icd10", "codes": ["I21"]}]
    outcome = StudySpec(**{**UKB, "outcomes": [{"name": "x", "sources": sources}]}).outcomes[0]
    assert [source.register for source in outcome.sources] == ["death", "inpatient", "inpatient"]
    for missing in DAYS:
        days = {nation: day for nation, day in DAYS.items() if nation != missing}
        with pytest.raises(ValidationError, match=rf"censoring of death lacks \['{missing}'\]"):
            StudySpec(**{**UKB, "dates": {"censoring": {"inpatient": DAYS, "death": days}}})
    for change in ({"dates": None}, {"outcomes": []}):
        with pytest.raises(ValidationError, match="UK Biobank need `dates` and `outcomes`"):
            StudySpec(**{**UKB, **change})
    used = StudySpec(**UKB).dates
    assert used is not None
    assert used.censoring["death"]["wales"] == datetime.date(2022, 5, 31)


def test_departures_are_every_value_that_differs_with_the_reason_of_its_part() -> None:
    registered = StudySpec(**BASE)
    used = StudySpec(
        **{
            **BASE,
            "exposures": [{"name": "lvef_pct", "transform": "log"}, {"name": "lvm_g", "transform": "log"}],
            "disclosure": {"threshold": 10, "base": 5},
            "seed": 4,
            "unmatched_max": 0.2,
            "departures": [{"path": "disclosure", "why": "another register"}, {"path": "see", "why": "no such path"}],
        }
    )
    assert departures(used, registered) == [
        {"path": "disclosure.base", "registered": "None", "used": "5", "why": "another register"},
        {"path": "disclosure.threshold", "registered": "5", "used": "10", "why": "another register"},
        {"path": "exposures.lvm_g.transform", "registered": "none", "used": "log", "why": ""},
        {"path": "seed", "registered": "0", "used": "4", "why": ""},
        {"path": "unmatched_max", "registered": "", "used": "0.2", "why": ""},
    ]
    assert departures(registered, registered) == []
    elsewhere = StudySpec(**{**BASE, "tables": {"participants": "q.csv", "outcomes": "o.csv"}})
    assert departures(elsewhere, registered) == []
    renamed = StudySpec(**{**BASE, "tables": {**BASE["tables"], "columns": {"sex": "gender"}}})
    assert [row["path"] for row in departures(renamed, registered)] == ["columns.sex"] or [
        row["path"] for row in departures(renamed, registered)
    ] == ["columns", "columns.sex"]
    assert registered.content()["source"] == "tables"
    assert StudySpec(**UKB).content()["source"] == "ukb"
    for later in ("curves", "minimum_events_per_term", "include_doubted", "unmatched_max", "types", "missing_values"):
        assert later not in registered.content()
