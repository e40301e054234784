"""UK Biobank's tables as participants and outcomes: fields, columns, dates, events."""

from cmr_models.analysis.biobank.columns import Column, FieldTable, parse_column
from cmr_models.analysis.biobank.fields import FIELDS, Field, check_fields
from cmr_models.analysis.biobank.outcomes import build_outcomes
from cmr_models.analysis.biobank.people import build_participants

__all__ = [
    "FIELDS",
    "Column",
    "Field",
    "FieldTable",
    "build_outcomes",
    "build_participants",
    "check_fields",
    "parse_column",
]
