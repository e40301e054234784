"""Tables that are brought up to date row by row have the bytes of tables that are made from nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tasks.convert.study_table import write_study_table
from tasks.derive import perfusion_tables, phenotype_tables
from tasks.state import study_tables
from tasks.state.ledger import Ledger, Outcome, open_ledger
from tasks.state.store import Cohort

STAGES = ("convert", "segment", "derive", "perfusion")
WRITERS: tuple[Callable[[Ledger, Cohort], object], ...] = (
    write_study_table,
    phenotype_tables.write_tables,
    perfusion_tables.write_tables,
)


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies stand across the borders of groups, of the table and of what is read at once."""
    monkeypatch.setattr(study_tables, "ROWS_A_GROUP", 7)
    monkeypatch.setattr(study_tables, "_STUDIES_AT_ONCE", 3)


def _outcomes(rng: np.random.Generator, study: str) -> list[Outcome]:
    """How a study may stand: measured, with any number of frames and segments, or ended somewhere, or retired."""
    kind = rng.choice(["ok", "ok", "ok", "convert", "segment", "retired"])
    if kind == "retired":
        return [Outcome(study, stage, "retired", "source_removed") for stage in STAGES]
    if kind == "convert":
        later = [Outcome(study, stage, "quarantined", "upstream") for stage in STAGES[1:]]
        return [Outcome(study, "convert", "quarantined", "zip_corrupt", f"cut {rng.integers(3)}"), *later]
    view = {"frames": int(rng.integers(1, 60)), "flags": []}
    views = dict.fromkeys(("sax", "lax_4c")[: rng.integers(1, 3)], view)
    converted = Outcome(study, "convert", "ok", key=f"c{rng.integers(99)}", summary={"views": views, "excluded": []})
    segments = [{"state": "rest", "quantity": "mbf", "segment": int(k), "layer": "all", "mean": 1.5, "median": 1.0,
                 "sd": 0.5, "min": 0.0, "max": 2.0, "pixels": 7} for k in range(1, rng.integers(1, 5))]  # fmt: skip
    flow = Outcome(study, "perfusion", "ok", key=f"p{rng.integers(99)}", summary={"segments": segments})
    if kind == "segment":
        absent = Outcome(study, "segment", "absent", "no_sax", f"found {rng.integers(3)}")
        return [converted, absent, Outcome(study, "derive", "absent", "upstream", "no_sax"), flow]
    numbers = {"lvef_pct": float(rng.normal(60, 5)), "ed_frame": float(rng.integers(9))}
    curves = {name: rng.normal(100, 9, rng.integers(1, 6)).tolist() for name in ("time_ms",)}
    curves |= {name: rng.normal(99, 9, len(curves["time_ms"])).tolist() for name in ("lv_ml", "myocardium_ml", "rv_ml")}
    curves["lv_ml"][0] = None
    summary = {"phenotypes": numbers, "missing": {}, "quality": {}, "quality_reasons": [], "curves": curves}
    derived = Outcome(study, "derive", "ok", key=f"d{rng.integers(999)}", summary=summary)
    return [converted, Outcome(study, "segment", "ok", key="s"), derived, flow]


def _write(ledger: Ledger, cohort: Cohort) -> dict[str, bytes]:
    for write in WRITERS:
        write(ledger, cohort)
    return {path.name: path.read_bytes() for path in sorted(cohort.tables.glob("*.parquet"))}


def _from_nothing(ledger: Ledger, folder: Path) -> dict[str, bytes]:
    with open_ledger(folder / "ledger.sqlite") as other:
        for stage in STAGES:
            other.record(ledger.outcomes(stage))
        return _write(other, Cohort(folder))


