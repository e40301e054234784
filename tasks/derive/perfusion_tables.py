"""The tables of the perfusion stage: one row a study, one row a segment, and the dictionary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from cmr_models.perfusion.phenotypes import PHENOTYPES
from tasks.state.ledger import Ledger, Outcome
from tasks.state.parquet_tables import publish_table, table_key
from tasks.state.store import Cohort, publish_bytes

_STAGE = "perfusion"
_IDENTITY: tuple[tuple[str, str], ...] = (
    ("study", "Study id: participant-visit"),
    ("participant", "Participant id, as text"),
    ("visit", "Visit, as text"),
    ("status", "ok, absent (no first-pass series) or quarantined"),
    ("reason", "Reason code where the status is not ok"),
    ("detail", "What was found, where the status is not ok"),
    ("key", "Digest of all that the row was made from"),
)
_NOTES: tuple[tuple[str, str], ...] = (
    ("qc_quantitative", "Arterial input and proton density were acquired, and no gate of the input failed"),
    ("limitations", "Codes of what limits the numbers, by state, separated by ;"),
    ("missing_reasons", "Why numbers are missing: JSON, phenotype -> reason code"),
)
_SEGMENT_TYPES = {
    "study": "str",
    "state": "str",
    "quantity": "str",
    "segment": "Int64",
    "layer": "str",
    "mean": "float64",
    "median": "float64",
    "sd": "float64",
    "min": "float64",
    "max": "float64",
    "pixels": "Int64",
}


def write_tables(ledger: Ledger, cohort: Cohort) -> int:
    """Publish ``perfusion.parquet``, ``perfusion_segments.parquet`` and the dictionary; returns the rows."""
    outcomes = [o for o in ledger.outcomes(_STAGE) if o.status != "retired"]
    publish_table(segment_table(outcomes), cohort.tables / "perfusion_segments.parquet")
    publish_bytes(dictionary_csv().encode(), cohort.tables / "perfusion_dictionary.csv")
    publish_table(perfusion_table(outcomes), perfusion_path(cohort), ledger.state(_STAGE))  # it vouches
    return len(outcomes)


def are_current(ledger: Ledger, cohort: Cohort) -> bool:
    """Whether the published tables were made from this ledger."""
    return table_key(perfusion_path(cohort)) == ledger.state(_STAGE)


def perfusion_table(outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """One row an outcome of the stage, in the order of study ids."""
    rows = [_row(outcome) for outcome in sorted(outcomes, key=lambda o: o.study)]
    return pd.DataFrame(rows, columns=[name for name, _ in _columns()]).astype(dict(_columns()))


def segment_table(outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """One row a study, state, map, segment and layer that has pixels."""
    rows = [
        {"study": outcome.study, **row}
        for outcome in sorted(outcomes, key=lambda o: o.study)
        for row in outcome.summary.get("segments", ())
    ]
    return pd.DataFrame(rows, columns=list(_SEGMENT_TYPES)).astype(_SEGMENT_TYPES)


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
    phenotypes stay blank where the cine was not measured.

    Raises:
        FileNotFoundError: if the perfusion table is not there.
    """
    names = perfusion_columns(wanted)
    if not names:
        return phenotypes
    path = perfusion_path(cohort)
    if not path.exists():
        raise FileNotFoundError(f"{names} are wanted and tables/perfusion.parquet is not there; run perfusion first")
    measured = pd.read_parquet(path, columns=["study", "status", *names]).query("status == 'ok'").set_index("study")
    joined = phenotypes.join(measured[names], on="study")
    joined["status"] = joined["status"].mask(joined["study"].isin(measured.index), "ok")
    return joined


def dictionary_csv() -> str:
    """The data dictionary of ``perfusion.parquet``: one row a column, in its order."""
    described: dict[str, dict[str, Any]] = {
        name: {"name": name, "type": "text", "definition": definition} for name, definition in (*_IDENTITY, *_NOTES)
    }
    described["qc_quantitative"]["type"] = "boolean"
    for row in PHENOTYPES:
        low, high = row.valid
        described[row.name] = {
            "name": row.name, "unit": row.unit, "type": "real", "definition": row.definition,
            "valid_low": low, "valid_high": high, "reference": row.reference,
        }  # fmt: skip
    columns = ["name", "unit", "type", "definition", "valid_low", "valid_high", "reference"]
    table = pd.DataFrame([described[name] for name, _ in _columns()], columns=columns)
    return table.to_csv(index=False, lineterminator="\n")


def _columns() -> Iterator[tuple[str, str]]:
    yield from ((name, "str") for name, _ in _IDENTITY)
    yield from ((row.name, "float64") for row in PHENOTYPES)
    yield "qc_quantitative", "boolean"
    yield from ((name, "str") for name, _ in _NOTES if name != "qc_quantitative")


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
