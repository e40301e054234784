"""The table of converted studies: one row a study and view, with shape, spacing, flags and what was left out."""

from __future__ import annotations

import io
import json

import pandas as pd

from tasks.ledger import Ledger, Outcome
from tasks.store import Cohort, publish_bytes

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
    buffer = io.BytesIO()
    pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES).to_parquet(buffer, index=False)
    publish_bytes(buffer.getvalue(), cohort.tables / "studies.parquet")
    return len(rows)


def _rows(outcome: Outcome) -> list[dict[str, object]]:
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
    return [common | _view_cells(name, view) for name, view in sorted(views.items())]


def _view_cells(name: str, view: dict[str, object]) -> dict[str, object]:
    row_mm, col_mm = view.get("pixel_mm", (None, None))  # type: ignore[misc]
    flags = ";".join(view.get("flags", []))  # type: ignore[arg-type]
    return {"view": name, "row_mm": row_mm, "col_mm": col_mm, "flags": flags, **{k: view.get(k) for k in _COUNTS}}
