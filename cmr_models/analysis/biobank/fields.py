"""The fields that the builders know: what each holds, so that a table can be checked before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cmr_models.analysis.biobank.columns import FieldTable
from cmr_models.analysis.biobank.placeholders import read_dates

Kind = Literal["integer", "continuous", "categorical", "date", "icd10", "text"]

# Codings 9, 1001, 90, 10 and 100377 of UK Biobank, with the words of the participants table.
SEX = {0: "female", 1: "male"}
ETHNICITY = {
    1: "white", 1001: "white", 1002: "white", 1003: "white",
    2: "mixed", 2001: "mixed", 2002: "mixed", 2003: "mixed", 2004: "mixed",
    3: "asian", 3001: "asian", 3002: "asian", 3003: "asian", 3004: "asian",
    4: "black", 4001: "black", 4002: "black", 4003: "black",
    5: "chinese", 6: "other", -1: "unknown", -3: "unknown",
}  # fmt: skip
SMOKING = {0: "never", 1: "previous", 2: "current", -3: None}
CENTRES = {
    10003: "Stockport (pilot)", 11001: "Manchester", 11002: "Oxford", 11003: "Cardiff", 11004: "Glasgow",
    11005: "Edinburgh", 11006: "Stoke", 11007: "Reading", 11008: "Bury", 11009: "Newcastle", 11010: "Leeds",
    11011: "Bristol", 11012: "Barts", 11013: "Nottingham", 11014: "Sheffield", 11016: "Liverpool",
    11017: "Middlesbrough", 11018: "Hounslow", 11020: "Croydon", 11021: "Birmingham", 11022: "Swansea",
    11023: "Wrexham", 11024: "Cheadle (revisit)", 11025: "Cheadle", 11026: "Reading", 11027: "Newcastle",
    11028: "Bristol",
}  # fmt: skip
MONTHS = dict(
    enumerate(
        (
            "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
            "November", "December",
        ),
        1,
    )
)  # fmt: skip
# Linked records end at different days in the three nations; all imaging centres are in England, so the nation is
# that of the first assessment.
SCOTLAND, WALES = (11004, 11005), (11003, 11022, 11023)

NO_ANSWER = (-1, -3)
"""Do not know, prefer not to answer: in every coding of integers that has them (such as 100291, 100298, 100329)."""
NO_ANSWER_WORDS = ("do not know", "prefer not to answer")
"""The same in exports that carry words."""
# Other special values of integers and numbers: -10 less than one, -2 never, -818 and -121 no answer, ...
_SPECIAL = (-1, -2, -3, -4, -5, -7, -10, -13, -27, -121, -131, -313, -717, -818)

_SHORT = re.compile(r"-?[0-9]{1,4}(?:\.0)?")  # what is shown of unknown codes: longer ones and words may be people's
_ICD10 = re.compile(r"^[A-Z]\d\d[0-9X]?\d?$")


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        name: what it holds, in a word or two.
        kind: how its values are to be read.
        codes: code -> our word; None: missing. Empty: any code.
        unit: of a number.
    """

    name: str
    kind: Kind
    codes: Mapping[int, str | None] = field(default_factory=dict)
    unit: str = ""


FIELDS: Mapping[int, Field] = {
    31: Field("sex", "categorical", SEX),
    34: Field("year of birth", "integer", unit="years"),
    50: Field("standing height", "continuous", unit="cm"),
    52: Field("month of birth", "categorical", MONTHS),
    53: Field("date of attending the centre", "date"),
    54: Field("assessment centre", "categorical", CENTRES),
    102: Field("pulse rate", "integer", unit="1/min"),
    189: Field("Townsend deprivation index", "continuous"),
    191: Field("date lost to follow-up", "date"),
    4079: Field("diastolic blood pressure, automated", "integer", unit="mmHg"),
    4080: Field("systolic blood pressure, automated", "integer", unit="mmHg"),
    12143: Field("weight before imaging", "continuous", unit="kg"),
    12144: Field("height before imaging", "continuous", unit="cm"),
    20116: Field("smoking status", "categorical", SMOKING),
    21000: Field("ethnic background", "categorical", ETHNICITY),
    21001: Field("body mass index", "continuous", unit="kg/m2"),
    21002: Field("weight", "continuous", unit="kg"),
    21003: Field("age at the visit", "integer", unit="years"),
    22189: Field("Townsend deprivation index", "continuous"),
    40000: Field("date of death", "date"),
    40001: Field("primary cause of death", "icd10"),
    40002: Field("contributory causes of death", "icd10"),
    40005: Field("date of cancer diagnosis", "date"),
    40006: Field("type of cancer", "icd10"),
    41270: Field("hospital diagnoses", "icd10"),
    41280: Field("date of first hospital diagnosis", "date"),
}


def field_of(number: int, further: Mapping[int, Field] | None = None) -> Field | None:
    """What is known of a field: the table, those the user adds, and the ranges of like fields.

    First occurrences (130000 to 132605) and algorithmically defined outcomes (42000 to 42051) have their date at the
    even number and its source at the odd one; 24100 to 24181 are the CMR phenotypes of Bai 2020.
    """
    known = {**FIELDS, **(further or {})}.get(number)
    if known is not None:
        return known
    if 130000 <= number <= 132605 or 42000 <= number <= 42051:
        what = "first occurrence" if number >= 130000 else "algorithmically defined outcome"
        return Field(f"source of {what}", "integer") if number % 2 else Field(f"date of {what}", "date")
    if 24100 <= number <= 24181:
        return Field("CMR phenotype", "continuous")
    return None


