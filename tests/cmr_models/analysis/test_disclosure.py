"""No cell of one to four people leaves the gate, nor a sum from which one could be had."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmr_models.analysis.disclosure.masking import mask_curve, mask_small_cells, round_counts


def _table(n: list[float], n_events: list[float]) -> pd.DataFrame:
    """An overall row and its groups."""
    groups = [chr(97 + k) for k in range(len(n))]
    return pd.DataFrame(
        {
            "exposure": "lvef_pct",
            "outcome": "death",
            "model": "cox_age",
            "group_by": ["overall"] + ["ethnicity"] * len(n),
            "group": ["all", *groups],
            "n": [sum(n), *n],
            "n_events": [sum(n_events), *n_events],
            "estimate": 1.5,
            "z": 2.0,
            "q": 0.01,
            "status": "ok",
            "reason": "",
        }
    )


def _no_leak(masked: pd.DataFrame, truth: pd.DataFrame, minimum: int = 5) -> None:
    groups = masked["group_by"] != "overall"
    for name in ("n", "n_events"):
        shown = masked[name].to_numpy(float)
        assert not ((shown > 0) & (shown < minimum)).any(), f"a small {name} is shown"
        small = (truth[name] > 0) & (truth[name] < minimum) & groups
        hidden = masked[name].isna() & groups
        assert (~small | hidden).all()
        if small.any() and np.isfinite(shown[0]):
            assert hidden.sum() >= 2, f"the only hidden {name} is the total less the rest"
    beside = masked["n"] - masked["n_events"]
    assert not ((beside > 0) & (beside < minimum)).any()
    assert masked.loc[masked["n_events"].isna(), ["estimate", "z", "q"]].isna().all(axis=None)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_cells_of_one_to_four_people_are_masked_with_all_their_numbers(count: int) -> None:
    truth = _table([900, 60, count], [80, 12, min(count, 1)])
    masked = mask_small_cells(truth)
    _no_leak(masked, truth)
    assert masked.loc[3, ["n", "n_events", "estimate", "z", "q"]].isna().all()
    assert (masked.loc[3, "status"], masked.loc[3, "reason"]) == ("suppressed", "small_cell")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_cells_of_one_to_four_events_are_masked_and_the_people_stay(count: int) -> None:
    truth = _table([900, 300, 60], [80, 20, count])
    masked = mask_small_cells(truth)
    _no_leak(masked, truth)
    assert masked.loc[3, "n"] == 60
    assert np.isnan(masked.loc[3, "n_events"])


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_one_to_four_people_without_the_event_are_masked(count: int) -> None:
    truth = _table([900, 300, 60], [80, 20, 60 - count])
    masked = mask_small_cells(truth)
    _no_leak(masked, truth)
    assert np.isnan(masked.loc[3, "n_events"])


def test_one_hidden_group_takes_the_next_smallest_with_it() -> None:
    masked = mask_small_cells(_table([900, 300, 60], [80, 20, 3]))
    assert masked["reason"].tolist() == ["", "", "secondary", "small_cell"]


def test_two_hidden_groups_of_few_people_take_a_third_with_them() -> None:
    masked = mask_small_cells(_table([900, 300, 60, 50], [80, 20, 1, 2]))
    assert masked["reason"].tolist() == ["", "", "secondary", "small_cell", "small_cell"]


def test_nothing_small_is_left_as_it_is() -> None:
    truth = _table([900, 300], [80, 0])
    pd.testing.assert_frame_equal(mask_small_cells(truth), truth, check_dtype=False)


def test_a_count_that_follows_from_those_left_out_is_masked() -> None:
    truth = _table([900, 300], [80, 20]).assign(n_excluded=[3, 3, 0])
    masked = mask_small_cells(truth)
    assert masked["n"].isna().tolist() == [True, True, True]
    assert masked["status"].tolist() == ["ok"] * 3
    assert "n_excluded" not in masked


@given(
    cells=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=2, max_size=6),
    minimum=st.integers(2, 8),
)
def test_no_small_cell_leaks_whatever_the_table(cells: list[tuple[int, int]], minimum: int) -> None:
    truth = _table([float(a + b) for a, b in cells], [float(b) for _, b in cells])
    _no_leak(mask_small_cells(truth, minimum), truth, minimum)


@given(
    events=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    leaving=st.lists(st.integers(0, 9), min_size=12, max_size=12),
    minimum=st.integers(2, 8),
)
def test_published_points_of_a_curve_never_differ_by_a_small_number(
    events: list[int], leaving: list[int], minimum: int
) -> None:
    cumulative = np.cumsum(events)
    at_risk = np.maximum(60 - cumulative - np.cumsum(leaving[: len(events)]), 0)
    allowed = mask_curve(np.arange(len(events)), at_risk, cumulative, minimum)
    shown = cumulative[allowed]
    for earlier, later in itertools.combinations([0, *shown], 2):
        assert later == earlier or later - earlier >= minimum
    assert not ((at_risk[allowed] > 0) & (at_risk[allowed] < minimum)).any()


def test_counts_are_rounded_to_the_base() -> None:
    assert round_counts([0, 2, 3, 7, 12.5]).tolist() == [0, 0, 5, 5, 15]


@pytest.mark.parametrize(
    ("table", "minimum", "message"),
    [
        (pd.DataFrame({"n": [3]}), 5, "needs the columns n and n_events"),
        (_table([10.0], [2.0]), 0, "at least 1, got 0"),
    ],
)
def test_a_table_that_cannot_be_gated_is_refused(table: pd.DataFrame, minimum: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mask_small_cells(table, minimum)
