"""The commands ``cmr-cohort shard``: a cohort in shards, in one process each, without Prefect and without a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows import foresight, planning
from flows.progress import say, stage_progress
from flows.settings import CohortSettings, read_settings, settings_file
from tasks.batch import ShardPlan, merge, open_plan, publish_plan, run_shard
from tasks.batch.merging import check_ended
from tasks.batch.parts import parts_of
from tasks.batch.shard_run import IN_A_RUN, software
from tasks.derive.derive_stage import read_body_sizes
from tasks.execution import plan as stage_plan
from tasks.execution.shards import Unit
from tasks.execution.stage import Planned, StageWork
from tasks.maintenance.withdrawal import withdraw, withdrawn_studies
from tasks.sources.withdrawn import listed_people, newly_withdrawn
from tasks.stages import FIRST
from tasks.state.ledger import Entry, Ledger, open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort

_DECIDE = ("sources", "participants", "convert", "segment")
"""Settings on which every shard must agree; with the columns of participants."""


def place(directory: Path, config: Path | None) -> tuple[Path, Path | None]:
    """The cohort's folder and its settings file, if there is one.

    Args:
        directory: the cohort's folder, or that of its settings file.
        config: the settings file, if the user named it.

    Raises:
        UserMistake: if the settings are of another cohort.
    """
    config = config or settings_file(directory)
    if config is None:
        return directory, None
    folder = read_settings(config).directory
    if directory.resolve() not in (folder.resolve(), config.resolve().parent):
        raise UserMistake(f"{directory} is not the cohort of {config}, {folder}; give one of both")
    return folder, config


def settings_of(directory: Path, found: ShardPlan, config: Path | None) -> CohortSettings:
    """The settings for the end of a plan: those of the file, or of the plan where no file is at hand.

    Raises:
        UserMistake: if the file says something else than the plan.
    """
    _check_settings(found, config)
    if config is not None:
        return read_settings(config)
    return CohortSettings(**{**found.content["settings"], "directory": directory, "sources": ()})


def plan(settings: CohortSettings, size: int, config: Path | None) -> ShardPlan:
    """Publish the plan of everything that is new or changed, ``size`` studies a shard."""
    columns = settings.analysis.participant_columns
    sizes = read_body_sizes(settings.participants, columns) if settings.participants else {}
    with open_ledger(settings.cohort.ledger) as ledger:
        views = foresight.stage_views(settings, ledger)
        first = views[0].work
        units = stage_plan.units_to_do(first.planned.units, views[0].entries, first.missing)
        studies = sorted({study for view in views for study in view.to_do})
        parts = parts_of(studies, {unit["study"]: unit for unit in units}, ledger, sizes, size)
    resolved = planning.resolved_settings(settings)
    content = {
        "settings": resolved,
        "settings_file": str(config.resolve()) if config else "",
        "model": planning.named_model(settings),
        "software": software(resolved),
        "removed": dict(first.planned.removed),
        "size": size,
    }
    return publish_plan(settings.cohort, content, parts)


def run(directory: Path, index: int, name: str, config: Path | None, files: Path | None) -> Mapping[str, Any]:
    """Bring one shard through; see :func:`tasks.batch.run_shard`."""
    folder, config = place(directory, config)
    cohort = Cohort(folder)
    found = open_plan(cohort, name)
    _check_settings(found, config)
    listed = None if files is None else [Path(line) for line in files.read_text(encoding="utf-8").splitlines() if line]
    return run_shard(found, index, cohort, stage_progress, listed)


def finish(settings: CohortSettings, found: ShardPlan) -> None:
    """Merge what the shards have done, make all tables and the report, and close the plan.

    Raises:
        UserMistake: if a shard has not ended, or a stage has more to do than was planned.
    """
    if not found.is_finished:
        check_ended(found)
    with open_ledger(settings.cohort.ledger) as ledger:
        if not found.is_finished:
            n = merge(found, ledger)
            say(f"shards: {n} outcomes of {found.n_shards} shards")
        for work in _works(settings, found, ledger):
            _account(work, settings, ledger)
    for table in (planning.plan_associate(settings), planning.plan_risk(settings), planning.plan_report(settings)):
        if table.why_not:
            say(f"{table.stage}: skipped, {table.why_not}")
        elif not table.is_current():
            say(f"{table.stage}: {table.make()}")
    found.finish()


def _check_settings(found: ShardPlan, config: Path | None) -> None:
    """A shard is not run by other settings than it was planned with.

    Raises:
        UserMistake: if the settings file has changed since.
    """
    planned_in = Path(found.content["settings_file"])
    file = config or (planned_in if planned_in.is_file() else None)
    if file is None:
        return
    today, planned = planning.resolved_settings(read_settings(file)), found.content["settings"]
    pairs = {name: (planned[name], today[name]) for name in _DECIDE}
    columns = "participant_columns"
    pairs[f"analysis.{columns}"] = (planned["analysis"][columns], today["analysis"][columns])
    if changed := [name for name, (before, now) in pairs.items() if before != now]:
        raise UserMistake(
            f"{file}: {', '.join(changed)} changed since plan {found.digest} was made; put it back, or make a new plan"
            " with `cmr-cohort shard plan`"
        )


def _failed(unit: Unit, entry: Entry | None) -> bool:
    """Whether a shard has tried a unit, and in vain."""
    return entry is not None and entry.status == "quarantined" and entry.wanted == unit["key"]


def _works(settings: CohortSettings, found: ShardPlan, ledger: Ledger) -> Iterator[StageWork]:
    """The stages, each planned when those before it are accounted for; of the first, who leaves the cohort."""
    gone = {} if found.is_finished else dict(found.content["removed"])
    listed = listed_people(settings.directory, settings.withdrawn)
    gone |= dict.fromkeys(newly_withdrawn(ledger.entries(FIRST.name), listed), "withdrawn")
    for stage in IN_A_RUN:
        if stage is FIRST:
            work = StageWork(stage, {}, Planned([], removed=gone), {})
            withdraw(settings.cohort, ledger, withdrawn_studies(work.planned))
        else:
            work = planning.plan(stage, settings, ledger)
        yield work


def _account(work: StageWork, settings: CohortSettings, ledger: Ledger) -> None:
    """Record what needs no work, and make the tables of a stage.

    Raises:
        UserMistake: if there are studies to work on.
    """
    name = work.stage.name
    units, outcomes = work.waiting(ledger)
    ledger.record(outcomes)
    entries = ledger.entries(name)
    if todo := [unit for unit in units if not _failed(unit, entries.get(unit["study"]))]:
        raise UserMistake(
            f"{name}: {len(todo)} studies have changed since the plan (participants, model or files); what is done is"
            " kept. Make a new plan with `cmr-cohort shard plan`, which has these alone"
        )
    work.check_balance(ledger)
    if not work.tables_are_current(ledger, settings.cohort):
        work.write_tables(ledger, settings.cohort)
    say(f"{name}: {stage_plan.summary(ledger.entries(name))}")
