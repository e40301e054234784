"""Groups that one value dominates: sums of squares by hand, and what of them is hidden."""

import numpy as np
import pandas as pd
import pytest

from cmr_models.analysis.disclosure.dominance import hidden_groups, hide_dominated, magnitudes
from cmr_models.estimates.contributions import Contributions

NAN = np.nan
ORDINARY = [88.0, 92.0] * 10  # each 2 from the median: a sum of squares of 80
EXTREME = [*ORDINARY, 118.0]  # the median is 92: ten of 16 and one of 676


def test_contributions_are_squared_deviations_from_the_median() -> None:
    assert Contributions.of([*ORDINARY, NAN]) == Contributions(20, 80.0, 4.0)
    assert Contributions.of(EXTREME) == Contributions(21, 836.0, 676.0)
    assert Contributions.of([]) == Contributions()
    assert Contributions(2, 3.0, 2.0) + Contributions(3, 4.0, 3.0) == Contributions(5, 7.0, 3.0)


@pytest.mark.parametrize(
    ("n", "share", "dominated"),
    [
        (1000, 0.51, True),  # 0.5 + 10 / 3000 = 0.503
        (1000, 0.50, False),
        (50, 0.56, False),  # 0.5 + 10 / 150 = 0.567
        (50, 0.57, True),
        (8, 0.74, False),  # 0.917, but no more than three quarters
        (8, 0.76, True),
        (20, 0.0, False),
    ],
)
def test_a_value_dominates_from_half_of_the_sum_in_a_large_group_to_three_quarters_in_a_small_one(
    n: int, share: float, dominated: bool
) -> None:
    assert Contributions(n, 100.0, 100 * share).is_dominated == dominated


def test_a_group_of_equal_values_is_not_dominated() -> None:
    assert not Contributions.of([60.0] * 7).is_dominated
    assert not Contributions.of([]).is_dominated


def test_the_groups_hidden_together_are_two_at_least_and_not_dominated_as_one() -> None:
    parts = [(Contributions(20, 1000.0, 900.0),), (Contributions(30, 100.0, 9.0),), (Contributions(90, 5000.0, 99.0),)]
    # The first and the second have 1100, of which 900 are 82 %; all three have 6100, and 900 are 15 %.
    counts, all_shown = np.array([20.0, 30.0, 90.0]), np.ones(3, bool)
    assert hidden_groups(all_shown, counts, parts).tolist() == [True, True, True]
    parts[1] = (Contributions(30, 900.0, 9.0),)  # of 1900, 900 are 47 %
    assert hidden_groups(all_shown, counts, parts).tolist() == [True, True, False]
    assert hidden_groups(all_shown, counts, parts[1:2] * 3).tolist() == [False, False, False]
    # The second is hidden already, as a small cell: it is not enough.
    assert hidden_groups(np.array([True, False, True]), counts, parts[1:2] * 3).tolist() == [True, True, False]


def _people() -> tuple[pd.DataFrame, pd.DataFrame]:
    sites = {"a": EXTREME, "b": ORDINARY, "c": [80.0, 100.0] * 40}  # c: 80 of 100
    values = [value for of_site in sites.values() for value in of_site]
    labels = [site for site, of_site in sites.items() for _ in of_site]
    return pd.DataFrame({"lvm_g": values}), pd.DataFrame({"site": labels}, dtype=object)


def _rows(model: str = "mean") -> pd.DataFrame:
    counts = {"all": 121.0, "a": 21.0, "b": 20.0, "c": 80.0}
    rows = [
        {"group": group, "group_by": "overall" if group == "all" else "site", "n": n} for group, n in counts.items()
    ]
    return pd.DataFrame(rows).assign(
        exposure="lvm_g", outcome="", model=model, measure="mean", scale="absolute", n_events=NAN, estimate=90.0,
        se=1.0, ci_low=88.0, ci_high=92.0, status="ok", reason="",
    )  # fmt: skip


def test_the_mean_of_a_dominated_group_is_hidden_with_those_that_give_it_back() -> None:
    values, groups = _people()
    known = magnitudes(values, groups, [np.ones(len(values), bool)])
    # a: 676 of 836. With b 676 of 916; with c too 676 of 8916. Everybody: of about 9000, not dominated.
    assert known["lvm_g", "site", "a"] == (Contributions(21, 836.0, 676.0),)
    found = hide_dominated(_rows(), known).set_index("group")
    assert found["reason"].to_dict() == {"all": "", "a": "dominated", "b": "secondary", "c": "secondary"}
    assert found.loc[["a", "b", "c"], ["estimate", "se", "ci_low"]].isna().all(axis=None)
    assert found["n"].tolist() == [121, 21, 20, 80]  # counts say nothing of a value
    assert found.loc["all", "estimate"] == 90


def test_a_group_is_dominated_if_it_is_so_in_any_set_of_people() -> None:
    """Of a hundred, one value is a tenth of the sum; of the forty with a weight it is nearly all."""
    spread = np.tile([60.0, 120.0], 30)  # sixty of 900
    values = pd.DataFrame({"lvm_g": [*np.tile([89.0, 91.0], 20), 170.0, *spread]})
    has_weight = np.arange(101) < 41
    known = magnitudes(values, pd.DataFrame(index=values.index), [np.ones(101, bool), has_weight])
    both = known["lvm_g", "overall", "all"]
    assert [one.is_dominated for one in both] == [False, True]


def test_the_ratio_per_unit_and_the_parts_of_a_difference_go_with_the_means_that_they_tell() -> None:
    known = {("lvm_g", "overall", "all"): (Contributions(100, 10.0, 9.0),),
             ("lvm_g", "site", "a"): (Contributions(20, 10.0, 9.0),),
             ("lvm_g", "site", "b"): (Contributions(20, 10.0, 1.0),)}  # fmt: skip
    ratios = _rows().iloc[[0, 0]].assign(measure="odds_ratio", scale=["per_sd", "per_unit"])
    assert hide_dominated(ratios, known)["reason"].tolist() == ["", "dominated"]
    parts = _rows().iloc[[1, 2]].assign(measure="gap", model="decomposition", component="total", group="b - a")
    assert hide_dominated(parts, known)["reason"].tolist() == ["dominated"] * 2
    known["lvm_g", "site", "a"] = known["lvm_g", "site", "b"]
    assert hide_dominated(parts, known)["reason"].tolist() == ["", ""]
