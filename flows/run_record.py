"""What a command that writes into a cohort leaves beside its results: what it was told, and how the cohort stands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from flows import planning
from flows.settings import CohortSettings
from tasks.execution import credentials
from tasks.inference.model_record import RECORD, model_record
from tasks.inference.segment_stage import measured_model
from tasks.maintenance.metrics import write_metrics
from tasks.report import methods_of
from tasks.state.access import closed_to_others
from tasks.state.ledger import open_ledger
from tasks.state.runs import open_run


def _metrics(settings: CohortSettings, summary: Mapping[str, Any]) -> None:
    """Write the metrics of the run, if the settings name a file for them."""
    if settings.metrics is not None:
        with open_ledger(settings.cohort.ledger) as ledger:
            write_metrics(settings.metrics, settings.cohort, ledger, summary)


@contextlib.contextmanager
def recorded(settings: CohortSettings, command: str) -> Iterator[None]:
    """Hold the cohort and keep ``runs/<run id>/``: settings, versions, log; at the end counts and methods text.

    Raises:
        tasks.state.runs.CohortInUse: if another process holds the cohort.
    """
    with (
        closed_to_others(settings.directory, settings.access),
        open_run(settings.cohort, planning.resolved_settings(settings), command, partial(_metrics, settings)) as run,
    ):
        credentials.sweep(settings.cohort.runs)
        yield
        with open_ledger(settings.cohort.ledger) as ledger:
            names = ("stage", "status", "reason", "studies")
            run.write("counts.json", [dict(zip(names, row, strict=True)) for row in ledger.counts()])
            model = measured_model(ledger, planning.named_model(settings))
            if about := model_record(settings.cohort, ledger, model):
                run.write(RECORD, about)
        run.write_text(
            "methods.txt", "\n\n".join(methods_of(settings.directory, planning.report_settings(settings))) + "\n"
        )
