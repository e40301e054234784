"""``cmr-cohort evaluate``: predictions against references."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from flows.complaints import of_models
from flows.progress import stage_progress
from flows.settings import CohortSettings

_WIDTH = 160  # of a pipe or a file


def run_command(settings: CohortSettings, **choice: Any) -> Path:
    """Evaluate as chosen on the command line, and print what came of it; returns the folder of the results.

    Raises:
        click.ClickException: if there are no predictions, no references, or no such column.
    """
    from tasks.evaluation.cohort import EvaluateSettings, evaluate
    from tasks.state.ledger import open_ledger

    try:
        chosen = EvaluateSettings(
            predictions=_name(choice.pop("predictions"), choice.pop("model"), choice.pop("task")),
            participants=settings.participants,
            participant_columns=settings.analysis.participant_columns,
            withdrawn=settings.withdrawn,
            minimum_cell=settings.analysis.minimum_cell,
            **choice,
        )
        with open_ledger(settings.cohort.ledger) as ledger:
            n_studies = sum(entry.status == "ok" for entry in ledger.entries("convert").values())
        with stage_progress("evaluate", n_studies) as advance:
            found = evaluate(settings.cohort, chosen, advance)
    except (FileNotFoundError, ValueError) as error:
        raise of_models(error) from error
    _print(found.summary)
    return found.folder


def _name(predictions: str | None, model: str | None, task: str | None) -> str:
    """The folder of the predictions: as given, or that of a model (and task, if it does not segment)."""
    from tasks.inference.settings import PredictSettings
    from tasks.state.store import model_name

    if predictions:
        return predictions
    if not model:
        raise click.UsageError("give --predictions NAME or --model MODEL")
    if task and not task.startswith("segment"):
        return PredictSettings(task=task, model=model).folder
    return model_name(model)


def _print(summary: Any) -> None:
    from tasks.evaluation.cohort import HEAD, format_rows

    overall = summary[summary["group_by"] == ""]
    table = Table(title="All studies; by group in the published tables", box=box.SIMPLE)
    for name in HEAD[1:]:
        table.add_column(name, no_wrap=True)
    for row in format_rows(overall):
        table.add_row(*row[1:])
    terminal = Console()
    (terminal if terminal.is_terminal else Console(width=_WIDTH)).print(table)
