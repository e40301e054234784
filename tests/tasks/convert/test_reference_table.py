"""The table of references: whose facts stand in which row, which views have references, and when there is no table."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tasks.convert.reference_table import REFERENCES, is_current, table_path, write_reference_table
from tasks.state.ledger import Outcome, open_ledger
from tasks.state.store import Cohort

_FAULTS = [{"file": "b_gt.nii", "reason": "label_corrupt", "detail": ""}]
_VIEWS = {
    "sax": {"labelled_frames": [0, 7]}, "lge": {"labelled_frames": [0]}, "t2": {"labelled_frames": []},
    "lax_4c": {"marked_frames": [3]}, "lax_2c": {"marked_frames": [1, 2], "labelled_frames": []}, "lax_3c": {},
}  # fmt: skip
_FACTS = {"data_set": "acdc", "split": "train", "diagnosis": "DCM", "height_cm": 184.0, "ed_frame": 0, "es_frame": 11}
_OUTCOMES = [
    Outcome("x-1-2", "convert", "ok", key="k1", summary={
        "facts": _FACTS, "views": _VIEWS, "reference_faults": _FAULTS,
    }),
    Outcome("a-1", "convert", "ok", key="k2", summary={"facts": {"data_set": "mnms", "weight_kg": 71.5}}),
    Outcome("b-1", "convert", "ok", key="k3", summary={"views": _VIEWS}),
    Outcome("c-1", "segment", "ok", key="k4", summary={"facts": _FACTS}),
]  # fmt: skip


def test_every_study_with_facts_has_a_row_with_its_own(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    with open_ledger(cohort.ledger) as ledger:
        ledger.record(_OUTCOMES)
        assert not is_current(ledger, cohort)
        write_reference_table(ledger, cohort)
        assert is_current(ledger, cohort)
        ledger.record([Outcome("b-1", "convert", "ok", key="another")])
        assert not is_current(ledger, cohort)
    table = pd.read_parquet(table_path(cohort)).set_index("study")
    assert list(table.reset_index().columns) == list(REFERENCES.names)
    assert list(table.index) == ["a-1", "x-1-2"]
    first, second = table.loc["x-1-2"], table.loc["a-1"]
    assert (first["participant"], first["visit"], second["participant"], second["visit"]) == ("x-1", "2", "a", "1")
    assert [first[name] for name in ("data_set", "split", "diagnosis")] == ["acdc", "train", "DCM"]
    assert [first[name] for name in ("height_cm", "ed_frame", "es_frame")] == pytest.approx([184, 0, 11])
    assert (first["labelled_views"], first["marked_views"]) == ("lge;sax", "lax_2c;lax_4c")
    assert json.loads(first["faults"]) == _FAULTS
    assert (second["labelled_views"], second["marked_views"], second["faults"]) == ("", "", "[]")
    assert second["weight_kg"] == pytest.approx(71.5)
    assert pd.isna([second["diagnosis"], second["ed_frame"], second["height_cm"], first["weight_kg"]]).all()


def test_without_facts_there_is_no_table_and_an_older_one_goes(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    with open_ledger(cohort.ledger) as ledger:
        ledger.record([_OUTCOMES[2]])
        assert is_current(ledger, cohort)
        write_reference_table(ledger, cohort)
        assert not table_path(cohort).exists()
        ledger.record(_OUTCOMES[1:2])
        write_reference_table(ledger, cohort)
        assert table_path(cohort).exists()
        ledger.record([Outcome("a-1", "convert", "quarantined", "zip_corrupt")])
        assert not is_current(ledger, cohort)
        write_reference_table(ledger, cohort)
        assert not table_path(cohort).exists()
