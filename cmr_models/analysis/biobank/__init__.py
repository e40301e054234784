"""UK Biobank's tables as participants and outcomes: fields, columns, dates, events."""

from cmr_models.analysis.biobank.columns import EMPTY_WORDS, IDENTIFIERS, Column, FieldTable, parse_column
from cmr_models.analysis.biobank.fields import FIELDS, Field, check_fields, field_of
from cmr_models.analysis.biobank.outcomes import build_outcomes, spec_fields
from cmr_models.analysis.biobank.people import build_participants, further_fields

__all__ = [
    "EMPTY_WORDS",
    "FIELDS",
    "IDENTIFIERS",
    "Column",
    "Field",
    "FieldTable",
    "build_outcomes",
    "build_participants",
    "check_fields",
    "field_of",
    "further_fields",
    "parse_column",
    "spec_fields",
]
