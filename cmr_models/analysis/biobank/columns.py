"""UK Biobank column names of every export format: which field, which visit, which of several answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from cmr_models.contracts.foreign import faults_as
from cmr_models.contracts.identifiers import identifier_keys

# Main dataset `31-0.0`; R export `f.31.0.0`; Research Analysis Platform `p31`, `p53_i2`, `p4080_i2_a1`,
# `participant.p41280_a3`.
_NAMES = (
    re.compile(r"^(?P<field>\d+)-(?P<instance>\d+)\.(?P<array>\d+)$"),
    re.compile(r"^f\.(?P<field>\d+)\.(?P<instance>\d+)\.(?P<array>\d+)$"),
    re.compile(r"^(?:\w+\.)?p(?P<field>\d+)(?:_i(?P<instance>\d+))?(?:_a(?P<array>\d+))?$"),
)
IDENTIFIERS = ("eid", "f.eid", "participant.eid")
EMPTY_WORDS = ("NA",)
"""Words that mean a missing value in exports of UK Biobank, beside the empty cell: R's."""
_EMPTY = ("", "[]", *EMPTY_WORDS)


class Column(NamedTuple):
    """Where a column belongs: field, visit (0 if the field has none), position among several answers."""

    field: int
    instance: int
    array: int


def parse_column(name: str) -> Column | None:
    """The field, instance and array index in a column's name; None if it names no field."""
    for pattern in _NAMES:
        found = pattern.match(name)
        if found:
            return Column(int(found["field"]), int(found["instance"] or 0), int(found["array"] or 0))
    return None


@dataclass(frozen=True)
class FieldTable:
    """A table of UK Biobank by field.

    Attributes:
        table: one row a participant, columns as exported.
        identifier: its column of participants.
        columns: (field, instance) -> its columns by array index.
    """

    table: pd.DataFrame
    identifier: str
    columns: Mapping[tuple[int, int], tuple[str, ...]]

    @classmethod
    def of(cls, table: pd.DataFrame) -> FieldTable:
        """Index the columns of an exported table.

        Raises:
            ValueError: no column of participants, a participant twice, two columns of one field, visit and position.
        """
        identifier = next((name for name in IDENTIFIERS if name in table), None)
        if identifier is None:
            raise ValueError(f"no column of participants among {list(IDENTIFIERS)}; export it with the fields")
        table = table.assign(**{identifier: identifier_keys(table[identifier])})
        nobody = int(table[identifier].isna().sum())
        if nobody:
            raise ValueError(f"{nobody} rows have no participant; remove them")
        repeated = int(table[identifier].duplicated().sum())
        if repeated:
            raise ValueError(f"{repeated} rows repeat a participant; the table must have one row each")
        found: dict[tuple[int, int], dict[int, str]] = {}
        for name in table.columns:
            column = parse_column(str(name))
            if column is None:
                continue
            arrays = found.setdefault((column.field, column.instance), {})
            if column.array in arrays:
                raise ValueError(f"columns {arrays[column.array]!r} and {name!r} are the same column")
            arrays[column.array] = str(name)
        ordered = {key: tuple(arrays[k] for k in sorted(arrays)) for key, arrays in found.items()}
        return cls(table, identifier, ordered)

    @property
    def participants(self) -> pd.Series:
        """Participants as keys."""
        return self.table[self.identifier]

    def instances(self, field: int) -> list[int]:
        """The visits at which the table has a field."""
        return sorted(instance for known, instance in self.columns if known == field)

    def values(self, field: int, instance: int = 0) -> pd.DataFrame:
        """The columns of a field at a visit, one an answer; several answers in one cell are split.

        Raises:
            ValueError: the table has no such column, or a cell begins like a list and is none.
        """
        names = self.columns.get((field, instance))
        if names is None:
            have = self.instances(field)
            raise ValueError(f"field {field} is not in the table at instance {instance}; it is at {have}")
        columns = self.table[list(names)]
        if len(names) == 1 and _holds_lists(columns.iloc[:, 0]):
            return _split_lists(columns.iloc[:, 0])
        return columns


def _holds_lists(column: pd.Series) -> bool:
    """Whether cells are lists, as the Research Analysis Platform exports ICD-10 codes: ``["I48", "I500"]``."""
    if pd.api.types.is_numeric_dtype(column):
        return False
    text = column.dropna().astype(str)
    return bool(text.str.contains(r"^\[|\|", regex=True).any())


def _split_lists(column: pd.Series) -> pd.DataFrame:
    with faults_as(partial(_no_list, str(column.name))):
        lists = [[] if pd.isna(cell) or str(cell).strip() in _EMPTY else _cells(str(cell)) for cell in column]
    width = max(len(cells) for cells in lists)
    padded = np.array([[*cells, *[None] * (width - len(cells))] for cells in lists], dtype=object)
    names = [f"{column.name}[{k}]" for k in range(max(width, 1))]
    return pd.DataFrame(padded.reshape(len(lists), -1) if width else None, index=column.index, columns=names)


def _no_list(name: str, kind: str) -> ValueError:
    return ValueError(f'column {name!r} has a cell that begins like a list and is none ({kind}); write ["I48", "I500"]')


def _cells(cell: str) -> list[str]:
    if cell.startswith("["):
        return [str(item) for item in json.loads(cell)]
    return cell.split("|")
