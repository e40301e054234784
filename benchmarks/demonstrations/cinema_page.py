"""Results, table and figure of the comparison of networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure

from benchmarks.demonstrations.page import COLOURS, save_figure, save_results, write_section
from tasks.report.markdown import table

NAME = "cinema"
_TITLES = {
    "segment_sax": "Segmentation\nmean Dice (higher is better)",
    "regression_ef": "Ejection fraction\nmean absolute error, points (lower is better)",
    "classification_disease": "Disease\nmacro AUC (higher is better)",
    "landmark_heatmap": "Landmarks\nmean distance, mm (lower is better)",
}


def write(results: Mapping[str, Any], root: Path) -> None:
    """Results, table and figure under ``root``."""
    save_results(results, root, NAME)
    save_figure(draw_figure(results["rows"]), root, f"demonstration_{NAME}")
    write_section(root, NAME, render_table(results))


def render_table(results: Mapping[str, Any]) -> str:
    """The table of the page."""
    rows = [
        [
            row["task"], row["figure"], row["network"], f"{100 * row['labels']:.0f} %",
            f"{row['value']:.3g} ({row['ci_low']:.3g} to {row['ci_high']:.3g})",
            "{:+.3g} ({:+.3g} to {:+.3g})".format(*row["better_by"]) if row["better_by"] else "",
            f"{row['parameters'] / 1e6:.2f} M", f"{row['processor_s']:.0f}",
        ]
        for row in results["rows"]
    ]  # fmt: skip
    head = ["Task", "Figure", "Network", "Labels", "Value (95 % interval)", "Better than the rival by", "Parameters",
            "Training, processor s"]  # fmt: skip
    return table(head, rows)


def draw_figure(rows: list[dict[str, Any]]) -> Figure:
    """One panel a task: each network with all and with half of the labels."""
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    axes = figure.subplots(2, 2)
    for axis, (task, title) in zip(axes.flat, _TITLES.items(), strict=True):
        part = [row for row in rows if row["task"] == task]
        networks = list(dict.fromkeys(row["network"] for row in part))
        for k, network in enumerate(networks):
            own = [row for row in part if row["network"] == network]
            value = [row["value"] for row in own]
            spread = [[r["value"] - r["ci_low"] for r in own], [r["ci_high"] - r["value"] for r in own]]
            place = [i + 0.16 * (k - 1) for i in range(len(own))]
            axis.errorbar(place, value, spread, fmt="o", capsize=3, color=COLOURS[k], label=network)
        axis.set_xticks(range(2), [f"{100 * share:.0f} % of labels" for share in (1.0, 0.5)])
        axis.set_xlim(-0.5, 1.5)
        axis.set_title(title, fontsize=10, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#d4d9de", linewidth=0.6)
        axis.legend(frameon=False, fontsize=8, loc="best")
    return figure
