"""The tidy table of estimates, and what every estimate needs.

- ``tidy``, ``COLUMNS``: rows as a table with fixed columns; ``failed``, ``NotEstimableError``, ``NOT_ESTIMABLE``: a row
  without a number, and why.
- ``wald``, ``wald_concordance``, ``bootstrap_interval``: estimate, interval and test of one number;
  ``minus_log10_p`` and its kin: significance that does not underflow.

Columns of a regression are in ``estimates.design_matrix``, groups of people in ``estimates.groups``.
"""

from cmr_models.estimates.table import (
    COLUMNS,
    NOT_ESTIMABLE,
    TEXT_COLUMNS,
    VALUE_COLUMNS,
    Z95,
    NotEstimableError,
    bootstrap_interval,
    failed,
    minus_log10_p,
    minus_log10_p_chi2,
    minus_log10_p_t,
    tidy,
    unit_of,
    wald,
    wald_concordance,
)

__all__ = [
    "COLUMNS",
    "NOT_ESTIMABLE",
    "TEXT_COLUMNS",
    "VALUE_COLUMNS",
    "Z95",
    "NotEstimableError",
    "bootstrap_interval",
    "failed",
    "minus_log10_p",
    "minus_log10_p_chi2",
    "minus_log10_p_t",
    "tidy",
    "unit_of",
    "wald",
    "wald_concordance",
]
