"""Figures of the tables of estimates: volcano plot, forest plot, survival curves, and every number by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.report.drawing import (
    BLUE,
    INK,
    MARKERS,
    QUARTILE_COLOURS,
    QUIET,
    SERIES,
    draw,
    intervals,
    label,
    ratio_axis,
    stripes,
)
from tasks.report.naming import band_words, group_words, lower_first, reason_words, short_name, words
from tasks.report.selection import comparable, overall_ratios
from tasks.report.tables import records

Q_LEVEL = 0.05
_POINTS_AS_VECTORS = 4000
_LABELLED = 8
_FOREST_EXPOSURES, _FOREST_OUTCOMES = 24, 9
_RATIO_LIMITS = (0.05, 20.0)


def volcano(table: pd.DataFrame, axis_title: str) -> bytes | None:
    """Volcano plot: effect per SD against evidence, one point for each pair, filled where q < 0.05.

    None if nothing was estimable.
    """
    rows = overall_ratios(table)
    if rows.empty:
        return None
    outcomes = list(rows["outcome"].value_counts().index)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for k, outcome in enumerate(outcomes):
            colour = SERIES[k] if len(outcomes) <= len(SERIES) else BLUE
            marker = MARKERS[k] if len(outcomes) <= len(SERIES) else "o"
            _volcano_points(axes, rows[rows["outcome"] == outcome], colour, marker, label(words(outcome), 32))
        _volcano_labels(axes, rows)
        reach = float(np.abs(np.log(rows["estimate"].clip(*_RATIO_LIMITS))).max())
        ratio_axis(axes, float(np.exp(-1.5 * reach - 0.05)), float(np.exp(1.5 * reach + 0.05)))
        axes.set_xlabel(axis_title)
        axes.set_ylabel("−log₁₀ p")
        axes.set_ylim(0, float(rows["minus_log10_p"].max()) * 1.12 + 0.3)
        if 1 < len(outcomes) <= len(SERIES):
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), handletextpad=0.2, borderaxespad=0)

    return draw(paint, 9.4, 4.3)


def forest(table: pd.DataFrame, axis_title: str) -> bytes | None:
    """Forest plot: ratios per SD with 95 % intervals, one panel for each outcome, one row for each phenotype.

    None if nothing was estimable.
    """
    rows = overall_ratios(table)
    if rows.empty:
        return None
    exposures, outcomes = forest_selection(rows)
    columns = min(3, len(outcomes))
    lines = -(-len(outcomes) // columns)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
        limits = _forest_limits(rows[rows["outcome"].isin(outcomes) & rows["exposure"].isin(exposures)])
        for panel in panels.ravel()[len(outcomes) :]:
            panel.set_axis_off()
        for panel, outcome in zip(panels.ravel(), outcomes, strict=False):
            _forest_panel(panel, rows[rows["outcome"] == outcome], exposures, limits)
        for panel in panels[:, 0]:
            panel.set_yticks(range(len(exposures)), [label(short_name(name), 34) for name in exposures])
            panel.set_ylim(len(exposures) - 0.5, -0.5)
        figure.supxlabel(axis_title, fontsize=8.5)

    return draw(paint, 3.0 + 2.5 * columns, lines * (0.75 + 0.165 * len(exposures)) + 0.35)


def forest_selection(rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The exposures with the strongest evidence, in the table's order, and the outcomes with the most events."""
    strongest = rows.groupby("exposure")["minus_log10_p"].max().nlargest(_FOREST_EXPOSURES).index
    exposures = [name for name in rows["exposure"].drop_duplicates() if name in strongest]
    most = rows.groupby("outcome")["n_events"].max().nlargest(_FOREST_OUTCOMES).index
    return exposures, list(most)


