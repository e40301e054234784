"""Perfusion on the page to publish: number of studies with perfusion, and their flow and reserve."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cmr_models.analysis.disclosure.coarsening import step_of_mean, to_step
from cmr_models.estimates.contributions import Contributions
from cmr_models.perfusion.phenotypes import PHENOTYPES, PerfusionPhenotype
from tasks.derive.perfusion_stage import PERFUSION
from tasks.report.counts import Counts
from tasks.report.flow import NOT_SHOWN, left_name
from tasks.report.pages import number
from tasks.state.ledger import open_ledger
from tasks.state.store import Cohort

TRIED, MEASURED, LIMITED, QUANTITATIVE = "perfusion tried", "perfusion measured", "limited", "quantitative"
_STAGE = PERFUSION.title
_SHOWN = ("mbf_rest_ml_min_g", "mbf_stress_ml_min_g", "mpr", "mpr_lad", "mpr_rca", "mpr_lcx", "mpr_lowest")


def perfusion_entries(cohort: Cohort) -> dict[str, tuple[str, str]]:
    """Study -> status and key at the perfusion stage, of studies that have a first-pass series."""
    if not cohort.ledger.exists():
        return {}
    with open_ledger(cohort.ledger) as ledger:
        entries = ledger.entries("perfusion")
    return {study: (e.status, e.key) for study, e in entries.items() if e.status in ("ok", "quarantined") and e.key}


def perfusion_counts(table: pd.DataFrame | None) -> dict[str, float]:
    """Every number of studies in the section, exact, by :data:`TRIED`, :data:`MEASURED`, :data:`LIMITED`,
    :data:`QUANTITATIVE` and the phenotypes with a value; empty if no study has a first-pass series.
    """
    if table is None:
        return {}
    measured = table[table["status"] == "ok"]
    tried = len(measured) + int((table["status"].eq("quarantined") & table["reason"].ne("upstream")).sum())
    limited = int(measured["qc_quantitative"].eq(False).sum())
    named = {TRIED: tried, MEASURED: len(measured), LIMITED: limited, QUANTITATIVE: len(measured) - limited}
    values = {row.name: int(measured[row.name].notna().sum()) for row in PHENOTYPES if row.name in _SHOWN}
    found = {name: float(n) for name, n in named.items()} | {name: float(n) for name, n in values.items() if n}
    return found if tried else {}


def perfusion_summary(table: pd.DataFrame | None, counts: Counts) -> dict[str, Any] | None:
    """Values of the section of the index page; None if no study has a first-pass series.

    Args:
        table: of perfusion.
        counts: how counts are shown; what is withheld are the names of :func:`perfusion_counts`, and the titles of the
            stage in the flow, which counts the same studies.
    """
    known = perfusion_counts(table)
    if table is None or not known:
        return None
    measured = table[table["status"] == "ok"]
    texts = {name: counts.text(n) for name, n in known.items()}
    texts |= {name: NOT_SHOWN for name in texts if name in counts.withheld}
    if {MEASURED, _STAGE} & counts.withheld:
        texts |= dict.fromkeys((MEASURED, LIMITED), NOT_SHOWN)
    if {_STAGE, left_name(_STAGE, "Set aside")} & counts.withheld:
        texts[TRIED] = NOT_SHOWN
    rows = [_row(row, measured[row.name].dropna(), texts[row.name], counts) for row in PHENOTYPES if row.name in texts]
    return {"n": texts[TRIED], "measured": texts[MEASURED], "limited": texts[LIMITED], "rows": rows}


def _row(phenotype: PerfusionPhenotype, values: pd.Series, text: str, counts: Counts) -> dict[str, str]:
    n, mean, sd = len(values), float(values.mean()), float(values.std(ddof=1))
    if not text[0].isdigit() or (counts.minimum > 1 and Contributions.of(values).is_dominated):
        mean, sd = float("nan"), float("nan")
    elif counts.minimum > 1:
        mean, sd = to_step([mean, sd], step_of_mean(n, sd)).tolist()
    return {
        "title": phenotype.definition.partition(":")[0],
        "name": phenotype.name,
        "unit": phenotype.unit,
        "n": text,
        "mean": number(mean, 2),
        "sd": number(sd, 2),
    }