@pytest.mark.parametrize("seed", range(6))
def test_after_any_changes_the_tables_are_those_of_a_run_from_nothing(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    cohort = Cohort(tmp_path / "cohort")
    made: list[int] = []
    with open_ledger(cohort.ledger) as ledger:
        ledger.record(o for k in range(20) for o in _outcomes(rng, f"{k}-2"))
        _write(ledger, cohort)
        rows = phenotype_tables.phenotype_table
        monkeypatch.setattr(
            phenotype_tables, "phenotype_table", lambda some, ended: (made.append(len(some)), rows(some, ended))[1]
        )
        for step in range(3):
            changed = [f"{k}-2" for k in rng.choice(26, 4, replace=False)]  # new studies among them, at both ends
            ledger.record(o for study in changed for o in _outcomes(rng, study))
            ledger.forget("perfusion", changed[:1])
            made.clear()
            found = _write(ledger, cohort)
            assert sum(made) <= len(changed), "rows of other studies were made again"
            assert found == _from_nothing(ledger, tmp_path / f"nothing {step}")
    assert len(found) == 5


def test_every_row_of_a_study_is_there_once_and_in_order(tmp_path: Path) -> None:
    """By hand: three studies of 3, 4 and 2 frames in groups of seven rows; the second gets 6 frames, the third goes."""
    cohort = Cohort(tmp_path)

    def derived(study: str, frames: int, first: float) -> Outcome:
        curve = [first + k for k in range(frames)]
        curves = dict.fromkeys(("time_ms", "lv_ml", "myocardium_ml", "rv_ml"), curve)
        return Outcome(study, "derive", "ok", key=f"{first}", summary={"curves": curves})

    with open_ledger(cohort.ledger) as ledger:
        ledger.record([derived("1-2", 3, 10), derived("2-2", 4, 20), derived("3-2", 2, 30)])
        phenotype_tables.write_tables(ledger, cohort)
        ledger.record([derived("2-2", 6, 40), Outcome("3-2", "derive", "retired", "source_removed")])
        phenotype_tables.write_tables(ledger, cohort)
    curves = pd.read_parquet(cohort.tables / "curves.parquet")
    assert curves["study"].tolist() == ["1-2"] * 3 + ["2-2"] * 6
    assert curves["lv_ml"].tolist() == [10, 11, 12, 40, 41, 42, 43, 44, 45]
    assert [pq.ParquetFile(cohort.tables / "curves.parquet").metadata.row_group(k).num_rows for k in (0, 1)] == [7, 2]
    assert pd.read_parquet(cohort.tables / "phenotypes.parquet")["study"].tolist() == ["1-2", "2-2"]


def test_a_table_that_is_not_what_was_written_is_made_from_nothing(tmp_path: Path) -> None:
    cohort = Cohort(tmp_path)
    rng = np.random.default_rng(1)
    with open_ledger(cohort.ledger) as ledger:
        ledger.record(o for k in range(9) for o in _outcomes(rng, f"{k}-2"))
        whole = _write(ledger, cohort)
        pd.read_parquet(cohort.tables / "phenotypes.parquet").iloc[:2].to_parquet(cohort.tables / "phenotypes.parquet")
        (cohort.tables / "curves.parquet").unlink()
        assert _write(ledger, cohort) == whole


def test_changes_are_noted_whoever_writes_and_only_of_what_tables_show(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with open_ledger(path) as ledger:
        ledger.record([Outcome("1-2", "a", "ok", key="k", wanted="w"), Outcome("2-2", "a", "ok", key="k")])
        now = ledger.revisions.now()
        ledger.record([Outcome("1-2", "a", "ok", key="k", wanted="touched", seconds=9.0, host="elsewhere")])
        assert ledger.revisions.changed_since(now, "a") == []
        assert ledger.state("a") == ledger.state("a")
        before = ledger.state("a")
    with sqlite3.connect(path) as plain:
        plain.execute("UPDATE outcomes SET summary = ? WHERE study = '2-2'", (json.dumps({"x": 1}),))
        plain.execute("UPDATE outcomes SET status = 'absent' WHERE study = '1-2'")
    with open_ledger(path) as ledger:
        assert ledger.revisions.changed_since(now, "a") == ["1-2", "2-2"]
        assert ledger.revisions.changed_since(now, "b") == []
        assert ledger.state("a") != before
        now = ledger.revisions.now()
        ledger.forget("a", ["2-2"])
        assert ledger.revisions.changed_since(now, "a", "b") == ["2-2"]
