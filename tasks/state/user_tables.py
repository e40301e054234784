"""Tables that the user gives: CSV or Parquet, under our column names, with identifiers as keys and declared types.

One reader for every such table. Cells of a CSV are text until it is known that a whole column is numbers:

- a cell is missing if it is empty or one of the words that the user lists (``missing_values``); ``None``, ``NA`` and
  ``.`` are levels and words like any other;
- a column is numbers if every cell that is there is a finite decimal number, and booleans (with missing ones) if every
  one is ``True`` or ``False``; any other column is text. Codes with leading zeros (``007``) are text;
- ``condition``, ``ethnicity``, ``centre`` and ``smoking`` are text;
- a column that the user declares (``types``) is what it is declared as; a cell that is not makes an error.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cmr_models.contracts.cells import ColumnType, is_decimal, is_number
from cmr_models.contracts.foreign import faults_as
from cmr_models.contracts.identifiers import KEYS, clean_identifier, identifier_keys
from tasks.state.mistakes import UserMistake

_NAMES = ("condition", "ethnicity", "centre", "smoking")
"""Columns that are categories by what they are, whatever codes they hold; the user may declare otherwise."""
_EXCEL = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_SEPARATORS = {";": "semicolons", "\t": "tabs (name it .tsv)", "|": "bars"}
_TABS = (".tsv", ".tab")
_MOST_BYTES = 4 * 2**30
_MOST_CELLS = 2**22, 32
"""Cells that are read of a Parquet file whatever its size, and how many for each of its bytes beyond."""
_MOST_COLUMNS = 100_000
_MOST_ALIKE = 5_000
"""Columns without a name of their own; the time that pandas takes for them grows with their square."""
_MOST_UNPACKED = 256 * 2**20, 200
"""Bytes of a Parquet file's columns, and of its texts, whatever its size, and how many times its size beyond."""
_BEGINNING_BYTES = 4 * 2**20
_BOOLEANS = {"True": True, "False": False, "TRUE": True, "FALSE": False, "true": True, "false": False}


@dataclass(frozen=True)
class Reading:
    """How the cells of a user's table are to be understood.

    Attributes:
        columns: our name -> the table's, where they differ.
        missing_values: words that mean a missing value, beside the empty cell.
        types: our name -> what the column holds; others are inferred strictly.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    missing_values: Sequence[str] = ()
    types: Mapping[str, ColumnType] = field(default_factory=dict)


def read_user_table(
    path: Path,
    columns: Mapping[str, str] | None = None,
    reading: Reading | None = None,
    *,
    usecols: Callable[[str], bool] | None = None,
) -> pd.DataFrame:
    """A table with our column names; ``participant`` and ``visit``, if there, as keys.

    Args:
        path: CSV (UTF-8; tabs in ``.tsv`` and ``.tab``) or Parquet.
        columns: our name -> the table's, where they differ.
        reading: more on how the cells are to be understood; ``columns`` goes before its own.
        usecols: which of the file's columns are read; all if None.

    Raises:
        UserMistake: the file cannot be read as a table, two columns have one name, or a column is not as declared.
    """
    with faults_as(partial(_unreadable, path), UserMistake, OSError):
        return _understood(path, columns, reading or Reading(), usecols)


def _understood(
    path: Path, columns: Mapping[str, str] | None, how: Reading, usecols: Callable[[str], bool] | None
) -> pd.DataFrame:
    table = _rename(_read(path, usecols), columns or how.columns, path)
    is_parquet = path.suffix == ".parquet"
    read = {
        name: identifier_keys(table[name])
        if name in KEYS
        else _typed(table[name], how, path.name, is_parquet=is_parquet)
        for name in table.columns
    }
    return pd.DataFrame(read, index=table.index)


def table_header(path: Path) -> list[str]:
    """Names of the columns as the file has them.

    Raises:
        UserMistake: the file cannot be read as a table.
    """
    return [str(name) for name in read_cells(path, n_rows=0).columns]


def column_words(path: Path, name: str) -> set[str]:
    """The different cells of one column, as text: for columns that name something, such as ``condition``."""
    cells = read_cells(path, [name])
    return set(cells[name].dropna().astype(str).str.strip())


def _read(path: Path, usecols: Callable[[str], bool] | None) -> pd.DataFrame:
    """The file's cells as they are, without rows that hold nothing."""
    header = table_header(path)
    table = read_cells(path, [name for name in header if usecols(name)] if usecols is not None else header)
    blank = table.isna() | (table == "")
    return table[~blank.all(axis=1)].reset_index(drop=True) if len(table.columns) else table


def read_cells(path: Path, names: Sequence[str] | None = None, *, n_rows: int | None = None) -> pd.DataFrame:
    """Cells of a user's table as they are; the only function that reads such a file, whatever bytes it holds.

    Args:
        path: CSV or Parquet.
        names: of the columns that are read, in this order; all if None.
        n_rows: 0 for the names of the columns alone.

    Returns:
        Of a CSV every cell as text, stripped of nothing, and empty cells as empty text; of Parquet what it holds.

    Raises:
        UserMistake: it cannot be read as a table, or is larger than is read. No cell is quoted.
        OSError: the file cannot be read.
    """
    with faults_as(partial(_unreadable, path), UserMistake, OSError):
        _check_bytes(path)
        if path.suffix == ".parquet":
            return _read_parquet(path, names, n_rows)
        table = _read_csv(path, n_rows)
        return table if names is None else table[list(names)]


