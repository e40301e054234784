"""Tables that the user gives: CSV or Parquet, under our column names, with identifiers as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

_KEYS = ("participant", "visit")


def read_user_table(path: Path, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A table with our column names; ``participant`` and ``visit``, if there, as text.

    Leading zeros survive. ``12.0`` becomes ``12``: so are whole numbers written when a column has empty cells.

    Args:
        path: CSV or Parquet.
        columns: our name -> the table's, where they differ.
    """
    ours = {their: our for our, their in (columns or {}).items()}
    theirs = {(columns or {}).get(name, name) for name in _KEYS}
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=dict.fromkeys(theirs, str))
    table = table.rename(columns=ours)
    for name in table.columns.intersection(list(_KEYS)):
        text = table[name].astype("string").str.strip()
        table[name] = text.str.replace(r"^(\d+)\.0$", r"\1", regex=True)
    return table
