"""Tables kept as reviewed values: a change is shown cell by cell, and is only taken over with a line in the changelog.

The kept tables are CSV files under ``tests/golden``. After a change that is meant, look at the list of differences,
then write them anew and tell the user:

    GOLDEN=write python -m pytest tests -k golden

and put the digest that the test asks for into the line of `CHANGELOG.md` under *Numbers change*.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).with_name("golden")
_MOST_SHOWN = 40


def check(name: str, table: pd.DataFrame, keys: Sequence[str], tolerance: Mapping[str, float]) -> None:
    """Raise AssertionError with every cell of ``table`` that differs from the kept table ``name``.

    Args:
        name: of the file, without its ending.
        table: as the pipeline made it.
        keys: the columns that name a row; a row is told by its texts.
        tolerance: column -> absolute difference that is allowed, by the longest ending of its name; "" is the rest,
            as a share of the kept number.
    """
    path = FOLDER / f"{name}.csv"
    found = _as_text(table, keys)
    if os.environ.get("GOLDEN") == "write":
        FOLDER.mkdir(exist_ok=True)
        found.to_csv(path, index=False, lineterminator="\n")
    kept = pd.read_csv(path, dtype=str, keep_default_na=False)
    changes = differences(kept, found, keys, tolerance)
    more = f"\n... and {len(changes) - _MOST_SHOWN} more" if len(changes) > _MOST_SHOWN else ""
    assert not changes, f"{name}: {len(changes)} differences\n" + "\n".join(changes[:_MOST_SHOWN]) + more


def differences(
    kept: pd.DataFrame, found: pd.DataFrame, keys: Sequence[str], tolerance: Mapping[str, float]
) -> list[str]:
    """One line for each column, row and cell that is new, gone or other: column, row, old, new."""
    lines = [f"column {name} is gone" for name in kept if name not in found]
    lines += [f"column {name} is new" for name in found if name not in kept]
    old, new = (table.set_index(list(keys)) for table in (kept, found))
    lines += [f"row {_row(row)} is gone" for row in old.index.difference(new.index)]
    lines += [f"row {_row(row)} is new" for row in new.index.difference(old.index)]
    rows = old.index.intersection(new.index)
    for name in (column for column in old if column in new):
        for row, before, after in zip(rows, old.loc[rows, name], new.loc[rows, name], strict=True):
            if not _is_same(before, after, name, tolerance):
                lines.append(f"{name} of {_row(row)}: {before or 'empty'} -> {after or 'empty'}")
    return lines


def digest() -> str:
    """Eight hexadecimal digits of everything that is kept."""
    content = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.csv")):
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()[:8]


def _is_same(before: str, after: str, name: str, tolerance: Mapping[str, float]) -> bool:
    if before == after:
        return True
    try:
        old, new = float(before), float(after)
    except ValueError:
        return False
    ending = max((end for end in tolerance if name.endswith(end)), key=len)
    allowed = tolerance[ending] if ending else tolerance[""] * abs(old)
    return bool(abs(new - old) <= allowed)


def _row(row: object) -> str:
    return " ".join(str(part) for part in row) if isinstance(row, tuple) else str(row)


def _as_text(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Numbers with eight digits, so that the file can be read and its differences reviewed."""
    shown = {}
    for name, column in table.items():
        if pd.api.types.is_float_dtype(column):
            shown[name] = ["" if np.isnan(value) else f"{value:.8g}" for value in column.astype(float)]
        else:
            shown[name] = ["" if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]
    text = pd.DataFrame(shown)
    assert not text.duplicated(list(keys)).any(), f"{list(keys)} do not name a row"
    return text.sort_values(list(keys)).reset_index(drop=True)
