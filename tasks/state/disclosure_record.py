"""What the gate did to each published table, as a file beside them that a reviewer and ACRO's tools can read."""

from __future__ import annotations

import json
from pathlib import Path

from cmr_models.analysis.disclosure.gate import Gate
from tasks.state.store import publish_bytes

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
