"""The tables of the derive stage: phenotypes, curves and data dictionary, with a row for every study."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from cmr_models.contracts import ColumnSpec, TableSpec
from cmr_models.phenotypes import PHENOTYPES, dictionary
from cmr_models.phenotypes.quality import RULES
from cmr_models.phenotypes.states import STATES, state_of, states_of
from cmr_models.reasons import TABLE
from tasks.inference.segment_stage import SEGMENT
from tasks.state.csv_text import csv_text
from tasks.state.ledger import Ledger, Outcome
from tasks.state.parquet_tables import table_key
from tasks.state.store import Cohort, digest, publish_bytes
from tasks.state.study_tables import StudyTable

_STAGE = "derive"
_STAGES = (*SEGMENT.lineage, _STAGE)

_IDENTITY = (
    ColumnSpec("study", "text", "", "Study id: participant-visit"),
    ColumnSpec("participant", "text", "", "Participant id, as text"),
    ColumnSpec("visit", "text", "", "Visit, as text"),
    ColumnSpec("status", "text", "", "ok, absent (no short axis) or quarantined"),
    ColumnSpec("state", "text", "", "; ".join(f"{state.code}: {state.meaning}" for state in STATES)),
    ColumnSpec("stage", "text", "", "The stage at which the study ended"),
    ColumnSpec("reason", "text", "", "Reason code where the status is not ok"),
    ColumnSpec("detail", "text", "", "What was found, where the status is not ok"),
    ColumnSpec("key", "text", "", "Digest of all that the row was made from"),
)
_NOTES = (
    ColumnSpec("qc_ok", "boolean", "1", "No quality rule is broken"),
    ColumnSpec("qc_reasons", "text", "", "Codes of the broken rules, separated by ;"),
    ColumnSpec(
        "slices_left_out",
        "text",
        "",
        "Slices that do not count at ED or ES though a ventricle was found there (JSON); empty if it is not said",
    ),
    ColumnSpec(
        "missing_reasons", "text", "", 'Why numbers are missing: JSON, phenotype -> reason code; "*" stands for all'
    ),
)

PHENOTYPE_TABLE = TableSpec(
    "tables/phenotypes.parquet",
    "a row a study, every study",
    (
        *_IDENTITY,
        *(ColumnSpec(row.name, "integer" if row.integer else "real", row.unit, row.definition) for row in PHENOTYPES),
        *(ColumnSpec(rule.column, "boolean", "1", f"False: {TABLE[rule.code].sentence}") for rule in RULES),
        *_NOTES,
    ),
)
"""The contract of the table of phenotypes."""

CURVES = TableSpec(
    "tables/curves.parquet",
    "a row a study and frame of the short axis",
    (
        ColumnSpec("study", "text", "", "study id: participant-visit"),
        ColumnSpec("frame", "integer", "frame", "frame, from 0", (0, 100_000)),
        ColumnSpec("time_ms", "real", "ms", "delay after the R wave"),
        ColumnSpec("lv_ml", "real", "mL", "LV blood pool"),
        ColumnSpec("myocardium_ml", "real", "mL", "LV myocardium"),
        ColumnSpec("rv_ml", "real", "mL", "RV blood pool"),
    ),
)
"""The contract of the table of volume curves."""

_CURVE_COLUMNS = CURVES.names[2:]


def write_tables(ledger: Ledger, cohort: Cohort) -> int:
    """Publish ``phenotypes.parquet``, ``curves.parquet`` and ``phenotypes_dictionary.csv``; returns the rows.

    Rows are in the order of study ids; a study whose source was removed has none. The same ledger gives the
    same tables, whatever the order in which the studies were done.
    """
    _CURVES.publish(ledger, cohort)
    publish_bytes(dictionary_csv().encode(), cohort.tables / "phenotypes_dictionary.csv")
    return _PHENOTYPES.publish(ledger, cohort, _key(ledger))  # last: it vouches for all


def are_current(ledger: Ledger, cohort: Cohort) -> bool:
    """Whether the published tables were made from this ledger."""
    return table_key(cohort.tables / "phenotypes.parquet") == _key(ledger)


def _key(ledger: Ledger) -> str:
    """Digest of what the tables are made from; new columns change it, so that the tables alone are written again."""
    return digest({"ledger": ledger.state(*_STAGES), "columns": PHENOTYPE_TABLE.names})


def with_state(phenotypes: pd.DataFrame) -> pd.DataFrame:
    """The table of phenotypes with the column ``state``, by ``status`` and ``qc_ok`` also where it has one."""
    table = phenotypes.drop(columns="state", errors="ignore")
    table.insert(list(table).index("status") + 1, "state", states_of(table))
    return table


def phenotype_table(outcomes: Iterable[Outcome], ended: Mapping[str, tuple[str, str, str]]) -> pd.DataFrame:
    """One row an outcome, in the order of study ids.

    Args:
        outcomes: of the derive stage.
        ended: study -> (stage, reason, detail) of studies that an earlier stage ended.
    """
    rows = [_row(outcome, ended) for outcome in sorted(outcomes, key=lambda o: o.study)]
    return pd.DataFrame(rows, columns=list(PHENOTYPE_TABLE.names)).astype(PHENOTYPE_TABLE.pandas_types)


def curve_table(outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """Volume curves, one row a study and frame: ``study, frame, time_ms, lv_ml, myocardium_ml, rv_ml``."""
    columns: dict[str, list[Any]] = {name: [] for name in CURVES.names}
    for outcome in sorted(outcomes, key=lambda o: o.study):
        if curves := outcome.summary.get("curves"):
            n = len(curves["lv_ml"])
            columns["study"] += [outcome.study] * n
            columns["frame"] += range(n)
            for name in _CURVE_COLUMNS:
                columns[name] += curves[name]
    return pd.DataFrame(columns).astype(CURVES.pandas_types | {"frame": "int64"})


def dictionary_csv() -> str:
    """The data dictionary of the phenotype table: one row a column, in its order."""
    described = {row["name"]: row for row in dictionary()}
    for rule in RULES:
        described[rule.column] = {
            "name": rule.column,
            "type": "boolean",
            "definition": f"False: {TABLE[rule.code].sentence} ({rule.code}, {TABLE[rule.code].kind})",
            "inputs": " ".join(rule.inputs),
        }
    for column in (*_IDENTITY, *_NOTES):
        described[column.name] = {"name": column.name, "type": column.kind, "definition": column.text}
    columns = ["name", "unit", "type", "definition", "inputs", "valid_low", "valid_high", "ukb_field", "reference"]
    table = pd.DataFrame([described[name] for name in PHENOTYPE_TABLE.names], columns=columns)
    return csv_text(table.astype({"ukb_field": "Int64"}))


def _row(outcome: Outcome, ended: Mapping[str, tuple[str, str, str]]) -> dict[str, Any]:
    participant, _, visit = outcome.study.rpartition("-")
    stage, reason, detail = (_STAGE, outcome.reason, outcome.detail)
    if reason == "upstream":
        stage, reason, detail = ended.get(outcome.study, (stage, reason, detail))
    summary = outcome.summary
    missing = summary.get("missing", {"*": reason})
    qc_ok = None if "quality" not in summary else not summary["quality_reasons"]
    return {
        "study": outcome.study,
        "participant": participant,
        "visit": visit,
        "status": outcome.status,
        "state": state_of(outcome.status, qc_ok),
        "stage": stage,
        "reason": reason,
        "detail": detail,
        "key": outcome.key,
        **summary.get("phenotypes", {}),
        **summary.get("quality", {}),
        "qc_ok": qc_ok,
        "qc_reasons": ";".join(summary.get("quality_reasons", [])),
        "slices_left_out": _json_or_empty(summary.get("slices_left_out")),
        "missing_reasons": json.dumps(_compact(missing), sort_keys=True),
    }


def _json_or_empty(rows: list[dict[str, Any]] | None) -> str:
    return "" if rows is None else json.dumps(rows, sort_keys=True)


def _compact(missing: Mapping[str, str]) -> Mapping[str, str]:
    everything = len(missing) == len(PHENOTYPES) and len(set(missing.values())) == 1
    return {"*": next(iter(missing.values()))} if everything else missing


def _where_ended(ledger: Ledger, outcomes: Iterable[Outcome]) -> dict[str, tuple[str, str, str]]:
    """Study -> (stage, reason, detail) of the first stage that did not end "ok", of those that ended before."""
    before = sorted(outcome.study for outcome in outcomes if outcome.reason == "upstream")
    ended: dict[str, tuple[str, str, str]] = {}
    for stage in _STAGES:
        for study, (reason, detail) in ledger.ended(stage, before).items():
            ended.setdefault(study, (stage, reason, detail))
    return ended


_CURVES = StudyTable(CURVES, (_STAGE,), lambda _, outcomes: curve_table(outcomes))
_PHENOTYPES = StudyTable(
    PHENOTYPE_TABLE, _STAGES, lambda ledger, outcomes: phenotype_table(outcomes, _where_ended(ledger, outcomes))
)
