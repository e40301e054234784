"""The table of converted studies: one row a study and view, with shape, spacing, flags and what was left out."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from cmr_models.contracts import ColumnSpec, TableSpec
from tasks.state.ledger import Ledger, Outcome
from tasks.state.parquet_tables import table_key
from tasks.state.store import Cohort
from tasks.state.study_tables import StudyTable

STUDIES = TableSpec(
    "tables/studies.parquet",
    "a row a study and view; a study without views has one row",
    (
        ColumnSpec("study", "text", "", "study id: participant-visit"),
        ColumnSpec("participant", "text", "", "participant id"),
        ColumnSpec("visit", "text", "", "visit"),
        ColumnSpec("status", "text", "", "ok, absent or quarantined", values=("ok", "absent", "quarantined")),
        ColumnSpec("reason", "text", "", "reason code where the status is not ok"),
        ColumnSpec("view", "text", "", "name of the view; empty if there is none"),
        ColumnSpec("frames", "integer", "1", "frames of the view", (0, 100_000)),
        ColumnSpec("slices", "integer", "1", "planes of the view", (0, 100_000)),
        ColumnSpec("rows", "integer", "1", "rows of an image", (0, 100_000)),
        ColumnSpec("cols", "integer", "1", "columns of an image", (0, 100_000)),
        ColumnSpec("row_mm", "real", "mm", "spacing of rows", (0, 1000)),
        ColumnSpec("col_mm", "real", "mm", "spacing of columns", (0, 1000)),
        ColumnSpec("slice_mm", "real", "mm", "distance between planes along the normal"),
        ColumnSpec("thickness_mm", "real", "mm", "slice thickness"),
        ColumnSpec("heart_rate_bpm", "real", "1/min", "heart rate"),
        ColumnSpec("frames_missing", "integer", "1", "images that the scanner did not send", (0, 100_000_000)),
        ColumnSpec("flags", "text", "", "reason codes of what is unusual, `;` between them"),
        ColumnSpec("excluded", "text", "", "series that were left out, with reasons (JSON)"),
        ColumnSpec("key", "text", "", "digest of all that the study was made from"),
    ),
)
"""The contract of the table of studies."""

_COUNTS = ("frames", "slices", "rows", "cols", "slice_mm", "thickness_mm", "heart_rate_bpm", "frames_missing")


def write_study_table(ledger: Ledger, cohort: Cohort) -> int:
    """Publish ``tables/studies.parquet`` from the ledger; returns the rows. Every study has at least one."""
    return _TABLE.publish(ledger, cohort, ledger.state("convert"))


def is_current(ledger: Ledger, cohort: Cohort) -> bool:
    """Whether the published table was made from this ledger."""
    return table_key(_TABLE.path(cohort)) == ledger.state("convert")


def _table(_ledger: Ledger, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    rows = [row for outcome in outcomes for row in _rows(outcome)]
    return pd.DataFrame(rows, columns=list(STUDIES.names)).astype(STUDIES.pandas_types)


_TABLE = StudyTable(STUDIES, ("convert",), _table)


def _rows(outcome: Outcome) -> list[dict[str, Any]]:
    participant, _, visit = outcome.study.rpartition("-")
    common = {
        "study": outcome.study,
        "participant": participant,
        "visit": visit,
        "status": outcome.status,
        "reason": outcome.reason,
        "excluded": json.dumps(outcome.summary.get("excluded", []), sort_keys=True),
        "key": outcome.key,
    }
    views = outcome.summary.get("views") or {"": {}}
    flags = set(outcome.summary.get("flags", []))
    return [
        common | _view_cells(name, view, flags | set(view.get("flags", []))) for name, view in sorted(views.items())
    ]


def _view_cells(name: str, view: Mapping[str, Any], flags: Collection[str]) -> dict[str, Any]:
    row_mm, col_mm = view.get("pixel_mm", (None, None))
    counts = {name: view.get(name) for name in _COUNTS}
    return {"view": name, "row_mm": row_mm, "col_mm": col_mm, "flags": ";".join(sorted(flags)), **counts}
