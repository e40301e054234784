"""What the gate did to each published table, and every count that was ever published, as files beside the tables.

The record of the gate is one that a reviewer and ACRO's tools can read. The counts of earlier releases are kept because
a later one may differ from them by a few people.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from cmr_models.analysis.disclosure.gate import COUNTS, IDENTITY, Gate
from tasks.state.parquet_tables import publish_table, read_table
from tasks.state.store import digest_bytes, publish_bytes

RECORD = "disclosure_record.json"


def keep_record(gate: Gate, folder: Path) -> None:
    """Add what ``gate`` has released to the record of ``folder``; an output made again replaces its entry.

    Its time is left empty: the same inputs give the same bytes, and when a run was stands under ``runs/``.
    """
    path = folder / RECORD
    files = {entry["uid"]: f"{entry['uid']}.parquet" for entry in gate.entries}
    record = gate.acro(files=files)
    before = json.loads(path.read_text())["results"].values() if path.exists() else []
    kept = [entry for entry in before if entry["uid"] not in files] + list(record["results"].values())
    results = {f"output_{k}": entry for k, entry in enumerate(kept)}
    publish_bytes(json.dumps({**record, "results": results}, indent=1).encode(), path)


def released_counts(folder: Path, name: str) -> list[pd.DataFrame]:
    """Counts and estimates of every earlier release of a table of ``folder``, with the columns that name a row."""
    path = _released_path(folder, name)
    if not path.exists():
        return []
    return [rows.drop(columns="release") for _, rows in read_table(path).groupby("release", sort=False)]


def keep_released(released: pd.DataFrame, folder: Path, name: str) -> None:
    """Add counts and estimates of a table that is about to be published to those of its earlier releases."""
    columns = [column for column in (*IDENTITY, *COUNTS, "estimate", "spec_digest") if column in released]
    counts = released[columns].reset_index(drop=True)
    release = digest_bytes(pd.util.hash_pandas_object(counts, index=False).to_numpy().tobytes())[:12]
    path = _released_path(folder, name)
    before = read_table(path) if path.exists() else pd.DataFrame({"release": []})
    if release in set(before["release"]):
        return
    parts = [part for part in (before, counts.assign(release=release)) if len(part)]
    publish_table(pd.concat(parts, ignore_index=True) if parts else counts.assign(release=[]), path)


def _released_path(folder: Path, name: str) -> Path:
    return folder / "released" / f"{name}.parquet"
