"""The analysis spec: everything that is decided before the numbers are seen, as one checked tree of plain values."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cmr_models.analysis.model_spec import AnalysisSpec, ascending
from cmr_models.contracts.cells import ColumnType
from cmr_models.contracts.names import nearest

Register = Literal["inpatient", "death", "cancer"]
Nation = Literal["england", "scotland", "wales"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]

_CODE = re.compile(r"^[A-Z]\d\d(\.?\d{1,2})?$|^[A-Z]\d\d-[A-Z]\d\d$")
# What of a spec says where files lie, not what is estimated.
_PLACES = ("tables", "registered")
# Keys that came later: they are part of the digest only where they are set, so that older specs keep theirs.
_LATER = ("curves", "minimum_events_per_term", "include_doubted", "unmatched_max", "types", "missing_values")

_DEFAULTS = AnalysisSpec()


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UkbColumn(_Part):
    """A column of the participants from a UK Biobank field."""

    field: int
    instance: int | Literal["imaging"] = "imaging"
    arrays: Literal["first", "mean", "last"] = "first"


class FieldRow(_Part):
    """A field that the built-in dictionary lacks."""

    name: str
    kind: Literal["integer", "continuous", "categorical", "date", "icd10", "text"]
    codes: dict[int, str | None] = {}
    unit: str = ""


class Source(_Part):
    """Where an outcome is recorded: which register, which codes, in which fields."""

    kind: Literal["icd10", "first_occurrence", "algorithm", "death", "cancer"]
    codes: tuple[str, ...] = ()
    field: int | None = None
    dates: int | None = None

    @field_validator("codes")
    @classmethod
    def _are_icd10(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [code for code in codes if not _CODE.match(code)]
        if wrong:
            raise ValueError(f"{wrong} are not ICD-10 codes; write I50, I50.1 or a range I20-I25")
        return codes

    @model_validator(mode="after")
    def _is_complete(self) -> Source:
        if self.kind in ("first_occurrence", "algorithm") and (self.field is None or self.codes):
            raise ValueError(f"{self.kind} needs the field of its date, and no codes")
        if self.kind == "icd10" and not self.codes:
            raise ValueError("icd10 needs codes")
        return self

    @property
    def register(self) -> Register:
        """The register whose last day ends follow-up."""
        return {"death": "death", "cancer": "cancer"}.get(self.kind, "inpatient")  # type: ignore[return-value]


class OutcomeDefinition(_Part):
    """One condition: the first record of any source. ``code_list`` names where the codes come from."""

    name: Name
    sources: tuple[Source, ...] = Field(min_length=1)
    code_list: str = ""
    sensitive: bool = False


class Dates(_Part):
    """When time begins and ends."""

    entry_field: int = 53
    birth_year_field: int = 34
    birth_month_field: int = 52
    death_field: int = 40000
    lost_field: int | None = 191
    nation_field: int = 54
    censoring: dict[Register, dict[Nation, datetime.date]]

    @model_validator(mode="after")
    def _every_nation_has_a_day(self) -> Dates:
        for register, days in self.censoring.items():
            missing = {"england", "scotland", "wales"} - set(days)
            if missing:
                raise ValueError(f"censoring of {register} lacks {sorted(missing)}")
        return self


class Windows(_Part):
    """Which records count as prevalent, and which as incident.

    A record up to ``prevalent_until_days`` after the visit is prevalent (it takes days to be coded). Follow-up begins
    ``incident_from_days`` after the visit; those with a record, a death or an end in between are neither.
    """

    prevalent_until_days: int = Field(default=0, ge=0)
    incident_from_days: int = Field(default=0, ge=0)
    incident_until_years: float | None = Field(default=None, gt=0)
    undated: Literal["exclude", "prevalent"] = "exclude"

    @model_validator(mode="after")
    def _in_order(self) -> Windows:
        if self.incident_from_days < self.prevalent_until_days:
            raise ValueError(
                f"follow-up cannot begin (day {self.incident_from_days}) before prevalence ends"
                f" (day {self.prevalent_until_days}): time before would be free of events by definition"
            )
        return self


class Exclusion(_Part):
    """People who are left out, with the reason as its name: by a value, a missing value, or prevalent disease."""

    name: str = Field(min_length=1)
    column: str = ""
    values: tuple[str, ...] = ()
    below: float | None = None
    above: float | None = None
    missing: bool = False
    prevalent: str = ""

    @model_validator(mode="after")
    def _says_whom(self) -> Exclusion:
        rules = [bool(self.values), self.below is not None, self.above is not None, self.missing]
        if bool(self.prevalent) == bool(self.column) or (self.column and not any(rules)):
            raise ValueError(
                f"exclusion {self.name}: give `prevalent`, or a `column` with values, below, above, missing"
            )
        return self


class Exposure(_Part):
    """A phenotype and how it enters the models."""

    name: Name
    transform: Literal["none", "log", "inverse_normal", "winsorise"] = "none"
    field: int | None = Field(default=None, description="UK Biobank's own value, instead of the phenotype table")


class Agreement(_Part):
    """A measurement and its reference: bias and limits of agreement by group."""

    measured: str
    reference: str
    margin: float | None = Field(default=None, gt=0)


class Fairness(_Part):
    """Groups, intersections, margins and metrics of the audit."""

    group_by: tuple[str, ...] = _DEFAULTS.group_by
    intersections: tuple[tuple[str, ...], ...] = ()
    margins: dict[str, float] = {}
    agreement: tuple[Agreement, ...] = ()
    quality: tuple[str, ...] = Field(default=(), description="columns of which the mean is audited (Dice)")
    specificity: float = Field(default=0.9, gt=0, lt=1)
    horizon_years: float = Field(default=_DEFAULTS.horizon_years, gt=0)
    permutations: int = Field(default=199, ge=1)
    decompose: dict[str, tuple[str, ...]] = Field(default={}, description="block -> covariates of a gap of means")
    age_edges_years: tuple[float, ...] = _DEFAULTS.age_edges_years

    @field_validator("age_edges_years")
    @classmethod
    def _edges_ascend(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        return ascending(edges)


class Curves(_Part):
    """Survival curves: by how many quantile groups of a phenotype, published at which distance."""

    groups: int = Field(default=_DEFAULTS.curve_groups, ge=2, le=10)
    step_years: float = Field(default=_DEFAULTS.curve_step_years, gt=0)


class Missing(_Part):
    """Missing covariates: complete cases are always analysed; imputation is added to them."""

    imputations: int = Field(default=0, ge=0, description="completed tables; 0: complete cases only")
    cycles: int = Field(default=5, ge=1)


class Participation(_Part):
    """Weights by which those scanned stand for a population, as a sensitivity analysis."""

    margins: dict[str, dict[str, float]] = {}


class Prediction(_Part):
    """What each set of predictors adds to the last: every person predicted by a model that never saw them."""

    steps: dict[str, tuple[str, ...]] = Field(default={}, description="set -> what it adds to the sets before it")
    outcomes: tuple[str, ...] = Field(default=(), description="all if empty")
    horizon_years: float = Field(default=5.0, gt=0)
    learner: Literal["cox", "ridge", "boosting", "forest"] = "cox"
    folds: int = Field(default=5, ge=2)
    fold_by: str = Field(default="", description="column, such as centre: each of its groups is tested by the others")
    thresholds: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.01, 0.02, 0.05, 0.1, 0.2)
    resamples: int = Field(default=100, ge=0, description="of people, for the error of the calibration index; 0: none")

    @model_validator(mode="after")
    def _thresholds_ascend(self) -> Prediction:
        if list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError(f"prediction.thresholds must ascend, got {list(self.thresholds)}")
        return self


class Features(_Part):
    """Features of a network, a table of predictions of the cohort: last step of the prediction, and exposures.

    ``seen``: what to do with those of a network that has seen people of this cohort (its model card says so):
    ``exclude`` leaves them without a number and says why, ``flag`` keeps the number and says so beside it.
    """

    table: Name | Literal[""] = ""
    columns: tuple[str, ...] = Field(default=(), description="all numbers of the table if empty")
    seen: Literal["exclude", "flag"] = "exclude"


class Disclosure(_Part):
    """The gate: the smallest number that may be published, and the base to which counts are rounded."""

    threshold: int = Field(default=_DEFAULTS.minimum_cell, ge=1)
    base: int | None = Field(default=None, ge=2)


class Departure(_Part):
    """What is done differently from the registered spec, and why."""

    path: str
    why: str = Field(min_length=5)


class Tables(_Part):
    """Where the tables lie, relative to the spec."""

    ukb: str = Field(default="", description="UK Biobank export (CSV or parquet)")
    participants: str = ""
    outcomes: str = ""
    phenotypes: str = Field(default="", description="instead of the cohort's own")
    withdrawn: str = Field(default="", description="list of people who withdrew, one a line: no row of theirs is read")
    columns: dict[str, str] = Field(default={}, description="our name -> the file's column, in other cohorts")

    @model_validator(mode="after")
    def _one_kind(self) -> Tables:
        if bool(self.ukb) == bool(self.participants and self.outcomes):
            raise ValueError("give `ukb`, or both `participants` and `outcomes`")
        return self


class StudySpec(_Part):
    """All of ``analysis.yaml``."""

    name: Name
    tables: Tables
    instance: int = Field(default=2, ge=0)
    people: dict[str, UkbColumn] = {}
    fields: dict[int, FieldRow] = {}
    dates: Dates | None = None
    windows: Windows = Windows()
    outcomes: tuple[OutcomeDefinition, ...] = ()
    conditions: tuple[str, ...] = Field(default=(), description="outcomes of a table of another cohort")
    exclusions: tuple[Exclusion, ...] = ()
    exposures: tuple[Exposure, ...] = Field(min_length=1)
    covariate_sets: dict[Name, tuple[str, ...]] = Field(min_length=1)
    primary: str
    strata: tuple[str, ...] = ()
    families: dict[str, tuple[str, ...]] = {}
    curves: Curves = Curves()
    fairness: Fairness = Fairness()
    missing: Missing = Missing()
    participation: Participation = Participation()
    prediction: Prediction = Prediction()
    features: Features = Features()
    disclosure: Disclosure = Disclosure()
    minimum_events: int = Field(default=_DEFAULTS.minimum_events, ge=1)
    minimum_events_per_term: float = Field(default=_DEFAULTS.minimum_events_per_term, ge=0)
    include_doubted: bool = Field(
        default=_DEFAULTS.include_doubted, description="take in studies of which a quality rule is broken"
    )
    unmatched_max: float = Field(
        default=_DEFAULTS.unmatched_max,
        ge=0,
        le=1,
        description="largest share of people with a study who may be missing in a table",
    )
    types: dict[str, ColumnType] = Field(
        default={}, description="column of participants -> `number` or `text`, where the cells alone do not tell"
    )
    missing_values: tuple[str, ...] = Field(
        default=(), description="words that mean a missing value, beside the empty cell (and NA, of UK Biobank)"
    )
    seed: int = 0
    registered: str = Field(default="", description="the spec as it was registered, to list departures from")
    departures: tuple[Departure, ...] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> StudySpec:
        if self.primary not in self.covariate_sets:
            near = nearest(self.primary, self.covariate_sets)
            raise ValueError(f"primary: there is no set of covariates {self.primary!r}{near}")
        exposures = [row.name for row in self.exposures]
        outcomes = [row.name for row in self.outcomes] or list(self.conditions)
        for what, names in (("exposures", exposures), ("outcomes", outcomes)):
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValueError(f"{what} {repeated} are given twice")
        if self.tables.ukb and (self.dates is None or not self.outcomes):
            raise ValueError("tables from UK Biobank need `dates` and `outcomes`")
        if not self.tables.ukb and (self.outcomes or not self.conditions):
            raise ValueError("tables of another cohort need `conditions` and no `outcomes`")
        members = [name for names in self.families.values() for name in names]
        prevalent = [rule.prevalent for rule in self.exclusions if rule.prevalent]
        for key, what, names, known in (
            ("families", "exposure", members, exposures),
            ("exclusions", "outcome", prevalent, outcomes),
            ("prediction.outcomes", "outcome", list(self.prediction.outcomes), outcomes),
        ):
            lost = next((name for name in names if name not in known), None)
            if lost is not None:
                raise ValueError(f"{key}: there is no {what} {lost!r}{nearest(lost, known)}")
        self._registers_end()
        return self

    def _registers_end(self) -> None:
        used = {source.register for outcome in self.outcomes for source in outcome.sources}
        missing = sorted(used - set(self.dates.censoring if self.dates else {}))
        if missing:
            raise ValueError(f"dates.censoring lacks the registers {missing} that the outcomes use")

    @property
    def outcome_names(self) -> tuple[str, ...]:
        """The conditions of the outcome table."""
        return tuple(row.name for row in self.outcomes) or self.conditions

    def content(self) -> dict[str, Any]:
        """What is estimated, as plain values, without the places of files and the account of departures."""
        unset = {name for name in _LATER if getattr(self, name) == type(self).model_fields[name].default}
        values: dict[str, Any] = self.model_dump(mode="json", exclude={*_PLACES, *unset, "departures"})
        return {**values, "columns": self.tables.columns, "source": "ukb" if self.tables.ukb else "tables"}

    def models(self, covariates: tuple[str, ...]) -> AnalysisSpec:
        """The models with one set of covariates."""
        groups = (*self.fairness.group_by, *(" x ".join(parts) for parts in self.fairness.intersections))
        return AnalysisSpec(
            phenotypes=tuple(row.name for row in self.exposures),
            conditions=self.outcome_names,
            covariates=tuple(name for name in covariates if name not in self.strata),
            strata=self.strata,
            families=self.families,
            group_by=groups,
            age_edges_years=self.fairness.age_edges_years,
            margins=self.fairness.margins,
            curve_groups=self.curves.groups,
            curve_step_years=self.curves.step_years,
            horizon_years=self.fairness.horizon_years,
            minimum_cell=self.disclosure.threshold,
            minimum_events=self.minimum_events,
            minimum_events_per_term=self.minimum_events_per_term,
            include_doubted=self.include_doubted,
            unmatched_max=self.unmatched_max,
            types=self.types,
            missing_values=self.missing_values,
            permutations=self.fairness.permutations,
            seed=self.seed,
        )


def departures(used: StudySpec, registered: StudySpec) -> list[dict[str, str]]:
    """Every value that differs from the registered spec: ``path, registered, used, why``; no reason given: ``""``."""
    reasons = {row.path: row.why for row in used.departures}
    before, now = _leaves(registered.content()), _leaves(used.content())
    return [
        {
            "path": path,
            "registered": str(before.get(path, "")),
            "used": str(now.get(path, "")),
            "why": next((why for known, why in reasons.items() if path == known or path.startswith(f"{known}.")), ""),
        }
        for path in sorted(set(before) | set(now))
        if before.get(path) != now.get(path)
    ]


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Path -> plain value; lists of named parts by their names, so that another order is not a departure."""
    if isinstance(value, dict):
        parts = {str(key): item for key, item in value.items()}
    elif isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        parts = {str(item["name"]): item for item in value}
    else:
        return {path: value}
    found: dict[str, Any] = {}
    for key, item in parts.items():
        found |= _leaves(item, f"{path}.{key}" if path else key)
    return found
