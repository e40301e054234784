"""Perfusion on the page to publish: number of studies with perfusion, and their flow and reserve."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd

from cmr_models.perfusion.phenotypes import PHENOTYPES
from tasks.derive.perfusion_tables import PERFUSION_TABLE
from tasks.report.pages import number
from tasks.sources.withdrawn import without_withdrawn
from tasks.state.ledger import open_ledger
from tasks.state.parquet_tables import read_table
from tasks.state.store import Cohort

_SHOWN = ("mbf_rest_ml_min_g", "mbf_stress_ml_min_g", "mpr", "mpr_lad", "mpr_rca", "mpr_lcx", "mpr_lowest")


def perfusion_entries(cohort: Cohort) -> dict[str, tuple[str, str]]:
    """Study -> status and key at the perfusion stage, of studies that have a first-pass series."""
    if not cohort.ledger.exists():
        return {}
    with open_ledger(cohort.ledger) as ledger:
        entries = ledger.entries("perfusion")
    return {study: (e.status, e.key) for study, e in entries.items() if e.status in ("ok", "quarantined") and e.key}


def perfusion_summary(cohort: Cohort, minimum: int, withdrawn: Collection[str] = ()) -> dict[str, Any] | None:
    """Values of the section of the index page; None if no study has a first-pass series.

    Args:
        cohort: the cohort.
        minimum: the smallest number of people that may be published.
        withdrawn: keys of people who withdrew.
    """
    path = cohort.tables / "perfusion.parquet"
    if not path.exists():
        return None
    table = without_withdrawn(read_table(path, PERFUSION_TABLE), withdrawn)
    measured = table[table["status"] == "ok"]
    n_tried = len(measured) + int((table["status"].eq("quarantined") & table["reason"].ne("upstream")).sum())
    if not n_tried:
        return None
    rows = [
        _row(row.definition, row.unit, measured[row.name].dropna(), minimum) for row in PHENOTYPES if row.name in _SHOWN
    ]
    limited = int(measured["qc_quantitative"].eq(False).sum())
    return {
        "n": _count(n_tried, minimum),
        "measured": _count(len(measured), minimum),
        "limited": _count(limited, minimum),
        "rows": [row for row in rows if row is not None],
    }


def _row(title: str, unit: str, values: pd.Series, minimum: int) -> dict[str, str] | None:
    if values.empty:
        return None
    hidden = len(values) < minimum
    mean, sd = (float("nan"),) * 2 if hidden else (float(values.mean()), float(values.std(ddof=1)))
    return {
        "title": title.partition(":")[0],
        "unit": unit,
        "n": _count(len(values), minimum),
        "mean": number(mean, 2),
        "sd": number(sd, 2),
    }


def _count(n: int, minimum: int) -> str:
    return f"{n:,}" if n == 0 or n >= minimum else f"< {minimum}"
