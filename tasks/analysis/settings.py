"""The section ``[analysis]`` of ``cohort.toml``, and the spec that it amounts to."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.spec import Curves, Disclosure, Exposure, Fairness, StudySpec, Tables
from tasks.state.user_tables import Reading

_SET = "settings"


class AnalysisSettings(AnalysisSpec):
    """What is tested, for whom it is repeated, and how small a published cell may be."""

    participant_columns: dict[str, str] = Field(default_factory=dict, description="our name -> the file's column")
    outcome_columns: dict[str, str] = Field(default_factory=dict, description="our name -> the file's column")

    def reading(self, columns: Mapping[str, str]) -> Reading:
        """How the cells of a table of people are to be understood."""
        return Reading(columns, self.missing_values, self.types)

    def study_spec(self) -> StudySpec:
        """The spec that asks for the same as these settings: one set of covariates, no further tables.

        Raises:
            pydantic.ValidationError: a phenotype or condition is named twice.
        """
        families = {name: tuple(m for m in members if m in self.phenotypes) for name, members in self.families.items()}
        return StudySpec(
            name=_SET,
            tables=Tables(participants="participants", outcomes="outcomes"),
            conditions=self.conditions,
            exposures=tuple(Exposure(name=name) for name in self.phenotypes),
            covariate_sets={_SET: self.covariates},
            primary=_SET,
            strata=self.strata,
            families={name: members for name, members in families.items() if members},
            curves=Curves(groups=self.curve_groups, step_years=self.curve_step_years),
            fairness=Fairness(
                group_by=self.group_by,
                margins=dict(self.margins),
                horizon_years=self.horizon_years,
                permutations=self.permutations,
                age_edges_years=self.age_edges_years,
            ),
            disclosure=Disclosure(threshold=self.minimum_cell),
            minimum_events=self.minimum_events,
            minimum_events_per_term=self.minimum_events_per_term,
            include_doubted=self.include_doubted,
            unmatched_max=self.unmatched_max,
            types=dict(self.types),
            missing_values=self.missing_values,
            seed=self.seed,
        )
