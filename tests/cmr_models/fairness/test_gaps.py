"""The largest gap between groups by hand: its size, its p against permuted labels, its row, and equivalence."""

import math
from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cmr_models.estimates import NotEstimableError
from cmr_models.fairness import Gap, equivalence_p, gap_row, max_gap, permutation_gaps
from cmr_models.fairness.audit import audit
from cmr_models.fairness.gaps import permutation_gap


class _InTurn:
    """A generator whose permutations are those given, one after the other."""

    def __init__(self, orders: list[list[int]]) -> None:
        self._orders = [np.array(order) for order in orders]

    def permutation(self, values: int | np.ndarray) -> np.ndarray:
        order = self._orders.pop(0)
        return order if isinstance(values, int) else values[order]


def _mean(rows: pd.DataFrame) -> Mapping[str, Any]:
    if len(rows) < 2:
        raise NotEstimableError("too_few_people")
    return {"estimate": float(rows["x"].mean())}


# Two of a and two of b: 1, 2 against 4, 9. Means 1.5 and 6.5; of the 24 orders 8 reach the gap of 5.
VALUES, GROUPS = [4.0, 1.0, 9.0, 2.0], ["b", "a", "b", "a"]


def test_p_counts_the_observed_arrangement_among_those_of_all_permutations() -> None:
    orders = [list(order) for order in permutations(range(4))]
    (gap,) = permutation_gaps(VALUES, GROUPS, _InTurn(orders), n_permutations=24, minimum=2)  # type: ignore[arg-type]
    assert (gap.value, gap.high, gap.low) == (5.0, "b", "a")
    assert gap.minus_log10_p == pytest.approx(-math.log10((1 + 8) / (1 + 24)))
    # Ranges 5 (8 times), 3 (8: 1 and 4 against 2 and 9), 2 (8: 1 and 9 against 2 and 4): the 95 % point is 5.
    assert gap.null_q95 == 5.0
    table = pd.DataFrame({"x": VALUES, "g": GROUPS})
    same = permutation_gap(_mean, table, ["g"], _InTurn(orders), n_permutations=24)  # type: ignore[arg-type]
    assert same == gap


def test_the_smallest_p_is_one_over_the_permutations_and_one() -> None:
    swapped = [[3, 1, 2, 0]] * 9  # 2 and 9 against 1 and 4: a range of 3
    (gap,) = permutation_gaps(VALUES, GROUPS, _InTurn(swapped), n_permutations=9, minimum=2)  # type: ignore[arg-type]
    assert gap.minus_log10_p == pytest.approx(1.0)
    assert gap.null_q95 == 3.0
    with_itself = [*swapped[:8], [0, 1, 2, 3]]
    (gap,) = permutation_gaps(VALUES, GROUPS, _InTurn(with_itself), n_permutations=9, minimum=2)  # type: ignore[arg-type]
    assert gap.minus_log10_p == pytest.approx(-math.log10(2 / 10))
    assert gap.null_q95 == pytest.approx(3 + 2 * 0.6)  # rank 8 * 0.95 = 7.6 of ranks 0 to 8


def test_groups_of_the_least_size_take_part_and_missing_values_count_for_nobody() -> None:
    values = np.array([[1, 10, np.nan], [2, np.nan, 5], [6, 20, np.nan], [8, 40, 7], [100, 7, np.nan], [np.nan, 9, 8]])
    group = ["a", "a", "b", "b", "c", "c"]
    first, second, third = permutation_gaps(values, group, np.random.default_rng(0), minimum=2, n_permutations=19)
    assert (first.value, first.high, first.low) == (7 - 1.5, "b", "a")  # c has one value
    assert (second.value, second.high, second.low) == (30 - 8, "b", "c")  # a has one value
    assert np.isnan([third.value, third.minus_log10_p, third.null_q95]).all()
    assert (third.high, third.low) == ("", "")
    with pytest.raises(ValueError, match="6 rows of values but 5 labels"):
        permutation_gaps(values, group[:5], np.random.default_rng(0))


def test_a_metric_is_compared_among_groups_that_have_it_and_only_their_people_are_permuted() -> None:
    table = pd.DataFrame({"x": [*VALUES, 50.0], "g": [*GROUPS, "c"]})
    orders = [list(order) for order in permutations(range(4))]
    gap = permutation_gap(_mean, table, ["g"], _InTurn(orders), n_permutations=24)  # type: ignore[arg-type]
    assert (gap.value, gap.high) == (5.0, "b")
    ratio = permutation_gap(_mean, table, ["g"], _InTurn(orders), n_permutations=24, ratio=True)  # type: ignore[arg-type]
    assert ratio.value == pytest.approx(math.log(6.5 / 1.5))
    with pytest.raises(NotEstimableError, match="1 of 2 groups have an estimate"):
        permutation_gap(_mean, table[table["g"] != "b"], ["g"], np.random.default_rng(0))


