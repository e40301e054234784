"""The tables of the derive stage: phenotypes, curves and data dictionary, with a row for every study."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from cmr_models.phenotypes import PHENOTYPES, dictionary
from cmr_models.phenotypes.quality import RULES
from cmr_models.reasons import TABLE
from tasks.inference.segment_stage import SEGMENT
from tasks.state.ledger import Ledger, Outcome
from tasks.state.parquet_tables import publish_table, table_key
from tasks.state.store import Cohort, publish_bytes

_STAGE = "derive"
_STAGES = (*SEGMENT.lineage, _STAGE)

_IDENTITY: tuple[tuple[str, str], ...] = (
    ("study", "Study id: participant-visit"),
    ("participant", "Participant id, as text"),
    ("visit", "Visit, as text"),
    ("status", "ok, absent (no short axis) or quarantined"),
    ("stage", "The stage at which the study ended"),
    ("reason", "Reason code where the status is not ok"),
    ("detail", "What was found, where the status is not ok"),
    ("key", "Digest of all that the row was made from"),
)
_NOTES: tuple[tuple[str, str], ...] = (
    ("qc_ok", "No quality rule is broken"),
    ("qc_reasons", "Codes of the broken rules, separated by ;"),
    ("missing_reasons", 'Why numbers are missing: JSON, phenotype -> reason code; "*" stands for all'),
)

_CURVE_COLUMNS = ("time_ms", "lv_ml", "myocardium_ml", "rv_ml")


def write_tables(ledger: Ledger, cohort: Cohort) -> int:
    """Publish ``phenotypes.parquet``, ``curves.parquet`` and ``phenotypes_dictionary.csv``; returns the rows.

    Rows are in the order of study ids; a study whose source was removed has none. The same ledger gives the
    same tables, whatever the order in which the studies were done.
    """
    derived = {o.study: o for o in ledger.outcomes(_STAGE) if o.status != "retired"}
    ended = _where_ended(ledger)
    phenotypes = phenotype_table(derived.values(), ended)
    publish_table(curve_table(derived.values()), cohort.tables / "curves.parquet")
    publish_bytes(dictionary_csv().encode(), cohort.tables / "phenotypes_dictionary.csv")
    publish_table(phenotypes, cohort.tables / "phenotypes.parquet", ledger.state(*_STAGES))  # last: it vouches for all
    return len(phenotypes)


def are_current(ledger: Ledger, cohort: Cohort) -> bool:
    """Whether the published tables were made from this ledger."""
    return table_key(cohort.tables / "phenotypes.parquet") == ledger.state(*_STAGES)


def phenotype_table(outcomes: Iterable[Outcome], ended: Mapping[str, tuple[str, str, str]]) -> pd.DataFrame:
    """One row an outcome, in the order of study ids.

    Args:
        outcomes: of the derive stage.
        ended: study -> (stage, reason, detail) of studies that an earlier stage ended.
    """
    rows = [_row(outcome, ended) for outcome in sorted(outcomes, key=lambda o: o.study)]
    table = pd.DataFrame(rows, columns=[name for name, _ in _columns()])
    return table.astype(dict(_columns()))


def curve_table(outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """Volume curves, one row a study and frame: ``study, frame, time_ms, lv_ml, myocardium_ml, rv_ml``."""
    types = {"study": "str", "frame": "int64", **dict.fromkeys(_CURVE_COLUMNS, "float64")}
    curves = [_curve(o).astype(types) for o in sorted(outcomes, key=lambda o: o.study) if o.summary.get("curves")]
    empty = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})
    return pd.concat(curves, ignore_index=True) if curves else empty


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
    for name, definition in (*_IDENTITY, *_NOTES):
        described[name] = {"name": name, "type": "text", "definition": definition}
    described["qc_ok"]["type"] = "boolean"
    columns = ["name", "unit", "type", "definition", "inputs", "valid_low", "valid_high", "ukb_field", "reference"]
    table = pd.DataFrame([described[name] for name, _ in _columns()], columns=columns)
    return table.astype({"ukb_field": "Int64"}).to_csv(index=False, lineterminator="\n")


def _columns() -> Iterator[tuple[str, str]]:
    """Name and pandas type of every column of the phenotype table."""
    yield from ((name, "str") for name, _ in _IDENTITY)
    yield from ((row.name, "Int64" if row.integer else "float64") for row in PHENOTYPES)
    yield from ((rule.column, "boolean") for rule in RULES)
    yield "qc_ok", "boolean"
    yield from ((name, "str") for name, _ in _NOTES if name != "qc_ok")


def _row(outcome: Outcome, ended: Mapping[str, tuple[str, str, str]]) -> dict[str, Any]:
    participant, _, visit = outcome.study.rpartition("-")
    stage, reason, detail = (_STAGE, outcome.reason, outcome.detail)
    if reason == "upstream":
        stage, reason, detail = ended.get(outcome.study, (stage, reason, detail))
    summary = outcome.summary
    missing = summary.get("missing", {"*": reason})
    return {
        "study": outcome.study,
        "participant": participant,
        "visit": visit,
        "status": outcome.status,
        "stage": stage,
        "reason": reason,
        "detail": detail,
        "key": outcome.key,
        **summary.get("phenotypes", {}),
        **summary.get("quality", {}),
        "qc_ok": None if "quality" not in summary else not summary["quality_reasons"],
        "qc_reasons": ";".join(summary.get("quality_reasons", [])),
        "missing_reasons": json.dumps(_compact(missing), sort_keys=True),
    }


def _compact(missing: Mapping[str, str]) -> Mapping[str, str]:
    everything = len(missing) == len(PHENOTYPES) and len(set(missing.values())) == 1
    return {"*": next(iter(missing.values()))} if everything else missing


def _curve(outcome: Outcome) -> pd.DataFrame:
    curves = outcome.summary["curves"]
    frames = range(len(curves["lv_ml"]))
    return pd.DataFrame({"study": outcome.study, "frame": frames, **{name: curves[name] for name in _CURVE_COLUMNS}})


def _where_ended(ledger: Ledger) -> dict[str, tuple[str, str, str]]:
    """Study -> (stage, reason, detail) of the first stage that did not end "ok"."""
    ended: dict[str, tuple[str, str, str]] = {}
    for stage in _STAGES:
        for outcome in ledger.outcomes(stage):
            if outcome.status in ("absent", "quarantined") and outcome.reason != "upstream":
                ended.setdefault(outcome.study, (stage, outcome.reason, outcome.detail))
    return ended
