"""The tables of a cohort to give away: names of studies and people are keyed hashes, whose key stays where it is.

What would lead back without the key is left out: digests of sources, series that were left out, free text. Rows are in
the order of the pseudonyms, as the order of ids would tell about them. The numbers are those of single people: this is
no release of statistics, and the receiver needs the right to have them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pandas as pd

from cmr_models.contracts.identifiers import identifier_key
from tasks.convert.study_table import STUDIES
from tasks.derive.perfusion_tables import PERFUSION_TABLE, SEGMENTS
from tasks.derive.phenotype_tables import CURVES, PHENOTYPE_TABLE
from tasks.sources.withdrawn import without_withdrawn
from tasks.state.mistakes import UserMistake
from tasks.state.parquet_tables import publish_table, read_table
from tasks.state.store import Cohort, publish_bytes

TABLES = (STUDIES, PHENOTYPE_TABLE, CURVES, PERFUSION_TABLE, SEGMENTS)
"""Tables that are given away, those that are there."""

DICTIONARIES = ("phenotypes_dictionary.csv", "perfusion_dictionary.csv")
LEFT_OUT = ("key", "excluded", "detail")
"""Columns that would lead back to the sources, or hold free text."""

_KEY_BYTES = 32
_LETTERS = 32
_INSTANCE = re.compile(r"\d{1,2}")


def export_tables(cohort: Cohort, folder: Path, key_file: Path, withdrawn: Collection[str]) -> dict[str, int]:
    """Write pseudonymised copies of the tables into ``folder``.

    Args:
        cohort: whose tables.
        folder: a new or empty folder outside the cohort.
        key_file: with the key of the hashes; made if it is not there. The same key gives the same pseudonyms.
        withdrawn: of :func:`tasks.sources.withdrawn.withdrawn_people`, who are left out.

    Returns:
        Name of each table and its rows.

    Raises:
        UserMistake: if the folder holds something, or the key lies in it or can be read by others.
    """
    _check_places(cohort, folder, key_file)
    there = [contract for contract in TABLES if (cohort.root / contract.path).exists()]
    if not there:
        raise UserMistake(f"{cohort.root} has no table to export; run `cmr-cohort run` first")
    name = Pseudonyms(read_key(key_file))
    counts = {}
    for contract in there:
        path = cohort.root / contract.path
        table = pseudonymised(read_table(path, contract), name, withdrawn)
        publish_table(table, folder / path.name)
        counts[path.name] = len(table)
    for path in (cohort.tables / dictionary for dictionary in DICTIONARIES):
        if path.exists():
            publish_bytes(path.read_bytes(), folder / path.name)
    return counts


class Pseudonyms:
    """HMAC-SHA-256 (RFC 2104) of people and visits under one key, of which 128 bits are kept."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def participant(self, participant: str) -> str:
        """Of a participant: the same for every spelling of the identifier."""
        return self._hash(f"participant {identifier_key(participant)}")

    def visit(self, participant: str, visit: str) -> str:
        """An instance number stays; other visits are digests of a StudyInstanceUID, which would lead back."""
        if _INSTANCE.fullmatch(visit):
            return visit
        return self._hash(f"visit {identifier_key(participant)} {visit}")[: _LETTERS // 4]

    def study(self, study: str) -> str:
        """Of a study: its participant and visit."""
        participant, _, visit = study.rpartition("-")
        return f"{self.participant(participant)}-{self.visit(participant, visit)}"

    def _hash(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:_LETTERS]


def pseudonymised(table: pd.DataFrame, name: Pseudonyms, withdrawn: Collection[str]) -> pd.DataFrame:
    """A table of studies with pseudonyms, in their order, without people who withdrew and without telling columns."""
    people = _each(table["study"], _participant)
    table = without_withdrawn(table.assign(participant=people), withdrawn)
    new = _each(table["study"], name.study)
    named: Mapping[str, pd.Series] = {
        "study": new,
        "participant": _each(new, _participant),
        "visit": _each(new, lambda study: study.rpartition("-")[2]),
    }
    table = table.assign(**named).drop(columns=[column for column in LEFT_OUT if column in table])
    return table.sort_values("study", kind="stable", ignore_index=True)


def _participant(study: str) -> str:
    return study.rpartition("-")[0]


def _each(studies: pd.Series, name: Callable[[str], str]) -> pd.Series:
    return studies.map({study: name(study) for study in studies.unique()}).astype("str")


def read_key(path: Path) -> bytes:
    """The key in a file, made where there is none: random, and for its owner alone.

    Raises:
        UserMistake: if others can read it, or it is too short.
    """
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _checked_key(path)
    with os.fdopen(number, "w") as file:
        file.write(os.urandom(_KEY_BYTES).hex() + "\n")
    return _checked_key(path)


def _checked_key(path: Path) -> bytes:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UserMistake(f"{path}: others can read the key; type `chmod 600 {path}`, or use another key")
    content = path.read_bytes().strip()
    if len(content) < 2 * _KEY_BYTES:
        raise UserMistake(
            f"{path}: the key has fewer than {2 * _KEY_BYTES} letters; name a file that is not there, and it is made"
        )
    return content


def _check_places(cohort: Cohort, folder: Path, key_file: Path) -> None:
    target, key = folder.resolve(), key_file.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserMistake(f"{folder} holds something already; name a new folder")
    if target.is_relative_to(cohort.root.resolve()):
        raise UserMistake(f"{folder} lies in the cohort; name a folder elsewhere")
    if key.is_relative_to(target):
        raise UserMistake(f"{key_file} lies in {folder}, which is given away; keep the key elsewhere")
    if not key.parent.is_dir():
        raise UserMistake(f"{key_file}: there is no folder {key_file.parent}")
