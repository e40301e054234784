"""``cmr-cohort compare``: two models on one cohort, and whether the second may take the place of the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from flows.complaints import OneLine, of_models
from flows.exit_status import ExitStatus
from flows.progress import stage_progress
from flows.settings import CohortSettings

if TYPE_CHECKING:
    from tasks.evaluation.comparison import ComparisonResult

_WIDTH = 140  # of a pipe or a file


def run_command(settings: CohortSettings, *, group_by: tuple[str, ...], **choice: Any) -> ComparisonResult:
    """Compare as chosen on the command line, and print the limits and what they found.

    Args:
        settings: of the cohort.
        group_by: columns that the user named; without any, those of the analysis.
        **choice: further fields of :class:`tasks.evaluation.comparison.ComparisonInputs`.

    Raises:
        click.ClickException: if predictions are missing, or a column to group by.
    """
    from tasks.evaluation.comparison import ComparisonInputs, compare, to_type
    from tasks.state.ledger import open_ledger

    inputs = ComparisonInputs(
        limits=settings.compare,
        participants=settings.participants,
        participant_columns=settings.analysis.participant_columns,
        withdrawn=settings.withdrawn,
        group_by=group_by or settings.analysis.group_by,
        chosen=bool(group_by),
        age_edges_years=settings.analysis.age_edges_years,
        minimum_cell=settings.analysis.minimum_cell,
        **choice,
    )
    try:
        with open_ledger(settings.cohort.ledger) as ledger:
            n_studies = sum(entry.status == "ok" for entry in ledger.entries("convert").values())
        with stage_progress("compare", n_studies) as advance:
            result = compare(settings.cohort, inputs, advance)
    except (FileNotFoundError, ValueError) as error:
        raise of_models(error) from error
    for given, n in zip((inputs.first, inputs.second), result.unpredicted.values(), strict=True):
        if n:
            click.echo(f"{n} studies have no prediction of {given}: {to_type(settings.cohort, given)}", err=True)
    _print(result)
    return result


def check_promotion(result: ComparisonResult) -> None:
    """End with a status of its own where a limit does not hold, or cannot be judged."""
    from tasks.evaluation.comparison_limits import stops
    from tasks.evaluation.comparison_page import verdict_sentence

    if len(stops(result.verdicts)):
        raise OneLine(verdict_sentence(result.verdicts), ExitStatus.NOT_PROMOTED)


def _print(result: ComparisonResult) -> None:
    from tasks.evaluation.comparison_page import verdict_rows

    table = Table(title="Limits of the section compare: all studies, and groups that stop a promotion", box=box.SIMPLE)
    for name in ("limit", "of", "group", "allowed", "found", ""):
        table.add_column(name, no_wrap=True)
    for row in verdict_rows(result.verdicts):
        table.add_row(*(row[name] for name in ("limit", "of", "group", "allowed", "found", "verdict")))
    terminal = Console()
    (terminal if terminal.is_terminal else Console(width=_WIDTH)).print(table)