@pytest.mark.parametrize(("lost", "fails"), [(1, False), (2, True)])
def test_one_permutation_in_ten_may_lose_a_group(lost: int, fails: bool) -> None:
    calls = iter([False] * 2 + [True, False] * lost + [False] * 40)

    def metric(rows: pd.DataFrame) -> Mapping[str, Any]:
        if next(calls):
            raise NotEstimableError("no_pairs")
        return {"estimate": float(rows["x"].mean())}

    table = pd.DataFrame({"x": VALUES, "g": GROUPS})
    orders = [[0, 1, 2, 3], [0, 1, 2, 3]] + [[3, 1, 2, 0]] * 8
    if fails:
        with pytest.raises(NotEstimableError, match="2 permutations lose a group"):
            permutation_gap(metric, table, ["g"], _InTurn(orders), n_permutations=10)  # type: ignore[arg-type]
    else:
        gap = permutation_gap(metric, table, ["g"], _InTurn(orders), n_permutations=10)  # type: ignore[arg-type]
        assert gap.minus_log10_p == pytest.approx(-math.log10((1 + 1) / (1 + 9)))


def test_the_gap_of_three_unequal_groups_is_tested_by_cochrans_q() -> None:
    # Weights 4, 1, 1/4; mean (4 * 1 + 1 * 4 + 0.25 * 3) / 5.25 = 5/3.
    gap = max_gap(["a", "b", "c", "d", "e"], [1, 4, 3, 99, np.nan], [0.5, 1, 2, 0, 1], np.random.default_rng(0))
    q = 4 * (1 - 5 / 3) ** 2 + (4 - 5 / 3) ** 2 + (3 - 5 / 3) ** 2 / 4
    assert (gap.value, gap.high, gap.low) == (3.0, "b", "a")
    assert gap.minus_log10_p == pytest.approx(-math.log10(math.exp(-q / 2)))  # chi-squared of 2 df
    draws = np.random.default_rng(5).standard_normal((200_000, 3)) * [0.5, 1, 2]
    assert gap.null_q95 == pytest.approx(np.quantile(np.ptp(draws, axis=1), 0.95), rel=0.06)
    with pytest.raises(NotEstimableError, match="1 of 3 groups"):
        max_gap(["a", "b", "c"], [1, 2, 3], [0.3, 0, np.inf], np.random.default_rng(0))


def test_equivalence_is_judged_by_the_worst_pair() -> None:
    # 1 and 1.5 differ by 0.5 (error √(0.3² + 0.4²) = 0.5): z = (0.5 - 2) / 0.5 = -3; the pair with 0.2 has 1.3 / 1.3.
    assert equivalence_p([1, 1.5], [0.3, 0.4], 2) == pytest.approx(stats.norm.cdf(-3))
    assert equivalence_p([1.5, 1], [0.3, 0.4], 2) == pytest.approx(stats.norm.cdf(-3))
    assert equivalence_p([1, 1.5, 0.2], [0.3, 0.4, 1.2], 2) == pytest.approx(
        stats.norm.cdf(-0.7 / math.hypot(0.4, 1.2))
    )
    assert equivalence_p([1, 1.5, 9], [0.3, 0.4, 0], 2) == pytest.approx(stats.norm.cdf(-3))
    assert equivalence_p([0, 2], [1, 1], 2) == pytest.approx(0.5)
    for margin in (0, -1, np.nan):
        with pytest.raises(ValueError, match="margin of equivalence must be positive"):
            equivalence_p([1, 2], [1, 1], margin)
    with pytest.raises(NotEstimableError, match="1 groups have an estimate"):
        equivalence_p([1, 2], [1, 0], 2)


def _group(name: str, estimate: float, se: float, n: float, status: str = "ok") -> dict[str, Any]:
    return {"group": name, "n": n, "estimate": estimate, "se": se, "status": status}


