"""The summary of an evaluation as it may be published: small groups are masked, as in every table of people."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.disclosure.coarsening import lie_close, step_of_mean, to_step
from cmr_models.analysis.disclosure.gate import Gate, GateRules
from cmr_models.analysis.disclosure.masking import masked_counts, round_counts
from cmr_models.estimates import Z95

MASKED = "under the minimum"


def release_summary(gate: Gate, name: str, summary: pd.DataFrame) -> pd.DataFrame:
    """A copy with ``status`` and ``reason`` in which small groups are masked, and others that would reveal them.

    In a group of few studies, ``n`` and all values are masked. In a group in which few studies miss a value, only ``n``
    is masked, because another measure may tell the size of the group. Where ``n`` is masked, the missing values are
    masked too. A small number of missing values is masked, and a reason of few studies. Values and SDs are given in
    steps that one study does not move (:func:`.coarsening.step_of_mean`).

    Args:
        gate: rules of what may be published, and the record of what was masked.
        name: name of the output.
        summary: :data:`cmr_models.evaluation.summary.COLUMNS`.
    """
    grouped = summary["group_by"] != ""
    table = gate.table(name, summary.assign(n_excluded=summary["n_missing"].where(grouped)))
    table = table if gate.rules.threshold < 2 else _coarsen(table, summary["n"].to_numpy(float))
    hidden = table["n"].isna()
    table["n_missing"] = table["n_missing"].astype(float).mask(hidden)
    masked = {text: _mask_reasons(text, gate.rules) for text in table["reasons"].unique()}
    table["reasons"] = np.where(hidden, "{}", table["reasons"].map(masked))
    few = table["n_missing"].between(1, gate.rules.threshold - 1)
    table["n_missing"] = table["n_missing"].mask(few)
    if gate.rules.base is not None:
        table["n_missing"] = round_counts(table["n_missing"], gate.rules.base)
    return table


def count_rules(summary: pd.DataFrame, minimum: int) -> GateRules:
    """Rules for a summary: counts are rounded if one, or what two of one group differ by, is small."""
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
