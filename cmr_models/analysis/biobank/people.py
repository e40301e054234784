"""The participants of an analysis from UK Biobank's fields: one row a person who came to the imaging visit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cmr_models.analysis.biobank.columns import FieldTable
from cmr_models.analysis.biobank.fields import (
    FIELDS,
    MONTHS,
    SCOTLAND,
    WALES,
    Field,
    check_fields,
    decode,
    field_of,
    read_numbers,
)
from cmr_models.analysis.biobank.placeholders import read_dates
from cmr_models.analysis.spec import Dates, StudySpec, UkbColumn

_DAYS_PER_YEAR = 365.25
_MID_MONTH = 15  # the day of birth is not released
_NUMBER_OF_MONTH = {name: number for number, name in MONTHS.items()}


def further_fields(spec: StudySpec) -> dict[int, Field]:
    """The fields that the spec adds to the dictionary."""
    return {number: Field(row.name, row.kind, row.codes, row.unit) for number, row in spec.fields.items()}


def needed_fields(spec: StudySpec) -> set[tuple[int, int]]:
    """Every (field, instance) that the participants are made from."""
    dates = _dates(spec)
    columns = {(column.field, _instance(column, spec)) for column in spec.people.values()}
    columns |= {(row.field, spec.instance) for row in spec.exposures if row.field is not None}
    times = {(dates.birth_year_field, 0), (dates.birth_month_field, 0), (dates.entry_field, spec.instance)}
    return columns | times | {(dates.nation_field, 0)}


def build_participants(data: FieldTable, spec: StudySpec) -> pd.DataFrame:
    """``participant, visit, age_years``, the columns of ``spec.people`` and phenotypes that are UK Biobank's own.

    Only people with a date at the imaging visit are in. ``entry_date``, ``birth_date`` and ``nation`` are for
    :func:`cmr_models.analysis.biobank.outcomes.build_outcomes`.

    Raises:
        ValueError: a field is absent, of another type, or has codes that its coding lacks: all of them are named.
    """
    refuse(check_fields(data, needed_fields(spec), further_fields(spec)))
    dates = _dates(spec)
    entry = _one_date(data, dates.entry_field, spec.instance)
    birth = _birth(data, dates)
    table = pd.DataFrame(
        {
            "participant": data.participants,
            "visit": str(spec.instance),
            "age_years": ((entry - birth) / np.timedelta64(1, "D") / _DAYS_PER_YEAR).round(4),
            "entry_date": entry,
            "birth_date": birth,
            "nation": nations(data.values(dates.nation_field, 0).iloc[:, 0]),
        }
    )
    for name, column in spec.people.items():
        table[name] = _values(data, column, _instance(column, spec), further_fields(spec)).to_numpy()
    for row in spec.exposures:
        if row.field is not None:
            known = field_of(row.field, further_fields(spec))
            assert known is not None  # checked at the door
            table[row.name] = read_numbers(data.values(row.field, spec.instance).iloc[:, 0], known)
    came = table["entry_date"].notna()
    young = int((table.loc[came, "age_years"] < 18).sum())
    if young:
        raise ValueError(f"{young} people are under 18 at the visit; check the fields of birth and entry")
    return table[came].reset_index(drop=True)


def refuse(findings: pd.DataFrame) -> None:
    """Stop where the table is not what the dictionary says.

    Raises:
        ValueError: names every finding.
    """
    if len(findings):
        lines = []
        for row in findings.to_dict("records"):
            where = row["column"] or f"field {row['field']} instance {row['instance']}"
            lines.append(f"{where}: {row['problem']} ({row['n']}) {row['detail']}")
        raise ValueError("the table is not as the field dictionary says: " + "; ".join(lines))


def nations(centre: pd.Series) -> pd.Series:
    """``england``, ``scotland`` or ``wales`` by the first assessment centre (code or name); missing stays missing."""
    number = pd.to_numeric(centre, errors="coerce")
    names = centre.astype("string").str.lower()
    scottish = number.isin(SCOTLAND) | names.isin(["glasgow", "edinburgh"])
    welsh = number.isin(WALES) | names.isin(["cardiff", "swansea", "wrexham"])
    found = np.select([scottish.fillna(False), welsh.fillna(False)], ["scotland", "wales"], "england")
    return pd.Series(found, index=centre.index, dtype=object).where(centre.notna(), None)


def _dates(spec: StudySpec) -> Dates:
    if spec.dates is None:
        raise ValueError("the spec has no `dates`; tables from UK Biobank need them")
    return spec.dates


def _instance(column: UkbColumn, spec: StudySpec) -> int:
    return spec.instance if column.instance == "imaging" else column.instance


def _one_date(data: FieldTable, field: int, instance: int) -> np.ndarray:
    return read_dates(data.values(field, instance).iloc[:, 0]).date


def _birth(data: FieldTable, dates: Dates) -> np.ndarray:
    """The middle of the month of birth; NaT where the year or the month is missing."""
    year = pd.to_numeric(data.values(dates.birth_year_field, 0).iloc[:, 0])
    month = decode(data.values(dates.birth_month_field, 0).iloc[:, 0], FIELDS[52])
    parts = pd.DataFrame({"year": year, "month": month.map(_NUMBER_OF_MONTH), "day": _MID_MONTH})
    return pd.to_datetime(parts, errors="coerce").to_numpy("datetime64[D]")


def _values(data: FieldTable, column: UkbColumn, instance: int, further: Mapping[int, Field]) -> pd.Series:
    known = field_of(column.field, further)
    assert known is not None  # checked at the door
    answers = data.values(column.field, instance)
    if known.kind in ("integer", "continuous"):
        numbers = np.column_stack([read_numbers(answers[name], known) for name in answers])
        if column.arrays == "mean":
            return pd.DataFrame(numbers).mean(axis=1)
        return pd.Series(numbers[:, 0 if column.arrays == "first" else -1])
    chosen: pd.Series = answers.iloc[:, 0 if column.arrays != "last" else -1]
    return decode(chosen, known) if known.kind == "categorical" else chosen
