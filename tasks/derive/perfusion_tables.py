"""The tables of the perfusion stage: one row a study, one row a segment, and the dictionary."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from cmr_models.contracts import ColumnSpec, TableSpec
from cmr_models.perfusion.phenotypes import PHENOTYPES
from tasks.state.csv_text import csv_text
from tasks.state.ledger import Ledger, Outcome
from tasks.state.parquet_tables import read_table, table_key
from tasks.state.store import Cohort, publish_bytes
from tasks.state.study_tables import StudyTable

_STAGE = "perfusion"
_IDENTITY = (
    ColumnSpec("study", "text", "", "Study id: participant-visit"),
    ColumnSpec("participant", "text", "", "Participant id, as text"),
    ColumnSpec("visit", "text", "", "Visit, as text"),
    ColumnSpec("status", "text", "", "ok, absent (no first-pass series) or quarantined"),
    ColumnSpec("reason", "text", "", "Reason code where the status is not ok"),
    ColumnSpec("detail", "text", "", "What was found, where the status is not ok"),
    ColumnSpec("key", "text", "", "Digest of all that the row was made from"),
)
_NOTES = (
    ColumnSpec(
        "qc_quantitative",
        "boolean",
        "1",
        "Arterial input and proton density were acquired, and no gate of the input failed",
    ),
    ColumnSpec("limitations", "text", "", "Codes of what limits the numbers, by state, separated by ;"),
    ColumnSpec("missing_reasons", "text", "", "Why numbers are missing: JSON, phenotype -> reason code"),
)

PERFUSION_TABLE = TableSpec(
    "tables/perfusion.parquet",
    "a row a study, every study",
    (*_IDENTITY, *(ColumnSpec(row.name, "real", row.unit, row.definition) for row in PHENOTYPES), *_NOTES),
)
"""The contract of the table of perfusion phenotypes."""

SEGMENTS = TableSpec(
    "tables/perfusion_segments.parquet",
    "a row a study, state, map, segment and layer that has pixels",
    (
        ColumnSpec("study", "text", "", "study id: participant-visit"),
        ColumnSpec("state", "text", "", "rest, stress or unstated"),
        ColumnSpec("quantity", "text", "", "name of the map, with its unit"),
        ColumnSpec("segment", "integer", "1", "AHA segment", (1, 16)),
        ColumnSpec("layer", "text", "", "all, endo or epi", values=("all", "endo", "epi")),
        ColumnSpec("mean", "real", "of quantity", "mean over the pixels"),
        ColumnSpec("median", "real", "of quantity", "median over the pixels"),
        ColumnSpec("sd", "real", "of quantity", "standard deviation over the pixels"),
        ColumnSpec("min", "real", "of quantity", "lowest pixel"),
        ColumnSpec("max", "real", "of quantity", "highest pixel"),
        ColumnSpec("pixels", "integer", "1", "number of pixels", (1, 1_000_000)),
    ),
)
"""The contract of the table of segments."""


def write_tables(ledger: Ledger, cohort: Cohort) -> int:
    """Publish ``perfusion.parquet``, ``perfusion_segments.parquet`` and the dictionary; returns the rows."""
    StudyTable(SEGMENTS, (_STAGE,), lambda _, outcomes: segment_table(outcomes)).publish(ledger, cohort)
    publish_bytes(dictionary_csv().encode(), cohort.tables / "perfusion_dictionary.csv")
    table = StudyTable(PERFUSION_TABLE, (_STAGE,), lambda _, outcomes: perfusion_table(outcomes))
    return table.publish(ledger, cohort, ledger.state(_STAGE))  # last: it vouches for all


def are_current(ledger: Ledger, cohort: Cohort) -> bool:
    """Whether the published tables were made from this ledger."""
    return table_key(perfusion_path(cohort)) == ledger.state(_STAGE)


def perfusion_table(outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """One row an outcome of the stage, in the order of study ids."""
    rows = [_row(outcome) for outcome in sorted(outcomes, key=lambda o: o.study)]
    return pd.DataFrame(rows, columns=list(PERFUSION_TABLE.names)).astype(PERFUSION_TABLE.pandas_types)


def segment_table(outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """One row a study, state, map, segment and layer that has pixels."""
    rows = [
        {"study": outcome.study, **row}
        for outcome in sorted(outcomes, key=lambda o: o.study)
        for row in outcome.summary.get("segments", ())
    ]
    return pd.DataFrame(rows, columns=list(SEGMENTS.names)).astype(SEGMENTS.pandas_types)


def perfusion_path(cohort: Cohort) -> Path:
    """Where the stage's table of phenotypes lies."""
    return cohort.tables / "perfusion.parquet"


