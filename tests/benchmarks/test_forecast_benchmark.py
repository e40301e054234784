"""The benchmark of the forecast still runs, on a pilot of two studies and three more."""

from pathlib import Path

import pytest

from benchmarks.forecast import foretell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_pilot_foretells_how_many_studies_every_stage_has_and_some_time(tmp_path: Path) -> None:
    found = foretell(tmp_path, pilot=2, studies=3, frames=8, seed=3)
    assert list(found["stages"]) == ["convert", "segment", "derive", "report"]
    for stage in ("convert", "segment", "derive"):
        assert found["stages"][stage]["studies"] == {"foretold": 3, "taken": 3, "error": 0.0}
    assert found["seconds"]["foretold"] > 0
    assert 0 < found["seconds"]["taken"] <= found["run_s"]
    assert found["stages"]["convert"]["disk_mb"]["foretold"] > 0
