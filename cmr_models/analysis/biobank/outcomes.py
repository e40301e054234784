"""Outcomes of people: the first record of each condition, and the time under follow-up."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.biobank.columns import FieldTable
from cmr_models.analysis.biobank.fields import check_fields
from cmr_models.analysis.biobank.people import further_fields, refuse
from cmr_models.analysis.biobank.people import needed_fields as people_fields
from cmr_models.analysis.biobank.placeholders import read_dates
from cmr_models.analysis.spec import Dates, OutcomeDefinition, Source, StudySpec

Days = npt.NDArray[np.datetime64]
Bools = npt.NDArray[np.bool_]

_DAYS_PER_YEAR = 365.25
_NEVER = np.datetime64("NaT", "D")
_HOSPITAL, _CAUSES, _CANCER = (41270, 41280), (40001, 40002), (40006, 40005)


class BuiltOutcomes(NamedTuple):
    """Outcomes and how they came about.

    Attributes:
        outcomes: one row a person and condition: ``participant, visit, condition, prevalent, entry_years, exit_years,
            event, cause`` (0 censored, 1 the condition, 2 death from something else).
        flow: one row a condition and step: ``outcome, group_by, group, step, n``, before the disclosure gate; steps of
            group_by ``people`` add up to those who came.
    """

    outcomes: pd.DataFrame
    flow: pd.DataFrame


@dataclass(frozen=True)
class _First:
    """The first record of a condition of each person; records without a day beside it."""

    date: Days
    undated: Bools
    at_birth: Bools


def build_outcomes(data: FieldTable, participants: pd.DataFrame, spec: StudySpec) -> BuiltOutcomes:
    """Every outcome of the spec for the participants of :func:`cmr_models.analysis.biobank.people.build_participants`.

    A person is watched from the visit (plus ``incident_from_days``) to the first of the condition, death, loss, and
    the last day of the registers that the condition is read from, in the nation of the first assessment. Death on the
    day of a record is the record. People whose record has no day are left out of that condition unless the spec
    counts them as prevalent; records from birth are prevalent. Nobody is watched for no time: such people are left
    out and counted.

    Raises:
        ValueError: a field is absent, of another type, or has codes that its coding lacks.
    """
    assert spec.dates is not None  # checked with the spec
    sources = [source for outcome in spec.outcomes for source in outcome.sources]
    refuse(check_fields(data, needed_fields(data, sources, spec.dates), further_fields(spec)))
    order = pd.Index(data.participants).get_indexer(pd.Index(participants["participant"]))
    chosen = FieldTable(data.table.iloc[order].reset_index(drop=True), data.identifier, data.columns)
    tables, flows = [], []
    for outcome in spec.outcomes:
        table, flow = _one_outcome(chosen, participants, outcome, spec, spec.dates)
        tables.append(table)
        flows.append(flow)
    return BuiltOutcomes(pd.concat(tables, ignore_index=True), pd.concat(flows, ignore_index=True))


def needed_fields(data: FieldTable, sources: Iterable[Source], dates: Dates) -> set[tuple[int, int]]:
    """Every (field, instance) that the outcomes are read from; registers with several records have several."""
    wanted = {(dates.death_field, 0)} | ({(dates.lost_field, 0)} if dates.lost_field is not None else set())
    for source in sources:
        fields = _fields(source, dates)
        for number in fields:
            wanted |= {(number, instance) for instance in data.instances(number) or [0]}
    return wanted


def spec_fields(spec: StudySpec) -> set[int]:
    """Every field that a spec reads."""
    assert spec.dates is not None  # checked with the spec
    fields = {number for number, _ in people_fields(spec)} | {spec.dates.death_field}
    fields |= {spec.dates.lost_field} if spec.dates.lost_field is not None else set()
    return fields | {
        number for outcome in spec.outcomes for source in outcome.sources for number in _fields(source, spec.dates)
    }


def matches(codes: pd.DataFrame, wanted: Iterable[str]) -> Bools:
    """``(n, answer)`` whether a cell is one of the ICD-10 codes, their children, or within a range ``I20-I25``.

    Dots, and the meaning that follows a code in some exports, are ignored.
    """
    pattern = re.compile("|".join(_pattern(code) for code in wanted))
    columns = [
        codes[name].astype("string").str.replace(".", "", regex=False).str.match(pattern).fillna(False).to_numpy(bool)
        for name in codes
    ]
    return np.column_stack(columns)


def _pattern(code: str) -> str:
    first, _, last = code.replace(".", "").partition("-")
    if not last:
        return f"(?:{first})"
    if first[0] != last[0] or int(first[1:]) > int(last[1:]):
        raise ValueError(f"{code} is not a range within one chapter letter")
    return "(?:" + "|".join(f"{first[0]}{number:02d}" for number in range(int(first[1:]), int(last[1:]) + 1)) + ")"


def _fields(source: Source, dates: Dates) -> tuple[int, ...]:
    if source.kind == "icd10":
        return (source.field or _HOSPITAL[0], source.dates or _HOSPITAL[1])
    if source.kind == "cancer":
        return (source.field or _CANCER[0], source.dates or _CANCER[1])
    if source.kind == "death":
        return (*(_CAUSES if source.codes else ()), dates.death_field)
    assert source.field is not None  # checked with the spec
    return (source.field,)


def _first_record(data: FieldTable, source: Source, dates: Dates) -> _First:
    fields = _fields(source, dates)
    if source.kind == "death":
        return _deaths(data, source, dates.death_field)
    if source.kind in ("first_occurrence", "algorithm"):
        dated = read_dates(data.values(fields[0], 0).iloc[:, 0])
        return _First(dated.date, dated.undated, dated.at_birth)
    found = [_first_of_codes(data, source, fields, instance) for instance in data.instances(fields[0])]
    return _earliest(found)


def _first_of_codes(data: FieldTable, source: Source, fields: tuple[int, ...], instance: int) -> _First:
    """The first of several coded records: the k-th code has the k-th date."""
    codes, days = data.values(fields[0], instance), data.values(fields[1], instance)
    width = min(codes.shape[1], days.shape[1])
    if codes.iloc[:, width:].notna().any(axis=None):
        raise ValueError(f"field {fields[0]} has more codes than field {fields[1]} has dates; export all of its arrays")
    hit = matches(codes.iloc[:, :width], source.codes) if source.codes else codes.iloc[:, :width].notna().to_numpy()
    dated = [read_dates(days.iloc[:, k]) for k in range(width)]
    date = np.column_stack([np.where(hit[:, k], one.date, _NEVER) for k, one in enumerate(dated)])
    gone = np.column_stack([np.isnat(one.date) & ~one.at_birth for one in dated])
    birth = np.column_stack([one.at_birth for one in dated])
    return _First(_minimum(date), np.asarray((hit & gone).any(axis=1)), np.asarray((hit & birth).any(axis=1)))


def _deaths(data: FieldTable, source: Source, field: int) -> _First:
    date = _minimum(np.column_stack([read_dates(data.values(field, k).iloc[:, 0]).date for k in data.instances(field)]))
    caused = ~np.isnat(date)
    if source.codes:
        hits = [
            matches(data.values(number, instance), source.codes).any(axis=1)
            for number in _CAUSES
            for instance in data.instances(number)
        ]
        caused = caused & np.any(hits, axis=0)
    nobody = np.zeros(len(date), bool)
    return _First(np.where(caused, date, _NEVER), nobody, nobody)


def _earliest(found: list[_First]) -> _First:
    date = _minimum(np.column_stack([one.date for one in found]))
    undated = np.any([one.undated for one in found], axis=0)
    return _First(date, undated, np.any([one.at_birth for one in found], axis=0))


def _minimum(dates: npt.NDArray[np.datetime64]) -> Days:
    """Earliest of each row; NaT where there is none."""
    late = np.datetime64("9999-01-01", "D")
    first = np.where(np.isnat(dates), late, dates).min(axis=1)
    return np.where(first == late, _NEVER, first)


def _last_days(participants: pd.DataFrame, outcome: OutcomeDefinition, dates: Dates) -> Days:
    """The last day on which a record would be known, in each person's nation."""
    registers = sorted({source.register for source in outcome.sources})
    ends = [
        participants["nation"]
        .map({nation: np.datetime64(day, "D") for nation, day in dates.censoring[register].items()})
        .to_numpy("datetime64[D]")
        for register in registers
    ]
    return np.asarray(np.min(np.column_stack(ends), axis=1))  # NaT (nation unknown) stays