def perfusion_columns(wanted: Iterable[str]) -> list[str]:
    """Those of ``wanted`` that stand in the perfusion table."""
    known = {row.name for row in PHENOTYPES}
    return [name for name in wanted if name in known]


def with_perfusion(phenotypes: pd.DataFrame, cohort: Cohort, wanted: Iterable[str]) -> pd.DataFrame:
    """The phenotype table with the perfusion columns that an analysis wants; as it is if it wants none.

    A study whose perfusion was measured counts as measured: a visit may have been for perfusion alone. Its cine
    phenotypes stay blank where the cine was not measured, and its verdict is then that of the perfusion
    (``qc_quantitative``).

    Raises:
        FileNotFoundError: if the perfusion table is not there.
    """
    names = perfusion_columns(wanted)
    if not names:
        return phenotypes
    path = perfusion_path(cohort)
    if not path.exists():
        raise FileNotFoundError(f"{names} need tables/perfusion.parquet, which is not there; run perfusion first")
    measured = (
        read_table(path, PERFUSION_TABLE, columns=["study", "status", "qc_quantitative", *names])
        .query("status == 'ok'")
        .set_index("study")
    )
    joined = phenotypes.join(measured[names], on="study")
    alone = joined["study"].isin(measured.index) & joined["status"].ne("ok")
    verdicts = joined["study"].map(measured["qc_quantitative"].astype(object))
    known = joined["qc_ok"].astype(object) if "qc_ok" in joined else pd.Series(pd.NA, index=joined.index, dtype=object)
    return joined.assign(status=joined["status"].mask(alone, "ok"), qc_ok=known.mask(alone, verdicts))


def dictionary_csv() -> str:
    """The data dictionary of ``perfusion.parquet``: one row a column, in its order."""
    described: dict[str, dict[str, Any]] = {
        column.name: {"name": column.name, "type": column.kind, "definition": column.text}
        for column in (*_IDENTITY, *_NOTES)
    }
    for row in PHENOTYPES:
        low, high = row.valid
        described[row.name] = {
            "name": row.name, "unit": row.unit, "type": "real", "definition": row.definition,
            "valid_low": low, "valid_high": high, "reference": row.reference,
        }  # fmt: skip
    columns = ["name", "unit", "type", "definition", "valid_low", "valid_high", "reference"]
    table = pd.DataFrame([described[name] for name in PERFUSION_TABLE.names], columns=columns)
    return csv_text(table)


def _row(outcome: Outcome) -> dict[str, Any]:
    participant, _, visit = outcome.study.rpartition("-")
    summary = outcome.summary
    limits = summary.get("limitations", {})
    return {
        "study": outcome.study,
        "participant": participant,
        "visit": visit,
        "status": outcome.status,
        "reason": outcome.reason,
        "detail": outcome.detail,
        "key": outcome.key,
        **summary.get("phenotypes", {}),
        "qc_quantitative": None if outcome.status != "ok" else not any(limits.values()),
        "limitations": ";".join(f"{state}:{code}" for state, codes in sorted(limits.items()) for code in codes),
        "missing_reasons": json.dumps(summary.get("missing", {"*": outcome.reason}), sort_keys=True),
    }