def _unreadable(path: Path, kind: str) -> UserMistake:
    return UserMistake(f"{path}: the file cannot be read as a table ({kind}); save it anew as CSV in UTF-8")


def _check_bytes(path: Path) -> None:
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise UserMistake(
            f"{path}: the table has {size / 2**30:.1f} GB, more than the {_MOST_BYTES / 2**30:.0f} GB that are read;"
            " give one with the columns that are needed"
        )


def _read_parquet(path: Path, names: Sequence[str] | None, n_rows: int | None) -> pd.DataFrame:
    try:
        with pq.ParquetFile(path) as file:
            columns = list(file.schema_arrow.names) if names is None else list(names)
            if n_rows == 0:
                return pd.DataFrame(columns=columns)
            _check_cells(path, file, columns)
            _check_unpacked(path, file)
            _check_texts(path, file, columns)
        return pd.read_parquet(path, columns=columns)
    except pa.ArrowInvalid:
        raise UserMistake(f"{path}: the file is no Parquet; save it anew, or give a CSV") from None


def _check_cells(path: Path, file: pq.ParquetFile, columns: Sequence[str]) -> None:
    """Refuse more cells than such a file holds of people, and those that are no single values."""
    n_cells, (free, per_byte) = file.metadata.num_rows * len(columns), _MOST_CELLS
    if n_cells > free + per_byte * path.stat().st_size:
        raise UserMistake(f"{path}: the table claims {n_cells:,} cells, far more than its size; save it as CSV")
    nested = [name for name in columns if pa.types.is_nested(file.schema_arrow.field(name).type)]
    if nested:
        raise UserMistake(f"{path}: columns {nested} hold lists or records; give one value a cell")


def _check_texts(path: Path, file: pq.ParquetFile, columns: Sequence[str]) -> None:
    """Refuse texts that are written once and stand in many rows, which a reader repeats."""
    texts = [name for name in columns if _is_text(file.schema_arrow.field(name).type)]
    n_bytes, (free, ratio) = 0, _MOST_UNPACKED
    with pq.ParquetFile(path, read_dictionary=texts) as packed:
        for batch in packed.iter_batches(columns=texts) if texts else ():
            for column in batch.columns:
                lengths = pc.binary_length(column.dictionary).take(column.indices)
                n_bytes += pc.sum(lengths).as_py() or 0
            if n_bytes > free + ratio * path.stat().st_size:
                raise UserMistake(f"{path}: the texts of the table unpack to far more than tables do; save it as CSV")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind))


def _check_unpacked(path: Path, file: pq.ParquetFile) -> None:
    """Refuse columns that stand for far more bytes than the file has."""
    groups = [file.metadata.row_group(k) for k in range(file.metadata.num_row_groups)]
    free, ratio = _MOST_UNPACKED
    if sum(group.total_byte_size for group in groups) > free + ratio * path.stat().st_size:
        raise UserMistake(f"{path}: the table unpacks to far more than tables do; save it as CSV")


def _read_csv(path: Path, n_rows: int | None) -> pd.DataFrame:
    """Every cell as text, stripped of nothing, empty cells as empty text."""
    if path.suffix.lower() in _EXCEL:
        raise UserMistake(f"{path}: a spreadsheet cannot be read; save it as CSV in UTF-8")
    separator = "\t" if path.suffix in _TABS else ","
    _check_is_text(path, separator)
    try:
        table = pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            index_col=False,
            compression=None,  # else the ending of the name decides, and a small file may unpack to any size
            float_precision="round_trip",  # the default one can end the process by a segmentation fault
            nrows=n_rows,
        )
    except UnicodeDecodeError:
        raise UserMistake(f"{path}: the table is not UTF-8; save it as CSV in UTF-8") from None
    except pd.errors.EmptyDataError:
        raise UserMistake(f"{path}: the table is empty; its first line must name the columns") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning):
        raise UserMistake(f"{path}: lines have more cells than the first line names columns; save it as CSV") from None
    only = str(table.columns[0]) if len(table.columns) == 1 else ""
    if other := next((name for sign, name in _SEPARATORS.items() if sign in only.strip()), ""):
        raise UserMistake(f"{path}: the columns are separated by {other}; save it as CSV with commas")
    return table.rename(columns=lambda name: clean_identifier(str(name)))


