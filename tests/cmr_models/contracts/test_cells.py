"""Cells that are neither surely numbers nor surely categories."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.contracts.cells import check_covariates

_PRESSURES = [110.0, 121.0, 118.0, 135.0, 142.0, 150.0, 127.0, 133.0, 160.0, 115.0, 119.0, np.nan]


@pytest.mark.parametrize(
    ("cells", "n_codes"),
    [
        ([*_PRESSURES, -3], 1),
        ([*_PRESSURES, *_PRESSURES, -1, -3], 2),  # 2 of 24 that are there
        ([*_PRESSURES, -9.0], 1),
        ([*_PRESSURES, 999, 999], 2),
        ([*_PRESSURES, 9999], 1),
        ([0, 1, 1, 0, 9], 1),
        ([1, 2, 2, 1, 9], 1),
    ],
)
def test_numbers_that_stand_for_a_missing_value_are_an_error_unless_the_column_is_declared(
    cells: list[float], n_codes: int
) -> None:
    table = pd.DataFrame({"x": cells})
    with pytest.raises(ValueError, match=f"people: {n_codes} of {len(cells)} cells of x look like codes"):
        check_covariates(table, ["x"], {}, "people")
    check_covariates(table, ["x"], {"x": "number"}, "people")


@pytest.mark.parametrize(
    "cells",
    [
        _PRESSURES,
        [*_PRESSURES, 199],  # not all nines
        [*_PRESSURES, -3.5],  # no code
        [-6.1, -3, 0.4, 2.0, 5.0, 1.1, 0.3, 0.2, 0.7, 3.0, 1.0],  # a deprivation index
        [-2, -1, 0, 1, 2] * 4,  # a score
        [-1, 1, 1, -1],  # a contrast
        [66, 71, 80, 99],  # an age
        [0, 1, 3, 2, 9],  # a count
        [9, 9, 9],
        [],
        [True, False],
    ],
)
def test_other_numbers_are_numbers(cells: list[float]) -> None:
    check_covariates(pd.DataFrame({"x": cells}), ["x"], {}, "people")


@pytest.mark.parametrize(
    "days",
    [["2020-01-31", "2020-2-1"], ["31.01.2020", "1.2.20"], ["1/31/2020", "02/01/2020"], ["2020-01-31 10:00", None]],
)
def test_dates_are_no_covariate_unless_they_are_declared_as_text(days: list[str | None]) -> None:
    table = pd.DataFrame({"seen": days})
    with pytest.raises(ValueError, match="people: the cells of seen are dates") as caught:
        check_covariates(table, ["seen"], {}, "people")
    assert "2020" not in str(caught.value)
    check_covariates(table, ["seen"], {"seen": "text"}, "people")
    with pytest.raises(ValueError, match="the cells of seen are dates"):
        check_covariates(pd.DataFrame({"seen": pd.to_datetime(["2020-01-31", "2020-02-01"])}), ["seen"], {}, "people")
    check_covariates(pd.DataFrame({"sites": ["10-2-333", "1.2.2020.4x", "a"]}), ["sites"], {}, "people")


def test_infinite_numbers_are_counted_and_refused() -> None:
    with pytest.raises(ValueError, match="people: 2 of 4 cells of sbp are infinite"):
        check_covariates(pd.DataFrame({"sbp": [1.0, np.inf, -np.inf, np.nan]}), ["sbp"], {}, "people")
