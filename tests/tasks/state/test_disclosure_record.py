"""The record of the gate beside the tables: what was released again replaces its entry, the others stay."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from cmr_models.analysis.disclosure.gate import Gate, GateRules
from tasks.state.disclosure_record import RECORD, keep_record


def _released(folder: Path, **events: float) -> dict[str, Any]:
    gate = Gate(GateRules())
    for name, n in events.items():
        gate.table(name, pd.DataFrame({"group": ["a", "b"], "n": [90.0, 80.0], "n_events": [n, 40.0]}))
    keep_record(gate, folder)
    content: dict[str, Any] = json.loads((folder / RECORD).read_text())
    return content


def test_an_output_that_is_made_again_replaces_its_entry_and_the_others_stay(tmp_path: Path) -> None:
    first = _released(tmp_path, hazards=30.0, associations=3.0)
    assert RECORD == "disclosure_record.json"
    entries = first["results"]
    assert {key: (e["uid"], e["status"]) for key, e in entries.items()} == {
        "output_0": ("hazards", "pass"), "output_1": ("associations", "fail"),
    }  # fmt: skip
    assert [e["files"][0]["name"] for e in entries.values()] == ["hazards.parquet", "associations.parquet"]
    assert {e["timestamp"] for e in entries.values()} == {""}
    second = _released(tmp_path, hazards=4.0, flow=20.0)
    assert {key: (e["uid"], e["status"]) for key, e in second["results"].items()} == {
        "output_0": ("associations", "fail"), "output_1": ("hazards", "fail"), "output_2": ("flow", "pass"),
    }  # fmt: skip
    assert second["version"] == first["version"] == "0.4"
    before = (tmp_path / RECORD).read_bytes()
    assert _released(tmp_path, flow=20.0)["results"]["output_2"] == second["results"]["output_2"]
    assert (tmp_path / RECORD).read_bytes() == before
