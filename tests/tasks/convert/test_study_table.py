"""The table of studies: a row for each view, or one for a study that has none."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tasks.convert.study_table import STUDIES, is_current, write_study_table
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort

SAX = {
    "frames": 25, "slices": 11, "rows": 208, "cols": 160, "pixel_mm": [1.8, 1.25], "slice_mm": 10.0,
    "thickness_mm": 8.0,
    "heart_rate_bpm": 61.5, "frames_missing": 3, "flags": ["frame_missing", "slice_gap"],
}  # fmt: skip
LAX = {
    "frames": 50, "slices": 1, "rows": 144, "cols": 192, "pixel_mm": [1.5, 1.4], "slice_mm": None, "thickness_mm": 6.0,
    "heart_rate_bpm": None, "frames_missing": 0, "flags": [],
}  # fmt: skip
LEFT_OUT = [{"series": 9, "description": "scout", "images": 3, "reason": "series_scout"}]
OUTCOMES = [
    Outcome("9-2-3", "convert", "ok", key="k9", summary={
        "views": {"sax": SAX, "lax_4c": LAX}, "flags": ["archive_unopened", "frame_missing"], "excluded": LEFT_OUT,
    }),
    Outcome("7-2", "convert", "quarantined", "wrong_series", "one series", "k7"),
    Outcome("8-2", "convert", "retired", "withdrawn"),
]  # fmt: skip


def test_every_view_has_a_row_and_a_study_without_any_has_one_for_itself(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(OUTCOMES)
        ledger.record([Outcome("7-2", "segment", "ok")])
        assert write_study_table(ledger, cohort) == 3
        assert is_current(ledger, cohort)
        table = pd.read_parquet(cohort.tables / "studies.parquet")
        ledger.record([Outcome("7-2", "convert", "quarantined", "wrong_series", "", "another key")])
        assert not is_current(ledger, cohort)
    assert list(table.columns) == list(STUDIES.names)
    found = {(row["study"], row["view"]): row for row in table.to_dict("records")}
    assert set(found) == {("7-2", ""), ("9-2-3", "lax_4c"), ("9-2-3", "sax")}
    sax, lax, none = found["9-2-3", "sax"], found["9-2-3", "lax_4c"], found["7-2", ""]
    assert [(row["participant"], row["visit"], row["status"], row["reason"], row["key"]) for row in (sax, none)] == [
        ("9-2", "3", "ok", "", "k9"),
        ("7", "2", "quarantined", "wrong_series", "k7"),
    ]
    numbers = ["frames", "slices", "rows", "cols", "row_mm", "col_mm", "slice_mm", "thickness_mm", "heart_rate_bpm"]
    assert [sax[name] for name in numbers] == pytest.approx([25, 11, 208, 160, 1.8, 1.25, 10, 8, 61.5])
    assert [lax[name] for name in numbers[:6]] == pytest.approx([50, 1, 144, 192, 1.5, 1.4])
    assert pd.isna(
        [lax["slice_mm"], lax["heart_rate_bpm"], none["frames"], none["row_mm"], none["frames_missing"]]
    ).all()
    assert (sax["frames_missing"], lax["frames_missing"]) == (3, 0)
    assert sax["flags"] == "archive_unopened;frame_missing;slice_gap"
    assert (lax["flags"], none["flags"]) == ("archive_unopened;frame_missing", "")
    assert json.loads(sax["excluded"]) == LEFT_OUT
    assert none["excluded"] == "[]"