class _Course(NamedTuple):
    """Follow-up of everybody ``(n,)``: the days on which it begins and ends, and what they are."""

    begin: Days
    stop: Days
    prevalent: Bools
    event: Bools
    died: Bools
    posthumous: Bools
    unclear: Bools
    nowhere: Bools
    early: Bools

    @property
    def left_out(self) -> Bools:
        """Who is not in the table."""
        return self.unclear | self.nowhere | self.early


def _one_outcome(
    data: FieldTable, participants: pd.DataFrame, outcome: OutcomeDefinition, spec: StudySpec, dates: Dates
) -> tuple[pd.DataFrame, pd.DataFrame]:
    birth = participants["birth_date"].to_numpy("datetime64[D]")
    course = _course(data, participants, outcome, spec, dates)
    table = pd.DataFrame(
        {
            "participant": participants["participant"],
            "visit": participants["visit"],
            "condition": outcome.name,
            "prevalent": course.prevalent.astype(int),
            "entry_years": (course.begin - birth).astype(float) / _DAYS_PER_YEAR,
            "exit_years": (course.stop - birth).astype(float) / _DAYS_PER_YEAR,
            "event": course.event.astype(int),
            "cause": np.select([course.event, course.died], [1, 2], 0),
        }
    )
    return table[~course.left_out], _flow(course, outcome.name)


