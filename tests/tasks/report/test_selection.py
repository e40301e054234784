"""Which estimates the report shows, from tables of a few rows, unsorted and with ties."""

import math

import numpy as np
import pandas as pd
import pytest

from tasks.report.selection import (
    comparable,
    gap_rows,
    gate_curve,
    group_panels,
    leading_pairs,
    overall_ratios,
    survival_panels,
)

NAN = math.nan
OVERALL = {"scale": "per_sd", "group_by": "overall", "status": "ok", "measure": "hazard_ratio", "estimate": 1.2,
           "minus_log10_p": 1.0, "outcome": "death", "exposure": "lvef_pct"}  # fmt: skip


def rows(*changes):
    return pd.DataFrame([OVERALL | change for change in changes])


def test_ratios_are_those_per_sd_of_everybody_with_a_number():
    table = rows(
        {}, {"measure": "odds_ratio"}, {"measure": "concordance"}, {"scale": "per_unit"}, {"group_by": "sex"},
        {"status": "suppressed"}, {"estimate": NAN}, {"estimate": 0.0}, {"estimate": -1.0}, {"minus_log10_p": NAN},
        {"estimate": 0.01},
    )  # fmt: skip
    assert overall_ratios(table).index.tolist() == [0, 1, 10]


def test_the_strongest_pair_of_each_outcome_leads_and_the_first_of_a_tie():
    table = rows(
        {"outcome": "a", "exposure": "x", "minus_log10_p": 1.0},
        {"outcome": "b", "exposure": "y", "minus_log10_p": 3.0},
        {"outcome": "a", "exposure": "z", "minus_log10_p": 5.0},
        {"outcome": "b", "exposure": "x", "minus_log10_p": 3.0},
        {"outcome": "c", "exposure": "x", "minus_log10_p": 4.0},
    )
    assert leading_pairs({"hazards": table}, 9) == [("z", "a"), ("x", "c"), ("y", "b")]
    assert leading_pairs({"hazards": table}, 2) == [("z", "a"), ("x", "c")]
    assert leading_pairs({"associations": table}, 2) == []


# curves


def curve(exposure="x", outcome="death", group="Q1", survival=(1.0, 0.9, 0.8, 0.7), events=None, at_risk=None):
    n = len(survival)
    return pd.DataFrame(
        {"exposure": exposure, "outcome": outcome, "group": group, "years": np.arange(n) * 1.0,
         "n_at_risk": 100.0 - 10 * np.arange(n) if at_risk is None else at_risk,
         "n_events": 6.0 * np.arange(n) if events is None else events,
         "estimate": survival, "se": 0.1, "ci_low": 0.2, "ci_high": 0.9, "status": "ok"}
    )  # fmt: skip


def test_panels_are_of_the_leading_pairs_in_their_order_and_as_many_as_wanted():
    curves = pd.concat([curve(o, d, q) for o, d in (("x", "b"), ("y", "a"), ("x", "a")) for q in ("Q2", "Q1")])
    hazards = rows(
        {"outcome": "a", "exposure": "y", "minus_log10_p": 1.0}, {"outcome": "b", "exposure": "x", "minus_log10_p": 2.0}
    )
    estimates = {"survival_curves": curves, "hazards": hazards}
    panels = survival_panels(estimates, 5)
    assert [panel[:2] for panel in panels] == [("x", "b"), ("y", "a")]
    assert panels[0][2]["group"].tolist() == ["Q1"] * 4 + ["Q2"] * 4
    assert [panel[:2] for panel in survival_panels(estimates, 5, most=1)] == [("x", "b")]
    alone = survival_panels({"survival_curves": curves}, 5)
    assert [panel[:2] for panel in alone] == [("x", "b"), ("y", "a"), ("x", "a")]
    assert survival_panels({"hazards": hazards}, 5) == []


@pytest.mark.parametrize(
    ("survival", "shown"), [((1.0, 0.9, 0.8, 0.7), True), ((1.0, 0.9, 0.8, 0.8), False), ((0.9, 0.8, 0.7, 0.7), True)]
)
def test_a_figure_needs_two_curves_of_three_drops_of_which_the_first_is_from_one(survival, shown):
    curves = pd.concat([curve(group="Q1"), curve(group="Q2", survival=survival), curve(group="Q3", survival=(1.0,))])
    assert bool(survival_panels({"survival_curves": curves}, 5)) == shown