def _check_is_text(path: Path, separator: str) -> None:
    """Refuse what is no table by its first bytes, before its first line fills the memory or takes minutes to read."""
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING_BYTES)
    if b"\0" in beginning:
        raise UserMistake(f"{path}: the table holds bytes that no text has; save it as CSV in UTF-8")
    text = io.StringIO(beginning.decode("utf-8-sig", "replace"), newline="")
    names = next(csv.reader(text, delimiter=separator), [])  # as it is read, over several lines if they are quoted
    if len(beginning) == _BEGINNING_BYTES and not text.read(1):
        raise UserMistake(f"{path}: the table has a first line without an end; save it as CSV in UTF-8")
    if len(names) > _MOST_COLUMNS:
        raise UserMistake(
            f"{path}: the first line names more than {_MOST_COLUMNS:,} columns; give those that are needed"
        )
    if len(names) - len({name for name in names if name}) > _MOST_ALIKE:
        raise UserMistake(
            f"{path}: more than {_MOST_ALIKE:,} columns have no name or that of another; leave them out, or name each"
        )


def _rename(table: pd.DataFrame, columns: Mapping[str, str], path: Path) -> pd.DataFrame:
    """Our names; a column of the file that has the name of another that is mapped to it is in the way."""
    ours = {their: our for our, their in columns.items() if their in table}
    kept = [name for name in table.columns if name in ours or name not in ours.values()]
    renamed = table[kept].rename(columns=ours)
    repeated = sorted({str(name) for name in renamed.columns[renamed.columns.duplicated()]})
    if repeated:
        raise UserMistake(f"{path}: more than one column is named {repeated}; rename one of each")
    return renamed


def _typed(column: pd.Series, how: Reading, table: str, *, is_parquet: bool) -> pd.Series:
    """A column with its missing cells, as numbers, booleans or text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object).infer_objects()
    name = str(column.name)
    column = _plain_objects(column)
    declared = how.types.get(name, "text" if name in _NAMES else None)
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        there = column.mask(column.isin(_numbers_among(how.missing_values)))
        there = there if there.isna().any() else column
        return _text_of_numbers(there) if declared == "text" else _plain_numbers(there)
    if not (column.dtype == object or isinstance(column.dtype, pd.StringDtype)):
        return column.astype(str).astype(object).where(column.notna(), None) if declared == "text" else column
    if not column.map(lambda cell: isinstance(cell, str) or pd.isna(cell)).all():
        return column
    cleaned = {cell: clean_identifier(cell) for cell in column.dropna().unique()}
    words = column.astype(object).map(cleaned).astype(object)
    missing = words.isna() | words.isin(["", *how.missing_values])
    words = words.mask(missing, None)
    if declared == "text" or (is_parquet and declared is None):
        return words
    return _inferred(words, missing, declared, f"{table}: column {name}")


def _inferred(words: pd.Series, missing: pd.Series, declared: ColumnType | None, where: str) -> pd.Series:
    there = words[~missing]
    pattern = is_decimal if declared == "number" else is_number
    wrong = int((~there.map(pattern).astype(bool)).sum()) if len(there) else 0
    if not wrong:
        numbers = pd.Series(np.nan, index=words.index, dtype=float)
        numbers[~missing] = np.array([float(word) for word in there], float)
        return _whole(numbers, there)
    if declared == "number":
        raise UserMistake(
            f"{where} is declared as numbers, and {wrong} of {len(words)} cells are not; correct them, or list the"
            " words that mean a missing value under `missing_values`"
        )
    if len(there) and there.isin(list(_BOOLEANS)).all():
        truth = there.map(_BOOLEANS)
        return truth.astype("boolean").reindex(words.index) if missing.any() else truth.astype(bool)
    return words


def _whole(numbers: pd.Series, words: pd.Series) -> pd.Series:
    """Integers where every cell is there and written as one, as pandas reads them; else floating-point numbers."""
    is_integer = words.str.fullmatch(r"[+-]?[0-9]{1,18}")
    if len(words) and len(words) == len(numbers) and bool(is_integer.all()):
        return words.astype("int64")
    return numbers


def _plain_objects(column: pd.Series) -> pd.Series:
    """Columns of Parquet that pandas holds as objects: exact decimals as numbers, booleans with gaps as booleans."""
    kinds = {type(cell) for cell in column.dropna()} if column.dtype == object else set()
    if kinds == {Decimal}:
        return column.map(float, na_action="ignore").astype(float)
    return column.astype("boolean") if kinds == {bool} else column


def _plain_numbers(column: pd.Series) -> pd.Series:
    """Numbers of pandas' own types with missing values, as floating-point numbers."""
    if isinstance(column.dtype, np.dtype):
        return column
    if pd.api.types.is_bool_dtype(column):
        return column.astype("boolean") if column.isna().any() else column.astype(bool)
    return pd.Series(column.to_numpy(float, na_value=np.nan), index=column.index, name=column.name)


def _numbers_among(words: Sequence[str]) -> list[float]:
    return [float(word) for word in words if is_decimal(word)]


def _text_of_numbers(column: pd.Series) -> pd.Series:
    whole = column.dropna()
    words = whole.map(lambda cell: str(int(cell)) if float(cell).is_integer() else str(cell))
    return words.astype(object).reindex(column.index).where(column.notna(), None)
