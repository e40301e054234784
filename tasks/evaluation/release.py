"""The summary of an evaluation as it may be published: small groups are masked, as in every table of people."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.audit import audit
from cmr_models.analysis.disclosure.claims import EVERYBODY, claims_of, limits_of
from cmr_models.analysis.disclosure.coarsening import lie_close, step_of_mean, to_step
from cmr_models.analysis.disclosure.dominance import DOMINATED
from cmr_models.analysis.disclosure.gate import Gate, GateRules, differs_by_few, hide
from cmr_models.analysis.disclosure.masking import SUPPRESSED, masked_counts, round_counts
from cmr_models.estimates import Z95

MASKED = "under the minimum"
_MEASURE = ("measure", "of", "view", "phase")


def release_summary(gate: Gate, name: str, summary: pd.DataFrame) -> pd.DataFrame:
    """A copy with ``status`` and ``reason`` in which small groups are masked, and others that would reveal them.

    In a group of few studies, ``n`` and all values are masked. In a group in which few studies miss a value, only ``n``
    is masked, because another measure may tell the size of the group. Where ``n`` is masked, the missing values are
    masked too. A small number of missing values is masked, and a reason of few studies. Values and SDs are given in
    steps that one study does not move (:func:`.coarsening.step_of_mean`). Where one error dominates, SD, interval and
    root mean square are masked. What the numbers of studies together determine is masked, too.

    Args:
        gate: rules of what may be published, and the record of what was masked.
        name: name of the output.
        summary: :data:`cmr_models.evaluation.summary.COLUMNS`.
    """
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
        table["n_missing"] = round_counts(table["n_missing"], gate.rules.base)
    told = _determined(table, gate.rules) if minimum > 1 else np.zeros(len(table), bool)
    if told.any():
        table = hide(table, told, np.full(len(table), "secondary", object))
        table.loc[told, "n_missing"], table.loc[told, "reasons"] = np.nan, "{}"
        gate.amend(name, table)
    return table


def summary_says(table: pd.DataFrame, rules: GateRules) -> pd.DataFrame:
    """Claims of a published summary: in every group, studies with a value and without one."""
    rows = []
    for row in table.to_dict("records"):
        measure = " ".join(str(row[name]) for name in _MEASURE)
        place = {"group_by": row["group_by"] or EVERYBODY[0], "group": row["group"]}
        for population in ("n", "n_missing"):
            low, high = limits_of(row[population], rules.base or 1, rules.threshold)
            about = {"exposure": measure, "population": population, "low": float(low), "high": float(high)}
            rows.append({**about, **place, "hidden": np.isnan(row[population])})
    return claims_of(rows)


def _determined(table: pd.DataFrame, rules: GateRules) -> npt.NDArray[np.bool_]:
    """``(n,)`` rows of a measure and grouping of which all numbers together determine a small one."""
    found = audit({}, rules.threshold, figures=summary_says(table, rules))
    wrong = found.loc[found["determined"].astype(bool), ["exposure", "group_by"]]
    measure = table[list(_MEASURE)].astype(str).agg(" ".join, axis=1)
    own = pd.MultiIndex.from_arrays([measure, table["group_by"].replace("", EVERYBODY[0])])
    return np.asarray(own.isin(pd.MultiIndex.from_frame(wrong)), bool)


def _without_dominated(summary: pd.DataFrame) -> pd.DataFrame:
    """``summary`` without what tells the one error that dominates a group: SD, interval and root mean square."""
    dominated = summary["dominated"].to_numpy(bool)
    whole = dominated & (summary["measure"] == "rmse").to_numpy(bool)
    summary = summary.assign(status=np.where(whole, SUPPRESSED, "ok"), reason=np.where(whole, DOMINATED, ""))
    summary.loc[dominated, ["sd", "ci_low", "ci_high"]] = np.nan
    summary.loc[whole, "value"] = np.nan
    return summary


def count_rules(summary: pd.DataFrame, minimum: int, earlier: Sequence[pd.DataFrame] = ()) -> GateRules:
    """Rules for a summary: counts are rounded if one, or what two of one group differ by, is small.

    Args:
        summary: before the gate.
        minimum: the smallest number that may be published.
        earlier: the same summary as it was published before: it may not differ by few either.
    """
    if any(differs_by_few(summary, before, minimum).any() for before in earlier):
        return GateRules(minimum, minimum if minimum > 1 else None)
    groups = summary.groupby(["group_by", "group"])
    few = any(
        lie_close(np.r_[0, rows["n"], rows["n_missing"], rows["n"] + rows["n_missing"]], minimum) for _, rows in groups
    )
    return GateRules(minimum, minimum if few and minimum > 1 else None)


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
