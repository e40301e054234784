"""Results, tables and figure of disease and mortality from images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.demonstrations.page import COLOURS, save_figure, save_results, write_section
from tasks.report.markdown import table

NAME = "risk"
_MEASURE = {"death": "concordance"}
_BY_GROUP = "volumes of the segmentation"
"""The predictors from images that tell most; of the others, groups stand in the results."""


def write(results: Mapping[str, Any], root: Path) -> None:
    """Results, tables and figure under ``root``."""
    save_results(results, root, NAME)
    save_figure(draw_figure(results), root, f"demonstration_{NAME}")
    write_section(root, NAME, render_table(results))


def render_table(results: Mapping[str, Any]) -> str:
    """The tables of the page."""
    found = [
        [
            row["condition"], row["phenotype"], row["source"], f"{row['planted']:.2f}",
            f"{row['ratio']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})", f"{row['n']}", f"{row['n_events']}",
        ]
        for row in results["found"]
    ]  # fmt: skip
    predicted = [
        [
            row["condition"], _MEASURE.get(row["condition"], "AUC"), row["predictors"], row["group"], f"{row['n']}",
            f"{row['n_events']}", f"{row['estimate']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f})",
            f"{row['gap']:.3f} ({row['gap_by_chance_q95']:.3f})" if row.get("gap") is not None else "",
        ]
        for row in results["predicted"]
        if row["estimate"] is not None and (row["group_by"] == "overall" or row["predictors"] == _BY_GROUP)
    ]  # fmt: skip
    groups = [
        [
            row["condition"], row["phenotype"], row["group"], f"{row['planted']:.2f}",
            f"{row['ratio']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})", f"{row['n']}", f"{row['n_events']}",
        ]
        for row in results["found_by_group"]
    ]  # fmt: skip
    of_groups = ["Condition", "Phenotype", "People who", "Planted", "Found per SD (95 % interval)", "n", "Cases"]
    head = ["Condition", "Phenotype", "Source", "Planted", "Found per SD (95 % interval)", "People", "Cases"]
    below = ["Condition", "Measure", "Covariates and", "People who", "n", "Cases", "Value (95 % interval)",
             "Largest gap (by chance, 95 %)"]  # fmt: skip
    agreement = [[name.removeprefix("image_"), f"{value:.2f}"] for name, value in results["agreement"].items()]
    return "\n".join(
        [
            table(head, found),
            table(of_groups, groups),
            table(below, predicted),
            table(["From images", "Correlation with truth"], agreement),
        ]
    )


def draw_figure(results: Mapping[str, Any]) -> Figure:
    """Above: each condition by each set of predictors; below: by group, from CineMA's features."""
    rows = [row for row in results["predicted"] if row["estimate"] is not None]
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots(2, len(conditions), sharey="row")
    for k, condition in enumerate(conditions):
        own = [row for row in rows if row["condition"] == condition]
        overall = [row for row in own if row["group_by"] == "overall"]
        _points(axes[0, k], overall, [row["predictors"] for row in overall])
        measure = _MEASURE.get(condition, "AUC")
        axes[0, k].set_title(f"{condition}\n{measure}", fontsize=10, loc="left")
        groups = [row for row in own if row["predictors"] == _BY_GROUP]
        _points(axes[1, k], groups, [row["group"] for row in groups])
        axes[1, k].set_title("with volumes, by group", fontsize=9, loc="left")
    return figure


def _points(axis: Axes, rows: list[dict[str, Any]], names: list[str]) -> None:
    for k, row in enumerate(rows):
        spread = [[row["estimate"] - row["ci_low"]], [row["ci_high"] - row["estimate"]]]
        axis.errorbar([k], [row["estimate"]], spread, fmt="o", capsize=3, color=COLOURS[k % len(COLOURS)])
    axis.set_xticks(range(len(names)), names, rotation=35, ha="right", fontsize=8)
    axis.axhline(0.5, color="#5b6570", linewidth=0.8, linestyle=":")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#d4d9de", linewidth=0.6)
