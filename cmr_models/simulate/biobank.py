"""A simulated cohort as a UK Biobank export: fields with instances and arrays, coded values, dates of records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.simulate.cohort import SimulatedCohort

Days = npt.NDArray[np.datetime64]
Labels = npt.NDArray[np.object_]

_DAYS_PER_YEAR = 365.25
_SEX = {"female": 0, "male": 1}
_ETHNICITY = {"white": 1001, "asian": 3001, "black": 4001, "mixed": 2001, "other": 6, "unknown": -3}
_CENTRE = {"Cheadle": 11025, "Newcastle": 11027, "Reading": 11026, "Bristol": 11028}
_SMOKING = {"never": 0, "previous": 1, "current": 2}
# condition -> field of its first occurrence or algorithm, ICD-10 code of its hospital record
RECORDED: Mapping[str, tuple[int, str]] = {
    "heart_failure": (131354, "I500"),
    "atrial_fibrillation": (131350, "I480"),
    "myocardial_infarction": (42000, "I219"),
    "diabetes": (130708, "E119"),
    "hypertension": (131286, "I10"),
}
_ARRAYS = 6


def ukb_table(
    cohort: SimulatedCohort,
    rng: np.random.Generator,
    *,
    censoring_date: str,
    style: Literal["main", "rap"] = "main",
) -> pd.DataFrame:
    """One row for each participant; columns are named as in the main dataset (``53-2.0``) or the platform (``p53_i2``).

    Prevalent disease begins up to ten years before the visit, incident disease on the day that the outcome table says.
    Every disease has its own date field and is among the hospital diagnoses; cancer is in the register, a death has
    its cause. Only year and month of birth are given.

    Args:
        cohort: from :func:`cmr_models.simulate.cohort.simulate_cohort`.
        rng: source of the days before the visit and of the order of the diagnoses.
        censoring_date: end of the records; the date with which the cohort was simulated.
        style: of the column names.
    """
    people = cohort.participants
    visit = people["imaging_date"].to_numpy("datetime64[D]")
    rows = {name: table.reset_index(drop=True) for name, table in cohort.outcomes.groupby("condition", sort=False)}
    birth = visit - np.round(cohort.truth["age_years"].to_numpy(float) * _DAYS_PER_YEAR).astype("timedelta64[D]")
    born = pd.to_datetime(birth)
    columns: dict[tuple[int, int, int], object] = {
        (31, 0, 0): people["sex"].map(_SEX),
        (34, 0, 0): born.year,
        (52, 0, 0): born.month,
        (53, 0, 0): _format_days(np.asarray(visit - np.timedelta64(2000, "D"), "datetime64[D]")),
        (53, 2, 0): _format_days(visit),
        (54, 0, 0): rng.choice([11010, 11004, 11003], len(people), p=[0.9, 0.06, 0.04]),
        (54, 2, 0): people["centre"].map(_CENTRE),
        (21000, 0, 0): people["ethnicity"].map(_ETHNICITY),
        (50, 2, 0): people["height_cm"],
        (21002, 2, 0): people["weight_kg"],
        (4080, 2, 0): people["systolic_mmhg"] + 2,
        (4080, 2, 1): people["systolic_mmhg"] - 2,
        (20116, 2, 0): people["smoking"].map(_SMOKING),
        (22189, 0, 0): people["deprivation"],
    }
    columns |= _death_and_loss(rows["death"], visit, np.datetime64(censoring_date, "D"))
    dates = {name: _first_record(rows[name], visit, rng) for name in (*RECORDED, "cancer")}
    columns |= {(field, 0, 0): _format_days(dates[name]) for name, (field, _) in RECORDED.items()}
    columns |= {(40005, 0, 0): _format_days(dates["cancer"])}
    columns |= {(40006, 0, 0): _code_column(~np.isnat(dates["cancer"]), "C509")}
    columns |= _hospital(dates, rng)
    named = {_column_name(key, style): value for key, value in columns.items()}
    return pd.DataFrame({"eid": people["participant"].to_numpy(), **{k: np.asarray(v) for k, v in named.items()}})


def _first_record(rows: pd.DataFrame, visit: Days, rng: np.random.Generator) -> Days:
    """Day of the first record: before the visit if the disease is prevalent, at the event if it is incident."""
    after = _follow_up(rows)
    before = rng.integers(1, 3650, len(rows)).astype("timedelta64[D]")
    prevalent, event = rows["prevalent"].to_numpy() == 1, rows["event"].to_numpy() == 1
    return np.select([prevalent, event], [visit - before, visit + after], np.datetime64("NaT", "D"))


def _follow_up(rows: pd.DataFrame) -> npt.NDArray[np.timedelta64]:
    years = (rows["exit_years"] - rows["entry_years"]).to_numpy(float)
    return np.asarray(np.round(years * _DAYS_PER_YEAR).astype("timedelta64[D]"))


def _death_and_loss(rows: pd.DataFrame, visit: Days, last: np.datetime64) -> dict[tuple[int, int, int], object]:
    end = visit + _follow_up(rows)
    died = rows["event"].to_numpy() == 1
    lost = ~died & (end < last)
    never = np.datetime64("NaT", "D")
    return {
        (40000, 0, 0): _format_days(np.where(died, end, never)),
        (40001, 0, 0): _code_column(died, "R99"),
        (40002, 0, 0): np.full(len(rows), None, object),
        (191, 0, 0): _format_days(np.where(lost, end, never)),
    }


def _hospital(dates: Mapping[str, Days], rng: np.random.Generator) -> dict[tuple[int, int, int], object]:
    """Diagnoses and their dates at the same array index, not sorted by date."""
    n = len(next(iter(dates.values())))
    codes = np.full((n, _ARRAYS), None, object)
    days = np.full((n, _ARRAYS), np.datetime64("NaT", "D"))
    codes[:, 0], days[:, 0] = "Z961", np.datetime64("2001-05-05", "D")  # everybody has it, and no outcome uses it
    for k, (name, (_, code)) in enumerate(RECORDED.items(), start=1):
        there = ~np.isnat(dates[name])
        codes[there, k], days[there, k] = code, dates[name][there]
    order = rng.permuted(np.tile(np.arange(_ARRAYS), (n, 1)), axis=1)
    codes, days = np.take_along_axis(codes, order, 1), np.take_along_axis(days, order, 1)
    found: dict[tuple[int, int, int], object] = {(41270, 0, k): codes[:, k] for k in range(_ARRAYS)}
    return found | {(41280, 0, k): _format_days(days[:, k]) for k in range(_ARRAYS)}


def _format_days(days: Days) -> Labels:
    text: Labels = np.datetime_as_string(days, unit="D").astype(object)
    text[np.isnat(days)] = None
    return text


def _code_column(there: npt.NDArray[np.bool_], code: str) -> Labels:
    codes: Labels = np.full(len(there), None, object)
    codes[there] = code
    return codes


def _column_name(key: tuple[int, int, int], style: str) -> str:
    field, instance, array = key
    if style == "main":
        return f"{field}-{instance}.{array}"
    visited = field in (50, 53, 54, 4080, 20116, 21000, 21002, 40000, 40001, 40002, 40005, 40006)
    several = field in (4080, 40002, 41270, 41280)
    return f"p{field}" + (f"_i{instance}" if visited else "") + (f"_a{array}" if several else "")
