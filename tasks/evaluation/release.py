"""The summary of an evaluation as it may be published: small groups are masked, as in every table of people."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.audit import audit
from cmr_models.analysis.disclosure.claims import EVERYBODY, together
from cmr_models.analysis.disclosure.coarsening import lie_close, step_of_mean, to_step
from cmr_models.analysis.disclosure.dominance import DOMINATED
from cmr_models.analysis.disclosure.gate import Gate, GateRules, differs_by_few, hide
from cmr_models.analysis.disclosure.masking import SUPPRESSED, masked_counts, round_counts
from cmr_models.analysis.disclosure.people_counted import Counted, differ_by_few
from cmr_models.estimates import Z95
from tasks.evaluation.summary_claims import DOUBTED, exposures_of, measures_of, summary_means, summary_says
from tasks.state.published_beside import Beside

Bools = npt.NDArray[np.bool_]
_log = logging.getLogger("cmr_cohort")

MASKED = "under the minimum"


@dataclass(frozen=True)
class Publication:
    """Who publishes, of whom, and what else is published of the cohort.

    Attributes:
        name: of the evaluation, unlike that of others of the cohort.
        counted: its studies, as :func:`studies_counted` names its populations.
        groups: index study, a column of labels for each grouping.
        beside: everything else.
    """

    name: str = ""
    counted: Counted = field(default_factory=dict)
    groups: pd.DataFrame = field(default_factory=pd.DataFrame)
    beside: Beside = field(default_factory=Beside)


def release_summary(
    gate: Gate, name: str, summary: pd.DataFrame, publication: Publication | None = None
) -> pd.DataFrame:
    """A copy with ``status`` and ``reason`` in which small groups are masked, and others that would reveal them.

    In a group of few studies, ``n`` and all values are masked. In a group in which few studies miss a value, only ``n``
    is masked, because another measure may tell the size of the group. Where ``n`` is masked, the missing values are
    masked too. A small number of missing values is masked, and a reason of few studies. Values and SDs are given in
    steps that one study does not move (:func:`.coarsening.step_of_mean`). Where one error dominates, SD, interval and
    root mean square are masked. What the numbers of studies together determine, beside all else that is published, is
    masked, too.

    Args:
        gate: rules of what may be published, and the record of what was masked.
        name: name of the output.
        summary: :data:`cmr_models.evaluation.summary.COLUMNS`.
        publication: who publishes, and beside what.
    """
    table, about = _masked(gate, name, summary), publication or Publication()
    for _ in range(_ROUNDS if gate.rules.threshold > 1 else 0):
        wrong = _told(table, gate.rules, about)
        shown = _without_told(table, wrong)
        if shown.equals(table):
            if len(wrong):
                _log.warning("%s: %d hidden numbers can be worked out from what is published beside it; have a person"
                             " look at it", about.name or name, len(wrong))  # fmt: skip
            break
        table = shown
        gate.amend(name, table)
    return table


_ROUNDS = 3
"""What is hidden in a row may leave others to be hidden."""


def _masked(gate: Gate, name: str, summary: pd.DataFrame) -> pd.DataFrame:
    """The summary as it passes the gate by itself."""
    grouped = summary["group_by"] != ""
    minimum = gate.rules.threshold
    ready = _without_dominated(summary) if minimum > 1 else summary.assign(status="ok", reason="")
    ready = ready.drop(columns="dominated").assign(n_excluded=summary["n_missing"].where(grouped))
    table = gate.table(name, ready)
    table = table if gate.rules.threshold < 2 else _coarsen(table, summary["n"].to_numpy(float))
    hidden = table["n"].isna()
    table["n_missing"] = table["n_missing"].astype(float).mask(hidden)
    masked = {text: _mask_reasons(text, gate.rules) for text in table["reasons"].unique()}
    table["reasons"] = np.where(hidden, "{}", table["reasons"].map(masked))
    few = table["n_missing"].between(1, gate.rules.threshold - 1)
    table["n_missing"] = table["n_missing"].mask(few)
    if gate.rules.base is not None:
        names = [name for name in ("n_missing", "n_doubted") if name in table]
        table = table.assign(**{name: round_counts(table[name], gate.rules.base) for name in names})
    return table


def _told(table: pd.DataFrame, rules: GateRules, about: Publication) -> pd.DataFrame:
    """Exposure and grouping of small numbers that all that is published together determines."""
    own = summary_says(table, rules, about.name)
    figures = together(own, about.beside.relate(own, about.counted, rules.threshold))
    found = audit({**about.beside.tables, "means": summary_means(table, rules)}, rules.threshold, figures=figures)
    return found.loc[found["determined"].astype(bool), ["exposure", "group_by"]]


def _rows_told(table: pd.DataFrame, wrong: pd.DataFrame) -> Bools:
    """``(n,)`` rows of a quantity and grouping of which a number is determined."""
    group_by = table["group_by"].replace("", EVERYBODY[0])
    told = np.zeros(len(table), bool)
    for names in (exposures_of(table), measures_of(table)):
        told |= pd.MultiIndex.from_arrays([names, group_by]).isin(pd.MultiIndex.from_frame(wrong))
    return told


def _without_told(table: pd.DataFrame, wrong: pd.DataFrame) -> pd.DataFrame:
    """``table`` without the numbers that are determined, and those beside them."""
    told = _rows_told(table, wrong)
    table = hide(table, told, np.full(len(table), "secondary", object))
    table.loc[told, "n_missing"], table.loc[told, "reasons"] = np.nan, "{}"
    if "n_doubted" in table and (wrong["group_by"] == DOUBTED[1]).any():
        table = table.assign(n_doubted=np.nan)
    return table


def _without_dominated(summary: pd.DataFrame) -> pd.DataFrame:
    """``summary`` without what tells the one error that dominates a group: SD, interval and root mean square."""
    dominated = summary["dominated"].to_numpy(bool)
    whole = dominated & (summary["measure"] == "rmse").to_numpy(bool)
    summary = summary.assign(status=np.where(whole, SUPPRESSED, "ok"), reason=np.where(whole, DOMINATED, ""))
    summary.loc[dominated, ["sd", "ci_low", "ci_high"]] = np.nan
    summary.loc[whole, "value"] = np.nan
    return summary


def count_rules(
    summary: pd.DataFrame, minimum: int, earlier: Sequence[pd.DataFrame] = (), publication: Publication | None = None
) -> GateRules:
    """Rules for a summary: counts are rounded if one, or what two of one group differ by, is small.

    Args:
        summary: before the gate.
        minimum: the smallest number that may be published.
        earlier: the same summary as it was published before: it may not differ by few either.
        publication: who publishes, and beside what, from which it may not differ by few, nor tell a small one.
    """
    exact, rounded = GateRules(minimum), GateRules(minimum, minimum if minimum > 1 else None)
    if minimum < 2 or any(differs_by_few(summary, before, minimum).any() for before in earlier):
        return rounded
    groups = summary.groupby(["group_by", "group"])
    few = any(
        lie_close(np.r_[0, rows["n"], rows["n_missing"], rows["n"] + rows["n_missing"]], minimum) for _, rows in groups
    )
    about = publication or Publication()
    few = few or differ_by_few(about.counted, about.beside.counted, about.groups, minimum)
    if few or (publication and len(_told(_masked(Gate(exact), "summary", summary), exact, publication))):
        return rounded
    return exact


def _coarsen(table: pd.DataFrame, n: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Values, intervals and SDs in steps; where no SD is given, that which the interval stands for."""
    reach = (table["ci_high"] - table["ci_low"]).to_numpy(float)
    sd = np.where(np.isfinite(table["sd"]), table["sd"], reach / (2 * Z95) * np.sqrt(n))
    step = step_of_mean(n, sd)
    coarse = {name: to_step(table[name], step) for name in ("value", "ci_low", "ci_high", "sd")}
    return table.assign(**coarse)


def missing_text(n_missing: float, reasons: str) -> str:
    """Number of missing values with reasons, for a page: ``5 image_flat, no_prediction (under the minimum)``."""
    if np.isnan(n_missing):
        return MASKED
    texts = (f"{reason} ({MASKED})" if n is None else f"{n} {reason}" for reason, n in json.loads(reasons).items())
    return ", ".join(texts) or "0"


def _mask_reasons(text: str, rules: GateRules) -> str:
    """Counts of reasons, null where they are masked."""
    masked = masked_counts(json.loads(text), rules.threshold)
    shown = {reason: n if rules.base is None else float(round_counts(n, rules.base)) for reason, n in masked.items()}
    return json.dumps({reason: None if np.isnan(n) else int(n) for reason, n in shown.items()}, sort_keys=True)
