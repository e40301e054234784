"""Figures of a scan show each number once, and no number that is not there."""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from tasks.analysis import scan_figures
from tasks.analysis.scan_figures import manhattan, manhattan_interactive, scan_points
from tasks.report.drawing import SERIES

TABLE = pd.DataFrame(
    {
        "exposure": ["lvef_pct", "lvm_g", "lvef_pct", "lvm_g"],
        "outcome": ["heart <failure>", "heart <failure>", "gout", "gout"],
        "z": [-40.0, 3.0, 0.2, np.nan],
        "minus_log10_p": [350.0, 2.6, 0.1, np.nan],
        "status": ["ok", "ok", "ok", "suppressed"],
    }
)


def test_each_number_has_one_point_and_a_suppressed_one_none() -> None:
    drawn = manhattan_interactive(TABLE, threshold=5.0)
    assert drawn is not None
    circles = [node for node in ElementTree.fromstring(drawn).iter() if node.tag.endswith("circle")]
    assert len(circles) == 3
    assert "heart <failure>" in circles[1][0].text + circles[2][0].text


def test_in_a_miami_plot_negative_effects_hang_below_zero() -> None:
    drawn = manhattan_interactive(TABLE, threshold=5.0, miami=True)
    assert drawn is not None
    low = {title: float(y) for y, title in re.findall(r'cy="([\d.]+)".*?<title>(.*?)</title>', drawn)}
    heights = {name.split(":")[0]: y for name, y in low.items()}
    assert heights["lvef_pct · heart &lt;failure&gt;"] > heights["lvef_pct · gout"]
    assert heights["lvm_g · heart &lt;failure&gt;"] < heights["lvef_pct · gout"]


def test_print_is_the_same_bytes_each_time() -> None:
    first, second = (manhattan(TABLE, threshold=5.0, miami=True, group_of={"gout": "joints"}) for _ in range(2))
    assert first is not None
    assert first == second
    assert b"<svg" in first


def test_nothing_to_draw_is_none_and_a_missing_column_is_named() -> None:
    assert manhattan(TABLE.iloc[3:], threshold=5.0) is None
    assert manhattan_interactive(TABLE.iloc[3:], threshold=5.0) is None
    with pytest.raises(ValueError, match="columns \\['z'\\]"):
        scan_points(TABLE.drop(columns="z"))


# places by hand: 960 by 420 with a margin of 48

FIVE = pd.DataFrame(
    [
        ("b", "gout", 1.0, 2.0, "ok"),
        ("a", "gout", -9.0, 8.0, "ok"),
        ("a", "asthma", 3.0, 4.0, "ok"),
        ("b", "asthma", -4.0, 6.0, "ok"),
        ("c", "asthma", 7.0, 7.0, "ok"),
        ("c", "gout", 1.0, np.nan, "ok"),
        ("d", "gout", 1.0, 9.0, "failed"),
    ],
    columns=["exposure", "outcome", "z", "minus_log10_p", "status"],
)


def test_points_are_in_the_order_of_group_outcome_and_exposure() -> None:
    points = scan_points(FIVE, {"gout": "joints"})
    assert points[["group", "outcome", "exposure", "place", "height"]].to_numpy().tolist() == [
        ["joints", "gout", "a", 0, 8.0], ["joints", "gout", "b", 1, 2.0], ["other", "asthma", "a", 2, 4.0],
        ["other", "asthma", "b", 3, 6.0], ["other", "asthma", "c", 4, 7.0],
    ]  # fmt: skip
    assert scan_points(FIVE)["outcome"].tolist() == ["asthma"] * 3 + ["gout"] * 2
    assert set(scan_points(FIVE)["group"]) == {""}


def _circles(drawn: str | None) -> list[tuple[float, float, str]]:
    assert drawn is not None
    nodes = [node for node in ElementTree.fromstring(drawn).iter() if node.tag.endswith("circle")]
    return [(float(node.get("cx", "nan")), float(node.get("cy", "nan")), node.get("fill", "")) for node in nodes]


def _levels(drawn: str | None) -> list[tuple[float, str]]:
    assert drawn is not None
    lines = re.findall(
        r'<line x1="48" x2="912" y1="([\d.]+)" y2="\1".*?/><text.*?y="([\d.]+)".*?>([\d.]+)</text>', drawn
    )
    assert all(float(text) == pytest.approx(float(y) + 4) for y, text, _ in lines)
    return [(float(y), value) for y, _, value in lines]


