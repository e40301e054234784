"""Distributions: what may be shown of a few people, by hand; and that the figure draws just that."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from cmr_models.phenotypes.reference_ranges import KAWEL_BOEHM_2020, PETERSEN_2017
from tasks.report import distributions
from tasks.report.counts import Counts
from tasks.report.distributions import (
    SHOWN,
    distribution_figure,
    distribution_rows,
    merge_bins,
    published_range,
    spread,
)
from tasks.report.drawing import BLUE, SEX_COLOURS

NAN = math.nan


def test_bins_are_merged_from_the_left_until_each_has_enough_and_what_is_left_joins_the_last():
    values = np.array([-5.0, 1, 3, 3, 4, 7, 7, 8, 9, 30])
    # bins of 2 from 0 to 10: 2 (with -5), 2, 1, 2, 3 (with 30)
    edges, density = merge_bins(values, np.arange(0, 11, 2.0), 3)
    assert edges.tolist() == [0, 4, 8, 10]
    assert density.tolist() == pytest.approx([4 / 40, 3 / 40, 3 / 20])
    edges, density = merge_bins(values, np.arange(0, 11, 2.0), 4)
    assert edges.tolist() == [0, 4, 10]
    assert density.tolist() == pytest.approx([4 / 40, 6 / 60])
    edges, density = merge_bins(values[:-1], np.arange(0, 11, 2.0), 5)
    assert edges.tolist() == [0, 10]  # 2 + 2 + 1, and the other 4 are too few for a bin
    assert density.tolist() == pytest.approx([9 / 90])
    edges, density = merge_bins(values, np.arange(0, 11, 2.0), 11)
    assert (edges.tolist(), density.tolist()) == ([0], [])


def test_a_value_on_an_edge_lies_in_the_bin_to_its_right_and_the_last_edge_in_the_last_bin():
    edges, density = merge_bins(np.array([2.0, 2, 4, 4, 4]), np.array([0.0, 2, 4]), 1)
    assert edges.tolist() == [0, 4]
    assert density.tolist() == [5 / 20]


def test_mean_sd_and_quantiles_are_of_known_values_only():
    found = spread([1.0, NAN, 2, 4, 8, 10], np.arange(0, 12.0), 2)
    assert (found.n, found.mean) == (5, 5)
    assert found.sd == pytest.approx(math.sqrt((16 + 9 + 1 + 9 + 25) / 4))
    # two people on either side: of five, 0.4 at least: the median alone
    assert found.quantiles == pytest.approx((NAN, NAN, 4, NAN, NAN), nan_ok=True)


@pytest.mark.parametrize(
    ("n", "minimum", "shown"),
    [(20, 5, "25 50 75"), (19, 5, "50"), (50, 5, "10 25 50 75 90"), (49, 5, "25 50 75"), (10, 5, "50"), (9, 5, "")],
)
def test_a_quantile_needs_the_minimum_on_either_side(n, minimum, shown):
    found = spread(np.arange(n) * 1.0, np.arange(0, 101.0), minimum)
    names = np.array([10, 25, 50, 75, 90])[np.isfinite(found.quantiles)]
    assert " ".join(map(str, names)) == shown


def test_quantiles_are_at_their_places():
    found = spread(np.arange(101) * 1.0, np.arange(0, 102.0), 5)
    assert found.quantiles == (10, 25, 50, 75, 90)


@pytest.mark.parametrize(
    ("n", "minimum", "known"), [(5, 5, True), (4, 5, False), (2, 1, True), (1, 1, False), (0, 0, False)]
)
def test_a_group_needs_the_minimum_and_two_people_for_a_spread(n, minimum, known):
    assert (spread(np.arange(n) * 1.0, np.arange(0, 11.0), minimum) is not None) == known


def test_the_published_range_is_petersens_or_else_kawel_boehms():
    assert published_range("lvef_pct", "male").source == PETERSEN_2017
    assert published_range("lvco_l_min", "male").source == KAWEL_BOEHM_2020
    assert published_range("lv_peak_filling_ml_s", "male") is None


def people(**by_sex):
    """Rows of people with an ejection fraction; ``None`` for unknown sex."""
    rows = [(None if sex == "unknown" else sex, value) for sex, values in by_sex.items() for value in values]
    return pd.DataFrame(rows, columns=["sex", "lvef_pct"])


def test_rows_of_the_table_are_by_sex_beside_the_published_range():
    women = np.r_[NAN, np.arange(50, 70.0)]  # 20 people, 50 to 69
    rows = distribution_rows(people(male=[60.0, 61, 62], female=women, unknown=[1.0]), Counts(5))
    assert [row["group"] for row in rows] == ["Women", "Men", "All"]
    first, second, _ = rows
    # Beside the mean of all 24, that of the women would give that of the four others.
    assert first == {
        "phenotype": "LV ejection fraction", "unit": "%", "group": "Women", "n": "not shown", "suppressed": True,
        "mean": "–", "median": "–",
        "reference": "51 – 70", "reference_mean": "60 ± 5", "source": "Petersen et al. 2017",
    }  # fmt: skip
    assert (second["n"], second["mean"], second["median"], second["suppressed"]) == ("< 5", "–", "–", True)
    assert second["reference"] == "48 – 69"
    known = distribution_rows(people(male=np.arange(50, 60.0), female=women), Counts(5))
    # SD 5.916 of 20: two of them move the mean by 0.59, so it is given in steps of 1; the median likewise.
    assert [row["n"] for row in known] == ["20", "10"]
    assert known[0]["mean"] == "60.0 ± 6.0"
    assert known[0]["median"].startswith("60.0 (55.0")


def test_one_woman_among_forty_four_is_not_what_all_less_the_men_leave():
    """Mean and SD of the men, beside the mean of all people in other tables, gave the value of the one woman."""
    rng = np.random.default_rng(1)
    men = 60 + 5 * rng.standard_normal(43)
    rows = distribution_rows(people(male=men, female=[70.0]), Counts.of([44.0, 43, 1], 5))
    of_men = next(row for row in rows if row["group"] == "Men")
    assert (of_men["n"], of_men["mean"], of_men["median"]) == ("not shown", "–", "–")
    of_all = next(row for row in rows if row["group"] == "All")
    assert of_all["n"] == "45"
    assert of_all["mean"] == "60.0 ± 5.0"  # two of 44 move a mean with an SD of 4.6 by 0.21: steps of 0.5


def test_people_of_unknown_sex_are_covered_like_a_sex():
    """Means of both sexes and of all people gave the mean of the two whose sex nobody knows."""
    rows = distribution_rows(people(male=np.arange(40, 60.0), female=np.arange(50, 80.0), unknown=[1.0, 2]), Counts(5))
    assert [(row["group"], row["n"]) for row in rows] == [("Women", "30"), ("Men", "not shown"), ("All", "52")]


def test_without_sexes_all_are_one_group_without_a_range_and_nobody_is_none():
    table = people(unknown=np.arange(4, 14.0)).rename(columns={"lvef_pct": "lvco_l_min"}).assign(lvesv_ml=NAN)
    esv, output = distribution_rows(table, Counts(5))
    assert (esv["group"], esv["n"], esv["suppressed"]) == ("All", "0", False)
    assert (output["n"], output["mean"], output["median"]) == (
        "10",
        "8.00 ± 3.00",
        "8.00",
    )  # SD 3.03 of ten: steps of 1
    assert (output["reference"], output["reference_mean"], output["source"]) == ("", "", "")
    (by_sex,) = distribution_rows(pd.DataFrame({"sex": ["male"] * 5, "lvco_l_min": [5.0] * 5}), Counts(5))
    # Kawel-Boehm: 6.1 and 1.1 L/min, so from 3.9 to 8.3
    assert (by_sex["reference"], by_sex["reference_mean"]) == ("3.9 – 8.3", "6.1 ± 1.1")


def test_bins_are_a_third_of_the_published_sd_about_both_published_means():
    # ejection fraction: 58.5 and 60.5, SD 21 / 3.92 and 19 / 3.92: mean 5.102
    edges = distributions.bin_edges("lvef_pct")
    sd = 20 / 3.919928
    assert edges[0] == pytest.approx(58.5 - 4 * sd)
    assert np.diff(edges) == pytest.approx(np.full(edges.size - 1, sd / 3))
    assert edges[-1] < 60.5 + 5 * sd <= edges[-1] + sd / 3 + 1e-9
    assert distributions.bin_edges("rvesv_ml")[0] == 0  # 52 - 4 x 16.1: no volume is below zero


# the figure


@pytest.fixture
def panels(monkeypatch):
    """Panels of the figure by title, of a table of people."""

    def paint(painter, width, height):
        figure = Figure((width, height))
        painter(figure)
        return figure

    monkeypatch.setattr(distributions, "draw", paint)
    return lambda table, minimum=5: {
        axes.get_title(): axes for axes in distribution_figure(table, Counts(minimum)).axes
    }


def test_every_phenotype_has_its_place_and_those_without_a_column_are_blank(panels):
    found = panels(people(male=np.arange(50, 70.0)))
    assert list(found) == ["", "LV ejection fraction"]
    assert found["LV ejection fraction"].get_xlabel() == "%"
    assert [label.get_text() for label in found["LV ejection fraction"].get_yticklabels()] == [""]
    first = people(male=np.arange(50, 70.0)).rename(columns={"lvef_pct": SHOWN[0]})
    assert [tick.get_text() for tick in panels(first)["LV end-diastolic volume"].get_yticklabels()] == ["Men"]
    assert distribution_figure(people(male=[60.0] * 4), Counts(5)) is None


def test_few_people_are_drawn_as_mean_and_interval_with_quantiles_below(panels):
    hidden = panels(people(male=np.arange(50, 70.0), female=[60.0] * 4))["LV ejection fraction"]
    assert [text.get_text() for text in hidden.texts] == ["too few to show"] * 2  # the men cover the women
    assert [text.get_position() for text in hidden.texts] == [(0.5, 0.3), (0.5, 1.3)]
    axes = panels(people(male=np.arange(50, 70.0)))["LV ejection fraction"]
    low, high = 60 - 1.96 * 6, 60 + 1.96 * 6  # 59.5 and 5.9 (the variance of 0 to 19 is 35) in steps of 1
    drawn = {tuple(np.round(line.get_xydata().ravel(), 3)) for line in axes.lines if line.get_color() == BLUE}
    assert tuple(np.round([low, 0.34, high, 0.34], 3)) in drawn
    assert tuple(np.round([55, -0.14, 64, -0.14], 3)) in drawn  # quartiles of 50 to 69: 54.75 and 64.25
    middles = [
        tuple(points.get_offsets()[0])
        for points in axes.collections
        if len(getattr(points, "get_offsets", list)()) == 1
    ]
    assert (60, 0.34) in middles
    assert (60, -0.14) in middles


def test_many_people_are_drawn_as_a_shape_of_full_height(panels):
    axes = panels(people(male=np.r_[np.arange(50, 70.0), np.full(60, 60.0)]))["LV ejection fraction"]
    (filled,) = [patch for patch in axes.patches if patch.get_fill()]
    values, edges, baseline = filled.get_data()
    assert (values.max(), baseline) == (pytest.approx(0.78), 0)
    assert (edges[0], edges[-1]) == pytest.approx((58.5 - 80 / 3.919928, distributions.bin_edges("lvef_pct")[-1]))
    fewer = panels(people(male=np.r_[np.arange(50, 70.0), np.full(59, 60.0)]))["LV ejection fraction"]
    assert not [patch for patch in fewer.patches if patch.get_fill()]


def test_the_published_range_is_a_band_behind_its_sex(panels):
    axes = panels(people(male=np.arange(50, 70.0), female=np.arange(50, 70.0)))["LV ejection fraction"]
    bands = [
        band.get_paths()[0].get_extents()
        for band in axes.collections
        if hasattr(band, "get_paths") and band.get_zorder() == -1
    ]
    assert sorted((round(band.x0), round(band.x1), round(band.y0, 2), round(band.y1, 2)) for band in bands) == [
        (48, 69, -0.28, 0.86), (51, 70, 0.72, 1.86)
    ]  # fmt: skip
    means = [tuple(line.get_xdata()) for line in axes.lines if line.get_linestyle() != "-"]
    assert sorted(means) == [(58.5, 58.5), (60.5, 60.5)]
    assert set(SEX_COLOURS.values()) <= {line.get_color() for line in axes.lines}
    # published: 58.5 - 3 x 21 / 3.92 to 60.5 + 3 x 19 / 3.92 = 75.0; these people to 60 + 3 x 6 = 78
    assert axes.get_xlim() == pytest.approx((58.5 - 63 / 3.919928, 78))
    wide = panels(people(male=np.linspace(0, 100, 20)))["LV ejection fraction"]
    assert wide.get_xlim() == (0, pytest.approx(50 + 3 * 30))  # SD 31.1 of 20: steps of 5
    narrow = panels(people(male=np.linspace(58, 60, 20)))["LV ejection fraction"]
    assert narrow.get_xlim()[1] == pytest.approx(60.5 + 57 / 3.919928)  # of the published range of women


def test_a_table_without_a_column_of_sexes_is_one_group():
    table = people(male=np.arange(50, 70.0)).drop(columns="sex")
    (row,) = distribution_rows(table, Counts(5))
    assert (row["group"], row["n"]) == ("All", "20")
