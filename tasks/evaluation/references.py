"""References of an evaluation, from the store and from a table of values; and the groups of people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from cmr_models.contracts.identifiers import KEYS, identifier_keys, study_key
from cmr_models.estimates.groups import age_band
from tasks.convert import reference_table
from tasks.state.ledger import Ledger
from tasks.state.store import Cohort
from tasks.state.user_tables import read_user_table

_GROUPS: Final = ("data_set", "sex", "vendor", "centre", "diagnosis", "age_band")
_AGE_EDGES_YEARS: Final = (55, 65, 75)
_MOST_GROUPS: Final = 12


def read_references(
    cohort: Cohort, ledger: Ledger, file: Path | None, people: Path | None, columns: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read everything that is known about each converted study.

    Args:
        cohort: its table of references is used if there is one.
        ledger: lists the converted studies and their labelled views.
        file: a table of reference values (CSV or Parquet) by ``study``, or by ``participant`` and ``visit``, or by
            ``participant`` alone; its values override those of the store.
        people: the table of participants, with the same keys.
        columns: our name -> name in the table of participants.

    Returns:
        Index ``study``; ``participant``, ``visit``, ``labelled`` and ``marked`` (view -> frames), all columns of the
        tables, ``age_band`` and ``bmi_kg_m2``.

    Raises:
        ValueError: if a table does not identify studies, or has a study twice.
    """
    rows = [
        {"study": outcome.study, **_labelled_views(outcome.summary.get("views", {}))}
        for outcome in ledger.outcomes("convert")
        if outcome.status == "ok"
    ]
    table = pd.DataFrame(rows, columns=["study", "labelled", "marked"]).set_index("study")
    parts = [name.rpartition("-") for name in table.index]
    table["participant"], table["visit"] = [part[0] for part in parts], [part[2] for part in parts]
    stored = reference_table.table_path(cohort)
    for source, names in ((people, columns or {}), (stored if stored.exists() else None, {}), (file, {})):
        if source is not None:
            table = _join(table, _read(source, names), source.name)
    return _add_derived(table)


def parse_number(value: Any) -> float:
    """Parse a cell as a number; NaN if it is not a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def group_columns(table: pd.DataFrame, chosen: Sequence[str] | None) -> list[str]:
    """The chosen columns; without a choice, the usual columns in which people differ."""
    if chosen is not None:
        return list(chosen)
    return [name for name in _GROUPS if name in table and 2 <= table[name].nunique() <= _MOST_GROUPS]


def _labelled_views(views: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[int]]]:
    return {
        name: {view: summary[key] for view, summary in views.items() if summary.get(key)}
        for name, key in (("labelled", "labelled_frames"), ("marked", "marked_frames"))
    }


def _read(source: Path, names: Mapping[str, str]) -> pd.DataFrame:
    """A table with our column names and keys, ``study`` too."""
    table = read_user_table(source, names)
    if "study" in table:
        table["study"] = table["study"].astype(str).map(study_key)
    return table


def _join(table: pd.DataFrame, more: pd.DataFrame, name: str) -> pd.DataFrame:
    """Add the columns of ``more`` to ``table``; where ``more`` has no value, the value of ``table`` stays."""
    keys = next((k for k in (["study"], ["participant", "visit"], ["participant"]) if set(k) <= set(more)), None)
    if keys is None:
        raise ValueError(f"{name} has neither study nor participant; it has {sorted(map(str, more.columns))}")
    if more.duplicated(keys).any():
        raise ValueError(f"{name} has {int(more.duplicated(keys).sum())} rows with the same {' and '.join(keys)}")
    kept = more.columns.difference(["study", "participant", "visit", "labelled", "marked"])
    found = _keys(table)[keys].merge(more[[*keys, *kept]], on=keys, how="left", indicator="met")
    if len(found) and len(more) and not (found["met"] == "both").any():
        raise ValueError(
            f"{name}: none of its {len(more)} rows has the {' and '.join(keys)} of one of the {len(found)} studies;"
            " tables/studies.parquet shows how those are written"
        )
    result = table.copy()
    for column in kept:
        new = pd.Series(found[column].array, index=table.index)
        result[column] = new.where(new.notna(), table[column]) if column in table else new
    return result


def _keys(table: pd.DataFrame) -> pd.DataFrame:
    """Keys of the studies of ``table``: of the study, the participant and the visit."""
    keys = {name: identifier_keys(table[name]) for name in KEYS}
    return pd.DataFrame({"study": [study_key(study) for study in table.index], **keys}, index=table.index).reset_index(
        drop=True
    )


def _add_derived(table: pd.DataFrame) -> pd.DataFrame:
    table = table.copy()
    if "age_years" in table:
        table["age_band"] = age_band(
            pd.to_numeric(table["age_years"], errors="coerce").to_numpy(float), _AGE_EDGES_YEARS
        )
    if {"height_cm", "weight_kg"} <= set(table) and "bmi_kg_m2" not in table:
        height, weight = (pd.to_numeric(table[name], errors="coerce") for name in ("height_cm", "weight_kg"))
        table["bmi_kg_m2"] = (weight / (height / 100) ** 2).replace([np.inf], np.nan)
    return table
