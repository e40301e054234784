"""The page of one analysis by its spec: figures and files of what was published, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from tasks.analysis.prediction_figures import calibration_of_sets, concordance_of_sets, net_benefit_of_sets
from tasks.analysis.scan_figures import manhattan, manhattan_interactive
from tasks.analysis.spec_file import SpecFile
from tasks.report.estimate_figures import Q_LEVEL, forest, volcano
from tasks.report.index_page import Figures
from tasks.report.naming import words
from tasks.report.pages import asset, clean_text, number, render
from tasks.report.tables import records
from tasks.state.parquet_tables import read_table
from tasks.state.store import publish_bytes

_MEASURES = {
    "concordance": "Harrell C",
    "uno": "Uno C",
    "auc": "AUC at the horizon",
    "brier": "Brier score",
    "integrated_brier": "Integrated Brier score",
    "scaled_brier": "Scaled Brier score",
    "observed_over_expected": "Observed / expected",
    "calibration_slope": "Calibration slope",
    "ici": "ICI",
    "concordance_gain": "Gain in C",
    "auc_gain": "Gain in AUC",
    "brier_gain": "Change of Brier score",
}
_SCANS = {"associations": "prevalent disease", "hazards": "incident disease and death"}


def render_analysis(file: SpecFile, folder: Path) -> Path:
    """Write ``report/index.html`` of a folder of results, with its figures as files.

    Args:
        file: the spec.
        folder: its results; every table there has passed the gate.
    """
    tables = {path.stem: read_table(path) for path in sorted(folder.glob("*.parquet"))}
    figures, scans = Figures(), []
    for name, what in _SCANS.items():
        if name in tables:
            scans += _add_scan(figures, _primary(tables[name], file), name, what)
    _add_prediction(figures, tables)
    place = folder / "report"
    for name, content in figures.files.items():
        publish_bytes(content, place / "assets" / "figures" / f"{name}.svg")
    publish_bytes(asset("report.css"), place / "assets" / "report.css")
    values = {
        "title": clean_text(file.spec.name),
        "digest": file.digest,
        "departures": file.departures,
        "figures": figures.shown,
        "scans": scans,
        "prediction": _prediction_rows(tables.get("prediction")),
        "measures": list(_MEASURES.values()),
        "horizon": file.spec.prediction.horizon_years,
        "seen": _seen(tables),
        "files": [(name, len(table)) for name, table in tables.items()],
    }
    publish_bytes(render("analysis.html.j2", root="", **values).encode(), place / "index.html")
    return place / "index.html"


def _primary(table: pd.DataFrame, file: SpecFile) -> pd.DataFrame:
    return table[table["covariate_set"] == file.spec.primary] if "covariate_set" in table else table


def _add_scan(figures: Figures, table: pd.DataFrame, name: str, what: str) -> list[dict[str, Any]]:
    """Miami (print), volcano and forest of one table; the Miami plot with names under the pointer is a page part."""
    rows = table[(table["scale"] == "per_sd") & (table["group_by"] == "overall")]
    tests = int((rows["status"] == "ok").sum())
    if not tests:
        return []
    threshold = float(-np.log10(Q_LEVEL / tests))
    caption = (
        f"Phenotypes against {what}: evidence of each pair, above the line where the ratio is over 1 and below where "
        f"it is under 1. Dashed: Bonferroni over {tests} tests."
    )
    figures.add(f"miami_{name}", manhattan(rows, threshold=threshold, miami=True), caption)
    ratio = "Odds ratio" if name == "associations" else "Hazard ratio"
    axis = f"{ratio} per SD of the phenotype (95 % interval, log scale)"
    figures.add(f"volcano_{name}", volcano(rows, axis), f"{ratio}s and their evidence; filled: q < {Q_LEVEL}.")
    figures.add(f"forest_{name}", forest(rows, axis), f"{ratio}s with 95 % intervals; blue: q < {Q_LEVEL}.")
    drawn = manhattan_interactive(rows, threshold=threshold, miami=True)
    return [{"title": words(what), "svg": Markup(drawn)}] if drawn else []


def _add_prediction(figures: Figures, tables: Mapping[str, pd.DataFrame]) -> None:
    made = {
        "prediction": (concordance_of_sets, "Concordance of nested sets of predictors, each person predicted by a "
                       "model that never saw them; 95 % intervals."),
        "prediction_calibration": (calibration_of_sets, "Observed against predicted risk in tenths of predicted risk; "
                                   "dashed: perfect. Tenths with few people or events are not shown."),
        "prediction_decisions": (net_benefit_of_sets, "Net benefit of treating those whose predicted risk reaches a "
                                 "threshold, beside treating all (dashed) and none (0)."),
    }  # fmt: skip
    for name, (draw, caption) in made.items():
        if name in tables:
            figures.add(name, draw(tables[name]), caption)


def _prediction_rows(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """A row a set and outcome, a cell a measure."""
    if table is None:
        return []
    rows = []
    for (outcome, name), of_set in table.groupby(["outcome", "exposure"], sort=False):
        by_measure = {row["measure"]: row for row in records(of_set)}
        cells = [_cell(by_measure.get(measure)) for measure in _MEASURES]
        first = of_set.iloc[0]
        counts = {"n": number(float(first["n"]), 0), "n_events": number(float(first["n_events"]), 0)}
        rows.append({"outcome": words(str(outcome)), "set": clean_text(name), "cells": cells, **counts})
    return rows


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["status"] != "ok":
        return clean_text(row["reason"] or row["status"]).replace("_", " ")
    text = number(float(row["estimate"]), 3)
    if pd.isna(row["ci_low"]):
        return text
    return f"{text} ({number(float(row['ci_low']), 3)} to {number(float(row['ci_high']), 3)})"


def _seen(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, str]]:
    """Exposures from a network that has seen people of the cohort, or whose card does not say."""
    found: dict[str, str] = {}
    for table in tables.values():
        if "seen_in_training" in table:
            named = table.loc[table["seen_in_training"].isin(["yes", "unknown"]), ["exposure", "seen_in_training"]]
            found |= dict(named.itertuples(index=False, name=None))
    return [{"exposure": clean_text(name), "seen": word} for name, word in sorted(found.items())]
