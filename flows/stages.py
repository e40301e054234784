"""One stage over a cohort as Prefect runs it: plan, shards of some hundred studies, tables, balance."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import resolve_futures_to_results

from flows.progress import Advance, say, stage_progress
from flows.settings import CohortSettings, ComputeSettings
from tasks.execution import plan, shards
from tasks.execution.cluster import open_client
from tasks.execution.shards import Unit, Work
from tasks.state.ledger import Entry, Ledger, Outcome
from tasks.state.store import Cohort

_log = logging.getLogger("cmr_cohort")


@dataclass(frozen=True)
class StageWork:
    """What a stage should have made of every study, and how it makes it.

    Attributes:
        stage: its name in the ledger.
        work: does one chunk of studies.
        units: every study that the stage should make something of, with the key wanted.
        settings: plain values for ``work``.
        upstream: how studies stand at the stage before; those that ended there end here.
        settled: outcomes that need no work, such as that of a study without the modality.
        removed: studies in the ledger that are to leave the cohort, with the reason.
        write_tables: publishes the stage's tables from the ledger.
        tables_are_current: whether what is published was made from the ledger as it is.
    """

    stage: str
    work: Work
    units: Sequence[Unit]
    settings: Mapping[str, Any]
    write_tables: Callable[[], object]
    tables_are_current: Callable[[], bool]
    upstream: Mapping[str, Entry] = field(default_factory=dict)
    settled: Sequence[Outcome] = ()
    removed: Mapping[str, str] = field(default_factory=dict)

    def waiting(self, ledger: Ledger) -> tuple[list[Unit], list[Outcome]]:
        """Units to work on, and outcomes to write down without any work."""
        entries = ledger.entries(self.stage)
        passed = plan.passed_on(self.stage, self.upstream, entries)
        left = [Outcome(study, self.stage, "retired", reason) for study, reason in self.removed.items()]
        settled = plan.news(self.settled, entries)
        return plan.todo(self.units, entries), passed + settled + left

    def count(self, ledger: Ledger) -> int:
        """How much there is to do; 0 if all is as wanted."""
        units, outcomes = self.waiting(ledger)
        return len(units) + len(outcomes) + (not self.tables_are_current())


@dataclass(frozen=True)
class TableWork:
    """Tables or pages made in one go from other tables.

    Attributes:
        stage: its name.
        is_current: whether what is published was made from just these inputs and settings.
        make: makes and publishes it; returns a line on what came of it.
        why_not: why there is nothing to make, if so.
    """

    stage: str
    is_current: Callable[[], bool]
    make: Callable[[], str]
    why_not: str = ""


def bring_through(work: StageWork, settings: CohortSettings, ledger: Ledger) -> int:
    """Bring every study that is not as wanted through a stage, and account for all. Returns how much was to do."""
    units, outcomes = work.waiting(ledger)
    ledger.record(outcomes)
    if units:
        _work_through(work, units, settings, ledger)
    entries = ledger.entries(work.stage)
    plan.check_balance(work.stage, [*(unit["study"] for unit in work.units), *work.upstream], entries)
    n_done = len(units) + len(outcomes)
    outdated = not work.tables_are_current()
    if outdated:
        work.write_tables()
    if n_done or outdated:
        say(f"{work.stage}: {_summary(entries)}")
    _log.info("%s: %d studies to do, %d written down", work.stage, len(units), len(outcomes))
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
def run_shard(stage: str, work: Callable[[Sequence[Unit]], None], shard: Sequence[Unit]) -> None:
    """One shard; what it had finished before a retry is found again by its keys."""
    work(shard)


@task(name="tables", task_run_name="{stage}", cache_policy=NO_CACHE)
def run_table(stage: str, work: Callable[[], str]) -> str:
    """One set of tables."""
    return work()


def _work_through(work: StageWork, units: Sequence[Unit], settings: CohortSettings, ledger: Ledger) -> None:
    compute = settings.compute
    with (
        open_client(compute.profile, compute.cluster_settings) as client,
        stage_progress(work.stage, len(units)) as advance,
    ):
        on_shard = partial(_one_shard, work, settings.cohort, client, compute, ledger, advance)
        parts = list(_split(units, compute.studies_per_shard))
        if client is None:
            for part in parts:
                run_shard(work.stage, on_shard, part)
        else:
            resolve_futures_to_results([run_shard.submit(work.stage, on_shard, part) for part in parts])


def _one_shard(
    work: StageWork,
    cohort: Cohort,
    client: Any,
    compute: ComputeSettings,
    ledger: Ledger,
    advance: Advance,
    shard: Sequence[Unit],
) -> None:
    finished = shards.run(
        work.work,
        plan.todo(shard, ledger.entries(work.stage)),
        cohort.root,
        dict(work.settings),
        stage=work.stage,
        client=client,
        studies_per_chunk=compute.studies_per_chunk,
    )
    for outcomes in finished:
        ledger.record(outcomes)
        advance(len(outcomes))


def _split(units: Sequence[Unit], size: int) -> Iterator[Sequence[Unit]]:
    for start in range(0, len(units), size):
        yield units[start : start + size]


def _summary(entries: Mapping[str, Entry]) -> str:
    counts: dict[str, int] = {}
    for entry in entries.values():
        name = f"{entry.status} ({entry.reason})" if entry.reason else entry.status
        counts[name] = counts.get(name, 0) + 1
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n} {name}" for name, n in most_first) or "no study"
