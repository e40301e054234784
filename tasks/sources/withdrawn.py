"""The list of participants who withdrew, and whose studies these are."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from cmr_models.contracts.foreign import faults_as, read_text
from cmr_models.contracts.identifiers import clean_identifier, identifier_key
from tasks.state.ledger import Entry, open_ledger
from tasks.state.mistakes import UserMistake
from tasks.state.store import Cohort, publish_bytes

_DISAMBIGUATED: Final = re.compile(r"(?P<participant>.+)\.[0-9a-f]{8}")


def read_withdrawn(path: Path) -> frozenset[str]:
    """Participant ids, one a line, as UK Biobank sends them; further columns and blank lines are ignored.

    Each is there as its key (:func:`cmr_models.contracts.identifiers.identifier_key`).

    Raises:
        UserMistake: it is no list, or not UTF-8 text.
        FileNotFoundError: if the list is not there: going on without it would keep what must go.
    """
    what = f"{path}: the list of withdrawn people"
    with faults_as(lambda kind: UserMistake(f"{what} cannot be read ({kind})"), UserMistake, OSError):
        try:
            lines = read_text(path).splitlines()
        except UnicodeDecodeError:
            raise UserMistake(f"{what} is not UTF-8; save it as UTF-8 text") from None
        first = {cells[0] for line in lines if (cells := next(csv.reader([line.strip()]), []))}
    listed = {clean_identifier(name) for cell in first for name in (cell, re.split(r"[;\t]", cell)[0])}
    return frozenset(identifier_key(name) for name in listed if name)


def has_withdrawn(participant: str, withdrawn: Collection[str]) -> bool:
    """Whether a participant, as studies name them, is on the list.

    Where two places name the same person, studies have a digest of the place added to the name.

    Args:
        participant: of a study.
        withdrawn: of :func:`read_withdrawn`.
    """
    if not withdrawn:
        return False
    disambiguated = _DISAMBIGUATED.fullmatch(participant)
    return identifier_key(participant) in withdrawn or (
        disambiguated is not None and identifier_key(disambiguated["participant"]) in withdrawn
    )


def newly_withdrawn(entries: Mapping[str, Entry], withdrawn: Collection[str]) -> list[str]:
    """Studies of people on the list, also those whose source vanished before, until they are retired as withdrawn.

    Args:
        entries: study -> how it stands at the convert stage.
        withdrawn: of :func:`read_withdrawn`.
    """
    if not withdrawn:
        return []
    return [
        study
        for study, entry in entries.items()
        if (entry.status, entry.reason) != ("retired", "withdrawn")
        and has_withdrawn(study.rpartition("-")[0], withdrawn)
    ]


def withdrawn_people(cohort_dir: Path | None, *lists: Path | None) -> frozenset[str]:
    """Keys of all who withdrew: those on the lists, and those whose studies the cohort has deleted for that reason.

    Args:
        cohort_dir: the cohort's folder, if there is one.
        lists: files of :func:`read_withdrawn`; None for none.
    """
    return _deleted(cohort_dir) | listed_people(cohort_dir, *lists)


def listed_people(cohort_dir: Path | None, *lists: Path | None) -> frozenset[str]:
    """Keys of those on the lists, and of those whom the command `withdraw` was told of this cohort."""
    told = None if cohort_dir is None else Cohort(cohort_dir).withdrawn
    given = [path for path in lists if path is not None]
    return frozenset().union(*map(read_withdrawn, [*given, told] if told is not None and told.exists() else given))


def keep_withdrawn(cohort: Cohort, participants: Iterable[str]) -> None:
    """Add participants to those who stay out of the cohort."""
    path = cohort.withdrawn
    before = path.read_text().splitlines() if path.exists() else []
    listed = sorted({*before, *(identifier_key(name) for name in participants)})
    publish_bytes("".join(f"{name}\n" for name in listed).encode(), path)


def without_withdrawn(table: pd.DataFrame, withdrawn: Collection[str], column: str = "participant") -> pd.DataFrame:
    """The rows of a table that are not about people who withdrew.

    Args:
        table: of people, rows or studies.
        withdrawn: of :func:`withdrawn_people`.
        column: its participants, however they are written.
    """
    if not withdrawn or column not in table:
        return table
    gone = [cell for cell in table[column].dropna().unique() if has_withdrawn(str(cell), withdrawn)]
    return table[~table[column].isin(gone)].reset_index(drop=True)


def _deleted(cohort_dir: Path | None) -> frozenset[str]:
    ledger = None if cohort_dir is None else Cohort(cohort_dir).ledger
    if ledger is None or not ledger.is_file():
        return frozenset()
    with open_ledger(ledger, is_new=False) as opened:
        gone = opened.with_status("convert", "retired", "withdrawn")
    return frozenset(identifier_key(study.rpartition("-")[0]) for study in gone)
