"""Cells of a table that are text: which are numbers, and which columns mix numbers with other words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import pandas as pd

ColumnType = Literal["number", "text"]
"""What a column can be declared as."""

MOST_LEVELS = 50
"""Levels of a covariate that is text and not declared so: more are free text, dates or numbers, not categories."""

_CODES_OF_NO_VALUE = (
    -1, -2, -3, -4, -5, -7, -8, -9, -10, -13, -27, -88, -99, -121, -131, -313, -717, -818, -999, -9999,
)  # fmt: skip
"""Negative numbers that stand for a missing value in UK Biobank, or in surveys."""

_RARE = 0.1
"""Share of the cells up to which such numbers are codes: scores from -2 to 2, and contrasts of -1 and 1, have more."""

_BEYOND = 1.5
"""All nines (99, 999, ...) are a code if they are this many times as large as any other cell."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WITH_COMMA = re.compile(r"[+-]?[0-9]{1,3}(?:[.' ]?[0-9]{3})*,[0-9]+|[+-]?[0-9]+(?:,[0-9]+)+")
_DAY = re.compile(
    r"[0-9]{4}([-/.])[0-9]{1,2}\1[0-9]{1,2}(?![0-9])|[0-9]{1,2}([-/.])[0-9]{1,2}\2(?:[0-9]{4}|[0-9]{2})(?![0-9])"
)
_CODE = re.compile(r"[+-]?0[0-9].*")  # 007 names something; 0.7 and 0 count


def is_decimal(word: str) -> bool:
    """Whether a word is a decimal number that a computer can hold: neither ``nan`` and ``inf`` nor ``1e400``."""
    return _NUMBER.fullmatch(word) is not None and math.isfinite(float(word))


def is_number(word: str) -> bool:
    """Whether a word is a number and not a code: codes have leading zeros."""
    return is_decimal(word) and not _CODE.fullmatch(word)


def is_text(column: pd.Series) -> bool:
    """Whether a column holds text, or objects."""
    return column.dtype == object or isinstance(column.dtype, pd.StringDtype | pd.CategoricalDtype)


def check_covariates(table: pd.DataFrame, names: Iterable[str], types: Mapping[str, ColumnType], what: str) -> None:
    """Refuse covariates of which it is a guess whether they are numbers or categories, or which category a cell is.

    Args:
        table: the columns.
        names: of the covariates; those that are not there are passed over.
        types: columns that the user declares; those declared as text are taken as they are written.
        what: name of the table in messages.

    Raises:
        ValueError: a column of text in which some cells are numbers and others are not, or numbers with a comma, or
            the same words in other letters or blanks, or with more than :data:`MOST_LEVELS` levels; dates; numbers that
            are infinite, or stand for a missing value. No cell is quoted.
    """
    for name in _undeclared(table, names, types):
        words = table[name].dropna().astype(str).str.strip()
        if _are_days(table[name], words):
            raise ValueError(
                f"{what}: the cells of {name} are dates, neither numbers nor categories; give years as numbers, or"
                ' declare the column under `types` as "text"'
            )
        if not is_text(table[name]):
            if name not in types:
                _check_codes(table[name], name, what)
            continue
        numeric = {word for word in words.unique() if is_number(word)}
        n_numbers, n_commas = int(words.isin(numeric).sum()), int(words.str.fullmatch(_WITH_COMMA).sum())
        if n_commas:
            raise ValueError(
                f"{what}: {n_commas} of {len(table)} cells of {name} are numbers with a comma; write a decimal point,"
                ' or declare the column under `types` as "text"'
            )
        if 0 < n_numbers < len(words):
            raise ValueError(
                f"{what}: {len(words) - n_numbers} of {len(table)} cells of {name} are not numbers, the others are;"
                " list words that mean a missing value under `missing_values`, or declare the column under `types`"
                ' ("number" or "text")'
            )
        _check_levels(words, name, what)


def _are_days(column: pd.Series, words: pd.Series) -> bool:
    """Whether a column holds dates, as such or as words (``2020-01-31``, ``31.01.2020``, ``1/31/20``)."""
    if not is_text(column):
        return bool(pd.api.types.is_datetime64_any_dtype(column))
    return len(words) > 0 and bool(words.str.match(_DAY).all())


def _check_codes(numbers: pd.Series, name: str, what: str) -> None:
    n_infinite = int(np.isinf(pd.to_numeric(numbers, errors="coerce").to_numpy(float, na_value=np.nan)).sum())
    if n_infinite:
        raise ValueError(f"{what}: {n_infinite} of {len(numbers)} cells of {name} are infinite; leave them empty")
    n_codes = _n_codes(pd.to_numeric(numbers, errors="coerce").dropna().astype(float))
    if n_codes:
        raise ValueError(
            f"{what}: {n_codes} of {len(numbers)} cells of {name} look like codes of a missing value (negative, or all"
            ' nines); list these under `missing_values`, or declare the column under `types` as "number"'
        )


def _n_codes(numbers: pd.Series) -> int:
    """How many cells hold what stands for a missing value elsewhere and is out of place among the others."""
    negative = numbers[numbers < 0]
    if negative.isin(_CODES_OF_NO_VALUE).all() and 0 < len(negative) <= _RARE * len(numbers):
        return len(negative)
    values = numbers.drop_duplicates().nlargest(2)
    if len(values) < 2:
        return 0
    largest, next_largest = float(values.iloc[0]), float(values.iloc[1])
    is_nines = largest.is_integer() and set(str(int(largest))) == {"9"}
    beyond = largest > _BEYOND * next_largest if largest > 9 else next_largest <= 2  # 0, 1, 2 and 9 for unknown
    return int((numbers == largest).sum()) if is_nines and beyond else 0


def check_groups(table: pd.DataFrame, names: Iterable[str], types: Mapping[str, ColumnType], what: str) -> None:
    """Refuse columns that make no groups: as :func:`check_covariates`, with a number a category too.

    Raises:
        ValueError: more than :data:`MOST_LEVELS` levels, or the same words in other letters or blanks.
    """
    for name in _undeclared(table, names, types):
        _check_levels(table[name].dropna().astype(str).str.strip(), name, what)


def _undeclared(table: pd.DataFrame, names: Iterable[str], types: Mapping[str, ColumnType]) -> list[str]:
    return [name for name in sorted(set(names)) if name in table and types.get(name) != "text"]


def _check_levels(words: pd.Series, name: str, what: str) -> None:
    levels = pd.Series(words.unique(), dtype=object)
    alike = levels.astype(str).str.casefold().str.split().str.join(" ").duplicated(keep=False)
    if alike.any():
        raise ValueError(
            f"{what}: {int(alike.sum())} levels of {name} differ only in upper and lower case or in blanks; write each"
            ' in one way, or declare the column under `types` as "text"'
        )
    if len(levels) > MOST_LEVELS:
        raise ValueError(
            f"{what}: {name} is text with {len(levels)} different cells, more than the {MOST_LEVELS} levels of a"
            ' category; give it as numbers, or declare it under `types` as "text"'
        )
