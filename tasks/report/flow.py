"""The cohort flow: how many studies entered, passed and ended at every stage, and why; small cells are masked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cmr_models.analysis.disclosure.masking import mask_small_cells
from cmr_models.phenotypes.states import STATES, states_of
from cmr_models.reasons import TABLE
from tasks.convert.convert_stage import CONVERT
from tasks.derive.derive_stage import DERIVE
from tasks.execution.stage import Stage
from tasks.report.counts import Counts
from tasks.report.tables import records
from tasks.stages import FIRST, STAGES

_KINDS = {"absent": "Not acquired", "quarantined": "Set aside"}
_OTHER = "Other reasons, each of few studies"
NOT_SHOWN = "not shown"
DOUBTED = "doubted"
"""Measured studies that break a rule, as :attr:`.counts.Counts.withheld` has them."""


def cohort_flow(outcomes: pd.DataFrame, counts: Counts, phenotypes: pd.DataFrame | None = None) -> dict[str, Any]:
    """Steps of the flow diagram.

    Totals are rounded where ``counts`` says so. Reasons that too few studies share are told together, without their
    names, and if they are still few, the next smallest is hidden with them.

    Args:
        outcomes: study, stage, status, reason: one row a study and stage.
        counts: how counts are shown; a minimum of 1 shows all (internal pages only).
        phenotypes: the table of phenotypes, which tells passed studies from doubted ones.

    Returns:
        ``n_in`` and its ``text``; ``steps``: title, ``after`` (title of the stage whose studies it takes; empty for the
        first), ``n`` that went on, ``text``, and ``left``: kind, total and reasons (sentence) with their ``text``; the
        step of measuring has ``states`` too: see :func:`measured_states`.
    """
    steps = [_step(outcomes[outcomes["stage"] == stage.name], stage, counts) for stage in STAGES]
    states = measured_states(phenotypes, counts)
    for stage, step in zip(STAGES, steps, strict=True):
        if stage is DERIVE and step is not None and states:
            step["states"] = states
    n_in = len(_entered(outcomes))
    return {
        "n_in": counts.round(n_in),
        "text": counts.text(n_in),
        "steps": [step for step in steps if step is not None],
    }


def totals_left(steps: Mapping[str, Any], counts: Counts) -> dict[str, str]:
    """How many left over all stages, by kind, as text."""
    left = [kind for step in steps["steps"] for kind in step["left"]]
    totals = {}
    for title in ("Set aside", "Not acquired"):
        found = [kind for kind in left if kind["title"] == title]
        hidden = any(kind["text"] == NOT_SHOWN for kind in found) or title in counts.withheld
        totals[title] = NOT_SHOWN if hidden else counts.text(sum(kind["n"] for kind in found))
    return totals


def flow_counts(outcomes: pd.DataFrame, phenotypes: pd.DataFrame | None) -> list[float]:
    """Every number of studies in the flow and about its states, exact: what :class:`Counts` are decided by."""
    found = [float(len(_entered(outcomes)))]
    rows = outcomes[outcomes["reason"] != "upstream"]
    found += rows.groupby(["stage", "status"]).size().astype(float).tolist()
    if phenotypes is not None:
        found += [float(n) for n in states_of(phenotypes).value_counts()]
        found.append(float((phenotypes["status"] == "ok").sum()))
    return found


def _entered(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first stage that anybody reached."""
    first = next((stage.name for stage in STAGES if (outcomes["stage"] == stage.name).any()), FIRST.name)
    return outcomes[outcomes["stage"] == first]


def measured_states(phenotypes: pd.DataFrame | None, counts: Counts) -> list[dict[str, Any]]:
    """How many of the measured studies passed, and how many are doubted.

    Args:
        phenotypes: the table of phenotypes.
        counts: how counts are shown.

    Returns:
        A row for each of the two: ``code``, ``title``, ``meaning`` and ``text``, the count or why it is not shown;
        nothing if no study was measured.
    """
    if phenotypes is None or not (phenotypes["status"] == "ok").any():
        return []
    states = states_of(phenotypes)
    texts = counts.texts({state.code: float((states == state.code).sum()) for state in STATES[:2]})
    if {"studies measured", DOUBTED} & counts.withheld:
        texts = dict.fromkeys(texts, NOT_SHOWN)
    return [
        {"code": state.code, "title": state.title, "meaning": state.meaning, "text": texts[state.code]}
        for state in STATES[:2]
    ]


