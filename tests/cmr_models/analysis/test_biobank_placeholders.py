"""Dates that are none, by data coding 819 of UK Biobank, and dates that are written in several ways."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.biobank.placeholders import read_dates

_UNDATED = ("1900-01-01", "1901-01-01", "1909-09-09", "2037-07-07")
_AT_BIRTH = ("1902-02-02", "1903-03-03")


def test_every_placeholder_means_what_its_coding_says_and_the_days_beside_them_are_days() -> None:
    beside = ("1900-01-02", "1901-01-02", "1902-02-01", "1903-03-04", "1909-09-10", "2037-07-06")
    cells = pd.Series([*_UNDATED, *_AT_BIRTH, *beside, None, "", "  "], index=range(30, 15, -1))
    found = read_dates(cells)
    n = len(cells)
    assert np.flatnonzero(found.undated).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(found.at_birth).tolist() == [4, 5]
    assert np.flatnonzero(~np.isnat(found.date)).tolist() == [6, 7, 8, 9, 10, 11]
    assert found.date.dtype == "datetime64[D]"
    assert [str(day) for day in found.date[6:12]] == list(beside)
    assert len(found.date) == len(found.undated) == len(found.at_birth) == n


@pytest.mark.parametrize(
    ("written", "day"),
    [
        (" 2016-06-05 ", "2016-06-05"),
        ("2016-6-5", "2016-06-05"),
        ("1909-09-09T00:00:00", "NaT"),
        ("2016-02-29 23:59", "2016-02-29"),
        (pd.Timestamp(2016, 6, 5, 13), "2016-06-05"),
        (pd.Timestamp(1903, 3, 3), "NaT"),
    ],
)
def test_a_day_is_the_same_however_it_is_written(written: object, day: str) -> None:
    found = read_dates(pd.Series([written]))
    assert str(found.date[0]) == day
    assert bool(found.undated[0] | found.at_birth[0]) == (day == "NaT")


def test_what_is_no_day_is_counted_with_the_name_of_its_column() -> None:
    cells = pd.Series(["2016-06-05", "5.6.2016", None, "2015-02-29", "x"], name="53-2.0")
    with pytest.raises(ValueError, match=r"^53-2\.0: 3 values are not dates as YYYY-MM-DD$"):
        read_dates(cells)
