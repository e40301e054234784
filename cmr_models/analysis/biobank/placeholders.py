"""Dates that are not dates: what UK Biobank writes where a code has no usable day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Dates = npt.NDArray[np.datetime64]

UNDATED = "undated"
AT_BIRTH = "at_birth"

# UK Biobank data coding 819 (first occurrences) and the data providers' own defaults.
PLACEHOLDERS: Mapping[str, str] = {
    "1900-01-01": UNDATED,  # the code has no date
    "1901-01-01": UNDATED,  # before birth
    "1902-02-02": AT_BIRTH,  # the date of birth
    "1903-03-03": AT_BIRTH,  # in the year of birth
    "1909-09-09": UNDATED,  # invalid
    "2037-07-07": UNDATED,  # in the future
}


_DAY = r"^(\d{4}-\d{1,2}-\d{1,2})(?:[T ].*)?$"


class Dated(NamedTuple):
    """Dates with what the placeholders among them mean.

    Attributes:
        date: ``(n,)`` days; NaT where there is none or the date is a placeholder.
        undated: ``(n,)`` something happened, nobody knows when.
        at_birth: ``(n,)`` it was there from birth or the first year of life.
    """

    date: Dates
    undated: npt.NDArray[np.bool_]
    at_birth: npt.NDArray[np.bool_]


def read_dates(values: pd.Series) -> Dated:
    """A column of dates (ISO text or timestamps); missing stays missing.

    Raises:
        ValueError: a value is not a date.
    """
    text = _days(values)
    dates = _parsed(text)
    wrong = int(is_no_date(values).sum())
    if wrong:
        raise ValueError(f"{values.name}: {wrong} values are not dates as YYYY-MM-DD")
    meaning = text.map(PLACEHOLDERS)
    undated, at_birth = ((meaning == kind).fillna(False).to_numpy(bool) for kind in (UNDATED, AT_BIRTH))
    days = dates.to_numpy("datetime64[D]")
    return Dated(np.where(undated | at_birth, np.datetime64("NaT", "D"), days), undated, at_birth)


def is_no_date(values: pd.Series) -> pd.Series:
    """Cells that are neither empty nor a date as :func:`read_dates` reads them."""
    text = _days(values)
    return _parsed(text).isna() & text.notna()


def _days(values: pd.Series) -> pd.Series:
    """The day of each cell as it is written, without a time of day; what is no date stays as it is."""
    written = values.astype("string").str.strip()
    written = written.mask(written == "")
    return written.str.extract(_DAY, expand=False).where(written.notna()).fillna(written)


def _parsed(text: pd.Series) -> pd.Series:
    return pd.to_datetime(text, format="%Y-%m-%d", errors="coerce")
