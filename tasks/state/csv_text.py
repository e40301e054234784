"""Tables as CSV, written in one place: no cell of theirs can start a formula in a spreadsheet.

Reference: OWASP, CSV Injection.
"""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_text(frame: pd.DataFrame) -> str:
    """A table as CSV without its index; an apostrophe stands before texts that a spreadsheet would calculate."""
    text = frame.select_dtypes(exclude=["number", "bool"]).columns
    safe = frame.assign(**{name: frame[name].map(_escape) for name in text})
    content = io.StringIO()
    safe.rename(columns=_escape).to_csv(content, index=False, lineterminator="\n")
    return content.getvalue()


def _escape(value: Any) -> Any:
    return "'" + value if isinstance(value, str) and value.startswith(_STARTS) else value
