"""The cohort flow: how many studies entered, passed and ended at every stage, and why; small cells are masked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cmr_models.analysis.disclosure.masking import mask_small_cells, masked_counts
from cmr_models.phenotypes.states import STATES, states_of
from cmr_models.reasons import TABLE
from tasks.convert.convert_stage import CONVERT
from tasks.derive.derive_stage import DERIVE
from tasks.execution.stage import Stage
from tasks.report.tables import records
from tasks.stages import FIRST, STAGES

_KINDS = {"absent": "Not acquired", "quarantined": "Set aside"}


def cohort_flow(
    outcomes: pd.DataFrame, minimum_cell: int | None, phenotypes: pd.DataFrame | None = None
) -> dict[str, Any]:
    """Steps of the flow diagram.

    Totals of a stage describe processing and are exact. A reason that fewer than ``minimum_cell`` studies share is
    masked, and with it the next smallest if it could be had by subtraction.

    Args:
        outcomes: study, stage, status, reason: one row a study and stage.
        minimum_cell: the smallest count that may be shown; None shows all (internal pages only).
        phenotypes: the table of phenotypes, which tells passed studies from doubted ones.

    Returns:
        ``n_in``; ``steps``: title, ``n`` that went on, and ``left``: kind, total, reasons (sentence, n); the step of
        measuring has ``states`` too: see :func:`measured_states`.
    """
    first = next((stage.name for stage in STAGES if (outcomes["stage"] == stage.name).any()), FIRST.name)
    entered = outcomes[outcomes["stage"] == first]
    steps = [_step(outcomes[outcomes["stage"] == stage.name], stage, minimum_cell) for stage in STAGES]
    states = measured_states(phenotypes, minimum_cell)
    for stage, step in zip(STAGES, steps, strict=True):
        if stage is DERIVE and step is not None and states:
            step["states"] = states
    return {"n_in": len(entered), "steps": [step for step in steps if step is not None]}


def measured_states(phenotypes: pd.DataFrame | None, minimum_cell: int | None) -> list[dict[str, Any]]:
    """How many of the measured studies passed, and how many are doubted.

    Args:
        phenotypes: the table of phenotypes.
        minimum_cell: the smallest count that may be shown, of either; None shows all.

    Returns:
        A row for each of the two: ``code``, ``title``, ``meaning`` and ``text``, the count or why it is not shown;
        nothing if no study was measured.
    """
    if phenotypes is None or not (phenotypes["status"] == "ok").any():
        return []
    states = states_of(phenotypes)
    counts = {state.code: float((states == state.code).sum()) for state in STATES[:2]}
    shown = counts if minimum_cell is None else masked_counts(counts, minimum_cell)
    return [
        {
            "code": state.code,
            "title": state.title,
            "meaning": state.meaning,
            "text": count_text(counts[state.code], shown[state.code], minimum_cell or 1),
        }
        for state in STATES[:2]
    ]


def count_text(count: float, shown: float, minimum_cell: int) -> str:
    """A count that passed the gate, as text: ``shown`` is NaN where it may not be given."""
    if shown == shown:
        return f"{shown:,.0f}"
    return f"< {minimum_cell}" if count < minimum_cell else "not shown"


def left_before_analysis(flow: pd.DataFrame | None, minimum_cell: int) -> list[dict[str, str]]:
    """Studies, people and rows that each join of the statistics kept and left out, as text; where none left, nothing.

    Args:
        flow: ``outcome, group_by, step, n``: steps of one ``outcome`` and ``group_by`` add up; None if there is none.
        minimum_cell: the smallest count that may be shown.

    Returns:
        Rows ``counted`` (what is counted), ``step`` and ``n``.
    """
    if flow is None:
        return []
    rows = []
    for (outcome, group_by), steps in flow.groupby(["outcome", "group_by"], sort=False):
        counts = {str(step): float(n) for step, n in zip(steps["step"], steps["n"], strict=True) if n > 0}
        if len(counts) < (1 if group_by == "overall" else 2):
            continue  # nobody left
        shown = masked_counts(counts, minimum_cell)
        counted = "" if group_by == "overall" else str(group_by)
        title = f"{counted}, {str(outcome).replace('_', ' ')}" if outcome else counted
        rows += [
            {"counted": title, "step": step, "n": count_text(n, shown[step], minimum_cell)}
            for step, n in counts.items()
        ]
    return rows


def sentence_of(code: str) -> str:
    """The sentence of a reason code; the code itself if the table does not know it."""
    return TABLE[code].sentence if code in TABLE else code


def _step(rows: pd.DataFrame, stage: Stage, minimum_cell: int | None) -> dict[str, Any] | None:
    rows = rows[rows["reason"] != "upstream"]
    if rows.empty or (stage.optional and not (rows["status"] == "ok").any()):
        return None
    left = [_left(rows[rows["status"] == kind], title, minimum_cell) for kind, title in _KINDS.items()]
    return {
        "title": stage.title,
        "n": int((rows["status"] == "ok").sum()),
        "left": [kind for kind in left if kind["n"]],
    }


def _left(rows: pd.DataFrame, title: str, minimum_cell: int | None) -> dict[str, Any]:
    counts = rows["reason"].value_counts()
    shown = {str(code): float(n) for code, n in counts.items()}
    if minimum_cell is not None:
        shown = masked_counts(shown, minimum_cell)
    reasons = [{"code": code, "sentence": sentence_of(code), "n": n} for code, n in shown.items()]
    return {"title": title, "n": len(rows), "reasons": reasons}


def quality_table(outcomes: pd.DataFrame, minimum_cell: int) -> list[dict[str, Any]]:
    """How many of the studies that a rule could judge break it: rows stage, code, sentence, n, n_judged, share.

    Args:
        outcomes: stage, code, n_flagged, n_judged.
        minimum_cell: the smallest count that may be shown, of studies that break a rule or keep it.
    """
    if outcomes.empty:
        return []
    table = outcomes.rename(columns={"n_flagged": "n_events", "n_judged": "n"}).assign(share=outcomes["n_flagged"])
    table["share"] = table["n_events"] / table["n"].where(table["n"] > 0)
    masked = mask_small_cells(table, minimum_cell, values=("share",))
    return [{**row, "sentence": sentence_of(row["code"])} for row in records(masked)]


def flag_counts(outcomes: pd.DataFrame, phenotypes: pd.DataFrame | None, rules: Sequence[Any]) -> pd.DataFrame:
    """Studies that each rule could judge, and those that break it: of conversion (flags) and of measuring."""
    converted = outcomes[(outcomes["stage"] == CONVERT.name) & (outcomes["status"] == "ok")]
    codes = Counter(code for flags in converted["flags"] for code in json.loads(flags))
    rows: list[dict[str, Any]] = [
        {"stage": CONVERT.name, "code": str(code), "n_flagged": float(n), "n_judged": float(len(converted))}
        for code, n in codes.items()
    ]
    for rule in rules:
        if phenotypes is None or rule.column not in phenotypes:
            continue
        judged = phenotypes[rule.column].dropna().astype(bool)
        if len(judged):
            broken = float((~judged).sum())
            rows.append({"stage": DERIVE.name, "code": rule.code, "n_flagged": broken, "n_judged": float(len(judged))})
    return pd.DataFrame(rows, columns=["stage", "code", "n_flagged", "n_judged"])
