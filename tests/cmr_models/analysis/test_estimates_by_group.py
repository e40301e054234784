"""By group: adjusted scores are those of everybody, and gaps are of what groups can be compared by."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.estimates_by_group import fairness_rows
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.people import analysis_outcome, analysis_people, at_risk_rows, complete_rows
from cmr_models.analysis.regressions import discrimination_rows
from cmr_models.simulate.measured import example_tables
from cmr_models.survival import concordance, fit_cox

SPEC = AnalysisSpec(
    phenotypes=("lvef_pct",), conditions=("heart_failure",), covariates=("sex", "height_cm"), permutations=19
)
_ADJUSTED = ("harrell_adjusted", "uno_adjusted")


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    phenotypes, participants, outcomes = example_tables(3000, np.random.default_rng(2))
    return analysis_people(phenotypes, participants, SPEC), outcomes


@pytest.fixture(scope="module")
def fairness(tables: tuple[pd.DataFrame, pd.DataFrame]) -> pd.DataFrame:
    return fairness_rows(*tables, SPEC)


def test_every_metric_and_estimate_is_there_by_every_grouping(fairness: pd.DataFrame) -> None:
    by_group = fairness[(fairness["group_by"] != "overall") & (fairness["group"] != "max_gap")]
    models = {"logistic", "cox_age", "harrell_phenotype", *_ADJUSTED, "mean", "adjusted_mean", "qc_pass"}
    found = set(by_group[["model", "group_by"]].itertuples(index=False, name=None))
    assert found == {(model, name) for model in models for name in SPEC.group_by}
    assert by_group.loc[by_group["model"].isin(_ADJUSTED), "status"].eq("ok").mean() > 0.5


def test_a_group_is_scored_by_the_one_model_of_everybody(
    tables: tuple[pd.DataFrame, pd.DataFrame], fairness: pd.DataFrame
) -> None:
    people, outcomes = tables
    needed = ("age_years", *SPEC.covariates, "lvef_pct")
    rows = complete_rows(at_risk_rows(analysis_outcome(people, outcomes, "heart_failure")), needed)
    terms = (*SPEC.covariates, "lvef_pct")
    by_age = fit_cox(rows, exit="exit_years", event="event", entry="entry_years", covariates=terms)
    since = fit_cox(rows, exit="follow_up_years", event="event", covariates=("age_years", *terms))
    women = (rows["sex"] == "female").to_numpy()
    of_women = rows[women]
    expected = {
        "harrell_adjusted": concordance(
            of_women["exit_years"], of_women["event"], by_age.linear_predictor[women], entry=of_women["entry_years"]
        ),
        "uno_adjusted": concordance(
            of_women["follow_up_years"], of_women["event"], since.linear_predictor[women], method="uno", tau=5.0
        ),
    }
    found = fairness[fairness["group"] == "female"].set_index("model")
    for model, index in expected.items():
        assert found.loc[model, "estimate"] == pytest.approx(index.value, abs=1e-12)
        assert found.loc[model, "se"] == pytest.approx(index.se, abs=1e-12)


def test_where_everybody_has_no_model_every_group_says_why(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    strict = SPEC.model_copy(update={"minimum_events_per_term": 1e6})
    rows = discrimination_rows(*tables, strict, by=("sex",))
    adjusted = rows[rows["model"].isin(_ADJUSTED)]
    assert len(adjusted) == 2 * 3
    assert adjusted["reason"].eq("too_few_per_term").all()
    assert rows.loc[rows["model"] == "harrell_phenotype", "status"].eq("ok").all()


def test_gaps_are_told_of_every_model_but_the_adjusted_scores(fairness: pd.DataFrame) -> None:
    gaps = fairness[fairness["group"] == "max_gap"]
    models = {"logistic", "cox_age", "harrell_phenotype", "mean", "adjusted_mean", "qc_pass"}
    assert set(gaps["model"]) == models
    assert gaps.loc[gaps["status"] == "ok", "q"].notna().all()
