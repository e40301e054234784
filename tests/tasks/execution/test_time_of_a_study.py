"""How long a study may take: what the settings say, else 50 times the measured median, within bounds."""

from pathlib import Path

import pytest

from tasks.execution.isolation import LIMIT_S, limit_s
from tasks.execution.settings import ComputeSettings
from tasks.state.ledger import Outcome, open_ledger


@pytest.mark.parametrize(
    ("settings", "seconds", "limit"),
    [
        (ComputeSettings(study_seconds_max=7), [20.0] * 5, 7),
        (ComputeSettings(), [20.0] * 4, LIMIT_S),  # too few to tell
        (ComputeSettings(), [10.0, 20.0, 20.0, 20.0, 900.0], 1000),
        (ComputeSettings(), [1.0] * 5, 600),
    ],
)
def test_the_limit_is_that_of_the_settings_or_of_what_was_measured(
    tmp_path: Path, settings: ComputeSettings, seconds: list[float], limit: float
) -> None:
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(Outcome(f"{k}-2", "segment", "ok", seconds=took) for k, took in enumerate(seconds))
        ledger.record([Outcome("9-2", "segment", "quarantined", "worker_lost", seconds=5000.0)] * 9)
        assert limit_s(ledger, "segment", settings.study_seconds_max) == limit


def test_the_median_is_taken_of_so_many_studies_at_most(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.record(Outcome(f"{k:04d}-2", "segment", "ok", seconds=20.0 if k < 1000 else 90.0) for k in range(2100))
        assert limit_s(ledger, "segment", None) == 1000
