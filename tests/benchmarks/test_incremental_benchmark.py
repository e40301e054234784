"""The benchmark of unchanged cohorts still runs, on a dozen stand-ins that are all done."""

from pathlib import Path

import pandas as pd

from benchmarks.incremental import run
from benchmarks.stand_ins import write_stand_ins
from flows import planning
from tasks.stages import STAGES
from tasks.state.ledger import open_ledger


def test_stand_ins_are_done_and_a_run_over_them_makes_their_tables(tmp_path: Path) -> None:
    settings = write_stand_ins(tmp_path, 12, 5)
    with open_ledger(settings.cohort.ledger) as ledger:
        for stage in (stage for stage in STAGES if not stage.on_demand):
            assert planning.plan(stage, settings, ledger).waiting(ledger) == ([], [])
    assert run(tmp_path)["processor_s"] > 0
    assert len(pd.read_parquet(settings.cohort.tables / "phenotypes.parquet")) == 12
    assert len(pd.read_parquet(settings.cohort.tables / "curves.parquet")) == 11 * 5
    assert planning.count(settings) == 0
