"""``disclosure.csv``: for an output checker, what is hidden in every table, why, and what all of them say of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cmr_models.analysis.disclosure.masking import SUPPRESSED
from tasks.state.csv_text import csv_text
from tasks.state.store import publish_bytes

COLUMNS = ("table", "exposure", "outcome", "population", "group_by", "group", "cell", "why", "rows", "low", "high",
           "determined")  # fmt: skip
TOGETHER = "all tables together"
CONTRADICTION = "not worked out"
"""What is published of the cell contradicts itself."""


def write_disclosure(tables: Mapping[str, pd.DataFrame], found: pd.DataFrame, path: Path) -> None:
    """Publish the report for an output checker.

    Nothing in it is more than anybody can work out from the tables.

    Args:
        tables: as they are published.
        found: of :func:`cmr_models.analysis.disclosure.audit.audit`.
        path: the file. Its first rows say how many rows of each table are hidden and why (``rows``; none: 0), the
            others what all tables together leave of each hidden cell: the least and the most that it can be, or that
            what they say of it contradicts itself and was not worked out.
    """
    parts = [_hidden_rows(name, table) for name, table in tables.items()]
    together = found.assign(table=TOGETHER, why=found["low"].isna().map({True: CONTRADICTION, False: "hidden"}), rows=1)
    together["low"] = together["low"].where(together["low"] > float("-inf"))
    content = pd.concat([*parts, together], ignore_index=True).reindex(columns=list(COLUMNS))
    text = ["table", "exposure", "outcome", "population", "group_by", "group", "cell", "why"]
    content[text] = content[text].fillna("").astype(object)
    publish_bytes(csv_text(content).encode(), path)


def _hidden_rows(name: str, table: pd.DataFrame) -> pd.DataFrame:
    hidden = table.loc[table["status"] == SUPPRESSED, "reason"].value_counts().sort_index()
    counts = {str(why): int(n) for why, n in hidden.items()} or {"": 0}
    return pd.DataFrame([{"table": name, "cell": "rows", "why": why, "rows": n} for why, n in counts.items()])
