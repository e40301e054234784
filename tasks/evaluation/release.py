"""The summary of an evaluation as it may be passed on: through the disclosure gate, like every table of people."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.gate import Gate
from cmr_models.analysis.disclosure.masking import masked_counts

MASKED = "under the minimum"


def release_summary(gate: Gate, name: str, summary: pd.DataFrame) -> pd.DataFrame:
    """A copy with ``status`` and ``reason``, small groups masked, and with them enough others of the same grouping.

    A group of few studies loses ``n`` and its figures. A group with few studies that miss a value keeps its figures,
    but not ``n``: the groups of another measure may tell how many it is in all. Where ``n`` is masked, so is what is
    missing. How many of all studies miss a value describes processing and is exact; a reason of few of them is masked.

    Args:
        gate: what may be published, and the record of what was done.
        name: of the output.
        summary: :data:`cmr_models.evaluation.summary.COLUMNS`.
    """
    grouped = summary["group_by"] != ""
    table = gate.table(name, summary.assign(n_excluded=summary["n_missing"].where(grouped)))
    hidden = table["n"].isna()
    table["n_missing"] = table["n_missing"].astype(float).mask(hidden)
    shown = [_mask_reasons(text, gate.rules.threshold) for text in table["reasons"]]
    table["reasons"] = np.where(hidden, "{}", np.array(shown, object))
    return table


def missing_text(n_missing: float, reasons: str) -> str:
    """How many miss a value and why, for a page: ``5 image_flat, no_prediction (under the minimum)``."""
    if np.isnan(n_missing):
        return MASKED
    told = (f"{reason} ({MASKED})" if n is None else f"{n} {reason}" for reason, n in json.loads(reasons).items())
    return ", ".join(told) or "0"


def _mask_reasons(text: str, minimum: int) -> str:
    """Counts of reasons, null where they are masked."""
    masked = masked_counts(json.loads(text), minimum)
    return json.dumps({reason: None if np.isnan(n) else int(n) for reason, n in masked.items()}, sort_keys=True)
