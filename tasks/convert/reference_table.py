"""The table of references: what public data sets tell of each study, and which of its views people drew in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.sources.public_facts import FACTS
from tasks.state.ledger import Ledger, Outcome
from tasks.state.parquet_tables import publish_table, table_key
from tasks.state.store import Cohort

_TYPES = {
    "study": "str",
    "participant": "str",
    "visit": "str",
    **FACTS,
    "labelled_views": "str",
    "marked_views": "str",
    "faults": "str",
}


def table_path(cohort: Cohort) -> Path:
    """Where the table lies; it is only there if some study has references."""
    return cohort.tables / "references.parquet"


def write_reference_table(ledger: Ledger, cohort: Cohort) -> None:
    """Publish the table from the ledger: a row a study of a public data set.

    Columns: ``study``, ``participant``, ``visit``, :data:`tasks.sources.public_facts.FACTS`, ``labelled_views`` and
    ``marked_views`` (views with labels, with landmarks; ``;`` between them), ``faults`` (JSON: what was left out, why).
    ``ed_frame`` and ``es_frame`` count from 0 in the study's own frames. What is not known is empty.
    """
    if not ledger.with_value("convert", "facts"):
        table_path(cohort).unlink(missing_ok=True)
        return
    rows = [_row(outcome) for outcome in ledger.outcomes("convert") if "facts" in outcome.summary]
    table = pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)
    text = [name for name, kind in _TYPES.items() if kind == "str"]
    table[text] = table[text].replace({"nan": None, "None": None})
    publish_table(table, table_path(cohort), ledger.state("convert"))


def is_current(ledger: Ledger, cohort: Cohort) -> bool:
    """Whether the published table was made from this ledger; True if there is none to make."""
    if not ledger.with_value("convert", "facts"):
        return not table_path(cohort).exists()
    return table_key(table_path(cohort)) == ledger.state("convert")


def _row(outcome: Outcome) -> dict[str, Any]:
    participant, _, visit = outcome.study.rpartition("-")
    views = outcome.summary.get("views", {})
    return {
        "study": outcome.study,
        "participant": participant,
        "visit": visit,
        **outcome.summary["facts"],
        "labelled_views": ";".join(sorted(name for name, view in views.items() if view.get("labelled_frames"))),
        "marked_views": ";".join(sorted(name for name, view in views.items() if view.get("marked_frames"))),
        "faults": json.dumps(outcome.summary.get("reference_faults", []), sort_keys=True),
    }
