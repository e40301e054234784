"""The predict flow and command: classes, quantities, landmarks and features of every study, by one network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows import planning
from flows.cohort import SHARDS_AT_ONCE
from flows.complaints import of_models
from flows.settings import CohortSettings
from flows.stages import bring_through
from flows.withheld import original_errors, text_withheld
from tasks.inference import prediction_table
from tasks.inference.predict_stage import predict_stage
from tasks.inference.settings import PredictSettings
from tasks.state.ledger import open_ledger


@flow(name="predict", validate_parameters=False, task_runner=SHARDS_AT_ONCE)
@text_withheld
def predict(settings: CohortSettings, chosen: PredictSettings) -> int:
    """Studies -> predictions of one network that does not segment, and their table."""
    with open_ledger(settings.cohort.ledger) as ledger:
        work = planning.plan(predict_stage(chosen), settings, ledger, chosen=chosen)
        return bring_through(work, settings, ledger)


def run_command(settings: CohortSettings, **choice: Any) -> Path:
    """Predict as chosen on the command line; returns the table.

    Raises:
        click.ClickException: if the model is not there, not for the task or not readable.
    """
    chosen = PredictSettings(**choice)
    try:
        with original_errors():
            predict(settings, chosen)
    except (FileNotFoundError, ValueError) as error:
        raise of_models(error) from error
    return prediction_table.table_path(settings.cohort, chosen)
