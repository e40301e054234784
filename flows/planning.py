"""What each stage of a cohort should make, by its settings: planned alike for all stages in ``tasks.stages``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from flows.progress import Advance, stage_progress
from flows.settings import CohortSettings
from flows.table_work import TableWork
from tasks import report
from tasks.analysis import by_settings
from tasks.execution.cluster import open_client
from tasks.execution.plan import GIVEN_UP
from tasks.execution.settings import Section
from tasks.execution.stage import Planning, Stage, StageWork, plan_stage
from tasks.execution.stopwatch import Stopwatch, workers_of
from tasks.inference.segment_stage import measured_model
from tasks.stages import STAGES
from tasks.state.ledger import Ledger, open_ledger


def plan(
    stage: Stage,
    settings: CohortSettings,
    ledger: Ledger,
    *,
    chosen: Section | None = None,
    whole_archive: bool = True,
) -> StageWork:
    """What ``stage`` should make of the cohort.

    Args:
        stage: one of :data:`tasks.stages.STAGES`, or a predict stage.
        settings: of the cohort.
        ledger: open.
        chosen: settings of the stage, if they are not a section of the cohort's.
        whole_archive: whether the sources are the whole archive, so that a study without source leaves the cohort.
    """
    planning = Planning(
        cohort=settings.cohort,
        ledger=ledger,
        settings=chosen or getattr(settings, stage.name, None) or stage.settings(),
        sources=settings.sources,
        withdrawn=settings.withdrawn,
        participants=settings.participants,
        participant_columns=settings.analysis.participant_columns,
        model=named_model(settings),
        whole_archive=whole_archive,
    )
    return plan_stage(stage, planning)


def named_model(settings: CohortSettings) -> str:
    """The segmentation model that the user named; empty if none was named."""
    return settings.segment.model if "model" in settings.segment.model_fields_set else ""


def count(settings: CohortSettings) -> int:
    """How much there is to do in all; 0 if every file, table and page is current."""
    if not settings.cohort.ledger.exists():
        return 1
    stages = [stage for stage in STAGES if not stage.on_demand]
    with open_ledger(settings.cohort.ledger) as ledger:
        n_studies = sum(plan(stage, settings, ledger).count(ledger, settings.cohort) for stage in stages)
    tables = [work(settings) for work in (plan_associate, plan_risk, plan_report)]
    return n_studies + sum(not work.why_not and not work.is_current() for work in tables)


def try_again(settings: CohortSettings) -> int:
    """Let studies be tried once more that were given up; returns how many outcomes there are."""
    with open_ledger(settings.cohort.ledger) as ledger:
        return ledger.forget_attempts(GIVEN_UP)


def plan_associate(settings: CohortSettings) -> TableWork:
    """Estimates of prevalent disease."""
    return _estimates(settings, "associate", by_settings.associate)


def plan_risk(settings: CohortSettings) -> TableWork:
    """Estimates of incident disease and death, discrimination, curves and fairness."""
    return _estimates(settings, "risk", by_settings.risk)


def plan_report(settings: CohortSettings) -> TableWork:
    """The report."""
    plain = report_settings(settings)
    return TableWork(
        "report",
        is_current=lambda: report.is_current(settings.directory, plain),
        make=partial(_render, settings, plain),
    )


def _render(settings: CohortSettings, plain: dict[str, Any]) -> str:
    """Make the report; the command says at its end where it is."""
    watch = Stopwatch("report", workers_of(settings.compute))
    report.render_report(
        settings.directory,
        plain,
        workers=partial(open_client, settings.compute.profile, settings.compute.cluster_settings),
        watch=partial(_pages_timed, watch),
    )
    with open_ledger(settings.cohort.ledger) as ledger:
        ledger.remember_speed(watch.speed())
    return "done"


@contextlib.contextmanager
def _pages_timed(watch: Stopwatch, n_pages: int) -> Iterator[Advance]:
    with stage_progress("report", n_pages) as advance:

        def made(n: int) -> None:
            watch.lap(n)
            advance(n)

        yield made


def resolved_settings(settings: CohortSettings) -> dict[str, Any]:
    """All settings as plain values, those that were not given with their defaults."""
    return settings.model_dump(mode="json")


def report_settings(settings: CohortSettings) -> dict[str, Any]:
    """Resolved settings for the report: the model is the one whose labels the cohort's phenotypes come from."""
    plain = resolved_settings(settings)
    if settings.cohort.ledger.exists():
        with open_ledger(settings.cohort.ledger) as ledger:
            plain["segment"]["model"] = measured_model(ledger, named_model(settings))
    return plain


def _estimates(settings: CohortSettings, stage: by_settings.Part, make: Callable[..., dict[str, Any]]) -> TableWork:
    files = by_settings.UserFiles(settings.participants, settings.outcomes, settings.withdrawn)
    given = (settings.directory, settings.analysis, files)
    return TableWork(
        stage,
        is_current=lambda: by_settings.is_current(*given, stage),
        make=lambda: f"{_line(make(*given))}; {by_settings.people_line(settings.directory)}",
        why_not=_missing_tables(settings),
    )


def _missing_tables(settings: CohortSettings) -> str:
    missing = [name for name in ("participants", "outcomes") if getattr(settings, name) is None]
    return f"no {' and '.join(missing)} in the settings" if missing else ""


def _line(result: Mapping[str, Any]) -> str:
    counts = "; ".join(f"{table}: {sum(rows.values())} rows" for table, rows in result["counts"].items())
    return f"{result['status']} {result['reason']}{counts}".strip()
