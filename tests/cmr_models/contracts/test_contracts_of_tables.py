"""Tables that break their contract in one way each, and what the message says."""

import re

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.survival_curves import CURVE_COLUMNS
from cmr_models.contracts import ContractError
from cmr_models.contracts.checks import check_table
from cmr_models.contracts.tables import ESTIMATE_MORE, ESTIMATE_TABLE
from cmr_models.estimates import COLUMNS, tidy

ROW = {"exposure": "lvef_pct", "n": 100, "n_events": 7, "estimate": 0.8, "se": 0.1, "q": 0.04}


def test_estimates_pass_with_and_without_columns_of_their_own() -> None:
    check_table(tidy([ROW]), ESTIMATE_TABLE)
    check_table(tidy([ROW], extra=("years",)), ESTIMATE_TABLE)
    check_table(tidy([]), ESTIMATE_TABLE)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (tidy([ROW]).drop(columns="q"), f"must have the columns {COLUMNS}; missing are ['q'], unknown are []"),
        (tidy([ROW]).astype({"estimate": str}), "the column estimate of tables/estimates/*.parquet must be real, got"),
        (tidy([ROW]).assign(family=3), "the column family of tables/estimates/*.parquet must be text, got int64"),
        (
            tidy([ROW | {"q": 1.5}]),
            "the column q of tables/estimates/*.parquet must lie within 0 and 1, 1 values do not",
        ),
        (
            tidy([ROW | {"n": -1}]),
            "the column n of tables/estimates/*.parquet must lie within 0 and inf, 1 values do not",
        ),
        (
            tidy([ROW | {"status": "great"}]),
            "the column status of tables/estimates/*.parquet holds 1 other values than ('ok', 'failed',",
        ),
    ],
)
def test_a_broken_table_says_what_is_there_and_what_should_be(table: pd.DataFrame, message: str) -> None:
    with pytest.raises(ContractError, match=re.escape(message)):
        check_table(table, ESTIMATE_TABLE)


def test_columns_in_another_order_are_refused() -> None:
    with pytest.raises(ContractError, match="the order is"):
        check_table(tidy([ROW])[list(reversed(COLUMNS))], ESTIMATE_TABLE)


def test_missing_numbers_are_within_every_range() -> None:
    check_table(tidy([ROW | {"q": np.nan, "n": np.nan}]), ESTIMATE_TABLE)


def test_the_described_columns_of_survival_curves_are_those_that_are_made() -> None:
    assert tuple(column.name for column in ESTIMATE_MORE["survival_curves"]) == CURVE_COLUMNS
