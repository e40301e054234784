"""Identifiers of people and visits, written in one way wherever two tables, or a table and the archive, meet.

A study is named after the identifier of its participant as far as a file name allows (:func:`safe_id`); users' tables
hold the identifier as the hospital writes it, or as the studies show it. Both become the same key
(:func:`identifier_key`). Two spellings that could be two people (``0012`` and ``12``, ``ab`` and ``AB``) stay two.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Any, Final

import numpy as np
import pandas as pd

KEYS: Final = ("participant", "visit")
"""The columns by which tables are joined."""

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,63}")
_PLAIN = re.compile(r"[A-Za-z0-9_]{1,64}")  # is its own key
_WHOLE = re.compile(r"([0-9]+)\.0+")
_SHOWN = 24  # letters of an identifier whose kind is shown
_SPACES = re.compile(r"\s")


def clean_identifier(raw: str) -> str:
    """``raw`` without what cannot be seen: outer blanks, byte order marks, marks of direction, control characters.

    Composed as Unicode's form C, so that an umlaut is one letter whoever wrote it.
    """
    spaced = _SPACES.sub(" ", unicodedata.normalize("NFC", raw))
    seen = (letter for letter in spaced if unicodedata.category(letter) not in ("Cf", "Cc"))
    return "".join(seen).strip()


def safe_id(raw: str) -> str:
    """``raw`` if it can be part of a file name and a study id, else its safe characters and a digest."""
    text = clean_identifier(raw)
    if _SAFE.fullmatch(text):
        return text
    cleaned = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[:32]
    return f"{cleaned or 'id'}.{short_digest(text)}"


def short_digest(text: str) -> str:
    """Eight hexadecimal digits of a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


def identifier_key(raw: str) -> str:
    """The key of an identifier, the same for each of its spellings: as a hospital, a spreadsheet or a study writes it.

    ``12.0`` is ``12``: so are whole numbers written when a column has empty cells.
    """
    if _PLAIN.fullmatch(raw):
        return raw
    text = clean_identifier(raw)
    whole = _WHOLE.fullmatch(text)
    return safe_id(whole[1] if whole else text)


def study_key(study: str) -> str:
    """The key of a study id, ``<participant>-<visit>``."""
    participant, _, visit = study.rpartition("-")
    return f"{identifier_key(participant)}-{identifier_key(visit)}"


def identifier_keys(column: pd.Series) -> pd.Series:
    """:func:`identifier_key` of every cell, as text; missing and blank cells are None."""
    text = column.astype(object).where(column.notna(), None)
    keys = {cell: _key_of_cell(cell) for cell in set(text)}
    return text.map(keys).astype(object).where(text.notna(), None)


def with_keys(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """A copy whose ``participant`` and ``visit`` are keys.

    Args:
        table: with both columns.
        what: its name in messages.

    Raises:
        ValueError: a row has no participant or no visit.
    """
    table = table.copy()
    for name in KEYS:
        table[name] = identifier_keys(table[name])
        n_empty = int(table[name].isna().sum())
        if n_empty:
            raise ValueError(f"{what}: {n_empty} of {len(table)} rows have no {name}; fill it in or remove the rows")
    return table


def loose_keys(column: pd.Series) -> pd.Series:
    """Keys without case, leading zeros and punctuation: only to tell a user why identifiers do not meet."""
    return _without_digest(column.astype(str)).str.casefold().str.replace(r"[\W_]", "", regex=True).str.lstrip("0")


def shape_of(column: pd.Series) -> str:
    """How most identifiers of a column are written, in kind: ``AA-9999999``, 9 for a digit, A or a for a letter.

    No identifier can be read from it. Empty if the column is.
    """
    shapes = _without_digest(column.dropna().astype(str)).str.slice(0, _SHOWN).map(_shape)
    return str(shapes.mode().iloc[0]) if len(shapes) else ""


def _without_digest(keys: pd.Series) -> pd.Series:
    """Keys without the digest that :func:`safe_id` adds."""
    return keys.str.replace(r"\.[0-9a-f]{8}$", "", regex=True)


def _shape(identifier: str) -> str:
    """``identifier`` with its letters and digits hidden; other signs than ``- _ . /`` and blanks are ``?``."""
    hidden = re.sub(r"[^\W\d_]", lambda letter: "A" if letter[0].isupper() else "a", re.sub(r"\d", "9", identifier))
    return re.sub(r"[^A9a\-_./ ]", "?", hidden)


def _key_of_cell(cell: Any) -> str | None:
    if cell is None:
        return None
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        cell = int(cell)
    return identifier_key(str(cell)) if clean_identifier(str(cell)) else None