def test_the_row_of_a_gap_is_about_the_published_groups_and_logs_ratios() -> None:
    rows = [_group("a", 1, 0.3, 40), _group("hidden", 9, 0.1, 3, "suppressed"), _group("b", math.e, 0.4, 60)]
    row = gap_row(rows, np.random.default_rng(0), ratio=True, margin=3.0)
    assert (row["group"], row["n"], row["gap_groups"], row["status"]) == ("max_gap", 100, "b - a", "ok")
    assert row["estimate"] == pytest.approx(1)
    assert row["minus_log10_p"] == pytest.approx(-math.log10(2 * stats.norm.sf(2)))
    assert row["equivalence_p"] == pytest.approx(stats.norm.cdf((1 - 3) / 0.5))
    plain = gap_row(rows, np.random.default_rng(0))
    assert plain["estimate"] == pytest.approx(math.e - 1)
    assert "equivalence_p" not in plain


def test_a_gap_found_otherwise_takes_the_place_and_a_missing_one_has_its_reason() -> None:
    rows = [_group("a", 1, np.nan, 4), _group("b", 2, np.nan, 5)]
    row = gap_row(rows, np.random.default_rng(0), margin=1, find=lambda: Gap(7.0, "x", "y", 2.0, 6.0))
    assert (row["estimate"], row["gap_groups"], row["null_q95"], row["minus_log10_p"]) == (7.0, "x - y", 6.0, 2.0)
    assert "equivalence_p" not in row
    nothing = gap_row(rows, np.random.default_rng(0), find=lambda: Gap(np.nan, "", "", np.nan, np.nan))
    assert (nothing["status"], nothing["reason"], nothing["n"]) == ("failed", "too_few_groups", 9)
    alone = gap_row([_group("a", 1, 0.3, 40, "suppressed")], np.random.default_rng(0))
    assert alone["reason"] == "too_few_groups"
    assert np.isnan(alone["n"])


def test_an_audit_counts_events_of_compared_groups_and_names_the_others() -> None:
    table = pd.DataFrame({"x": [*VALUES, 50.0], "g": [*GROUPS, "c"], "h": list("ppqqq"), "ill": [1, 0, 1, 1, 1]})

    def metric(rows: pd.DataFrame) -> Mapping[str, Any]:
        return {**_mean(rows), "se": 0.5}

    found = audit(
        {"m": metric, "log": metric}, table, ["g", ["h"]], np.random.default_rng(0), events="ill", ratios=["log"],
        margins={"m": 6.0},
    )  # fmt: skip
    assert found["metric"].tolist() == ["m"] * 8 + ["log"] * 8
    rows = found[found["metric"] == "m"].set_index(["group_by", "group"])
    assert rows.index.tolist() == [
        ("overall", "all"), ("g", "a"), ("g", "b"), ("g", "c"), ("h", "p"), ("h", "q"),
        ("g", "max_gap"), ("h", "max_gap"),
    ]  # fmt: skip
    assert rows["n"].tolist() == [5, 2, 2, 1, 2, 3, 4, 5]
    assert rows["n_events"].tolist() == [4, 1, 2, 1, 1, 3, 3, 4]
    gap = rows.loc[("g", "max_gap")]
    assert (gap["estimate"], gap["gap_groups"], gap["not_estimable"]) == (5.0, "b - a", "c (too_few_people)")
    assert gap["margin"] == 6.0
    assert gap["equivalence_p"] == pytest.approx(stats.norm.cdf((5 - 6) / math.hypot(0.5, 0.5)))
    assert rows.loc[("h", "max_gap"), "not_estimable"] == ""
    log = found[(found["metric"] == "log") & (found["group"] == "max_gap")].set_index("group_by").loc["g"]
    assert log["estimate"] == pytest.approx(math.log(6.5 / 1.5))
    assert np.isnan(log["margin"])
    nobody = audit({"m": metric}, table[table["g"] == "c"], ["g"], np.random.default_rng(0), events="ill")
    assert nobody["n_events"].isna().tolist() == [False, False, True]
    assert nobody["reason"].tolist() == ["too_few_people", "too_few_people", "too_few_groups"]


def test_an_audit_with_permutations_has_their_null() -> None:
    table = pd.DataFrame({"x": [*VALUES, 50.0], "g": [*GROUPS, "c"]})
    found = audit({"m": _mean}, table, ["g"], np.random.default_rng(0), permutations=99)
    gap = found.iloc[-1]
    # One order in three reaches the gap of two twos.
    assert 10 ** -gap["minus_log10_p"] == pytest.approx(1 / 3, abs=0.12)
    assert gap["null_q95"] == 5.0