def survival(panels: Sequence[tuple[str, str, pd.DataFrame]]) -> bytes | None:
    """Kaplan-Meier curves by quartile with the numbers at risk below.

    Args:
        panels: (exposure, outcome, rows of ``survival_curves`` that may be shown).
    """
    if not panels:
        return None
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)

    def paint(figure: Figure) -> None:
        axes = figure.subplots(2 * lines, columns, squeeze=False, gridspec_kw={"height_ratios": [3.2, 1.0] * lines})
        for k, (exposure, outcome, rows) in enumerate(panels):
            line, column = divmod(k, columns)
            _survival_panel(axes[2 * line, column], axes[2 * line + 1, column], exposure, outcome, rows)
        for k in range(len(panels), lines * columns):
            line, column = divmod(k, columns)
            axes[2 * line, column].set_axis_off()
            axes[2 * line + 1, column].set_axis_off()

    return draw(paint, 5.2 * columns + 0.2, 3.7 * lines)


def group_comparison(panels: Sequence[tuple[str, pd.DataFrame]], axis_title: str, *, ratio: bool) -> bytes | None:
    """One number by group: one panel for each pair, one row for each group, the overall value as a dashed line.

    Pairs without two groups to compare, and groupings without any number, are left out; None if no pair remains.

    Args:
        panels: (title, rows of one pair and model: ``overall`` and the groups, with suppressed ones).
        axis_title: what is shown, with its unit.
        ratio: whether the axis is logarithmic about 1.
    """
    panels = [(title, rows) for title, rows in panels if comparable(rows)]
    if not panels:
        return None
    order = _group_order(_with_numbers(pd.concat([rows for _, rows in panels])))

    def paint(figure: Figure) -> None:
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for panel, (title, rows) in zip(axes, panels, strict=True):
            _group_panel(panel, title, rows, order, ratio=ratio)
        _group_axis(axes[0], order)
        figure.supxlabel(axis_title, fontsize=8.5)

    return draw(paint, 2.4 + 2.7 * len(panels), 1.0 + 0.175 * len(order))


def _volcano_points(axes: Axes, rows: pd.DataFrame, colour: str, marker: str, title: str) -> None:
    found = (rows["q"] < Q_LEVEL).to_numpy()
    style: dict[str, Any] = {"s": 20, "marker": marker, "rasterized": len(rows) > _POINTS_AS_VECTORS, "linewidths": 0.9}
    x, y = rows["estimate"].clip(*_RATIO_LIMITS).to_numpy(), rows["minus_log10_p"].to_numpy()
    axes.scatter(x[~found], y[~found], facecolors="none", edgecolors=colour, alpha=0.8, **style)
    axes.scatter(x[found], y[found], facecolors=colour, edgecolors=colour, **style)
    axes.scatter([], [], facecolors=colour, edgecolors=colour, marker=marker, s=20, label=title)


def _volcano_labels(axes: Axes, rows: pd.DataFrame) -> None:
    """Write the names of the strongest pairs beside their points; on each side, labels do not overlap."""
    top = rows[rows["q"] < Q_LEVEL].nlargest(_LABELLED, "minus_log10_p")
    line = 0.048 * float(rows["minus_log10_p"].max()) + 0.02
    below = {True: np.inf, False: np.inf}
    for row in records(top):
        right = row["estimate"] >= 1
        height = min(row["minus_log10_p"], below[right] - line)
        below[right] = height
        axes.annotate(
            label(f"{short_name(row['exposure'])}, {words(row['outcome']).lower()}", 52),
            (float(np.clip(row["estimate"], *_RATIO_LIMITS)), height),
            xytext=(7 if right else -7, 0),
            textcoords="offset points",
            fontsize=7.2,
            ha="left" if right else "right",
            va="center",
        )


def _forest_limits(rows: pd.DataFrame) -> tuple[float, float]:
    """Limits that include every estimate; the few widest intervals are cut and end in an arrow."""
    low = min(float(rows["ci_low"].quantile(0.03)), float(rows["estimate"].min()) / 1.1, 0.8)
    high = max(float(rows["ci_high"].quantile(0.97)), float(rows["estimate"].max()) * 1.1, 1.25)
    return max(low / 1.05, _RATIO_LIMITS[0]), min(high * 1.05, _RATIO_LIMITS[1])


