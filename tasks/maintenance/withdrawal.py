"""Participants who withdrew: everything of theirs is deleted, and a receipt without identifiers of images is kept."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable

import pyarrow.parquet as pq

from cmr_models.contracts.identifiers import identifier_key
from tasks.execution.stage import Planned
from tasks.report.pages import page_name
from tasks.sources.withdrawn import keep_withdrawn, newly_withdrawn
from tasks.stages import FIRST, STAGES
from tasks.state.ledger import Ledger, Outcome
from tasks.state.mistakes import UserMistake
from tasks.state.parquet_tables import publish_table, read_table
from tasks.state.published_beside import forget_studies
from tasks.state.store import Cohort, damaged_path, receipt_path


def withdrawn_studies(planned: Planned) -> list[str]:
    """Studies that a plan of the first stage removes because their participants withdrew."""
    return [study for study, reason in planned.removed.items() if reason == "withdrawn"]


def withdraw_now(cohort: Cohort, ledger: Ledger, participants: Collection[str]) -> list[str]:
    """Withdraw participants at once, without a look at the archive; returns their studies.

    They are noted first: if the command is killed here, the next run of the cohort withdraws them.

    Raises:
        UserMistake: if none of them has a study, so that a name that is spelt otherwise is noticed.
    """
    keys = {identifier_key(name) for name in participants}
    studies = newly_withdrawn(ledger.entries(FIRST.name), keys)
    if not studies:
        raise UserMistake("none of these participants has a study that is not withdrawn yet; nothing was changed")
    keep_withdrawn(cohort, participants)
    withdraw(cohort, ledger, studies)
    ledger.record(Outcome(study, FIRST.name, "retired", "withdrawn") for study in studies)
    for stage in STAGES:
        if not stage.on_demand:
            for table in stage.tables:
                table.write(ledger, cohort)
    return studies


def withdraw(cohort: Cohort, ledger: Ledger, studies: Collection[str]) -> None:
    """Delete what there is of ``studies``: files, receipts, pages, rows of tables, and what the ledger sums up.

    Their outcomes at convert are left to the caller to retire last: until then a killed withdrawal is made again.
    What publications keep of whom they counted loses their names. Tables that lose rows lose their key as well, so that
    the stage that made them makes them again.
    """
    if not studies:
        return
    _delete_files(cohort, studies)
    forget_studies(cohort, studies)
    _delete_rows(cohort, studies)
    for stage in ledger.stages():
        if not FIRST.owns(stage):
            present = ledger.entries(stage).keys() & set(studies)
            ledger.record(Outcome(study, stage, "retired", "withdrawn") for study in sorted(present))


def _delete_files(cohort: Cohort, studies: Iterable[str]) -> None:
    folder = cohort.root / "predictions"
    models = [model.name for model in sorted(folder.iterdir())] if folder.is_dir() else []
    for study in studies:
        for path in (cohort.study(study), *(cohort.prediction(model, study) for model in models)):
            path.unlink(missing_ok=True)
            receipt_path(path).unlink(missing_ok=True)
            damaged_path(path).unlink(missing_ok=True)
        for report in (cohort.reports, cohort.reports.with_name("reports.new")):
            (report / "studies" / page_name(study)).unlink(missing_ok=True)
    for pages in cohort.tables.glob("comparisons/*/studies"):  # a page shows several studies: all of them go
        shutil.rmtree(pages)


def _delete_rows(cohort: Cohort, studies: Collection[str]) -> None:
    """Of every table with a row a study; estimates have none."""
    for path in sorted(cohort.tables.rglob("*.parquet")):
        if "study" in pq.read_schema(path).names:
            table = read_table(path)
            if (listed := table["study"].isin(set(studies))).any():
                publish_table(table[~listed], path)
