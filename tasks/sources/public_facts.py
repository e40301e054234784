"""What the public data sets say of each case beside its images: diagnosis, scanner, sex, age, volumes, frames.

One reader a data set; each takes what the set's file says and gives it under the names of :data:`FACTS`. A value that
is missing or not a number is left out. Frames count from 0, as in the set's whole cine.

In doubt: heights of M&Ms are taken as centimetres, and its ED and ES as counted from 0 (those of ACDC count from 1);
the ejection fraction of EMIDEC was measured by echocardiography, so it has a name of its own; the letter of an EMIDEC
case (N or P) is its diagnosis.
"""

from __future__ import annotations

import contextlib
import csv
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from cmr_models.contracts import ColumnSpec
from cmr_models.contracts.foreign import faults_as
from tasks.sources.opening import open_source

Facts = dict[str, Any]

FACTS: Final = (
    ColumnSpec("data_set", "text", "", "name of the public data set"),
    ColumnSpec("split", "text", "", "train, validation, test or unlabelled, as its authors divide it"),
    ColumnSpec("diagnosis", "text", "", "diagnosis, as the data set names it"),
    ColumnSpec("vendor", "text", "", "vendor of the scanner"),
    ColumnSpec("scanner", "text", "", "model of the scanner"),
    ColumnSpec("field_t", "real", "T", "field strength"),
    ColumnSpec("centre", "text", "", "imaging centre"),
    ColumnSpec("sex", "text", "", "male or female"),
    ColumnSpec("age_years", "real", "years", "age"),
    ColumnSpec("height_cm", "real", "cm", "height"),
    ColumnSpec("weight_kg", "real", "kg", "weight"),
    ColumnSpec("ed_frame", "integer", "frame", "end-diastole, from 0 in the study's own frames"),
    ColumnSpec("es_frame", "integer", "frame", "end-systole, from 0 in the study's own frames"),
    ColumnSpec("lvedv_ml", "real", "mL", "LV end-diastolic volume that the data set gives"),
    ColumnSpec("lvesv_ml", "real", "mL", "LV end-systolic volume that the data set gives"),
    ColumnSpec("lvef_pct", "real", "%", "LV ejection fraction that the data set gives"),
    ColumnSpec("lvef_echo_pct", "real", "%", "LV ejection fraction by echocardiography"),
)
"""Every fact that a public data set may state of a case."""

_MAX_BYTES: Final = 20 * 2**20
_LEVELS_UP: Final = 6
_SEX: Final = {"m": "male", "f": "female", "male": "male", "female": "female"}
_SPLITS: Final = {
    "training": "train", "train": "train", "train25": "train", "labeled": "train", "unlabeled": "unlabelled",
    "validation": "validation", "validate": "validation", "testing": "test", "test": "test", "test20": "test",
    "test_retest_100": "test",
}  # fmt: skip


class _NotUnderstoodError(Exception):
    """The table of a data set is damaged: it says nothing."""


def facts_of(data_set: str, paths: Sequence[str], participant: str, visit: str = "1") -> tuple[Facts, bool]:
    """What a data set states of one case, and whether the file that should state it is there and does.

    Args:
        data_set: as :mod:`tasks.sources.public_layouts` names them.
        paths: files of the case.
        participant: of the case; of Kaggle, its number.
        visit: of the case.
    """
    reader = _READERS.get(data_set)
    stated: Facts | None = None
    with contextlib.suppress(_NotUnderstoodError), faults_as(_NotUnderstoodError, OSError):
        stated = reader(Path(paths[0]), participant, visit) if reader else {}
    facts = {"data_set": data_set, "split": _split(paths[0]), **(stated or {})}
    return {name: value for name, value in facts.items() if _is_known(value)}, stated is not None


def _is_known(value: Any) -> bool:
    return value not in ("", None) and not (isinstance(value, float) and not math.isfinite(value))


def _split(path: str) -> str:
    """The innermost folder that names a split."""
    return next((_SPLITS[part.lower()] for part in reversed(Path(path).parts[:-1]) if part.lower() in _SPLITS), "")


# one reader a data set: None if there is nothing on the case


