"""Whose labels derive and the report take: what the settings name, else what was segmented last."""

from pathlib import Path

import pytest

from flows.planning import named_model
from flows.settings import CohortSettings
from tasks.inference.segment_stage import measured_model
from tasks.state.ledger import Outcome, open_ledger


@pytest.mark.parametrize(
    ("segment", "recorded", "measured"),
    [
        ({}, {"model": "tiny"}, "tiny"),
        ({"precision": "fp32"}, {"model": "tiny"}, "tiny"),
        ({"model": "models/named"}, {"model": "tiny"}, "named"),
        ({}, {}, "default"),
    ],
)
def test_the_model_named_is_measured_else_the_last(
    segment: dict[str, str], recorded: dict[str, str], measured: str, tmp_path: Path
) -> None:
    settings = CohortSettings(directory=tmp_path, segment=segment)
    with open_ledger(settings.cohort.ledger) as ledger:
        ledger.record([Outcome("1-2", "segment", "ok", key="k", summary=recorded)])
        assert measured_model(ledger, named_model(settings)) == measured
