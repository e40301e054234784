"""One maker for each table of estimates: from the inputs of an analysis to rows before the disclosure gate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from cmr_models.analysis.accuracy_by_group import decomposition_rows, measurement_audit, pair_rows, prediction_audit
from cmr_models.analysis.disclosure.dominance import ERROR, magnitudes
from cmr_models.analysis.disclosure.small_cells import counts_of_few
from cmr_models.analysis.estimates_by_group import ADJUSTED_FOR, fairness_rows
from cmr_models.analysis.matching import check_outcomes, people_flow
from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.nested_models import (
    Predicted,
    PredictionPlan,
    calibration_rows,
    decision_rows,
    predict_outcomes,
    prediction_rows,
)
from cmr_models.analysis.people import analysis_people
from cmr_models.analysis.regressions import association_rows, discrimination_rows, hazard_rows
from cmr_models.analysis.sensitivity import imputed_hazards, weighted_hazards
from cmr_models.analysis.spec import StudySpec
from cmr_models.analysis.survival_curves import curve_rows
from cmr_models.contracts.cells import check_covariates
from cmr_models.contracts.identifiers import with_keys
from cmr_models.estimates.contributions import Contributions
from tasks.analysis.spec_tables import SpecTables
from tasks.state.published_beside import studies_of

_PLANNED = ("steps", "horizon_years", "learner", "folds", "fold_by", "thresholds", "resamples")


@dataclass(frozen=True)
class Inputs:
    """What every table of an analysis is made from.

    Attributes:
        spec: what to estimate.
        tables: as they were read.
        people: rows of the models: one a person.
        sets_named: whether tables of several sets of covariates say which set a row has (``covariate_set``).
    """

    spec: StudySpec
    tables: SpecTables
    people: pd.DataFrame
    sets_named: bool = True

    @cached_property
    def flow(self) -> pd.DataFrame:
        """Who came, who was left out and why, and whom each join lost; before the disclosure gate."""
        joined = people_flow(
            self.tables.phenotypes,
            self.tables.participants,
            self.tables.outcomes,
            self.people,
            self.spec.outcome_names,
            include_doubted=self.spec.include_doubted,
            covariates=[*self.models.covariates, *self.models.strata],
        )
        parts = [self.tables.flow, joined, self.tables.features.flow(self.people)]
        return pd.concat([part for part in parts if len(part)], ignore_index=True)

    @classmethod
    def of(cls, spec: StudySpec, tables: SpecTables, *, sets_named: bool = True) -> Inputs:
        """The inputs from the tables that were read.

        Raises:
            ValueError: a column that the spec names is not there, or a table is not as it should be.
        """
        people = _people(tables, spec)
        listed = people[people["age_years"].notna()]
        check_outcomes(listed, tables.outcomes, spec.unmatched_max, spec.outcome_names)
        return cls(spec, tables, people, sets_named)

    @cached_property
    def models(self) -> AnalysisSpec:
        """The models with the primary set of covariates."""
        return self.spec.models(self.spec.covariate_sets[self.spec.primary])

    @cached_property
    def count_base(self) -> int | None:
        """The base to which all counts are rounded; None if they are exact: nothing in the analysis counts few.

        One answer for every table of an analysis, whichever of its parts is run.
        """
        disclosure = self.spec.disclosure
        if disclosure.base or disclosure.threshold < 2 or self.people.empty:
            return disclosure.base
        few_left = bool(self.flow["n"].between(1, disclosure.threshold - 1).any())
        further = list(_complete_columns(self.spec, self.models))
        few = few_left or counts_of_few(self.people, self.tables.outcomes, self.models, further)
        return disclosure.threshold if few else None

    @cached_property
    def magnitudes(self) -> dict[tuple[str, str, str], tuple[Contributions, ...]]:
        """What single people add to the SD of each group, of all measured and of those complete for each table."""
        if self.people.empty:
            return {}
        people = self.people[self.people["measured"]]
        values = people[list(dict.fromkeys((*self.models.phenotypes, *self.spec.fairness.quality)))]
        values = values.assign(**_errors(people, self.spec))
        groups = people[[f"group {name}" for name in self.models.group_by]].rename(columns=lambda c: c[6:])
        body = [name for name in ADJUSTED_FOR if name in people]
        further = ((), ("age_years", *self.models.strata, *self.models.covariates), body)
        lists = dict.fromkeys((*map(tuple, further), *_complete_columns(self.spec, self.models)))
        return magnitudes(values, groups, [people[list(names)].notna().all(axis=1).to_numpy(bool) for names in lists])

    @property
    def has_phenotype(self) -> pd.DataFrame:
        """Of whom the means of each phenotype are: index study, a boolean column for each phenotype."""
        if self.people.empty:
            return pd.DataFrame()
        measured = self.people[self.people["measured"]]
        has = measured[list(dict.fromkeys(self.models.phenotypes))].notna()
        return has.set_axis(studies_of(measured["participant"], measured["visit"]))

    @property
    def groups(self) -> pd.DataFrame:
        """The labels of each person, by study."""
        if self.people.empty:
            return self.people
        own = self.people[[f"group {name}" for name in self.models.group_by]].rename(columns=lambda c: c[6:])
        return own.set_axis(studies_of(self.people["participant"], self.people["visit"]))

    @property
    def plan(self) -> PredictionPlan:
        """What the spec predicts; without the features that it leaves out."""
        features = self.tables.features
        excluded = features.seen and self.spec.features.seen == "exclude"
        return PredictionPlan(
            **self.spec.prediction.model_dump(include=set(_PLANNED)),
            features=() if excluded else features.columns,
            minimum_events=self.spec.minimum_events,
            minimum_cell=self.spec.disclosure.threshold,
            seed=self.spec.seed,
        )

    @cached_property
    def predictions(self) -> list[Predicted]:
        """The nested models, which three tables show."""
        conditions = self.spec.prediction.outcomes or self.models.conditions
        return predict_outcomes(self.people, self.tables.outcomes, conditions, self.plan)


def _complete_columns(spec: StudySpec, models: AnalysisSpec) -> Iterator[tuple[str, ...]]:
    """Columns in which the people of a table are complete, where they are not those of the primary models."""
    of_all = ("age_years", *models.phenotypes)
    yield from (("age_years", *models.strata, *names) for n, names in spec.covariate_sets.items() if n != spec.primary)
    if spec.missing.imputations:
        yield of_all
    if spec.participation.margins:
        yield (*of_all, *models.strata, *models.covariates, *spec.participation.margins)


def _people(tables: SpecTables, spec: StudySpec) -> pd.DataFrame:
    """Rows of the models, with every covariate and column that any set, margin or audit of the spec names.

    What was measured on a doubted study is missing, unless the spec takes such studies in.
    """
    covariates = [*spec.strata, *(name for names in _covariate_lists(spec) for name in names)]
    check_covariates(tables.participants, covariates, spec.types, "participants")
    people = analysis_people(tables.phenotypes, tables.participants, spec.models(spec.covariate_sets[spec.primary]))
    takes_part = people["measured"] & (spec.include_doubted | ~people["doubted"])
    people = _beside(people, tables.participants, _named_columns(spec))
    listed = set(people)
    people = _beside(people, tables.phenotypes, _named_columns(spec))
    people = tables.features.beside(people, [*_named_columns(spec), *tables.features.columns])
    missing = sorted(_named_columns(spec) - set(people))
    if missing:
        raise ValueError(f"the spec names columns {missing}, which neither participants nor phenotypes have")
    return people.assign(**{name: people[name].where(takes_part) for name in map(str, people) if name not in listed})


def _beside(people: pd.DataFrame, table: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """``people`` with those of ``names`` that ``table`` has and they lack."""
    here = [name for name in sorted(names) if name in table and name not in people]
    if not here:
        return people
    columns = with_keys(table[["participant", "visit", *here]], "the table")
    return people.merge(columns, on=["participant", "visit"], how="left", validate="one_to_one")


def _named_columns(spec: StudySpec) -> set[str]:
    """Every column of people that a spec names beside the exposures."""
    named = (
        {name for names in _covariate_lists(spec) for name in names}
        | set(spec.participation.margins)
        | set(spec.fairness.quality)
    )
    named |= {spec.prediction.fold_by} if spec.prediction.fold_by else set()
    return named | {name for row in spec.fairness.agreement for name in (row.measured, row.reference)}


def _covariate_lists(spec: StudySpec) -> list[tuple[str, ...]]:
    """Every list of columns that enter a model."""
    return [*spec.covariate_sets.values(), *spec.fairness.decompose.values(), *spec.prediction.steps.values()]


def _sets(inputs: Inputs) -> Iterator[tuple[str, AnalysisSpec]]:
    """The primary set of covariates, then the others."""
    spec = inputs.spec
    for name in [spec.primary, *(name for name in spec.covariate_sets if name != spec.primary)]:
        yield name, spec.models(spec.covariate_sets[name])


def _each_set(make: Callable[[pd.DataFrame, pd.DataFrame, AnalysisSpec], pd.DataFrame], inputs: Inputs) -> pd.DataFrame:
    """The rows of each set of covariates, one set after the other."""
    made = [make(inputs.people, inputs.tables.outcomes, models).assign(covariate_set=n) for n, models in _sets(inputs)]
    table = pd.concat(made, ignore_index=True)
    return table if inputs.sets_named else table.drop(columns="covariate_set")


def _errors(people: pd.DataFrame, spec: StudySpec) -> dict[str, pd.Series]:
    """What was measured less its reference, by the name of the difference."""
    return {row.measured + ERROR: people[row.measured] - people[row.reference] for row in spec.fairness.agreement}


def _decomposition(inputs: Inputs) -> pd.DataFrame:
    fairness = inputs.spec.fairness
    errors = _errors(inputs.people, inputs.spec)
    values = [*errors, *inputs.models.phenotypes]
    return decomposition_rows(inputs.people.assign(**errors), inputs.models, fairness.decompose, values)


def _measurement(inputs: Inputs) -> pd.DataFrame:
    fairness = inputs.spec.fairness
    agreement = [(row.measured, row.reference, row.margin or np.nan) for row in fairness.agreement]
    return measurement_audit(
        inputs.people,
        inputs.models,
        agreement=agreement,
        quality=fairness.quality,
        permutations=fairness.permutations,
    )


def _hazards_imputed(inputs: Inputs) -> pd.DataFrame:
    missing, rng = inputs.spec.missing, np.random.default_rng([inputs.spec.seed, 4])
    return imputed_hazards(
        inputs.people,
        inputs.tables.outcomes,
        inputs.models,
        rng,
        n_imputations=missing.imputations,
        n_cycles=missing.cycles,
    )


def _prediction(inputs: Inputs) -> pd.DataFrame:
    specificity = inputs.spec.fairness.specificity
    return prediction_audit(inputs.people, inputs.tables.outcomes, inputs.models, specificity=specificity)


def _hazards_weighted(inputs: Inputs) -> pd.DataFrame:
    margins = inputs.spec.participation.margins
    return weighted_hazards(inputs.people, inputs.tables.outcomes, inputs.models, margins)


MAKERS: Mapping[str, Callable[[Inputs], pd.DataFrame]] = {
    "flow": lambda inputs: inputs.flow,
    "associations": lambda inputs: _each_set(association_rows, inputs),
    "hazards": lambda inputs: _each_set(hazard_rows, inputs),
    "discrimination": lambda inputs: discrimination_rows(inputs.people, inputs.tables.outcomes, inputs.models),
    "survival_curves": lambda inputs: curve_rows(inputs.people, inputs.tables.outcomes, inputs.models),
    "hazards_imputed": _hazards_imputed,
    "hazards_weighted": _hazards_weighted,
    "fairness": lambda inputs: fairness_rows(inputs.people, inputs.tables.outcomes, inputs.models),
    "fairness_prediction": _prediction,
    "fairness_measurement": _measurement,
    "group_pairs": lambda inputs: pair_rows(inputs.people, inputs.tables.outcomes, inputs.models),
    "decomposition": _decomposition,
    "prediction": lambda inputs: prediction_rows(inputs.predictions, inputs.plan),
    "prediction_calibration": lambda inputs: calibration_rows(inputs.predictions, inputs.plan),
    "prediction_decisions": lambda inputs: decision_rows(inputs.predictions, inputs.plan),
}
"""Table -> what makes it."""