def _acdc(path: Path, _participant: str, _visit: str) -> Facts | None:
    found = _lines(path.parent / "Info.cfg")
    if not found:
        return None
    return {
        "diagnosis": found.get("group", ""),
        "height_cm": _number(found.get("height")),
        "weight_kg": _number(found.get("weight")),
        **_frames(found.get("ed"), found.get("es"), first=1),
    }


def _mnms(path: Path, participant: str, _visit: str) -> Facts | None:
    row = _row(_above(path, "*Dataset_[Ii]nformation*.csv"), participant, "external code")
    return row and {
        "diagnosis": row.get("pathology", ""),
        "vendor": row.get("vendorname", "") or row.get("vendor", ""),
        "centre": row.get("centre", ""),
        **_person(row),
        **_frames(row.get("ed"), row.get("es"), first=0),
    }


def _mnms2(path: Path, participant: str, _visit: str) -> Facts | None:
    row = _row(_above(path, "dataset_information.csv"), participant, "subject_code")
    number = int(participant)
    split = "train" if number <= 160 else "validation" if number <= 200 else "test"
    return row and {
        "split": split,
        "diagnosis": row.get("disease", ""),
        "vendor": row.get("vendor", ""),
        "scanner": row.get("scanner", ""),
        "field_t": _number(row.get("field")),
    }


def _emidec(path: Path, participant: str, _visit: str) -> Facts | None:
    found = _lines(path.parents[2] / f"{participant.replace('_', ' ')}.txt")
    return found and {
        "diagnosis": participant.rpartition("_")[2][:1],
        "sex": _SEX.get(found.get("sex", "").lower(), ""),
        "age_years": _number(found.get("age")),
        "lvef_echo_pct": _number(found.get("fevg")),
    }


def _rescan(path: Path, participant: str, visit: str) -> Facts | None:
    """``<split>_metadata.csv``: ``pid`` is the case's folder in the split; or volumes from the raw table."""
    case = re.sub(r"^([A-Z])_(s_\d+)$", r"\1/\2", participant)
    case = case if case != participant else f"{participant}_{visit}"
    tables = [t for t in _above(path, "*_metadata.csv") if t.name.removesuffix("_metadata.csv") in path.parts]
    row, measured = _row(tables, case, "pid"), _retest_volumes(path, participant, visit)
    if row is None:
        return measured
    stated = {
        "lvedv_ml": _number(row.get("edv")),
        "lvesv_ml": _number(row.get("esv")),
        "lvef_pct": _number(row.get("ef")),
    }
    return {
        "centre": case.split("/")[0] if "/" in case else "",
        **(measured or {}),
        **{name: value for name, value in stated.items() if _is_known(value)},
        **_frames(row.get("ed_index"), row.get("es_index"), first=0),
    }


def _retest_volumes(path: Path, participant: str, visit: str) -> Facts | None:
    """``labels.csv`` beside the raw scans ``test_retest_100``: a row a person, scan A, then B read once or twice.

    The columns are ``A, B1, B2`` (numbers of the raw scans) and ``EDV_A, EDV_B1, EDV_B2``, ``ESV_A`` ...; person
    ``scan_07`` is the row with seven before it. Of scan B, both readings are averaged.

    Reference: Fu et al., CineMA, ``cinema/data/rescan/preprocess.py`` (version 1.0.0).
    """
    number, split = re.fullmatch(r"scan_(\d+)", participant), "test_retest_100"
    if number is None or split not in path.parts:
        return None
    table = next(iter(_above(path, "labels.csv") or _above(path, f"pickle/{split}/labels.csv")), None)
    rows = _rows(table, table.stat().st_mtime_ns) if table else ()
    row = rows[int(number[1])] if int(number[1]) < len(rows) else {}
    columns = ("b1", "b2") if visit == "B" else (visit.lower(),)
    edv_ml, esv_ml = (_mean([_number(row.get(f"{volume}_{c}")) for c in columns]) for volume in ("edv", "esv"))
    return _volumes(edv_ml, esv_ml)


