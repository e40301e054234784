"""The list of studies for internal quality control, and the choice of studies that get their own page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cmr_models.phenotypes.states import TITLES, state_of
from tasks.report.flow import sentence_of
from tasks.report.pages import clean_text, page_name, script_json
from tasks.report.tables import MAIN_STAGES, ReportTables, records
from tasks.state.store import digest

COLUMNS: tuple[tuple[str, str, int | None], ...] = (
    ("study", "Study", None),
    ("state", "State", None),
    ("stage", "Ended at", None),
    ("reasons", "Reason or flags", None),
    ("lvedv_ml", "LV EDV (mL)", 0),
    ("lvesv_ml", "LV ESV (mL)", 0),
    ("lvef_pct", "LV EF (%)", 1),
    ("lvm_g", "LV mass (g)", 0),
    ("rvedv_ml", "RV EDV (mL)", 0),
    ("rvef_pct", "RV EF (%)", 1),
    ("heart_rate_bpm", "Heart rate (1/min)", 0),
)
_UNFINISHED = "unfinished"
_OUTLIER_SD = 4.0
_OUTLIER_COLUMNS = ("lvedv_ml", "lvef_pct", "lvm_g", "rvedv_ml", "rvef_pct")


def list_rows(tables: ReportTables) -> pd.DataFrame:
    """One row for each study: state, status, last stage, reason, flags and main numbers."""
    ended = _last_stages(tables.outcomes)
    numbers = [name for name, _, digits in COLUMNS if digits is not None]
    phenotypes = tables.phenotypes
    if phenotypes is None:
        phenotypes = pd.DataFrame(columns=["study", "qc_ok", "qc_reasons", *numbers])
    columns = ["study", *(name for name in ("qc_ok", "qc_reasons", *numbers) if name in phenotypes)]
    rows = ended.merge(phenotypes[columns], on="study", how="left")
    rows["state"] = _states(rows)
    flags = rows.get("qc_reasons", pd.Series("", index=rows.index)).fillna("").astype(str)
    rows["reasons"] = [
        " ".join(dict.fromkeys(filter(None, (reason, *json.loads(found), *broken.split(";")))))
        for reason, found, broken in zip(rows["reason"], rows["flags"], flags, strict=True)
    ]
    rows["outlying"] = _find_outliers(rows)
    return rows


def _states(rows: pd.DataFrame) -> list[str]:
    """The word for each study's state; one that has passed its stages so far but is not measured yet is unfinished.

    Where there are no verdicts, the table of phenotypes is the user's own (``phenotypes.states``).
    """
    verdicts = rows.get("qc_ok", pd.Series(True, index=rows.index))
    found = zip(rows["status"], rows["stage"], verdicts, strict=True)
    return [
        _UNFINISHED if status == "ok" and stage != MAIN_STAGES[-1] else TITLES.get(state_of(status, verdict), "")
        for status, stage, verdict in found
    ]


def rows_script(rows: pd.DataFrame, pages: Iterable[str]) -> str:
    """The script with the rows of the list, as short arrays: 100,000 studies take about ten megabytes."""
    with_page = set(pages)
    lines = [
        [*(_cell(row[name], digits) for name, _, digits in COLUMNS), _link(row["study"], with_page)]
        for row in records(rows.reindex(columns=["study", *(name for name, _, _ in COLUMNS[1:])]))
    ]
    columns = [
        {"title": title} if digits is None else {"title": title, "number": True, "digits": digits}
        for _, title, digits in COLUMNS
    ]
    table = {"columns": columns, "rows": lines, "state": 1, "reason": 3, "page": len(COLUMNS)}
    return f"window.STUDY_TABLE={script_json(table)};\n"


def studies_with_page(rows: pd.DataFrame, most: int) -> tuple[list[str], str]:
    """Choose the studies that get a page; returns them and the rule in words.

    Up to ``most`` studies, all get a page. Of more, those with a flag, an outlier or a quarantine after conversion
    come first (they have images to look at), then others. The order depends on the id alone, so that a study keeps
    its page when the cohort grows.
    """
    if len(rows) <= most:
        return list(rows["study"]), "Every study has a page."
    looked_at = ((rows["reasons"] != "") & (rows["stage"] != "convert")) | rows["outlying"]
    order = pd.DataFrame({"later": ~looked_at, "chance": [digest(study) for study in rows["study"]]}, index=rows.index)
    chosen = rows.loc[order.sort_values(["later", "chance"]).index[:most], "study"]
    rule = (
        f"{most:,} of {len(rows):,} studies have a page: first those that were flagged, were quarantined after "
        f"conversion or lie more than {_OUTLIER_SD:g} robust standard deviations from the median of the cohort, then "
        "others at random. To get more pages, raise `report.study_pages_max` in the settings and run "
        "`cmr-cohort report`."
    )
    return sorted(chosen), rule


def reason_counts(outcomes: pd.DataFrame) -> list[dict[str, Any]]:
    """Exact counts of why studies left, for the internal list only."""
    left = outcomes[(outcomes["status"] != "ok") & (outcomes["reason"] != "upstream")]
    counts = Counter(left[["stage", "status", "reason"]].itertuples(index=False, name=None))
    rows = [
        {"stage": stage, "state": state_of(status, None), "code": code, "sentence": sentence_of(code), "n": n}
        for (stage, status, code), n in counts.items()
    ]
    rows = [{**row, "title": TITLES[row["state"]]} for row in rows]
    return sorted(rows, key=lambda row: (MAIN_STAGES.index(row["stage"]), -row["n"], row["code"]))


def _last_stages(outcomes: pd.DataFrame) -> pd.DataFrame:
    """The stage that decides on each study: the first one that ended it, or else the last one it passed."""
    order = outcomes.assign(
        position=outcomes["stage"].map(MAIN_STAGES.index), ended=(outcomes["status"] != "ok").astype(int)
    )
    order = order[order["reason"] != "upstream"]
    order["rank"] = np.where(
        order["ended"] == 1, len(MAIN_STAGES) + 1 - order["position"], order["position"] - len(MAIN_STAGES)
    )
    last = order.sort_values(["study", "rank"], kind="stable").drop_duplicates("study", keep="last")
    flags = outcomes.loc[outcomes["stage"] == "convert", ["study", "flags"]].rename(columns={"flags": "found"})
    last = last.merge(flags, on="study", how="left")
    last["flags"] = last["found"].fillna("[]")
    return last[["study", "status", "stage", "reason", "flags"]]


def _find_outliers(rows: pd.DataFrame) -> pd.Series:
    outlying = pd.Series(False, index=rows.index)
    for name in _OUTLIER_COLUMNS:
        values = rows[name].astype(float) if name in rows else pd.Series(dtype=float)
        if not values.notna().any():
            continue
        away = (values - values.median()).abs()
        spread = 1.4826 * away.median()  # the SD of a normal distribution
        outlying |= (away > _OUTLIER_SD * spread) & (spread > 0)
    return outlying


def _cell(value: Any, digits: int | None) -> Any:
    if digits is None:
        return "" if value is None or value is pd.NA or value != value else clean_text(value)
    return None if pd.isna(value) else round(float(value), digits)


def _link(study: str, with_page: set[str]) -> str | int:
    return page_name(study) if study in with_page else 0


def page_unit(row: Mapping[str, Any], sex: Any) -> dict[str, Any]:
    """A row of phenotypes as plain values for a page: numbers, booleans, text; missing values are NaN or None."""
    plain = {name: _plain(value) for name, value in row.items() if name not in ("participant", "visit", "sex")}
    return {"row": plain, "sex": sex if sex in ("male", "female") else None}


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | float | np.integer | np.floating):
        return float(value)
    return str(value)
