"""What the figures of estimates draw, read back from their axes."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tasks.report import estimate_figures
from tasks.report.drawing import BLUE, INK, QUARTILE_COLOURS, QUIET, SERIES
from tasks.report.estimate_figures import (
    _at_risk,
    _curve_colours,
    _forest_limits,
    _group_limits,
    _group_order,
    _risk_years,
    forest,
    forest_selection,
    group_comparison,
    survival,
    volcano,
)

NAN = math.nan
COMMON = {"scale": "per_sd", "group_by": "overall", "group": "all", "status": "ok", "measure": "hazard_ratio",
          "n_events": 50.0, "q": 0.5, "reason": ""}  # fmt: skip


def ratios(*rows):
    """Rows (exposure, outcome, estimate, low, high, minus_log10_p, q)."""
    columns = ["exposure", "outcome", "estimate", "ci_low", "ci_high", "minus_log10_p", "q"]
    return pd.DataFrame([COMMON | dict(zip(columns, row, strict=True)) for row in rows])


@pytest.fixture
def axes_of(monkeypatch):
    """The axes of a figure that a function draws; None where it draws none."""

    def paint(painter, width, height):
        figure = Figure((width, height))
        painter(figure)
        return figure

    monkeypatch.setattr(estimate_figures, "draw", paint)

    def read(function, *given, **options):
        figure = function(*given, **options)
        return None if figure is None else figure.axes

    return read


def offsets(collection):
    return [tuple(map(float, point)) for point in collection.get_offsets()]


# volcano

VOLCANO = ratios(
    ("lvef_pct", "death", 0.5, 0.4, 0.6, 6.0, 0.01),
    ("lvm_g", "death", 2.0, 1.0, 4.0, 3.0, 0.05),
    ("lvm_g", "stroke", 90.0, 9.0, 99.0, 5.9, 0.049),
    ("lvedv_ml", "death", 1.1, 0.9, 1.3, 1.0, NAN),
)


def test_points_are_filled_where_q_is_under_five_per_cent_and_clipped_at_twenty(axes_of):
    (axes,) = axes_of(volcano, VOLCANO, "Hazard ratio")
    drawn = [(offsets(c), len(c.get_facecolors())) for c in axes.collections if len(c.get_offsets())]
    assert drawn == [([(2, 3), (1.1, 1)], 0), ([(0.5, 6)], 1), ([(20, 5.9)], 1)]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Death", "Stroke"]  # by number of rows
    assert (axes.get_xlabel(), axes.get_ylim()) == ("Hazard ratio", (0, pytest.approx(6 * 1.12 + 0.3)))
    reach = math.log(20)
    assert axes.get_xlim() == pytest.approx((math.exp(-1.5 * reach - 0.05), math.exp(1.5 * reach + 0.05)))
    assert axes.get_xscale() == "log"


def test_names_stand_beside_the_strongest_points_on_their_side_and_do_not_overlap(axes_of):
    table = ratios(
        ("lvef_pct", "death", 0.5, 0.4, 0.6, 6.0, 0.01),
        ("lvm_g", "death", 0.6, 0.4, 0.8, 5.9, 0.01),
        ("lvm_g", "stroke", 1.0, 0.9, 1.3, 5.8, 0.01),
        ("lvedv_ml", "stroke", 1.2, 0.9, 1.3, 5.0, 0.06),
    )
    (axes,) = axes_of(volcano, table, "HR")
    line = 0.048 * 6 + 0.02
    assert [(t.get_text(), t.xy, t.get_ha()) for t in axes.texts] == [
        ("LV EF, death", (0.5, 6.0), "right"),
        ("LV mass, death", (0.6, pytest.approx(6 - line)), "right"),
        ("LV mass, stroke", (1.0, 5.8), "left"),
    ]


def test_many_outcomes_share_a_colour_and_have_no_legend_and_only_eight_are_named(axes_of):
    table = ratios(*[("lvm_g", f"o{k}", 1.5, 1.0, 2.0, 1.0 + k, 0.01) for k in range(9)])
    (axes,) = axes_of(volcano, table, "HR")
    assert axes.get_legend() is None
    assert len(axes.texts) == 8
    assert "LV mass, o0" not in [text.get_text() for text in axes.texts]
    (eight,) = axes_of(volcano, table[:8], "HR")
    assert len(eight.get_legend().get_texts()) == len(SERIES)
    (one,) = axes_of(volcano, table[:1], "HR")
    assert one.get_legend() is None
    assert axes_of(volcano, table.assign(status="failed"), "HR") is None
    assert axes_of(forest, table.assign(status="failed"), "HR") is None


# forest


def test_a_forest_has_a_panel_for_each_outcome_by_events_and_a_row_for_each_exposure_in_order(axes_of):
    table = ratios(
        ("lvm_g", "death", 1.5, 1.2, 1.9, 3.0, 0.01),
        ("lvef_pct", "death", 0.5, 0.4, 0.6, 6.0, 0.2),
        ("lvef_pct", "stroke", 0.9, 0.7, 1.2, 1.0, 0.2),
    )
    table.loc[table["outcome"] == "stroke", "n_events"] = 1234.0
    stroke, death = axes_of(forest, table, "Hazard ratio")
    assert [axes.get_title() for axes in (stroke, death)] == ["Stroke (1,234)", "Death (50)"]
    assert stroke.figure.get_supxlabel() == "Hazard ratio"
    assert [tick.get_text() for tick in stroke.get_yticklabels()] == ["LV mass", "LV EF"]
    assert stroke.get_ylim() == (1.5, -0.5)
    squares = next(c for c in death.collections if len(c.get_offsets()) == 2)
    assert offsets(squares) == [(1.5, 0), (0.5, 1)]
    assert [tuple(colour) for colour in squares.get_facecolors()] == [_rgba(BLUE), _rgba(QUIET)]
    lines = next(c for c in death.collections if hasattr(c, "get_segments"))
    assert [segment.tolist() for segment in lines.get_segments()] == [[[1.2, 0], [1.9, 0]], [[0.4, 1], [0.6, 1]]]
    (square,) = [c for c in stroke.collections if len(c.get_offsets()) == 1 and not hasattr(c, "get_segments")]
    assert offsets(square) == [(0.9, 1)]


def _rgba(colour):
    from matplotlib.colors import to_rgba

    return to_rgba(colour)


def test_exposures_with_the_strongest_evidence_and_outcomes_with_most_events_are_selected():
    table = ratios(
        *[(f"e{k}", "o0", 1.0, 1.0, 1.0, float(5 * k % 26), 0.5) for k in range(26)],
        *[("e6", f"o{k}", 1.0, 1.0, 1.0, 0.1, 0.5) for k in range(1, 11)],
    )
    table["n_events"] = np.r_[np.full(26, 5.0), np.arange(10, 0, -1.0)]
    exposures, outcomes = forest_selection(table)
    # of 26 two are left out: e0 with a strength of 0 and e21 with 105 - 4 x 26 = 1
    assert exposures == [f"e{k}" for k in range(26) if k not in (0, 21)]
    assert outcomes == ["o1", "o2", "o3", "o4", "o5", "o0", "o6", "o7", "o8"]


def test_a_pair_that_stands_twice_is_drawn_once_and_weak_exposures_not_at_all(axes_of):
    table = ratios(
        *[(f"e{k}", "o", 1.0 + k, 1.0, 30.0, float(k), 0.5) for k in range(25)],
        ("e3", "o", 7.0, 1.0, 30.0, 0.1, 0.5),
    )
    (axes,) = axes_of(forest, table, "HR")
    drawn = {place for c in axes.collections if not hasattr(c, "get_segments") for place in offsets(c)}
    assert {height for _, height in drawn} == set(range(24))
    assert (4.0, 2.0) in drawn  # e3 is the third of those that are left, by its first row
    assert (7.0, 2.0) not in drawn
    assert len(axes.get_yticklabels()) == 24


def test_figures_are_as_large_as_their_rows_and_panels_need(axes_of):
    two = ratios(("lvm_g", "death", 1.5, 1.2, 1.9, 3.0, 0.01), ("lvef_pct", "death", 0.5, 0.4, 0.6, 6.0, 0.2))
    sizes = {
        "volcano": axes_of(volcano, two, "HR")[0].figure.get_size_inches(),
        "forest": axes_of(forest, two, "HR")[0].figure.get_size_inches(),
        "survival": axes_of(survival, [("lvef_pct", "death", AT_RISK)] * 3)[0].figure.get_size_inches(),
        "groups": axes_of(group_comparison, [("LV EF", GROUPS)] * 2, "HR", ratio=True)[0].figure.get_size_inches(),
    }
    assert {name: tuple(size) for name, size in sizes.items()} == {
        "volcano": (9.4, 4.3), "forest": (3 + 2.5, pytest.approx(0.75 + 2 * 0.165 + 0.35)),
        "survival": (pytest.approx(10.6), pytest.approx(7.4)), "groups": (pytest.approx(2.4 + 5.4), 1 + 5 * 0.175),
    }  # fmt: skip
    four = ratios(*[("lvm_g", f"o{k}", 1.5, 1.2, 1.9, 3.0, 0.01) for k in range(4)])
    axes = axes_of(forest, four, "HR")
    assert tuple(axes[0].figure.get_size_inches()) == (3 + 7.5, pytest.approx(2 * (0.75 + 0.165) + 0.35))
    assert [one.axison for one in axes] == [True] * 4 + [False] * 2


def test_limits_hold_every_estimate_and_at_least_four_fifths_to_five_quarters():
    assert _forest_limits(ratios(("x", "o", 1.0, 0.95, 1.05, 1.0, 0.5))) == pytest.approx((0.8 / 1.05, 1.25 * 1.05))
    wide = ratios(("x", "o", 0.4, 0.3, 0.5, 1.0, 0.5), ("y", "o", 3.0, 2.5, 9.0, 1.0, 0.5))
    # 0.4 / 1.1 is below 0.3 + 3 % of the way to 2.5; 0.5 + 97 % of the way to 9 is above 3 x 1.1
    assert _forest_limits(wide) == pytest.approx((0.4 / 1.1 / 1.05, (0.5 + 0.97 * 8.5) * 1.05))
    assert _forest_limits(ratios(("x", "o", 0.01, 0.001, 90.0, 1.0, 0.5))) == (0.05, 20)


# survival


def curve(group, survival, at_risk, years=None):
    n = len(survival)
    return pd.DataFrame(
        {"group": group, "years": np.arange(n) * 1.0 if years is None else years, "estimate": survival,
         "n_at_risk": at_risk,
         "ci_low": np.array(survival) - 0.1, "ci_high": np.array(survival) + 0.05}
    )  # fmt: skip


AT_RISK = curve("Q1", [1.0, 0.9, 0.8, 0.7], [1200.0, NAN, 30.0, NAN]).iloc[::-1]


@pytest.mark.parametrize(
    ("year", "text"),
    [(0.0, "1,200"), (1.0, "≥ 30"), (0.5, "≥ 30"), (2.0, "30"), (2 + 5e-7, "30"), (2.5, "·"), (3.0, "·")],
)
def test_a_number_at_risk_is_exact_at_its_time_and_else_a_bound_from_the_next(year, text):
    assert _at_risk(AT_RISK, year) == text


@pytest.mark.parametrize(
    ("end", "years"),
    [(3.25, [0, 0.5, 1, 1.5, 2, 2.5, 3]), (3.3, [0, 1, 2, 3]), (6.5, [0, 1, 2, 3, 4, 5, 6]), (6.6, [0, 2, 4, 6]),
     (14, [0, 3, 6, 9, 12]), (30, [0, 5, 10, 15, 20, 25, 30]), (40, [0, 10, 20, 30, 40]), (90, [0, 20, 40, 60, 80]),
     (1000, [20 * k for k in range(51)])],
)  # fmt: skip
def test_years_of_the_risk_table_are_round_and_seven_at_most(end, years):
    assert _risk_years(end) == years


def test_curves_begin_at_all_and_are_steps_with_their_interval(axes_of):
    rows = pd.concat(
        [curve("Q2", [0.9, NAN, 0.5], [30.0, 20, 10], [1.0, 2, 4]), curve("Q1", [1.0, 0.8], [40.0, 35], [0.0, 3])]
    )
    rows.loc[rows["estimate"] == 0.5, ["ci_low", "ci_high"]] = NAN
    axes, risk = axes_of(survival, [("lvef_pct", "death", rows)])[:2]
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["Q2"].get_xydata(), [[0, 100], [1, 90], [4, 50]])
    np.testing.assert_allclose(lines["Q1"].get_xydata(), [[0, 100], [0, 100], [3, 80]])
    assert lines["Q2"].get_drawstyle() == "steps-post"
    assert (lines["Q1"].get_color(), lines["Q2"].get_color()) == (QUARTILE_COLOURS["Q2"], QUARTILE_COLOURS["Q4"])
    assert axes.get_ylabel() == "Survival (%)"
    assert axes.get_title() == "Death by LV EF"
    assert axes.get_xlim() == pytest.approx((-0.12, 4.08))
    assert axes.get_legend().get_title().get_text() == "Half (Q1 is the lowest)"
    # the lowest end is 50 (no interval there): 8 % of what is above it is left below
    assert axes.get_ylim() == pytest.approx((50 - 0.08 * 50, 100.4))
    band = {round(float(y), 6) for y in axes.collections[1].get_paths()[0].vertices[:, 1]}
    assert band == {100, 80, 95, 50}  # 90 - 10 and 90 + 5; 50 alone
    texts = {(t.get_text(), t.get_position()) for t in risk.texts}
    assert ("Number at risk", (0, -0.62)) in texts
    assert {
        ("≥ 30", (0.0, 1)),
        ("30", (1.0, 1)),
        ("10", (4.0, 1)),
        ("40", (0.0, 0)),
        ("35", (3.0, 0)),
        ("·", (4.0, 0)),
    } <= texts
    assert [tick.get_text() for tick in risk.get_yticklabels()] == ["Q1", "Q2"]
    assert risk.get_ylim() == (1.5, -0.9)
    other = axes_of(survival, [("lvef_pct", "stroke", rows), ("lvm_g", "stroke", rows), ("lvm_g", "death", rows)])
    assert len(other) == 8
    assert other[0].get_ylabel() == "Free of the event (%)"
    assert [axes.axison for axes in other] == [True] * 4 + [True, False, True, False]
    assert axes_of(survival, []) is None


def test_two_curves_have_the_ends_of_the_scale_and_four_their_own():
    assert _curve_colours(["Q1", "Q2"]) == {"Q1": QUARTILE_COLOURS["Q2"], "Q2": QUARTILE_COLOURS["Q4"]}
    assert _curve_colours(["Q1", "Q2", "Q3", "Q5"]) == {
        k: QUARTILE_COLOURS.get(k, INK) for k in ("Q1", "Q2", "Q3", "Q5")
    }


# by group


def groups(*rows):
    """Rows (group_by, group, estimate, low, high, status, reason)."""
    return pd.DataFrame(rows, columns=["group_by", "group", "estimate", "ci_low", "ci_high", "status", "reason"])


GROUPS = groups(
    ("age_band", ">=75", 1.5, 1.2, 1.9, "ok", ""),
    ("overall", "all", 1.1, 1.0, 1.2, "ok", ""),
    ("age_band", "65-74", NAN, NAN, NAN, "suppressed", "small_cell"),
    ("age_band", "<55", 0.8, NAN, NAN, "ok", ""),
    ("age_band", "unknown", NAN, NAN, NAN, "failed", ""),
    ("sex", "male", NAN, NAN, NAN, "suppressed", "secondary"),
)


def test_groups_stand_below_their_heading_from_the_lowest_band_and_unknown_last():
    table = pd.concat([GROUPS, groups(*[("bmi_class", name, 1.0, 1.0, 1.0, "ok", "") for name in
                                        ("obese", "normal", "unknown", "underweight", "overweight")])])  # fmt: skip
    assert _group_order(table) == [
        ("age_band", ""), ("age_band", "<55"), ("age_band", "65-74"), ("age_band", ">=75"), ("age_band", "unknown"),
        ("sex", ""), ("sex", "male"),
        ("bmi_class", ""), ("bmi_class", "underweight"), ("bmi_class", "normal"), ("bmi_class", "overweight"),
        ("bmi_class", "obese"), ("bmi_class", "unknown"),
    ]  # fmt: skip


def test_a_number_by_group_is_drawn_with_its_interval_and_what_is_missing_says_why(axes_of):
    (axes,) = axes_of(group_comparison, [("LV EF", GROUPS)], "Hazard ratio", ratio=True)
    assert (axes.figure.get_supxlabel(), axes.get_title()) == ("Hazard ratio", "LV EF")
    # the grouping without a number, sex, is left out
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["Age (years)", "<55", "65-74", "≥75", "unknown"]
    assert [tick.get_fontweight() for tick in axes.get_yticklabels()] == ["bold"] + ["normal"] * 4
    assert axes.get_ylim() == pytest.approx((4.6, -0.6))
    squares = next(c for c in axes.collections if len(c.get_offsets()) == 2)
    assert offsets(squares) == [(0.8, 1), (1.5, 3)]
    lines = next(c for c in axes.collections if hasattr(c, "get_segments"))
    assert [segment.tolist() for segment in lines.get_segments()] == [[[0.8, 1], [0.8, 1]], [[1.2, 3], [1.9, 3]]]
    assert [(t.get_text(), t.get_position()[1]) for t in axes.texts] == [("suppressed, small cell", 2), ("failed", 4)]
    overall, no_effect = ([line for line in axes.lines if line.get_color() == colour] for colour in (INK, QUIET))
    assert [tuple(line.get_xdata()) for line in (*overall, *no_effect)] == [(1.1, 1.1), (1, 1)]
    assert axes.get_xlim() == pytest.approx((0.8 / 1.1, 1.9 * 1.1))
    assert axes.get_xscale() == "log"


def test_differences_have_a_straight_axis_with_a_small_margin(axes_of):
    (axes,) = axes_of(group_comparison, [("LV EF", GROUPS)], "Mean", ratio=False)
    assert axes.get_xscale() == "linear"
    margin = 0.06 * (1.9 - 0.8)
    assert axes.get_xlim() == pytest.approx((0.8 - margin, 1.9 + margin))
    alike = groups(("sex", "a", 2.0, 2.0, 2.0, "ok", ""), ("sex", "b", 2.0, 2.0, 2.0, "ok", ""))
    assert _group_limits(alike, ratio=False) == pytest.approx((2 - 6e-8, 2 + 6e-8))
    far = groups(("sex", "a", 2.0, 0.01, 90.0, "ok", ""))
    assert _group_limits(far, ratio=True) == (0.05, 20)
    alone = GROUPS[GROUPS["group"] != "<55"]
    assert axes_of(group_comparison, [("one", alone)], "Mean", ratio=False) is None
    assert (
        len(axes_of(group_comparison, [("one", alone), ("two", GROUPS), ("three", GROUPS)], "Mean", ratio=False)) == 2
    )


def test_a_volcano_reaches_as_far_to_either_side_as_its_farthest_ratio(axes_of):
    (axes,) = axes_of(volcano, ratios(("x", "o", 0.25, 0.2, 0.3, 2.0, 0.5), ("y", "o", 2.0, 1, 3, 1.0, 0.5)), "HR")
    reach = 1.5 * math.log(4) + 0.05
    assert axes.get_xlim() == pytest.approx((math.exp(-reach), math.exp(reach)))