def test_places_of_a_manhattan_plot_by_hand() -> None:
    drawn = manhattan_interactive(FIVE, threshold=5.0, group_of={"gout": "joints"})
    # from 8 at the top, 48, to 0 at 372: 40.5 each; across from 48 to 912 in four steps of 216
    circles = _circles(drawn)
    assert [(x, y) for x, y, _ in circles] == [(48, 48), (264, 291), (480, 210), (696, 129), (912, 88.5)]
    assert [colour for *_, colour in circles] == [SERIES[0]] * 2 + [SERIES[1]] * 3
    assert _levels(drawn) == [(169.5, "5.0"), (372, "0.0")]
    assert 'viewBox="0 0 960 420"' in str(drawn)
    assert "a · gout: z -9.00, −log₁₀ p 8.0" in str(drawn)
    low = manhattan_interactive(FIVE.iloc[:1], threshold=4.0)
    assert [(x, y) for x, y, _ in _circles(low)] == [(48, 210)]  # the threshold is higher than the only point


def test_places_of_a_miami_plot_by_hand() -> None:
    drawn = manhattan_interactive(FIVE, threshold=5.0, miami=True)
    # asthma 4, -6, 7 and gout -8, 2: from 7 to -8
    step = 324 / 15
    heights = [4, -6, 7, -8, 2]
    assert [y for _, y, _ in _circles(drawn)] == pytest.approx([48 + (7 - h) * step for h in heights], abs=0.06)
    found = _levels(drawn)
    assert [value for _, value in found] == ["5.0", "5.0", "0.0"]
    assert [y for y, _ in found] == pytest.approx([48 + (7 - h) * step for h in (5, -5, 0)], abs=0.06)
    weak = manhattan_interactive(FIVE.iloc[2:3], threshold=5.0, miami=True)  # 4, between 5 and -5
    assert [y for _, y, _ in _circles(weak)] == pytest.approx([48 + 324 / 10], abs=0.06)


def test_the_printed_plot_names_the_six_strongest_over_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Figure] = []

    def paint(painter: Any, width: float, height: float) -> bytes:
        seen.append(Figure((width, height)))
        painter(seen[-1])
        return b"drawn"

    monkeypatch.setattr(scan_figures, "draw", paint)
    table = pd.DataFrame(
        {"exposure": [f"e{k}" for k in range(8)], "outcome": "gout", "z": [(-1.0) ** k for k in range(8)],
         "minus_log10_p": np.arange(8.0) + 1, "status": "ok"}
    )  # fmt: skip
    assert manhattan(table, threshold=5.0, miami=True, group_of={"gout": "joints"}) == b"drawn"
    (axes,) = seen[0].axes
    assert [(text.get_text(), text.xy) for text in axes.texts] == [
        ("e7 · gout", (7, -8)), ("e6 · gout", (6, 7)), ("e5 · gout", (5, -6)), ("e4 · gout", (4, 5)),
    ]  # fmt: skip
    (points,) = axes.collections
    assert np.asarray(points.get_offsets()).tolist() == [[k, (k + 1) * (-1) ** k] for k in range(8)]
    assert [line.get_ydata()[0] for line in axes.lines] == [5, -5, 0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["joints"]
    assert axes.get_xticks().tolist() == [3.5]
    assert axes.get_ylabel() == "−log₁₀ p, by direction"
    manhattan(table, threshold=1.0)
    (plain,) = seen[1].axes
    assert [text.get_text() for text in plain.texts] == [f"e{k} · gout" for k in (7, 6, 5, 4, 3, 2)]
    assert np.asarray(plain.collections[0].get_offsets()).tolist() == [[k, k + 1] for k in range(8)]
    assert [line.get_ydata()[0] for line in plain.lines] == [1]
    two = FIVE.assign(outcome=["gout", "gout", "asthma", "asthma", "asthma", "gout", "gout"])
    manhattan(two, threshold=5.0, group_of={"gout": "joints", "asthma": "lungs"})
    colours = [tuple(points.get_facecolors()[0][:3]) for points in seen[2].axes[0].collections]
    assert colours == [to_rgb(SERIES[0]), to_rgb(SERIES[1])]
    assert seen[2].axes[0].get_xticks().tolist() == [0.5, 3]
