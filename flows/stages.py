"""One stage over a cohort as Prefect runs it: plan, shards of some hundred studies, tables, balance."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import resolve_futures_to_results

from flows.planning import chosen
from flows.progress import say, stage_progress
from flows.settings import CohortSettings
from flows.table_work import TableWork
from flows.withheld import text_withheld
from tasks.execution import plan, shards
from tasks.execution.cluster import open_client
from tasks.execution.failing import Failing
from tasks.execution.isolation import limit_s
from tasks.execution.selection import forget_made
from tasks.execution.settings import ComputeSettings
from tasks.execution.shards import Unit
from tasks.execution.stage import StageWork
from tasks.execution.stopwatch import Stopwatch, workers_of, workers_there
from tasks.state.ledger import Ledger, Outcome
from tasks.state.run_log import tell_studies
from tasks.state.store import Cohort, model_name

_log = logging.getLogger("cmr_cohort")


def bring_through(work: StageWork, settings: CohortSettings, ledger: Ledger) -> int:
    """Bring every study that is not current through a stage, and account for all. Returns how much there was to do."""
    name, cohort = work.stage.name, settings.cohort
    if (selection := chosen()) is not None and selection.forced:
        forget_made(work, ledger, cohort, model_name(settings.segment.model))
    units, outcomes = work.waiting(ledger)
    ledger.record(outcomes)
    if units:
        ledger.remember_recipe(name, work.recipe())
        _run_shards(work, units, settings, ledger)
    entries = work.check_balance(ledger)
    n_done = len(units) + len(outcomes)
    outdated = not work.tables_are_current(ledger, cohort)
    if outdated:
        work.write_tables(ledger, cohort)
    if n_done or outdated:
        say(f"{name}: {'; '.join([plan.summary(entries), *work.planned.notes])}")
    _log.info("%s: %d studies to do, %d recorded without work", name, len(units), len(outcomes))
    for note in work.planned.notes:
        _log.info("%s: %s", name, note)
    return n_done + outdated


def make(work: TableWork) -> int:
    """Make tables or pages unless they are current. Returns 1 if they were made, else 0."""
    if work.why_not:
        say(f"{work.stage}: skipped, {work.why_not}")
        return 0
    if work.is_current():
        return 0
    say(f"{work.stage}: ...")
    line = run_table(work.stage, work.make)
    say(f"{work.stage}: {line}")
    _log.info("%s: %s", work.stage, line)
    return 1


@task(name="shard", task_run_name="{stage}", cache_policy=NO_CACHE, retries=1, retry_delay_seconds=5)
@text_withheld
def run_shard(stage: str, work: Callable[[Sequence[Unit]], None], shard: Sequence[Unit]) -> None:
    """One shard; what it had finished before a retry is found again by its keys."""
    work(shard)


@task(name="tables", task_run_name="{stage}", cache_policy=NO_CACHE)
@text_withheld
def run_table(stage: str, work: Callable[[], str]) -> str:
    """One set of tables."""
    return work()


def _run_shards(work: StageWork, units: Sequence[Unit], settings: CohortSettings, ledger: Ledger) -> None:
    compute = settings.compute
    watch, failing = Stopwatch(work.stage.name, workers_of(compute)), Failing(work.stage.name, compute.failing_max)
    with (
        open_client(compute.profile, compute.cluster_settings, say, settings.cohort.runs) as client,
        stage_progress(work.stage.name, len(units)) as advance,
    ):

        def through(outcomes: Sequence[Outcome]) -> None:
            watch.lap(len(outcomes))
            advance(len(outcomes))
            failing.count(outcomes)

        on_shard = partial(_run_one_shard, work, settings.cohort, client, compute, ledger, through)
        parts = list(_split(units, compute.studies_per_shard))
        if client is None:
            for part in parts:
                run_shard(work.stage.name, on_shard, part)
        else:
            resolve_futures_to_results([run_shard.submit(work.stage.name, on_shard, part) for part in parts])
        ledger.remember_speed(watch.speed(workers_there(client)))


def _run_one_shard(
    work: StageWork,
    cohort: Cohort,
    client: Any,
    compute: ComputeSettings,
    ledger: Ledger,
    through: Callable[[Sequence[Outcome]], None],
    shard: Sequence[Unit],
) -> None:
    entries = ledger.entries_of(work.stage.name, [unit["study"] for unit in shard])
    finished = shards.run(
        work.stage.work,
        plan.units_to_do(shard, entries, work.missing),
        cohort.root,
        dict(work.settings),
        stage=work.stage.name,
        client=client,
        studies_per_chunk=compute.studies_per_chunk,
        limit_s=limit_s(ledger, work.stage.name, compute.study_seconds_max),
        note=cohort.runs / f".trying-{work.stage.name.replace(' ', '-')}",
        suspects=plan.suspects(entries),
    )
    for outcomes in finished:
        ledger.record(outcomes)
        tell_studies(outcomes)
        through(outcomes)


def _split(units: Sequence[Unit], size: int) -> Iterator[Sequence[Unit]]:
    for start in range(0, len(units), size):
        yield units[start : start + size]
