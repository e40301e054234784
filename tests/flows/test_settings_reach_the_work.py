"""Settings that only divide the work or the people: by hand."""

import pandas as pd
import pytest

from cmr_models.analysis.people import analysis_people
from flows.settings import CohortSettings
from flows.stages import _split
from tasks.analysis.settings import AnalysisSettings


@pytest.mark.parametrize(("size", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (200, [5])])
def test_a_shard_holds_studies_per_shard_and_the_last_what_is_left(size: int, sizes: list[int]) -> None:
    settings = CohortSettings.model_validate({"directory": "cohort", "compute": {"studies_per_shard": size}})
    units = [{"study": str(k)} for k in range(5)]
    shards = list(_split(units, settings.compute.studies_per_shard))
    assert [len(shard) for shard in shards] == sizes
    assert [unit for shard in shards for unit in shard] == units


def test_age_bands_have_the_lower_edges_of_the_settings() -> None:
    ages = [49.9, 50.0, 69.9, 70.0]
    keys = pd.DataFrame({"participant": [f"p{k}" for k in range(4)], "visit": "2"})
    phenotypes = keys.assign(status="ok", qc_ok=True, lvef_pct=60.0)
    settings = AnalysisSettings(
        phenotypes=("lvef_pct",), covariates=(), group_by=("age_band",), age_edges_years=(50.0, 70.0)
    )
    people = analysis_people(phenotypes, keys.assign(age_years=ages), settings.study_spec().models(()))
    bands = people.set_index("participant")["group age_band"]
    assert bands.tolist() == ["<50", "50-69", "50-69", ">=70"]
