"""Figures of a scan, drawn from its tidy table: Manhattan and Miami, for print and with a name under the pointer."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tasks.report.drawing import BLUE, INK, QUIET, SERIES, draw, label

_WIDTH, _HEIGHT, _MARGIN = 960, 420, 48
_LABELLED = 6


def scan_points(table: pd.DataFrame, group_of: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Rows of a scan that have a number, by group of outcome: ``place, height, group, exposure, outcome, z``.

    Args:
        table: ``exposure, outcome, z, minus_log10_p, status``; failed and suppressed rows have no point.
        group_of: chapter of each outcome; all in one if None.

    Raises:
        ValueError: a column is missing.
    """
    needed = ["exposure", "outcome", "z", "minus_log10_p", "status"]
    if missing := [name for name in needed if name not in table]:
        raise ValueError(f"columns {missing} are not in the table; it has {list(table)}")
    rows = table.loc[(table["status"] == "ok") & table["minus_log10_p"].notna(), needed].copy()
    rows["group"] = rows["outcome"].map(group_of or {}).fillna("other") if group_of else ""
    rows = rows.sort_values(["group", "outcome", "exposure"], kind="stable")
    return rows.assign(place=np.arange(len(rows)), height=rows["minus_log10_p"]).reset_index(drop=True)


def manhattan(
    table: pd.DataFrame, *, threshold: float, group_of: Mapping[str, str] | None = None, miami: bool = False
) -> bytes | None:
    """SVG for print: evidence of each pair; with ``miami`` effects under 0 hang below. None without any number."""
    rows = scan_points(table, group_of)
    if rows.empty:
        return None
    height = rows["height"] * np.where(miami & (rows["z"] < 0), -1, 1)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        groups = list(dict.fromkeys(rows["group"]))
        for k, group in enumerate(groups):
            here = rows["group"] == group
            colour = SERIES[k % len(SERIES)] if len(groups) > 1 else BLUE
            axes.scatter(rows.loc[here, "place"], height[here], s=6, color=colour, linewidths=0, rasterized=True)
        for level in (threshold, -threshold) if miami else (threshold,):
            axes.axhline(level, color=QUIET, linewidth=0.8, linestyle="--")
        for j in rows["height"].nlargest(_LABELLED).index:
            if rows.loc[j, "height"] >= threshold:
                text = label(f"{rows.loc[j, 'exposure']} · {rows.loc[j, 'outcome']}", 40)
                axes.annotate(text, (rows.loc[j, "place"], height[j]), fontsize=6, color=INK)
        middles = rows.groupby("group", sort=False)["place"].mean()
        axes.set_xticks(middles.to_numpy(), [label(name, 18) for name in middles.index], rotation=30, ha="right")
        axes.set_ylabel("−log₁₀ p, by direction" if miami else "−log₁₀ p")
        if miami:
            axes.axhline(0, color=INK, linewidth=0.8)

    return draw(paint, 9.4, 4.3)


def manhattan_interactive(
    table: pd.DataFrame, *, threshold: float, group_of: Mapping[str, str] | None = None, miami: bool = False
) -> str | None:
    """The same as an SVG for a page: each point shows its pair and z under the pointer, without any script."""
    rows = scan_points(table, group_of)
    if rows.empty:
        return None
    height = (rows["height"] * np.where(miami & (rows["z"] < 0), -1, 1)).to_numpy(float)
    top, bottom = max(float(height.max()), threshold), min(float(height.min()), -threshold if miami else 0.0)
    groups = {name: k for k, name in enumerate(dict.fromkeys(rows["group"]))}

    def y_of(value: float) -> float:
        return _MARGIN + (top - value) / (top - bottom) * (_HEIGHT - 2 * _MARGIN)

    x = _MARGIN + rows["place"].to_numpy(float) / max(len(rows) - 1, 1) * (_WIDTH - 2 * _MARGIN)
    points = [
        f'<circle cx="{x[j]:.1f}" cy="{y_of(height[j]):.1f}" r="3" fill="{SERIES[groups[row.group] % len(SERIES)]}">'
        f"<title>{escape(f'{row.exposure} · {row.outcome}: z {row.z:.2f}, −log₁₀ p {row.height:.1f}')}</title></circle>"
        for j, row in enumerate(rows.itertuples())
    ]
    levels = [threshold, -threshold, 0.0] if miami else [threshold, 0.0]
    lines = [
        f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{y_of(level):.1f}" y2="{y_of(level):.1f}" stroke="{QUIET}"/>'
        f'<text x="4" y="{y_of(level) + 4:.1f}" font-size="11">{abs(level):.1f}</text>'
        for level in levels
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
    return head + "".join(lines) + "".join(points) + "</svg>"
