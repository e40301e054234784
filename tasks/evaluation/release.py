"""The summary of an evaluation as it may be published: small groups are masked, as in every table of people."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from cmr_models.analysis.disclosure.gate import Gate
from cmr_models.analysis.disclosure.masking import masked_counts

MASKED = "under the minimum"


def release_summary(gate: Gate, name: str, summary: pd.DataFrame) -> pd.DataFrame:
    """A copy with ``status`` and ``reason`` in which small groups are masked, and others that would reveal them.

    In a group of few studies, ``n`` and all values are masked. In a group in which few studies miss a value, only ``n``
    is masked, because another measure may tell the size of the group. Where ``n`` is masked, the missing values are
    masked too. The number of all studies that miss a value describes processing and is exact; a reason of few studies
    is masked.

    Args:
        gate: rules of what may be published, and the record of what was masked.
        name: name of the output.
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
    """Number of missing values with reasons, for a page: ``5 image_flat, no_prediction (under the minimum)``."""
    if np.isnan(n_missing):
        return MASKED
    texts = (f"{reason} ({MASKED})" if n is None else f"{n} {reason}" for reason, n in json.loads(reasons).items())
    return ", ".join(texts) or "0"


def _mask_reasons(text: str, minimum: int) -> str:
    """Counts of reasons, null where they are masked."""
    masked = masked_counts(json.loads(text), minimum)
    return json.dumps({reason: None if np.isnan(n) else int(n) for reason, n in masked.items()}, sort_keys=True)
