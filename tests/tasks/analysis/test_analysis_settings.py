"""The section ``[analysis]``: its spec asks for the same models, and keys of older specs stay."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from cmr_models.analysis.model_spec import AnalysisSpec
from tasks.analysis.settings import AnalysisSettings
from tasks.analysis.spec_file import read_spec

EXAMPLE = Path(__file__).parents[3] / "infra/analysis/ukb.yaml"


@pytest.mark.parametrize(
    "settings",
    [
        AnalysisSettings(),
        AnalysisSettings(
            conditions=("death",),
            covariates=("sex",),
            strata=("centre",),
            group_by=("sex", "sex x age_band"),
            margins={"auc": 0.05},
            curve_groups=2,
            curve_step_years=1.0,
            minimum_cell=10,
            minimum_events_per_term=2.0,
            permutations=9,
            seed=3,
        ),
    ],
)
def test_the_spec_of_the_settings_asks_for_their_models(settings: AnalysisSettings) -> None:
    spec = settings.study_spec()
    models = spec.models(spec.covariate_sets[spec.primary])
    assert models == AnalysisSpec(**settings.model_dump(include=set(AnalysisSpec.model_fields)))


def test_families_keep_the_phenotypes_that_are_tested() -> None:
    settings = AnalysisSettings(phenotypes=("lvm_g", "lvef_pct"))
    spec = settings.study_spec()
    assert spec.families == {"left_ventricle": ("lvef_pct", "lvm_g")}
    assert [spec.models(()).family_of(name) for name in settings.phenotypes] == ["left_ventricle"] * 2


def test_what_a_later_version_may_choose_is_in_the_digest_only_where_it_is_set() -> None:
    file = read_spec(EXAMPLE)
    assert file.digest == "1eac514bc2653e11c545bc117b93fcac"
    other = file.spec.model_copy(update={"minimum_events_per_term": 5.0})
    assert other.content()["minimum_events_per_term"] == 5.0
    assert "curves" not in other.content()


@pytest.mark.parametrize("key", ["phenotypes", "conditions"])
def test_an_analysis_of_nothing_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        AnalysisSettings.model_validate({key: []})
