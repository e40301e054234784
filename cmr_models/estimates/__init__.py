"""The tidy table of estimates, and what every estimate needs: designs, groups, proportions."""

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
