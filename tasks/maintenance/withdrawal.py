"""Participants who withdrew: everything of theirs is deleted, and a receipt without identifiers of images is kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from tasks.report.pages import page_name
from tasks.sources import safe_id
from tasks.state.ledger import Entry, Ledger, Outcome
from tasks.state.parquet_tables import publish_table, read_table
from tasks.state.store import Cohort, damaged_path, receipt_path

_TOLD_APART: Final = re.compile(r"(?P<participant>.+)\.[0-9a-f]{8}")


def read_withdrawn(path: Path) -> frozenset[str]:
    """Participant ids, one a line, as UK Biobank sends them; further columns and blank lines are ignored.

    Ids that cannot be part of a file name are there also as studies write them (:func:`tasks.sources.safe_id`).

    Raises:
        FileNotFoundError: if the list is not there: going on without it would keep what must go.
    """
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    listed = {line.split(",")[0].strip().strip('"') for line in lines if line.strip()}
    return frozenset(listed | {safe_id(name) for name in listed})


def has_withdrawn(participant: str, withdrawn: Collection[str]) -> bool:
    """Whether a participant, as studies name them, is on the list.

    Where two places name the same person, studies have a digest of the place added to the name.

    Args:
        participant: of a study.
        withdrawn: of :func:`read_withdrawn`.
    """
    told_apart = _TOLD_APART.fullmatch(participant)
    return participant in withdrawn or (told_apart is not None and told_apart["participant"] in withdrawn)


def newly_withdrawn(entries: Mapping[str, Entry], withdrawn: Collection[str]) -> list[str]:
    """Studies of people on the list, also those whose source vanished before, until they are retired as withdrawn.

    Args:
        entries: study -> how it stands at the convert stage.
        withdrawn: of :func:`read_withdrawn`.
    """
    return [
        study
        for study, entry in entries.items()
        if (entry.status, entry.reason) != ("retired", "withdrawn")
        and has_withdrawn(study.rpartition("-")[0], withdrawn)
    ]


def withdraw(cohort: Cohort, ledger: Ledger, studies: Collection[str]) -> None:
    """Delete what there is of ``studies``: files, receipts, pages, rows of tables, and what the ledger sums up.

    Their outcomes at convert are left to the caller to retire last: until then a killed withdrawal is made again.
    Tables that lose rows lose their key as well, so that the stage that made them makes them again.
    """
    if not studies:
        return
    _delete_files(cohort, studies)
    _delete_rows(cohort, studies)
    for stage in ledger.stages():
        if stage != "convert":
            there = ledger.entries(stage).keys() & set(studies)
            ledger.record(Outcome(study, stage, "retired", "withdrawn") for study in sorted(there))


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


def _delete_rows(cohort: Cohort, studies: Collection[str]) -> None:
    """Of every table with a row a study; estimates have none."""
    for path in sorted(cohort.tables.rglob("*.parquet")):
        if "study" in pq.read_schema(path).names:
            table = read_table(path)
            if (listed := table["study"].isin(set(studies))).any():
                publish_table(table[~listed], path)