def _course(
    data: FieldTable, participants: pd.DataFrame, outcome: OutcomeDefinition, spec: StudySpec, dates: Dates
) -> _Course:
    windows = spec.windows
    first = _earliest([_first_record(data, source, dates) for source in outcome.sources])
    death = _deaths(data, Source(kind="death"), dates.death_field).date
    entry, birth = (participants[name].to_numpy("datetime64[D]") for name in ("entry_date", "birth_date"))
    posthumous = first.date > death
    record = np.where(posthumous, death, first.date)  # known to have been there when the person died
    known_by = entry + np.timedelta64(windows.prevalent_until_days, "D")
    begin: Days = np.asarray(entry + np.timedelta64(windows.incident_from_days, "D"), "datetime64[D]")
    prevalent = (record <= known_by) | first.at_birth
    prevalent |= first.undated & (windows.undated == "prevalent")
    end, out = _ends(data, participants, outcome, spec, dates)
    stop: Days = _minimum(np.column_stack([record, death, out]))
    event = ~prevalent & (record <= out) & (record == stop)
    died = ~prevalent & ~event & (death == stop) & (death <= out)
    unclear, nowhere = first.undated & ~prevalent, np.isnat(end) | np.isnat(birth)
    early = ~prevalent & ~unclear & ~nowhere & ~(stop > begin)
    # Time at risk of prevalent cases is nobody's business; their exit only has to be a time.
    some = np.maximum(_minimum(np.column_stack([death, out])), begin + np.timedelta64(1, "D"))
    stop = np.where(prevalent, some, stop)
    return _Course(begin, stop, prevalent, event, died, posthumous, unclear, nowhere, early)


def _ends(
    data: FieldTable, participants: pd.DataFrame, outcome: OutcomeDefinition, spec: StudySpec, dates: Dates
) -> tuple[Days, Days]:
    """The last day of the registers or of the window (NaT: nation unknown), and that or the day of loss."""
    lost: Days = np.full(len(participants), _NEVER)
    if dates.lost_field is not None:
        lost = read_dates(data.values(dates.lost_field, 0).iloc[:, 0]).date
    end = _last_days(participants, outcome, dates)
    if spec.windows.incident_until_years is not None:
        entry = participants["entry_date"].to_numpy("datetime64[D]")
        end = np.minimum(end, entry + np.timedelta64(round(spec.windows.incident_until_years * _DAYS_PER_YEAR), "D"))
    return end, _minimum(np.column_stack([np.where(np.isnat(end), _NEVER, end), lost]))


def _flow(course: _Course, outcome: str) -> pd.DataFrame:
    left_out, prevalent, event, died = course.left_out, course.prevalent, course.event, course.died
    seen = ~left_out & ~prevalent
    parts = {
        "record without a day": course.unclear,
        "nation or birth unknown": course.nowhere & ~course.unclear,
        "record, death or end before follow-up": course.early,
        "prevalent": prevalent & ~left_out,
        "incident": event & seen,
        "died of something else": died & seen,
        "followed to the end": seen & ~event & ~died,
    }
    whole = {"came to the visit": np.ones(len(seen), bool), "record dated after death": course.posthumous & ~left_out}
    counts = [
        {"outcome": outcome, "group_by": kind, "group": name, "step": name, "n": float(who.sum())}
        for kind, steps in (("overall", whole), ("people", parts))
        for name, who in steps.items()
    ]
    return pd.DataFrame(counts)
