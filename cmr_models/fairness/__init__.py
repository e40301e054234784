"""Any metric by group of people: values, gaps between groups and their tests.

- ``disaggregate``, ``disaggregated_rows``: a metric overall and by group, as a table or as rows.
- ``max_gap``: the largest difference between groups, tested by their errors; ``permutation_gaps``: that of means, and
  ``permutation_gap``: that of any metric, tested by permuted labels.
- ``equivalence_p``: whether all groups lie within a margin of each other; ``gap_row``: a gap as a row of a table.

Ready metrics are in ``fairness.metrics``; metrics and gaps together in ``fairness.audit``.
"""

from cmr_models.fairness.disaggregation import OVERALL, disaggregate, disaggregated_rows
from cmr_models.fairness.gaps import (
    GAP_COLUMNS,
    MAX_GAP,
    Gap,
    equivalence_p,
    gap_row,
    max_gap,
    permutation_gap,
    permutation_gaps,
)

__all__ = [
    "GAP_COLUMNS",
    "MAX_GAP",
    "OVERALL",
    "Gap",
    "disaggregate",
    "disaggregated_rows",
    "equivalence_p",
    "gap_row",
    "max_gap",
    "permutation_gap",
    "permutation_gaps",
]
