"""The page on adding a stage holds what it says: its stage runs, and what iterates over the stages finds it."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from dicom_factory import files, sax, write_files
from prefect import flow

import tasks.stages
from flows import cohort as flows
from flows.settings import CohortSettings
from tasks.maintenance import status
from tasks.report import flow as report_flow
from tasks.report.counts import Counts
from tasks.state.ledger import open_ledger

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stage of the page, with its entry in ``STAGES``."""
    page = (ROOT / "docs" / "add_a_stage.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    module: dict[str, Any] = {"__name__": "brightness_stage"}
    exec(compile(code, "brightness_stage.py", "exec"), module)
    stages = (*tasks.stages.STAGES[:4], module["BRIGHTNESS"], tasks.stages.STAGES[4])
    for user in (tasks.stages, status, report_flow):
        monkeypatch.setattr(user, "STAGES", stages)
    return module["BRIGHTNESS"]


def test_the_stage_of_the_page_is_run_counted_and_shown(tmp_path: Path, stage: Any, prefect_server: None) -> None:
    write_files(tmp_path / "archive", files(sax()))
    settings = CohortSettings(directory=tmp_path / "cohort", sources=(tmp_path / "archive",))

    @flow
    def both() -> tuple[int, int, int]:
        flows.convert(settings)
        return (flows.run_stage(stage, settings), flows.run_stage(stage, settings), flows.run_stage(stage, settings))

    assert both()[1:] == (0, 0)
    with open_ledger(settings.cohort.ledger) as ledger:
        (outcome,) = ledger.outcomes("brightness")
        assert outcome.status == "ok"
        assert outcome.summary["mean"] > 0
        lines = [line.split()[:3] for line in status.overview(ledger)]
    assert lines[1:] == [["convert", "ok", "1"], ["brightness", "ok", "1"]]
    rows = pd.DataFrame({"study": "1", "stage": ["convert", "brightness"], "status": "ok", "reason": ""})
    assert [step["title"] for step in report_flow.cohort_flow(rows, Counts(5))["steps"]][-1] == "Brightness measured"
