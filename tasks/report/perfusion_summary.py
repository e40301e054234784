"""Perfusion on the page to publish: number of studies with perfusion, and their flow and reserve."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd

from cmr_models.analysis.disclosure.coarsening import step_of_mean, to_step
from cmr_models.estimates.contributions import Contributions
from cmr_models.perfusion.phenotypes import PHENOTYPES
from tasks.derive.perfusion_tables import PERFUSION_TABLE
from tasks.report.counts import Counts
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


def perfusion_summary(
    cohort: Cohort, minimum: int, withdrawn: Collection[str] = (), *, rounded: bool = False
) -> dict[str, Any] | None:
    """Values of the section of the index page; None if no study has a first-pass series.

    Args:
        cohort: the cohort.
        minimum: the smallest number of people that may be published.
        withdrawn: keys of people who withdrew.
        rounded: whether counts are rounded whatever they are.
    """
    path = cohort.tables / "perfusion.parquet"
    if not path.exists():
        return None
    table = without_withdrawn(read_table(path, PERFUSION_TABLE), withdrawn)
    measured = table[table["status"] == "ok"]
    n_tried = len(measured) + int((table["status"].eq("quarantined") & table["reason"].ne("upstream")).sum())
    if not n_tried:
        return None
    limited = int(measured["qc_quantitative"].eq(False).sum())
    values = [(row.definition, row.unit, measured[row.name].dropna()) for row in PHENOTYPES if row.name in _SHOWN]
    known = [n_tried, len(measured), limited, len(measured) - limited, *(len(found) for *_, found in values)]
    counts = Counts.of(known, minimum, rounded=rounded)
    return {
        "n": counts.text(n_tried),
        "measured": counts.text(len(measured)),
        "limited": counts.text(limited),
        "rows": [_row(title, unit, found, counts) for title, unit, found in values if len(found)],
    }


def _row(title: str, unit: str, values: pd.Series, counts: Counts) -> dict[str, str]:
    n, mean, sd = len(values), float(values.mean()), float(values.std(ddof=1))
    if n < counts.minimum or (counts.minimum > 1 and Contributions.of(values).is_dominated):
        mean, sd = float("nan"), float("nan")
    elif counts.minimum > 1:
        mean, sd = to_step([mean, sd], step_of_mean(n, sd)).tolist()
    return {
        "title": title.partition(":")[0],
        "unit": unit,
        "n": counts.text(n),
        "mean": number(mean, 2),
        "sd": number(sd, 2),
    }
