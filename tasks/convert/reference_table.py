"""The table of references: what public data sets say of each study, and which of its views have references."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cmr_models.contracts import ColumnSpec, TableSpec
from tasks.sources.public_facts import FACTS
from tasks.state.ledger import Ledger, Outcome
from tasks.state.parquet_tables import table_key
from tasks.state.store import Cohort
from tasks.state.study_tables import StudyTable

REFERENCES = TableSpec(
    "tables/references.parquet",
    "a row a study of a public data set; only there if there is one. What is not known is empty",
    (
        ColumnSpec("study", "text", "", "study id: participant-visit"),
        ColumnSpec("participant", "text", "", "participant id"),
        ColumnSpec("visit", "text", "", "visit"),
        *FACTS,
        ColumnSpec("labelled_views", "text", "", "views with labels, `;` between them"),
        ColumnSpec("marked_views", "text", "", "views with landmarks, `;` between them"),
        ColumnSpec("faults", "text", "", "references that were left out, and why (JSON)"),
    ),
)
"""The contract of the table of references."""


def table_path(cohort: Cohort) -> Path:
    """Where the table lies; it is only there if some study has references."""
    return cohort.tables / "references.parquet"


def write_reference_table(ledger: Ledger, cohort: Cohort) -> None:
    """Publish the table (:data:`REFERENCES`) from the ledger; remove it if no study has references."""
    if not ledger.with_value("convert", "facts"):
        table_path(cohort).unlink(missing_ok=True)
        return
    _TABLE.publish(ledger, cohort, ledger.state("convert"))


def is_current(ledger: Ledger, cohort: Cohort) -> bool:
    """Whether the published table was made from this ledger; True if there is nothing to write."""
    if not ledger.with_value("convert", "facts"):
        return not table_path(cohort).exists()
    return table_key(table_path(cohort)) == ledger.state("convert")


def _table(_ledger: Ledger, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    rows = [_row(outcome) for outcome in outcomes if "facts" in outcome.summary]
    table = pd.DataFrame(rows, columns=list(REFERENCES.names)).astype(REFERENCES.pandas_types)
    text = [column.name for column in REFERENCES.columns if column.kind == "text"]
    table[text] = table[text].replace({"nan": None, "None": None})
    return table


def _row(outcome: Outcome) -> dict[str, Any]:
    participant, _, visit = outcome.study.rpartition("-")
    views = outcome.summary.get("views", {})
    return {
        "study": outcome.study,
        "participant": participant,
        "visit": visit,
        **outcome.summary["facts"],
        "labelled_views": ";".join(sorted(name for name, view in views.items() if view.get("labelled_frames"))),
        "marked_views": ";".join(sorted(name for name, view in views.items() if view.get("marked_frames"))),
        "faults": json.dumps(outcome.summary.get("reference_faults", []), sort_keys=True),
    }


_TABLE = StudyTable(REFERENCES, ("convert",), _table)