def test_points_are_gated_in_the_order_of_time_however_the_table_is_sorted():
    # at risk 40, 30, 20, 4; events 0, 5, 9, 15: the fourth point has few at risk, the third a step of four
    table = curve(events=[0.0, 5, 9, 15], at_risk=[40.0, 30, 20, 4]).iloc[::-1]
    found = gate_curve(table, 5)
    assert found["years"].tolist() == [0, 1, 2, 3]
    assert found["estimate"].notna().tolist() == [True, True, False, False]
    assert found["n_at_risk"].tolist() == pytest.approx([40, 30, 20, NAN], nan_ok=True)
    assert found["n_events"].notna().tolist() == found["ci_low"].notna().tolist() == found["estimate"].notna().tolist()
    assert table["n_at_risk"].tolist() == [4, 20, 30, 40]


def test_nobody_at_risk_is_no_small_number_and_the_minimum_itself_is_none():
    found = gate_curve(curve(at_risk=[30.0, 5, 4, 0], events=[0.0, 10, 20, 30]), 5)
    assert found["n_at_risk"].tolist() == pytest.approx([30, 5, NAN, 0], nan_ok=True)
    one = gate_curve(curve(at_risk=[1.0, 1, 1, 1]), 5)
    assert one[["n_at_risk", "estimate"]].isna().all(axis=None)


def test_points_without_a_count_or_a_good_status_and_second_points_of_a_time_are_not_drawn():
    table = curve(survival=(1.0, 0.9, 0.8, 0.7, 0.6, 0.5))
    table.loc[2, "n_events"], table.loc[3, "status"] = NAN, "suppressed"
    table.loc[5, "years"] = 4.0
    assert gate_curve(table, 5)["estimate"].notna().tolist() == [True, True, False, False, True, False]
    falling = curve(events=[0.0, 12, 6, 18])  # a count that falls is taken as standing
    assert gate_curve(falling, 5)["estimate"].notna().tolist() == [True, True, True, True]
    assert gate_curve(curve().assign(status="failed"), 5)["estimate"].isna().all()


# groups


def by_group(*rows):
    table = pd.DataFrame(rows, columns=["exposure", "outcome", "model", "measure", "group_by", "group", "estimate"])
    return table.assign(minus_log10_p=NAN, q=NAN)


def test_groups_are_of_one_model_and_pair_without_gaps():
    table = by_group(
        ("x", "a", "cox", "hazard_ratio", "sex", "male", 1.0), ("x", "a", "cox", "gap", "sex", "max_gap", 0.5),
        ("x", "a", "mean", "mean", "sex", "male", 2.0), ("x", "b", "cox", "hazard_ratio", "sex", "male", 3.0),
        ("y", "a", "cox", "hazard_ratio", "sex", "male", 4.0), ("x", "a", "cox", "hazard_ratio", "sex", "female", 5.0),
    )  # fmt: skip
    found = group_panels(table, "cox", [("x", "b"), ("x", "a"), ("z", "a")])
    assert [(pair, of_pair["estimate"].tolist()) for pair, of_pair in found] == [
        (("x", "b"), [3]),
        (("x", "a"), [1, 5]),
    ]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([("sex", "male", 1.0), ("sex", "male", 2.0)], False),
        ([("sex", "male", 1.0), ("centre", "north", 2.0)], False),
        ([("overall", "all", 1.0), ("overall", "other", 2.0)], False),
        ([("sex", "male", 1.0), ("sex", "female", NAN), ("centre", "n", 1.0), ("centre", "s", 1.0)], True),
        ([], False),
    ],
)
def test_two_groups_of_one_grouping_are_needed_to_compare(groups, expected):
    assert comparable(by_group(*[("x", "a", "m", "r", *group) for group in groups])) is expected


def test_gaps_are_sorted_by_q_and_then_by_evidence_and_means_are_left_out():
    gaps = pd.DataFrame(
        [("a", "gap", "cox", 0.2, 1.0), ("b", "gap", "cox", NAN, 9.0), ("c", "gap", "cox", 0.01, 2.0),
         ("d", "gap", "mean", 0.001, 9.0), ("e", "gap", "cox", 0.2, 3.0), ("f", "hazard_ratio", "cox", 0.0, 9.0),
         ("g", "gap", "cox", NAN, NAN), ("h", "gap", "cox", 0.2, NAN)],
        columns=["exposure", "measure", "model", "q", "minus_log10_p"],
    )  # fmt: skip
    assert gap_rows(gaps, 9)["exposure"].tolist() == ["c", "e", "a", "h", "b", "g"]
    assert gap_rows(gaps, 2)["exposure"].tolist() == ["c", "e"]
