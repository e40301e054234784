"""Curves by quantile group, by hand: grid, rounding, and which points may be shown."""

import numpy as np
import pandas as pd

from cmr_models.analysis.model_spec import AnalysisSpec
from cmr_models.analysis.survival_curves import CURVE_COLUMNS, curve_rows

SPEC = AnalysisSpec(
    phenotypes=("lvm_g",), conditions=("death",), covariates=(), curve_groups=2, curve_step_years=1.5, minimum_cell=3
)


def _tables(exits: list[float], events: list[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mass 1 to n: the first half is Q1. Entry at 50 but for the last person, who is prevalent."""
    n = len(exits)
    people = pd.DataFrame({"participant": [str(k) for k in range(n)], "visit": "2", "lvm_g": np.arange(n, dtype=float)})
    outcomes = people[["participant", "visit"]].assign(
        condition="death", prevalent=0, entry_years=50.0, exit_years=50 + np.array(exits), event=events, cause=0
    )
    return people, outcomes.iloc[::-1]


# Q1: deaths at 1, 1, 1.5, 4 and 4.4; Q2: nobody dies, the last leaves at 2.9.
EXITS = [1.0, 1.0, 1.5, 4.0, 4.4, 4.5, 5.0, 5.9, 2.0, 2.0, 2.5, 2.9, 2.9, 2.9, 2.9, 2.9]
EVENTS = [1] * 5 + [0] * 11


def test_points_are_shown_where_no_few_events_or_people_can_be_read_off() -> None:
    people, outcomes = _tables(EXITS, EVENTS)
    found = curve_rows(people, outcomes, SPEC)
    first, second = found[found["group"] == "Q1"], found[found["group"] == "Q2"]
    # Steps of 1.5 to the last one that three reached, of 5.9, 5 and 4.5: 4.5 / 1.5 = 3.
    assert first["years"].tolist() == [0, 1.5, 3, 4.5]
    assert second["years"].tolist() == [0, 1.5]
    # By 1.5 three have died (five of eight alive); the two of 4 and 4.4 would be the total of five, in other tables,
    # less these three: so no step is shown.
    assert first["status"].tolist() == ["ok", "suppressed", "suppressed", "suppressed"]
    assert first["reason"].tolist() == ["", "small_cell", "small_cell", "small_cell"]
    # At risk just before: 8 (9), 6 (6), 5 (6), 3 (3), rounded to threes; people 8 to 9.
    np.testing.assert_array_equal(first["n_at_risk"], [9, 6, 6, 3])
    assert set(first["n"]) == set(second["n"]) == {9}
    np.testing.assert_allclose(second["estimate"], [1, 1])
    assert second["status"].tolist() == ["ok", "ok"]


def test_survival_and_its_interval_are_in_steps_of_two_people() -> None:
    people, outcomes = _tables(EXITS, [1] * 3 + [0] * 13)
    first = curve_rows(people, outcomes, SPEC).query("group == 'Q1'")
    assert first["status"].tolist() == ["ok"] * 4
    np.testing.assert_array_equal(first["n_events"], [0, 3, 3, 3])
    # Of nine, as the number is published, two are 0.22, so the step is 0.5: 5/8 is 0.5; 0.23 and 0.86 are 0 and 1.
    np.testing.assert_allclose(first["estimate"], [1, 0.5, 0.5, 0.5])
    greenwood = 2 / (8 * 6) + 1 / (6 * 5)
    reach = np.exp(1.959964 * np.sqrt(greenwood) / -np.log(5 / 8))
    low, high = (5 / 8) ** reach, (5 / 8) ** (1 / reach)
    assert (low < 0.25, high > 0.75) == (True, True)
    np.testing.assert_allclose(first["ci_low"], [np.nan, 0, 0, 0])
    np.testing.assert_allclose(first["ci_high"], [np.nan, 1, 1, 1])
    # Without a minimum nothing is coarse.
    open_spec = SPEC.model_copy(update={"minimum_cell": 1})
    exact = curve_rows(people, outcomes, open_spec).query("group == 'Q1'")
    np.testing.assert_allclose(exact[["estimate", "ci_low", "ci_high"]].iloc[1], [5 / 8, low, high], rtol=1e-5)


def test_a_curve_says_what_it_is_about() -> None:
    people, outcomes = _tables(EXITS, EVENTS)
    row = curve_rows(people, outcomes, SPEC).iloc[0]
    named = ["exposure", "unit", "scale", "outcome", "model", "measure", "group_by", "group"]
    assert row[named].tolist() == ["lvm_g", "g", "absolute", "death", "kaplan_meier", "survival", "quartile", "Q1"]
    assert set(CURVE_COLUMNS) <= set(row.index)


def test_people_without_the_phenotype_or_not_at_risk_are_in_no_group() -> None:
    people, outcomes = _tables(EXITS, EVENTS)
    people.loc[15, "lvm_g"] = np.nan
    outcomes.loc[14, "prevalent"] = 1
    outcomes.loc[13, "exit_years"] = 50.0
    found = curve_rows(people, outcomes, SPEC)
    # Thirteen are left, 0 to 12: those of 6 and more are Q2.
    n = {group: rows["n_at_risk"].iloc[0] for group, rows in found.groupby("group")}
    assert n == {"Q1": 6, "Q2": 6}  # six, and seven rounded
    assert found.loc[found["group"] == "Q2", "years"].tolist() == [0, 1.5]  # 5.9, 5.0 and 2.9 are the longest three


def test_a_group_of_nobody_and_a_small_one_show_nothing() -> None:
    people, outcomes = _tables([1.0, 2.0, 3.0, 4.0], [1, 0, 1, 0])
    alike = curve_rows(people.assign(lvm_g=5.0), outcomes, SPEC).set_index("group")
    assert alike.loc["Q1", ["status", "reason", "n"]].tolist() == ["failed", "no_data", 0]
    assert (alike.loc["Q2", "n"] == 3).all()  # four, to the nearest three; ties are together in the upper group
    small = curve_rows(people, outcomes, SPEC)
    assert small["status"].tolist() == ["suppressed", "suppressed"]
    assert small[["n", "n_events", "n_at_risk", "estimate", "years"]].isna().all(axis=None)
    enough = curve_rows(people, outcomes, SPEC.model_copy(update={"minimum_cell": 2}))
    assert enough[enough["years"] == 0]["status"].tolist() == ["ok", "ok"]


def test_a_curve_ends_where_too_few_are_at_risk_and_not_where_the_last_one_left() -> None:
    people, outcomes = _tables([0.5, 0.5, 0.5, 0.5, 2.0, 25.3] * 2, [0] * 12)
    found = curve_rows(people, outcomes, SPEC)
    first = found[found["group"] == "Q1"]
    # At 0 six; at 1.5 two, and one of them until 25.3, of whom no row tells.
    assert first[["years", "n_at_risk"]].to_numpy().tolist() == [[0, 6]]
    assert first["status"].tolist() == ["ok"]
    alone = curve_rows(people, outcomes, SPEC.model_copy(update={"minimum_cell": 1})).query("group == 'Q1'")
    assert alone["years"].max() == 24  # 25.3 in steps of 1.5
