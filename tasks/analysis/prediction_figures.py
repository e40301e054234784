"""Figures of nested models, drawn from their published tables: what each set adds, calibration, net benefit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.report.drawing import MARKERS, QUIET, SERIES, draw, label
from tasks.report.naming import words

_OUTCOMES = 6
_COLUMNS = 3


def concordance_of_sets(table: pd.DataFrame) -> bytes | None:
    """Concordance of each set with its 95 % interval, a panel an outcome. None without any number."""
    rows = _published_rows(table[table["measure"] == "concordance"])

    def panel(axes: Axes, here: pd.DataFrame) -> None:
        place = np.arange(len(here))
        low, middle, high = here[["ci_low", "estimate", "ci_high"]].to_numpy(float).T
        reach = np.stack([middle - low, high - middle])
        axes.errorbar(middle, place, xerr=reach, fmt="o", color=SERIES[0], markersize=4, linewidth=1.2)
        axes.set_yticks(place, [label(name, 24) for name in here["exposure"]])
        axes.set_ylim(len(here) - 0.5, -0.5)
        axes.axvline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
        axes.set_xlabel("Concordance")

    return _draw_panels(rows, panel, 2.0)


def calibration_of_sets(table: pd.DataFrame) -> bytes | None:
    """Observed against predicted risk in tenths of predicted risk, a panel an outcome. None without any number."""
    rows = _published_rows(table)

    def panel(axes: Axes, here: pd.DataFrame) -> None:
        _draw_lines(axes, here, "predicted")
        most = float(here[["predicted", "estimate"]].to_numpy(float).max())
        axes.plot([0, most], [0, most], color=QUIET, linewidth=0.8, linestyle="--")
        axes.set_xlabel("Predicted risk")
        axes.set_ylabel("Observed risk")

    return _draw_panels(rows, panel, 2.6, legend=True)


def net_benefit_of_sets(table: pd.DataFrame) -> bytes | None:
    """Net benefit along thresholds beside treating all and none, a panel an outcome. None without any number."""
    rows = _published_rows(table)

    def panel(axes: Axes, here: pd.DataFrame) -> None:
        _draw_lines(axes, here, "threshold")
        everybody = here.drop_duplicates("threshold").sort_values("threshold")
        axes.plot(everybody["threshold"], everybody["treat_all"].clip(lower=-0.02), color=QUIET, linestyle="--",
                  linewidth=0.9, label="treat all")  # fmt: skip
        axes.axhline(0, color=QUIET, linewidth=0.8)
        axes.set_xlabel("Threshold of risk")
        axes.set_ylabel("Net benefit")

    return _draw_panels(rows, panel, 2.6, legend=True)


def _draw_lines(axes: Axes, here: pd.DataFrame, along: str) -> None:
    """The estimates of each set against the column ``along``."""
    for k, (name, of_set) in enumerate(here.groupby("exposure", sort=False)):
        marker, colour = MARKERS[k % len(MARKERS)], SERIES[k % len(SERIES)]
        axes.plot(of_set[along], of_set["estimate"], marker=marker, color=colour, markersize=3.5,
                  linewidth=0.9, label=label(name, 24))  # fmt: skip


def _published_rows(table: pd.DataFrame) -> pd.DataFrame:
    rows = table[(table["status"] == "ok") & table["estimate"].notna()]
    return rows[rows["outcome"].isin(list(rows["outcome"].drop_duplicates())[:_OUTCOMES])]


def _draw_panels(
    rows: pd.DataFrame, panel: Callable[[Axes, pd.DataFrame], None], height: float, *, legend: bool = False
) -> bytes | None:
    outcomes = list(rows["outcome"].drop_duplicates())
    if not outcomes:
        return None
    columns = min(_COLUMNS, len(outcomes))
    lines = -(-len(outcomes) // columns)

    def paint(figure: Figure) -> None:
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for empty in axes[len(outcomes) :]:
            empty.set_axis_off()
        for place, outcome in zip(axes, outcomes, strict=False):
            panel(place, rows[rows["outcome"] == outcome])
            place.set_title(label(words(outcome), 32))
        if legend:
            axes[0].legend(loc="best", fontsize=6.5)

    return draw(paint, 2.2 + 2.6 * columns, lines * height + 0.4)
