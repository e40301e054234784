"""The main job: from the raw archive to tables and a report.

    convert -> segment -> derive, perfusion -> associate, risk -> report

Every flow compares what should be there with what is there, does the difference, and accounts for every study.
Each returns how much it had to do; 0 means that all was as it should be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows import planning
from flows.progress import say
from flows.run_record import recorded
from flows.settings import CohortSettings, read_settings
from flows.stages import bring_through, make
from flows.withheld import text_withheld
from tasks.convert.convert_stage import CONVERT
from tasks.derive.derive_stage import DERIVE
from tasks.derive.perfusion_stage import PERFUSION
from tasks.execution.stage import Stage
from tasks.inference.segment_stage import SEGMENT
from tasks.maintenance.withdrawal import withdraw, withdrawn_studies
from tasks.state.ledger import open_ledger

SHARDS_AT_ONCE: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=4)


@flow(name="cohort", validate_parameters=False)
@text_withheld
def cohort(config: str | Path, profile: str | None = None) -> int:
    """Everything, for the cohort that the settings file ``config`` describes; of chosen studies all but statistics."""
    settings = read_settings(Path(config), profile=profile)
    with recorded(settings, "run"):
        done = convert(settings) + segment(settings) + derive(settings) + perfusion(settings)
        if not planning.is_of_all():
            say("statistics and report: left to the next run of the whole cohort")
            return done
        done += associate(settings) + risk(settings)
        return done + report(settings)


@flow(name="convert", validate_parameters=False, task_runner=SHARDS_AT_ONCE)
@text_withheld
def convert(settings: CohortSettings, *, whole_archive: bool = True) -> int:
    """Raw archive -> studies. ``whole_archive``: what is not in the sources any more leaves the cohort."""
    with open_ledger(settings.cohort.ledger) as ledger:
        work = planning.plan(CONVERT, settings, ledger, whole_archive=whole_archive)
        withdraw(settings.cohort, ledger, withdrawn_studies(work.planned))
        return bring_through(work, settings, ledger)


@flow(name="segment", validate_parameters=False, task_runner=SHARDS_AT_ONCE)
@text_withheld
def segment(settings: CohortSettings) -> int:
    """Studies -> predictions."""
    return run_stage(SEGMENT, settings)


@flow(name="derive", validate_parameters=False, task_runner=SHARDS_AT_ONCE)
@text_withheld
def derive(settings: CohortSettings) -> int:
    """Predictions -> phenotypes."""
    return run_stage(DERIVE, settings)


@flow(name="perfusion", validate_parameters=False)
@text_withheld
def perfusion(settings: CohortSettings) -> int:
    """First-pass series of every study -> flow maps, AHA segments, phenotypes."""
    return run_stage(PERFUSION, settings)


@flow(name="associate", validate_parameters=False)
@text_withheld
def associate(settings: CohortSettings) -> int:
    """Phenotypes x prevalent disease -> estimates."""
    return make(planning.plan_associate(settings))


@flow(name="risk", validate_parameters=False)
@text_withheld
def risk(settings: CohortSettings) -> int:
    """Phenotypes x incident disease and death -> estimates."""
    return make(planning.plan_risk(settings))


@flow(name="report", validate_parameters=False)
@text_withheld
def report(settings: CohortSettings) -> int:
    """Tables -> one static site."""
    return make(planning.plan_report(settings))


def run_stage(stage: Stage, settings: CohortSettings) -> int:
    """Bring every study through ``stage``, within a flow. Returns how much there was to do."""
    with open_ledger(settings.cohort.ledger) as ledger:
        return bring_through(planning.plan(stage, settings, ledger), settings, ledger)