def left_before_analysis(flow: pd.DataFrame | None, shown: Counts) -> list[dict[str, str]]:
    """Studies, people and rows that each join of the statistics kept and left out, as text; where none left, nothing.

    Args:
        flow: ``outcome, group_by, step, n``: steps of one ``outcome`` and ``group_by`` add up; None if there is none.
        shown: how counts are shown.

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
        texts = shown.texts(counts)
        counted = "" if group_by == "overall" else str(group_by)
        title = f"{counted}, {str(outcome).replace('_', ' ')}" if outcome else counted
        if joined_name(title) in shown.withheld:
            continue
        rows += [{"counted": title, "step": step, "n": texts[step]} for step in counts]
    return rows


def joined_name(counted: str) -> str:
    """The name of a list of what the joins kept and left out, as :attr:`.counts.Counts.withheld` has it."""
    return f"joined: {counted}"


def sentence_of(code: str) -> str:
    """The sentence of a reason code; the code itself if the table does not know it."""
    return TABLE[code].sentence if code in TABLE else code


def _step(rows: pd.DataFrame, stage: Stage, counts: Counts) -> dict[str, Any] | None:
    rows = rows[rows["reason"] != "upstream"]
    if rows.empty or (stage.optional and not (rows["status"] == "ok").any()):
        return None
    left = [_left(rows[rows["status"] == kind], stage.title, title, counts) for kind, title in _KINDS.items()]
    n = int((rows["status"] == "ok").sum())
    return {
        "title": stage.title,
        "after": stage.upstream.title if stage.upstream else "",
        "n": counts.round(n),
        "text": NOT_SHOWN if stage.title in counts.withheld else counts.text(n),
        "left": [kind for kind in left if kind is not None],
    }


def left_name(stage: str, kind: str) -> str:
    """The name of those who left at a stage, as :attr:`.counts.Counts.withheld` has it."""
    return f"{stage}: {kind}"


def _left(rows: pd.DataFrame, stage: str, title: str, counts: Counts) -> dict[str, Any] | None:
    if rows.empty:
        return None
    if {stage, left_name(stage, title)} & counts.withheld:
        return {"title": title, "n": float(len(rows)), "text": NOT_SHOWN, "reasons": []}
    by_reason = {str(code): float(n) for code, n in rows["reason"].value_counts().items()}
    few = [code for code, n in by_reason.items() if n < counts.minimum]
    if len(few) > 1:
        by_reason = {code: n for code, n in by_reason.items() if code not in few} | {
            _OTHER: sum(by_reason[code] for code in few)
        }
    texts = counts.texts(by_reason)
    reasons = [
        {"code": code, "sentence": sentence_of(code), "text": text, "hidden": not text[0].isdigit()}
        for code, text in texts.items()
    ]
    return {"title": title, "n": float(len(rows)), "text": counts.text(len(rows)), "reasons": reasons}


def quality_table(outcomes: pd.DataFrame, counts: Counts) -> list[dict[str, Any]]:
    """How many of the studies that a rule could judge break it.

    Args:
        outcomes: stage, code, n_flagged, n_judged.
        counts: how counts are shown, of studies that break a rule or keep it.

    Returns:
        Rows stage, code, sentence, n (judged), n_events (that break it; NaN where hidden), share, and ``flagged``: the
        number that break it as text, or why it is not shown.
    """
    if outcomes.empty:
        return []
    table = outcomes.rename(columns={"n_flagged": "n_events", "n_judged": "n"}).assign(share=outcomes["n_flagged"])
    masked = mask_small_cells(table, counts.minimum, values=("share",))
    withheld = masked["code"].map(rule_name).isin(counts.withheld) | ({DOUBTED, FLAGGED} & counts.withheld != set())
    masked.loc[withheld, ["n", "n_events"]] = float("nan")
    for name in ("n", "n_events"):
        masked[name] = [counts.round(n) if n == n else n for n in masked[name]]
    masked["share"] = masked["n_events"] / masked["n"].where(masked["n"] > 0)
    few = outcomes["n_flagged"].between(1, counts.minimum - 1).to_numpy(bool) & ~withheld
    texts = [
        f"{n:,.0f}" if n == n else f"< {counts.minimum}" if is_small else NOT_SHOWN
        for n, is_small in zip(masked["n_events"], few, strict=True)
    ]
    return [{**row, "sentence": sentence_of(row["code"])} for row in records(masked.assign(flagged=texts))]


FLAGGED = "flags of all rules"
"""The table of rules as a whole, as :attr:`.counts.Counts.withheld` has it."""


def rule_name(code: str) -> str:
    """The name of a rule, as :attr:`.counts.Counts.withheld` has it."""
    return f"rule: {code}"


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
