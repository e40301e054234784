"""The predict flow and command: classes, quantities, landmarks and features of every study, by one network."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from prefect import flow

from flows.cohort import SHARDS_AT_ONCE
from flows.planning import ended, retired
from flows.settings import CohortSettings
from flows.stages import StageWork, bring_through
from tasks.inference import prediction, prediction_table
from tasks.inference.prediction import PredictSettings
from tasks.state.ledger import Ledger, open_ledger


@flow(name="predict", validate_parameters=False, task_runner=SHARDS_AT_ONCE)
def predict(settings: CohortSettings, chosen: PredictSettings) -> int:
    """Studies -> predictions of one network that does not segment, and their table."""
    with open_ledger(settings.cohort.ledger) as ledger:
        return bring_through(predicted(settings, ledger, chosen), settings, ledger)


def predicted(settings: CohortSettings, ledger: Ledger, chosen: PredictSettings) -> StageWork:
    """A prediction for every study."""
    studies = ledger.entries("convert")
    phases = prediction.phases_of(list(ledger.outcomes("derive")))
    plain = asdict(chosen)
    return StageWork(
        chosen.stage,
        prediction.predict_chunk,
        prediction.predict_units(studies, phases, plain),
        plain,
        write_tables=lambda: prediction_table.write_table(ledger, settings.cohort, chosen),
        tables_are_current=lambda: prediction_table.is_current(ledger, settings.cohort, chosen),
        upstream=ended(studies),
        removed=retired(studies, ledger.entries(chosen.stage)),
    )


def run_command(settings: CohortSettings, **choice: Any) -> Path:
    """Predict as chosen on the command line; returns the table.

    Raises:
        click.ClickException: if the model is not there, not for the task or not readable.
    """
    chosen = PredictSettings(**choice)
    try:
        predict(settings, chosen)
    except (FileNotFoundError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    return prediction_table.table_path(settings.cohort, chosen)
