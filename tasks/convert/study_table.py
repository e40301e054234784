"""The table of converted studies: one row a study and view, with shape, spacing, flags and what was left out."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from tasks.state.ledger import Ledger, Outcome
from tasks.state.parquet_tables import publish_table, table_key
from tasks.state.store import Cohort

_TYPES = {
    "study": "str",
    "participant": "str",
    "visit": "str",
    "status": "str",
    "reason": "str",
    "view": "str",
    "frames": "Int64",
    "slices": "Int64",
    "rows": "Int64",
    "cols": "Int64",
    "row_mm": "float64",
    "col_mm": "float64",
    "slice_mm": "float64",
    "thickness_mm": "float64",
    "heart_rate_bpm": "float64",
    "frames_missing": "Int64",
    "flags": "str",
    "excluded": "str",
    "key": "str",
}
_COUNTS = ("frames", "slices", "rows", "cols", "slice_mm", "thickness_mm", "heart_rate_bpm", "frames_missing")


def write_study_table(ledger: Ledger, cohort: Cohort) -> int:
    """Publish ``tables/studies.parquet`` from the ledger; returns the rows. Every study has at least one."""
    rows = [row for outcome in ledger.outcomes("convert") if outcome.status != "retired" for row in _rows(outcome)]
    table = pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)
    publish_table(table, cohort.tables / "studies.parquet", ledger.state("convert"))
    return len(rows)


def is_current(ledger: Ledger, cohort: Cohort) -> bool:
    """Whether the published table was made from this ledger."""
    return table_key(cohort.tables / "studies.parquet") == ledger.state("convert")


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
