"""Of a person's visits the first takes part wherever its row stands."""

import pandas as pd

from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.people import analysis_people


def test_a_second_visit_that_is_listed_first_takes_no_part() -> None:
    spec = AnalysisSpec(phenotypes=("lvef_pct",), conditions=("death",), covariates=(), group_by=())
    studies = pd.DataFrame(
        {
            "participant": ["q", "p", "p", "q"],
            "visit": ["3", "3", "2", "2"],
            "status": "ok",
            "lvef_pct": [43.0, 33, 32, 42],
        }
    )
    people = studies[["participant", "visit"]].assign(age_years=[61.0, 58, 52, 55]).iloc[[3, 1, 0, 2]]
    found = analysis_people(studies, people, spec)
    assert found[["participant", "visit", "lvef_pct", "age_years"]].to_numpy().tolist() == [
        ["p", "2", 32.0, 52.0],
        ["q", "2", 42.0, 55.0],
    ]
