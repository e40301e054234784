"""Disaggregation, gaps and equivalence, by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cmr_models.estimates import NotEstimableError
from cmr_models.estimates.groups import age_band, bmi_class, quantile_group
from cmr_models.fairness import disaggregate, equivalence_p, max_gap, permutation_gaps


def _true_positive_rate(rows: pd.DataFrame) -> dict[str, float]:
    cases = rows[rows["case"] == 1]
    if cases.empty:
        raise NotEstimableError("too_few_cases")
    return {"estimate": float(cases["flag"].mean())}


@pytest.fixture
def flags() -> pd.DataFrame:
    """A: TP 9 FN 1 FP 2 TN 8; B: TP 4 FN 4 FP 3 TN 9; C: nobody with the disease."""
    cells = [("A", 1, 1, 9), ("A", 1, 0, 1), ("A", 0, 1, 2), ("A", 0, 0, 8)]
    cells += [("B", 1, 1, 4), ("B", 1, 0, 4), ("B", 0, 1, 3), ("B", 0, 0, 9), ("C", 0, 0, 6)]
    rows = [(group, case, flag) for group, case, flag, n in cells for _ in range(n)]
    table = pd.DataFrame(rows, columns=["group", "case", "flag"])
    return table.assign(sex=np.where(np.arange(len(table)) % 2, "f", "m"))


def test_rates_by_group_are_those_of_the_hand_count(flags: pd.DataFrame) -> None:
    table = disaggregate(_true_positive_rate, flags, ["group"], events="case").set_index("group")
    assert table.loc["A", "estimate"] - table.loc["B", "estimate"] == pytest.approx(0.4)
    assert table["n"].to_dict() == {"all": 46, "A": 20, "B": 20, "C": 6}
    assert table["n_events"].to_dict() == {"all": 18, "A": 10, "B": 8, "C": 0}


def test_a_group_without_cases_is_named_with_its_reason(flags: pd.DataFrame) -> None:
    row = disaggregate(_true_positive_rate, flags, ["group"]).set_index("group").loc["C"]
    assert (row["status"], row["reason"]) == ("failed", "too_few_cases")
    assert np.isnan(row["estimate"])


def test_intersections_are_groups_too(flags: pd.DataFrame) -> None:
    table = disaggregate(_true_positive_rate, flags, [["group", "sex"]], overall=False)
    assert set(table["group_by"]) == {"group x sex"}
    assert table["n"].sum() == len(flags)


def test_missing_labels_are_a_group_of_their_own(flags: pd.DataFrame) -> None:
    table = disaggregate(
        _true_positive_rate, flags.assign(group=flags["group"].where(flags["group"] != "B")), ["group"]
    )
    assert table.set_index("group").loc["unknown", "n"] == 20


def test_an_unknown_grouping_is_refused_by_name(flags: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"columns \['centre'\] are not in the table"):
        disaggregate(_true_positive_rate, flags, ["centre"])


def test_the_gap_of_two_groups_is_their_z_test() -> None:
    gap = max_gap(["a", "b"], [1.0, 2.0], [0.3, 0.4], np.random.default_rng(0))
    assert (gap.value, gap.high, gap.low) == (1.0, "b", "a")
    assert gap.minus_log10_p == pytest.approx(-np.log10(2 * stats.norm.sf(1 / 0.5)))
    assert gap.null_q95 == pytest.approx(1.96 * 0.5, rel=0.05)


def test_one_estimable_group_has_no_gap_rather_than_a_gap_of_zero() -> None:
    with pytest.raises(NotEstimableError, match="too_few_groups"):
        max_gap(["a", "b"], [1.0, np.nan], [0.3, 0.4], np.random.default_rng(0))


def test_the_null_of_the_largest_gap_grows_with_the_number_of_groups() -> None:
    rng = np.random.default_rng(0)
    few = max_gap(list("ab"), np.zeros(2), np.ones(2), rng).null_q95
    many = max_gap(list("abcdefgh"), np.zeros(8), np.ones(8), rng).null_q95
    assert many > 1.3 * few


def test_a_planted_gap_of_means_is_found_and_an_absent_one_is_not() -> None:
    rng = np.random.default_rng(1)
    group = rng.choice(["a", "b", "c"], 600)
    noise = rng.normal(size=600)
    planted, absent = permutation_gaps(np.column_stack([noise + (group == "b"), noise]), group, rng)
    assert planted.high == "b"
    assert planted.value > 3 * planted.null_q95
    assert planted.minus_log10_p == pytest.approx(np.log10(500))
    assert absent.value < absent.null_q95


def test_small_groups_have_no_part_in_a_gap() -> None:
    values = np.r_[np.zeros(20), np.ones(20), 100.0]
    group = ["a"] * 20 + ["b"] * 20 + ["c"]
    gap = permutation_gaps(values, group, np.random.default_rng(0), minimum=5)[0]
    assert (gap.value, gap.high) == (1.0, "b")


def test_equivalence_is_claimed_only_within_the_margin() -> None:
    assert equivalence_p([60.0, 60.2, 59.9], [0.2, 0.2, 0.2], margin=2.0) < 1e-6
    assert equivalence_p([60.0, 63.0], [0.2, 0.2], margin=2.0) > 0.99
    assert equivalence_p([60.0, 60.0], [3.0, 3.0], margin=2.0) > 0.2


def test_bands_and_classes_have_their_edges() -> None:
    assert age_band([54.9, 55, 64.99, 75, np.nan]).tolist() == ["<55", "55-64", "55-64", ">=75", "unknown"]
    weights = np.array([18.4, 18.5, 25, 30, np.nan])
    assert bmi_class(np.full(5, 100.0), weights).tolist() == [
        "underweight",
        "normal",
        "overweight",
        "obese",
        "unknown",
    ]
    assert quantile_group([1, 2, 3, 4, 5, 6, 7, 8]).tolist() == [f"Q{k}" for k in (1, 1, 2, 2, 3, 3, 4, 4)]
