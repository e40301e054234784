"""Figures of a scan show each number once, and no number that is not there."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from tasks.analysis.scan_figures import manhattan, manhattan_interactive, scan_points

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