def _forest_panel(axes: Axes, rows: pd.DataFrame, exposures: list[str], limits: tuple[float, float]) -> None:
    stripes(axes, len(exposures))
    rows = rows[rows["exposure"].isin(exposures)].drop_duplicates("exposure")
    heights = np.asarray([exposures.index(name) for name in rows["exposure"]], float)
    colours = [BLUE if q < Q_LEVEL else QUIET for q in rows["q"]]
    intervals(axes, rows[["ci_low", "estimate", "ci_high"]].to_numpy(float), heights, colours, limits, size=16)
    ratio_axis(axes, *limits)
    events = rows["n_events"].max()
    count = f" ({events:,.0f})" if np.isfinite(events) else ""
    axes.set_title(label(words(rows["outcome"].iloc[0]), 34) + count, fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


QUANTILES = {2: "half", 3: "tertile", 4: "quartile", 5: "quintile"}
"""The word for one of so many groups of a phenotype, in legend and caption."""


def _survival_panel(curves: Axes, risk: Axes, exposure: str, outcome: str, rows: pd.DataFrame) -> None:
    quartiles = sorted(rows["group"].unique())
    colours = _curve_colours(quartiles)
    for quartile in quartiles:
        drawn = rows[(rows["group"] == quartile) & rows["estimate"].notna()]
        colour = colours[quartile]
        years = np.r_[0.0, drawn["years"]]
        curves.step(years, 100 * np.r_[1.0, drawn["estimate"]], where="post", color=colour, label=quartile)
        low, high = (100 * np.r_[1.0, drawn[name].fillna(drawn["estimate"])] for name in ("ci_low", "ci_high"))
        curves.fill_between(years, low, high, step="post", color=colour, alpha=0.13, linewidth=0)
    end = float(rows["years"].max())
    curves.set_xlim(-0.03 * end, end * 1.02)
    lowest = float(np.nanmin(100 * rows["ci_low"].fillna(rows["estimate"])))
    curves.set_ylim(max(0.0, min(lowest - 0.08 * (100 - lowest), 95)), 100.4)
    free = "Survival (%)" if outcome == "death" else "Free of the event (%)"
    curves.set_ylabel(free)
    curves.set_title(label(f"{words(outcome)} by {lower_first(short_name(exposure))}", 60), fontsize=9)
    title = f"{QUANTILES.get(len(quartiles), 'group').capitalize()} (Q1 is the lowest)"
    curves.legend(loc="lower left", ncols=4, handlelength=1.2, columnspacing=1.0, title=title, alignment="left",
                  title_fontsize=7.5)  # fmt: skip
    _risk_table(risk, rows, quartiles, curves.get_xlim())
    curves.set_xticks(risk.get_xticks())


def _curve_colours(groups: Sequence[str]) -> dict[str, str]:
    """Group -> colour, from light to dark; two groups get the ends of the scale, which are told apart best."""
    scale = list(QUARTILE_COLOURS.values())
    if len(groups) == 2:
        return dict(zip(groups, (scale[1], scale[3]), strict=True))
    return {group: QUARTILE_COLOURS.get(group, INK) for group in groups}


def _risk_table(axes: Axes, rows: pd.DataFrame, quartiles: list[str], limits: tuple[float, float]) -> None:
    years = _risk_years(limits[1])
    axes.set_xlim(*limits)
    axes.set_ylim(len(quartiles) - 0.5, -0.9)
    axes.set_xticks(years)
    axes.set_yticks(range(len(quartiles)), quartiles)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("Years since imaging")
    axes.text(0, -0.62, "Number at risk", fontsize=7.5, color=QUIET, ha="left", va="center")
    for y, quartile in enumerate(quartiles):
        of_quartile = rows[rows["group"] == quartile]
        for year in years:
            axes.text(year, y, _at_risk(of_quartile, year), ha="center", va="center", fontsize=8,
                      color=QUARTILE_COLOURS.get(quartile, INK) if quartile in ("Q3", "Q4") else INK)  # fmt: skip


def _at_risk(rows: pd.DataFrame, year: float) -> str:
    """Number at risk at ``year``. Where it may not be shown: a lower bound from the next time that may, or a dot."""
    later = rows[(rows["years"] > year - 1e-6) & rows["n_at_risk"].notna()].sort_values("years")
    if later.empty:
        return "·"
    n, exact = later["n_at_risk"].iloc[0], abs(later["years"].iloc[0] - year) < 1e-6
    return f"{n:,.0f}" if exact else f"≥ {n:,.0f}"


def _risk_years(end: float) -> list[float]:
    step = next(step for step in (0.5, 1, 2, 3, 5, 10, 20) if end / step <= 6.5 or step == 20)
    return [float(year) for year in np.arange(0, end + 1e-9, step)]


def _with_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the groupings in which at least one group has a number."""
    return rows[rows["group_by"].isin(rows.loc[rows["estimate"].notna(), "group_by"])]


def _group_order(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """(grouping, group) from top to bottom; each grouping begins with a heading row, group ``""``."""
    order: list[tuple[str, str]] = []
    seen = rows[["group_by", "group"]].drop_duplicates()
    for group_by in [name for name in seen["group_by"].drop_duplicates() if name != "overall"]:
        groups = seen.loc[seen["group_by"] == group_by, "group"]
        order += [(group_by, ""), *((group_by, group) for group in sorted(groups, key=_group_sorting))]
    return order


def _group_sorting(group: str) -> tuple[int, int, str]:
    """Sort key of a group: bands from the lowest, BMI classes by weight, other groups by name, unknown last."""
    classes = ("underweight", "normal", "overweight", "obese")
    if group == "unknown":
        return (3, 0, group)
    if group in classes:
        return (0, classes.index(group), group)
    return (0 if group.startswith("<") else 2 if group.startswith(">") else 1, 0, group)


def _group_axis(axes: Axes, order: list[tuple[str, str]]) -> None:
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_yticks(range(len(order)), [label(band_words(group) or group_words(by), 30) for by, group in order])
    for tick, (_, group) in zip(axes.get_yticklabels(), order, strict=True):
        tick.set_fontweight("normal" if group else "bold")


def _group_panel(axes: Axes, title: str, rows: pd.DataFrame, order: list[tuple[str, str]], *, ratio: bool) -> None:
    known = rows.drop_duplicates(["group_by", "group"]).set_index(["group_by", "group"])
    overall = rows.loc[rows["group_by"] == "overall", "estimate"].dropna()
    limits = _group_limits(rows, ratio=ratio)
    _group_rows(axes, known, order, limits)
    if len(overall):
        axes.axvline(float(overall.iloc[0]), color=INK, linewidth=0.9, linestyle=(0, (3, 2)), zorder=0)
    if ratio:
        ratio_axis(axes, *limits)
    axes.set_xlim(*limits)
    axes.set_title(label(title, 44), fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _group_limits(rows: pd.DataFrame, *, ratio: bool) -> tuple[float, float]:
    low, high = rows["ci_low"].fillna(rows["estimate"]), rows["ci_high"].fillna(rows["estimate"])
    if ratio:
        return max(_RATIO_LIMITS[0], float(low.min()) / 1.1), min(_RATIO_LIMITS[1], float(high.max()) * 1.1)
    margin = 0.06 * max(float(high.max() - low.min()), 1e-6)
    return float(low.min()) - margin, float(high.max()) + margin


def _group_rows(axes: Axes, known: pd.DataFrame, order: list[tuple[str, str]], limits: tuple[float, float]) -> None:
    rows = known.reindex(pd.MultiIndex.from_tuples(order)).reset_index(drop=True)
    ends = rows[["ci_low", "estimate", "ci_high"]].astype(float)
    ends = ends.apply(lambda column: column.fillna(ends["estimate"]))
    has_number = ends["estimate"].notna()
    heights = np.flatnonzero(has_number).astype(float)
    intervals(axes, ends[has_number].to_numpy(), heights, [BLUE] * len(heights), limits)
    for y, (_, group) in enumerate(order):
        if group and not has_number[y]:
            _why_no_number(axes, y, rows.loc[y, "reason"], rows.loc[y, "status"])


def _why_no_number(axes: Axes, y: int, reason: object, status: object) -> None:
    text = next((reason_words(why) for why in (reason, status) if isinstance(why, str) and why), "not available")
    axes.text(
        0.02,
        y,
        text,
        transform=axes.get_yaxis_transform(),
        fontsize=7,
        color=QUIET,
        va="center",
        style="italic",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
    )
