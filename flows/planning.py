"""What each stage of a cohort should make, by its settings: planned alike for all stages in ``tasks.stages``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from flows.progress import Advance, stage_progress
from flows.settings import CohortSettings
from flows.table_work import TableWork
from tasks import report
from tasks.execution.plan import has_been_given_up
from tasks.execution.process import without_collecting
from tasks.execution.selection import Selection
from tasks.execution.settings import Section
from tasks.execution.stage import Planning, Stage, StageWork, plan_stage
from tasks.inference.segment_stage import measured_model
from tasks.stages import STAGES
from tasks.state.ledger import Ledger, open_ledger

if TYPE_CHECKING:
    from tasks.execution.stopwatch import Stopwatch


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
    kept = _kept.get()
    if kept is not None and (found := kept.pop((stage.name, whole_archive), None)) and found[0] == settings:
        return found[1]
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
    with without_collecting():
        work = plan_stage(stage, planning)
    selection = _chosen.get()
    return work if selection is None else selection.applied(work, ledger)


_chosen: ContextVar[Selection | None] = ContextVar("studies that the command is about; None: all", default=None)
_Kept = dict[tuple[str, bool], tuple[CohortSettings, StageWork]]
_kept: ContextVar[_Kept | None] = ContextVar("plans that wait to be carried out", default=None)


@contextlib.contextmanager
def only(selection: Selection | None) -> Iterator[None]:
    """Until the end, every plan is about these studies. No flow takes them: Prefect would keep their names."""
    token = _chosen.set(selection)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen() -> Selection | None:
    """The studies that the command is about; None if it is about all."""
    return _chosen.get()


def is_of_all() -> bool:
    """Whether the command is about all studies, so that statistics and report are part of it."""
    selection = chosen()
    return selection is None or selection.is_whole


def what_is_current() -> str:
    """What there is nothing to do for, where there is nothing to do."""
    return "every study, table and page is current" if is_of_all() else "the studies are current"


@contextlib.contextmanager
def planned_once() -> Iterator[None]:
    """Until the end, what :func:`count` planned of the archive is carried out by the flow, and not planned again."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def named_model(settings: CohortSettings) -> str:
    """The segmentation model that the user named; empty if none was named."""
    return settings.segment.model if "model" in settings.segment.model_fields_set else ""


def count(settings: CohortSettings) -> int:
    """How much there is to do in all; 0 if every file, table and page is current."""
    if not settings.cohort.ledger.exists():
        return 1
    stages = [stage for stage in STAGES if not stage.on_demand]
    with open_ledger(settings.cohort.ledger) as ledger:
        n_studies = sum(_count(stage, settings, ledger) for stage in stages)
    if not is_of_all():
        return n_studies
    tables = [work(settings) for work in (plan_associate, plan_risk, plan_report)]
    return n_studies + sum(not work.why_not and not work.is_current() for work in tables)


def _count(stage: Stage, settings: CohortSettings, ledger: Ledger) -> int:
    work = plan(stage, settings, ledger)
    if (kept := _kept.get()) is not None and stage.upstream is None:
        kept[stage.name, True] = settings, work
    return work.count(ledger, settings.cohort)


def try_again(settings: CohortSettings) -> int:
    """Let studies be tried again that were given up, of those that the command is about; returns how many."""
    selection, found = chosen(), set[str]()
    with open_ledger(settings.cohort.ledger) as ledger:
        for stage in STAGES:
            given_up = [study for study, entry in ledger.entries(stage.name).items() if has_been_given_up(entry)]
            studies = [study for study in given_up if selection is None or selection.holds(study)]
            ledger.forget_attempts(stage.name, studies)
            found.update(studies)
    return len(found)


def plan_associate(settings: CohortSettings) -> TableWork:
    """Estimates of prevalent disease."""
    return _estimates(settings, "associate")


def plan_risk(settings: CohortSettings) -> TableWork:
    """Estimates of incident disease and death, discrimination, curves and fairness."""
    return _estimates(settings, "risk")


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
    from tasks.execution.cluster import open_client
    from tasks.execution.stopwatch import Stopwatch, workers_of

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


def _estimates(settings: CohortSettings, part: Literal["associate", "risk"]) -> TableWork:
    """Estimates of a part; what makes them is imported where there is something to estimate."""
    if missing := _missing_tables(settings):
        return TableWork(part, is_current=lambda: False, make=lambda: "", why_not=missing)
    from tasks.analysis import by_settings

    files = by_settings.UserFiles(settings.participants, settings.outcomes, settings.withdrawn)
    given = (settings.directory, settings.analysis, files)
    return TableWork(
        part,
        is_current=lambda: by_settings.is_current(*given, part),
        make=lambda: f"{_line(getattr(by_settings, part)(*given))}; {by_settings.people_line(settings.directory)}",
    )


def _missing_tables(settings: CohortSettings) -> str:
    missing = [name for name in ("participants", "outcomes") if getattr(settings, name) is None]
    return f"no {' and '.join(missing)} in the settings" if missing else ""


def _line(result: Mapping[str, Any]) -> str:
    counts = "; ".join(f"{table}: {sum(rows.values())} rows" for table, rows in result["counts"].items())
    return f"{result['status']} {result['reason']}{counts}".strip()