def _kaggle(path: Path, case: str, _visit: str) -> Facts | None:
    """``Id, Systole, Diastole``, or of the last stage ``Id`` as ``701_Diastole`` with ``Volume``; in mL."""
    tables = [table for name in ("train.csv", "validate.csv", "solution.csv") for table in _above(path, name)]
    row = _row(tables, case, "id") or {}
    volumes = {
        phase: row.get(phase) or (_row(tables, f"{case}_{phase}", "id") or {}).get("volume")
        for phase in ("diastole", "systole")
    }
    edv_ml, esv_ml = _number(volumes["diastole"]), _number(volumes["systole"])
    return _volumes(edv_ml, esv_ml)


def _landmark(_path: Path, _participant: str, _visit: str) -> Facts | None:
    return {}


_READERS: Final[Mapping[str, Callable[[Path, str, str], Facts | None]]] = {
    "acdc": _acdc, "mnms": _mnms, "mnms2": _mnms2, "emidec": _emidec, "rescan": _rescan, "kaggle": _kaggle,
    "landmark": _landmark,
}  # fmt: skip


# parts of records


def _person(row: Mapping[str, str]) -> Facts:
    return {
        "sex": _SEX.get(row.get("sex", "").lower(), ""),
        "age_years": _number(row.get("age")),
        "height_cm": _number(row.get("height")),
        "weight_kg": _number(row.get("weight")),
    }


def _frames(ed: str | None, es: str | None, *, first: int) -> Facts:
    frames = {"ed_frame": _number(ed) - first, "es_frame": _number(es) - first}
    return {name: int(value) for name, value in frames.items() if math.isfinite(value) and value >= 0}


def _volumes(edv_ml: float, esv_ml: float) -> Facts | None:
    """Both volumes and what they make of the ejection fraction; None if one is not known."""
    if not (math.isfinite(edv_ml) and math.isfinite(esv_ml)):
        return None
    ef_pct = 100 * (edv_ml - esv_ml) / edv_ml if edv_ml > 0 else math.nan
    return {"lvedv_ml": edv_ml, "lvesv_ml": esv_ml, "lvef_pct": ef_pct}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _number(text: str | None) -> float:
    try:
        return float((text or "").strip().replace(",", "."))
    except ValueError:
        return math.nan


# files


def _above(path: Path, pattern: str) -> list[Path]:
    """The files of that name in the nearest folder above that has any."""
    for folder in list(path.parents)[:_LEVELS_UP]:
        found = sorted(folder.glob(pattern))
        if found:
            return found
    return []


def _row(tables: Sequence[Path], wanted: str, column: str) -> dict[str, str] | None:
    """The row of ``wanted``; numbers match whatever their leading zeros."""
    for table in tables:
        row = _index_rows(table, column, table.stat().st_mtime_ns).get(_plain(wanted))
        if row is not None:
            return dict(row)
    return None


def _plain(text: str) -> str:
    return text.strip().lower().lstrip("0") or "0"


@lru_cache(maxsize=16)
def _index_rows(table: Path, column: str, mtime_ns: int) -> Mapping[str, Mapping[str, str]]:
    """Rows by the value in ``column``; empty if the table cannot be read."""
    return {_plain(row[column]): row for row in _rows(table, mtime_ns) if row.get(column)}


@lru_cache(maxsize=16)
def _rows(table: Path, _mtime_ns: int) -> Sequence[Mapping[str, str]]:
    """Rows in order, names of columns in lower case; none if the table cannot be read."""
    text = _text(table)
    delimiter = ";" if text.split("\n", 1)[0].count(";") > text.split("\n", 1)[0].count(",") else ","
    try:
        rows = list(csv.DictReader(text.splitlines(), delimiter=delimiter))
    except csv.Error:
        return []
    return [{str(k).strip().lower(): str(v or "").strip() for k, v in row.items() if k is not None} for row in rows]


def _lines(file: Path) -> dict[str, str]:
    """``name: value`` lines, names in lower case and without marks; empty if the file cannot be read."""
    pairs = (line.split(":", 1) for line in _text(file).splitlines() if ":" in line)
    return {re.sub(r"[^a-z0-9 ()+]", "", name.lower()).strip(): value.strip() for name, value in pairs}


def _text(file: Path) -> str:
    try:
        with open_source(file, may_be_above=True) as opened:
            content = opened.read(_MAX_BYTES + 1)
    except OSError:
        return ""
    return content.decode("utf-8-sig", "replace") if len(content) <= _MAX_BYTES else ""
