"""Any metric by group of people: values, gaps and their tests."""

from cmr_models.fairness.disaggregation import (
    OVERALL,
    Gap,
    disaggregate,
    disaggregated_rows,
    equivalence_p,
    max_gap,
    permutation_gaps,
)

__all__ = [
    "OVERALL",
    "Gap",
    "disaggregate",
    "disaggregated_rows",
    "equivalence_p",
    "max_gap",
    "permutation_gaps",
]
