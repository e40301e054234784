"""No cell of one to four people leaves the gate, nor a sum from which one could be had."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmr_models.analysis.disclosure.masking import (
    leaves_whole_range,
    mask_curve,
    mask_last_steps,
    mask_small_cells,
    masked_counts,
    round_counts,
)

pytestmark = pytest.mark.timeout(100)  # masking that never settles would hang


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


# each rule at its bound: no more is hidden than has to be


@pytest.mark.parametrize(
    ("cells", "hidden_n", "hidden_events"),
    [
        # people and events of a, b, c, d; 5 is no small number, 4 is; 0 is none
        ([(30, 20), (40, 12), (5, 5), (50, 0)], "", ""),
        (
            [(30, 20), (40, 12), (4, 0), (50, 10)],
            "ac",
            "acd",
        ),  # 4 and 30 people; events 0 and 10: the smallest that is seen
        ([(30, 20), (40, 12), (60, 4), (50, 0)], "", "bc"),  # 4 and 12 events; none of d would be known anyhow
        ([(30, 20), (40, 12), (60, 56), (50, 10)], "", "cd"),  # 4 without the event: d, of the fewest events, goes too
        ([(30, 20), (40, 12), (60, 55), (50, 10)], "", ""),
        ([(30, 20), (40, 12), (60, 3), (50, 2)], "", "cd"),  # two hidden, five events together
        ([(30, 20), (40, 12), (60, 1), (50, 2)], "", "bcd"),  # three events together could be had: a third goes too
        ([(30, 20), (40, 20), (60, 4), (50, 30)], "", "ac"),  # of two equals the first
        ([(60, 4), (50, 0), (40, 0), (0, 0)], "", "abcd"),  # nothing but zeros is left to hide
        ([(1, 0), (2, 0), (3, 0), (99, 40)], "abc", "abcd"),  # six people together, but no event: d has them all
    ],
)
def test_as_much_is_hidden_as_has_to_be(cells: list[tuple[int, int]], hidden_n: str, hidden_events: str) -> None:
    truth = _table([float(n) for n, _ in cells], [float(k) for _, k in cells])
    masked = mask_small_cells(truth).iloc[1:].set_index("group")
    assert "".join(masked.index[masked["n"].isna()]) == hidden_n
    assert "".join(masked.index[masked["n_events"].isna()]) == hidden_events
    assert "".join(masked.index[masked["status"] == "suppressed"]) == hidden_events
    assert masked.loc[masked["n_events"].notna(), ["estimate", "z", "q"]].notna().all(axis=None)
    small = [(0 < n < 5) or (0 < k < 5) or (0 < n - k < 5) for n, k in cells]
    reasons = {group: "small_cell" if is_small else "secondary" for group, is_small in zip("abcd", small, strict=True)}
    assert masked["reason"].to_dict() == {group: reasons[group] if group in hidden_events else "" for group in "abcd"}


@pytest.mark.parametrize(("excluded", "hidden"), [(0, ""), (1, "ab"), (4, "ab"), (5, ""), (float("nan"), "")])
def test_people_left_out_hide_the_number_of_those_in_and_that_of_a_neighbour(excluded: float, hidden: str) -> None:
    truth = _table([300.0, 200, 400], [80.0, 20, 90]).assign(n_excluded=[90.0, excluded, 50, 60])
    masked = mask_small_cells(truth).iloc[1:]
    assert "".join(masked.loc[masked["n"].isna(), "group"]) == hidden
    assert masked[["n_events", "estimate"]].notna().all(axis=None)
    assert masked["status"].tolist() == ["ok"] * 3


def test_rows_add_up_only_within_what_they_are_about_and_unsorted_ones_too() -> None:
    one, two = _table([30.0, 40, 3], [10.0, 11, 0]), _table([35.0, 45, 2], [20.0, 21, 0])
    both = pd.concat([one, two.assign(model="logistic")]).sample(frac=1, random_state=1)
    masked = mask_small_cells(both)
    assert masked.index.tolist() == list(range(8))
    hidden = masked[masked["status"] != "ok"]
    assert sorted(zip(hidden["model"], hidden["group"], strict=True)) == [
        ("cox_age", "a"), ("cox_age", "c"), ("logistic", "a"), ("logistic", "c"),
    ]  # fmt: skip
    # As if all added up to one total: five people are hidden in two cells, and only no event needs another cell.
    of_one = mask_small_cells(both, margins=("outcome",))
    assert of_one["n"].isna().sum() == 2
    assert sorted(of_one.loc[of_one["status"] != "ok", "group"]) == ["a", "c", "c"]
    plain = mask_small_cells(pd.DataFrame({"n": [3.0, 30], "n_events": [0.0, 9], "z": [1.0, 2]}), 3)
    assert plain["n"].tolist() == [3, 30]
    alone = mask_small_cells(pd.DataFrame({"n": [3.0, 30], "n_events": [0.0, 9], "z": [1.0, 2]}))
    assert alone["status"].tolist() == ["suppressed", "ok"]
    assert alone["z"].isna().tolist() == [True, False]


def test_a_hidden_cell_of_an_intersection_is_covered_in_its_row_and_its_column() -> None:
    cells = {"f x a": 3, "f x b": 40, "f x c": 60, "m x a": 70, "m x b": 80, "m x c": 20, "unknown": 90}
    table = pd.DataFrame({"group": list(cells), "n": list(cells.values())}).assign(
        n_events=np.nan, group_by="sex x band"
    )
    masked = mask_small_cells(table)
    # m x c, the smallest, covers the total; f x b the women, m x a those of a, m x b and so on where one is left alone.
    hidden = set(masked.loc[masked["n"].isna(), "group"])
    assert {"f x a", "f x b", "m x a"} <= hidden
    assert "unknown" not in hidden
    for label in "fmabc":
        inside = [name for name in hidden if label in name.split(" x ")]
        assert len(inside) != 1


def test_counts_of_reasons_hide_the_smallest_neighbour() -> None:
    assert masked_counts({"a": 10, "b": 4, "c": 7}, 5) == pytest.approx(
        {"a": 10, "b": np.nan, "c": np.nan}, nan_ok=True
    )
    assert masked_counts({"a": 10, "b": 5}, 5) == {"a": 10, "b": 5}


def test_points_of_a_curve_are_allowed_at_the_bound_and_count_from_the_last_shown() -> None:
    #         events 0, 4 new, 5 in all, 9, 10, 15; at risk 5, 9, 9, 9, 4, 0
    allowed = mask_curve([0, 1, 2, 3, 4, 5], [5, 9, 9, 9, 4, 0], [0, 4, 5, 9, 10, 15], 5)
    assert allowed.tolist() == [True, False, True, False, False, True]
    assert mask_curve([0, 1], [9, 9], [4, 5], 5).tolist() == [False, True]
    for years, events in (([0, 0], [0, 1]), ([1, 0], [0, 1]), ([0, 1], [2, 1])):
        with pytest.raises(ValueError, match="years must ascend and n_events must not fall"):
            mask_curve(years, [9, 9], events)
    assert round_counts([2.4, 2.5, 7.4, 7.5], 5).tolist() == [0, 5, 5, 10]
    assert round_counts([1, 2, 4], 3).tolist() == [0, 3, 3]


@pytest.mark.parametrize(
    "name", ["exposure", "unit", "scale", "outcome", "model", "measure", "of", "view", "phase", "group_by"]
)
def test_rows_add_up_only_with_those_of_the_same_name(name: str) -> None:
    # Of x, 3 of a are covered by 30 of b. As if x and y added up, 3 and 2 would cover each other.
    cells = [("x", "a", 3.0), ("x", "b", 30.0), ("x", "c", 40.0), ("y", "a", 2.0), ("y", "b", 35.0), ("y", "c", 45.0)]
    table = pd.DataFrame(cells, columns=[name, "group", "n"]).assign(n_events=np.nan)
    table = table if name == "group_by" else table.assign(group_by="sex")
    masked = mask_small_cells(table)
    assert masked["n"].isna().tolist() == [True, True, False, True, True, False]
    assert masked["reason"].tolist() == ["small_cell", "secondary", "", "small_cell", "secondary", ""]


def test_what_is_hidden_is_said_in_status_and_reason_and_the_table_is_a_copy() -> None:
    table = pd.DataFrame(
        {"n": [3, 30, 40], "n_events": [1, 9, 20], "group_by": "sex", "group": ["a", "b", "c"], "x": [1, 2, 3]}
    )
    masked = mask_small_cells(table, 4)
    assert masked["status"].tolist() == ["suppressed", "suppressed", "ok"]
    assert masked["reason"].tolist() == ["small_cell", "secondary", ""]
    assert masked["x"].tolist() == [1, 2, 3]
    assert table["n"].tolist() == [3, 30, 40]
    assert list(table) == ["n", "n_events", "group_by", "group", "x"]
    assert mask_small_cells(table, 3)["n"].tolist() == [3.0, 30.0, 40.0]
    assert mask_small_cells(table.assign(n_events=[0, 0, 0]), 3)["status"].tolist() == ["ok"] * 3
    with pytest.raises(ValueError, match=r"\['n_events'\] not in"):
        mask_small_cells(table.drop(columns="n_events"))
    assert mask_small_cells(table, 1)["n"].tolist() == [3.0, 30.0, 40.0]


def test_what_covers_a_column_is_covered_in_its_row_in_turn() -> None:
    cells = {
        "f x a": 3,
        "f x b": 10,
        "f x c": 90,
        "m x a": 20,
        "m x b": 50,
        "m x c": 80,
        "o x a": 60,
        "o x b": 30,
        "o x c": 70,
    }
    table = pd.DataFrame({"group": list(cells), "n": list(cells.values())}).assign(
        n_events=np.nan, group_by="sex x band"
    )
    masked = mask_small_cells(table)
    # f x b covers the total; m x a covers f x a among a, and o x b covers f x b among b; then m and o have one hidden
    # cell each, which m x b and o x a cover
    hidden = {"f x a", "f x b", "m x a", "o x b", "m x b", "o x a"}
    assert set(masked.loc[masked["n"].isna(), "group"]) == hidden


# what a sum says of the cells that it hides


@pytest.mark.parametrize(
    ("cells", "whole"),
    [
        ([1, 5], False),  # 6 less at least 5: 1
        ([1, 7], False),  # 8 less at least 5: 1 to 3
        ([1, 8], True),  # 9 less at least 5: 1 to 4
        ([4, 5], True),
        ([4, 4], False),  # 8: both are 4
        ([3, 4], False),  # 7: 3 and 4
        ([2, 3], True),  # 5: 1 to 4 each
        ([1, 1, 1, 1], False),
        ([2, 2, 2], True),  # 6: 4 with 1 and 1, 1 with 4 and 1
        ([1, 0, 0], False),
        ([12, 30], True),
    ],
)
def test_a_sum_leaves_hidden_cells_their_whole_range(cells: list[float], whole: bool) -> None:
    assert leaves_whole_range(cells, 5) == whole


@settings(deadline=None)
@given(cells=st.lists(st.integers(1, 9), min_size=2, max_size=3))
def test_every_number_of_one_to_four_is_left_to_a_hidden_cell_by_trying_all(cells: list[int]) -> None:
    ranges = [range(1, 5) if n < 5 else range(5, sum(cells) + 1) for n in cells]
    possible = [found for found in itertools.product(*ranges) if sum(found) == sum(cells)]
    small = [k for k, n in enumerate(cells) if n < 5]
    by_trial = all({found[k] for found in possible} >= {1, 4} for k in small)
    assert leaves_whole_range([float(n) for n in cells], 5) == by_trial


def test_two_cells_that_their_sum_tells_are_not_told_to_be_small() -> None:
    masked = mask_small_cells(_table([4, 4], [0, 0]))
    assert masked["n"].isna().tolist() == [False, True, True]
    assert masked["reason"].tolist() == ["", "secondary", "secondary"]


def test_last_steps_leave_no_event_or_enough_of_the_total() -> None:
    nan = np.nan
    curves = [np.array([0, 5, nan, 11]), np.array([0, 6, 6, nan])]
    # 17 of 20: three came after. The last step of the second, of six, is as large as that of the first: the first goes.
    stay = mask_last_steps(curves, 20, 5)
    assert [kept.tolist() for kept in stay] == [[True, True, False, False], [True, True, True, False]]
    for total in (17, 22):
        assert [kept.sum() for kept in mask_last_steps(curves, total, 5)] == [3, 3]
    assert [kept.sum() for kept in mask_last_steps([np.array([0.0, 5])], 6, 5)] == [1]
    assert [kept.sum() for kept in mask_last_steps([np.array([nan, nan])], 3, 5)] == [0]
