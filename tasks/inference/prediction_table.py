"""The table of a predict stage: a row for every study, with what its network said or why it said nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cmr_models import zoo
from cmr_models.contracts.tables import PREDICTION_TABLE
from tasks.inference.settings import PredictSettings
from tasks.state.ledger import Ledger, Outcome
from tasks.state.parquet_tables import publish_table, table_key
from tasks.state.store import Cohort, digest, reading_tree


def table_path(cohort: Cohort, settings: PredictSettings) -> Path:
    """Where the table lies."""
    return cohort.tables / "predictions" / f"{settings.folder}.parquet"


def write_table(ledger: Ledger, cohort: Cohort, settings: PredictSettings) -> None:
    """Publish the table from the ledger; features are read from the predictions.

    Columns: ``study``, ``participant``, ``visit``, ``status``, ``reason``, the values, ``missing_reasons`` (JSON),
    and ``model_has_seen_cohort``: whether people of this cohort may have been in the network's training data, so
    that whatever is tested on them is optimistic; empty if that is not known.
    """
    card = zoo.card(settings.model, settings.task)
    seen = card.has_seen(settings.cohort_name)
    rows = [_row(outcome, cohort, settings, card.family == "pretrain") for outcome in ledger.outcomes(settings.stage)]
    table = pd.DataFrame([row | {"model_has_seen_cohort": seen} for row in rows if row])
    if "model_has_seen_cohort" in table:
        table["model_has_seen_cohort"] = table["model_has_seen_cohort"].astype("boolean")
    publish_table(table, table_path(cohort, settings), _key(ledger, settings), PREDICTION_TABLE if len(table) else None)


def is_current(ledger: Ledger, cohort: Cohort, settings: PredictSettings) -> bool:
    """Whether the published table was made from the ledger and settings as they are."""
    return table_key(table_path(cohort, settings)) == _key(ledger, settings)


def _key(ledger: Ledger, settings: PredictSettings) -> str:
    return digest({"ledger": ledger.state(settings.stage), "cohort": settings.cohort_name})


def _row(outcome: Outcome, cohort: Cohort, settings: PredictSettings, has_features: bool) -> dict[str, Any]:
    if outcome.status == "retired":
        return {}
    participant, _, visit = outcome.study.rpartition("-")
    row: dict[str, Any] = {
        "study": outcome.study,
        "participant": participant,
        "visit": visit,
        "status": outcome.status,
        "reason": outcome.reason,
        **outcome.summary.get("values", {}),
        "missing_reasons": json.dumps(outcome.summary.get("missing", {}), sort_keys=True),
    }
    if has_features and outcome.status == "ok":
        row |= _features(cohort.prediction(settings.folder, outcome.study))
    return row


def _features(path: Path) -> dict[str, float]:
    """End-diastole and the way from there to end-systole, of the class token and of each view's mean token."""
    row: dict[str, float] = {}
    with reading_tree(path) as tree:
        for name, node in tree.children.items():
            values = np.asarray(node["feature"].values, np.float64)
            ed, es = values.mean(axis=1) if values.ndim == 3 else values
            row |= {f"{name}_ed_{i}": float(x) for i, x in enumerate(ed)}
            row |= {f"{name}_es_minus_ed_{i}": float(x) for i, x in enumerate(es - ed)}
    return row