def check_fields(
    data: FieldTable, wanted: Iterable[tuple[int, int]], further: Mapping[int, Field] | None = None
) -> pd.DataFrame:
    """Compare a table with the dictionary, field by field.

    Args:
        data: the table.
        wanted: (field, instance) that an analysis reads.
        further: fields that the dictionary lacks.

    Returns:
        One row a finding: ``field, instance, column, problem, n, detail``; ``problem`` is ``unknown_field``,
        ``absent``, ``wrong_type`` or ``unknown_code``. No row: all is as it should be.
    """
    rows: list[dict[str, Any]] = []
    for number, instance in sorted(set(wanted)):
        about = {"field": number, "instance": instance, "column": "", "n": 0, "detail": ""}
        known = field_of(number, further)
        if known is None:
            rows.append({**about, "problem": "unknown_field", "detail": "describe it under `fields` in the spec"})
        elif (number, instance) not in data.columns:
            rows.append({**about, "problem": "absent", "detail": f"{known.name}; export it"})
        else:
            values = data.values(number, instance)
            for name in values:
                found = _problem(values[name], known)
                rows += [{**about, "column": name, **found}] if found else []
    return pd.DataFrame(rows, columns=["field", "instance", "column", "problem", "n", "detail"])


def decode(column: pd.Series, known: Field) -> pd.Series:
    """Our words for the codes of a categorical field; exports that carry the words already are read as well."""
    if not known.codes:
        return _words(column.mask(_is_no_answer(column)))
    number = pd.to_numeric(column, errors="coerce")
    words = number.map(dict(known.codes))
    text = column.astype("string").str.strip().str.lower()
    by_word = {str(word).lower(): word for word in known.codes.values() if word is not None}
    return words.where(number.notna(), text.map(by_word)).astype(object).where(lambda s: s.notna(), None)


def _is_no_answer(column: pd.Series) -> pd.Series:
    """Cells that say that somebody gave no answer, as a code or in words."""
    return pd.to_numeric(column, errors="coerce").isin(NO_ANSWER) | _in_words(column)


def _in_words(column: pd.Series) -> pd.Series:
    """Cells that say in words that somebody gave no answer."""
    return column.astype("string").str.strip().str.casefold().isin(NO_ANSWER_WORDS).fillna(value=False).astype(bool)


def _words(column: pd.Series) -> pd.Series:
    """Codes as categories, whatever type the file gave them: ``3.0`` is ``3``."""
    words = [None if pd.isna(cell) else _word(cell) for cell in column]
    return pd.Series(words, index=column.index, name=column.name, dtype=object)


def _word(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def read_numbers(column: pd.Series, known: Field) -> npt.NDArray[np.float64]:
    """Numbers of an integer or continuous field; its codes, and what is a code wherever integers are, are no numbers.

    A code of :class:`Field` becomes what it stands for (a number as text, or missing).
    """
    numbers = pd.to_numeric(column.mask(_in_words(column))).to_numpy(float, na_value=np.nan).copy()
    meaning = {code: np.nan if word is None else float(word) for code, word in known.codes.items()}
    if known.kind == "integer":
        meaning = {**dict.fromkeys(NO_ANSWER, np.nan), **meaning}
    found = numbers.copy()
    for code, value in meaning.items():
        numbers[found == code] = value
    return numbers


def _codes_among_numbers(numbers: pd.Series, known: Field) -> pd.Series:
    """Negative numbers that are codes of which nobody said what they mean.

    Of an integer field, every negative number that is not declared; of a continuous one without declared codes, the
    usual special values where no other number is negative (a deprivation index has others).
    """
    negative = numbers[numbers < 0]
    if known.kind == "integer":
        return negative[~negative.isin([*known.codes, *NO_ANSWER])]
    if known.codes or not negative.isin(_SPECIAL).all():
        return negative[:0]
    return negative


def _problem(column: pd.Series, known: Field) -> dict[str, Any] | None:
    """What is wrong with a column. Only codes are quoted: numbers and dates are people's."""
    there = column.mask(_in_words(column)).dropna()
    if known.kind == "date":
        try:
            read_dates(column)
        except ValueError as error:
            return {"problem": "wrong_type", "n": len(there), "detail": str(error).partition(": ")[2]}
        return None
    if known.kind in ("integer", "continuous"):
        wrong = int((~np.isfinite(pd.to_numeric(there, errors="coerce").astype(float))).sum())
        if wrong:
            return {"problem": "wrong_type", "n": wrong, "detail": f"{known.kind} expected"}
        codes = _codes_among_numbers(pd.to_numeric(there).astype(float), known)
        return _unknown(codes.astype(int), "list what they mean under `fields`, `codes`") if len(codes) else None
    if known.kind == "icd10":
        text = there.astype(str).str.replace(".", "", regex=False).str.split(" ").str[0]
        strange = text[~text.str.match(_ICD10)]
        return _unknown(strange, "no ICD-10 code") if len(strange) else None
    if known.kind == "categorical" and known.codes:
        numbers = pd.to_numeric(there, errors="coerce")
        words = {str(word).lower() for word in known.codes.values() if word is not None}
        fits = np.where(
            numbers.notna(), numbers.isin([*known.codes, *NO_ANSWER]), there.astype(str).str.lower().isin(words)
        )
        return _unknown(there[~fits.astype(bool)], "not in the coding") if not fits.all() else None
    if known.kind == "categorical":
        numbers = pd.to_numeric(there, errors="coerce")
        codes = there[(numbers < 0) & ~numbers.isin(NO_ANSWER)]
        return _unknown(codes, "list what they mean under `fields`, `codes`") if len(codes) else None
    return None


def _unknown(values: pd.Series, why: str) -> dict[str, Any]:
    codes = sorted({str(code) for code in values if _SHORT.fullmatch(str(code))})[:5]
    return {"problem": "unknown_code", "n": len(values), "detail": ": ".join(filter(None, (", ".join(codes), why)))}
