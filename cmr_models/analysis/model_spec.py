"""What the models of an analysis estimate: one set of covariates, with every default and its bounds."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cmr_models.contracts import CONDITIONS
from cmr_models.contracts.cells import ColumnType

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "left_ventricle": ("lvedv_ml", "lvesv_ml", "lvsv_ml", "lvef_pct", "lvm_g"),
    "right_ventricle": ("rvedv_ml", "rvesv_ml", "rvsv_ml", "rvef_pct"),
    "rate_and_output": ("lvco_l_min", "heart_rate_bpm"),
}

# Gaps that would not change a decision: 2 points of ejection fraction, 0.05 of concordance, 2 % of studies, a ratio
# of 1.25 between two hazard or odds ratios (the bound used for bioequivalence).
MARGINS: Mapping[str, float] = {
    "adjusted_mean/lvef_pct": 2.0,
    "adjusted_mean/rvef_pct": 2.0,
    "harrell_phenotype": 0.05,
    "qc_pass": 0.02,
    "cox_age": 0.2231,
    "logistic": 0.2231,
}


def ascending(edges: tuple[float, ...]) -> tuple[float, ...]:
    """Edges of bands in their order.

    Raises:
        ValueError: they are not, or there are none.
    """
    if not edges or list(edges) != sorted(set(edges)):
        raise ValueError(f"edges must ascend, got {list(edges)}")
    return edges


GAP_MODELS = (
    "logistic",
    "cox_age",
    "harrell_phenotype",
    "mean",
    "adjusted_mean",
    "qc_pass",
    "auc",
    "sensitivity",
    "calibration",
    "standardised_mean",
)
"""The models and metrics of which the largest gap between groups is given, and may have a margin."""


class AnalysisSpec(BaseModel):
    """What is estimated; every estimate carries the digest of this."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phenotypes: tuple[str, ...] = Field(
        default=tuple(name for names in FAMILIES.values() for name in names),
        min_length=1,
        description="exposures, columns of the phenotype table",
    )
    conditions: tuple[str, ...] = Field(
        default=CONDITIONS, min_length=1, description="outcomes, values of `condition` in the outcome table"
    )
    covariates: tuple[str, ...] = Field(
        default=("sex", "height_cm", "weight_kg", "systolic_mmhg", "smoking", "deprivation"),
        description="columns of the participants in every model; age is added where time is not age",
    )
    strata: tuple[str, ...] = Field(
        default=(),
        description="columns whose combinations have baseline hazards of their own (models of time to event)",
    )
    families: Mapping[str, tuple[str, ...]] = Field(
        default=FAMILIES,
        description="name -> phenotypes whose tests are corrected together; the rest are the family `other`",
    )
    group_by: tuple[str, ...] = Field(
        default=("sex", "age_band", "bmi_class", "ethnicity", "centre"),
        description="columns by which every estimate is given again; `age_band` and `bmi_class` are derived;"
        " `sex x age_band` is the intersection of two",
    )
    age_edges_years: tuple[float, ...] = Field(
        default=(55.0, 65.0, 75.0), description="lower edges of the age bands from the second on"
    )
    margins: Mapping[str, float] = Field(
        default=MARGINS,
        description="`model` or `model/phenotype` -> the largest gap between groups that does not matter",
    )
    curve_groups: int = Field(
        default=4, ge=2, le=10, description="quantile groups of each phenotype in the survival curves"
    )
    curve_step_years: float = Field(
        default=0.5, gt=0, description="distance of the times at which curves are published"
    )
    horizon_years: float = Field(
        default=5.0, gt=0, description="events later than this do not count in Uno's concordance"
    )
    minimum_cell: int = Field(default=5, ge=1, description="the smallest number that may be published")
    minimum_events: int = Field(
        default=10, ge=1, description="models of fewer cases or events, or of fewer people without, are not fitted"
    )
    minimum_events_per_term: float = Field(
        default=3.0, ge=0, description="models with fewer cases or events for each of their terms are not fitted"
    )
    include_doubted: bool = Field(
        default=False, description="take in doubted studies: a quality rule is broken, or nobody judged (`qc_ok`)"
    )
    unmatched_max: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="largest share of people with a study who may be missing in participants, or in outcomes, or of"
        " whom nothing tells which visit came first; beyond it the analysis is an error",
    )
    types: Mapping[str, ColumnType] = Field(
        default={},
        description="column of participants -> `number` or `text` (categories), where the cells alone do not tell",
    )
    missing_values: tuple[str, ...] = Field(
        default=(), description="words that mean a missing value in the tables of people, beside the empty cell"
    )
    permutations: int = Field(default=499, ge=1, description="label permutations of the gaps between means")
    seed: int = Field(default=0, description="of everything random")

    @field_validator("age_edges_years")
    @classmethod
    def _edges_ascend(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        return ascending(edges)

    def margin_of(self, model: str, phenotype: str) -> float:
        """The stated margin of equivalence; NaN if none is."""
        return self.margins.get(f"{model}/{phenotype}", self.margins.get(model, float("nan")))

    def family_of(self, phenotype: str) -> str:
        """The declared family of a phenotype."""
        return next((name for name, members in self.families.items() if phenotype in members), "other")
