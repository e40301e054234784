"""Tables in Markdown, and the pages that hold them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; special characters in a cell are escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines) + "\n"


def page(title: str, *parts: str) -> str:
    """A page with a heading and a line that says how it is generated."""
    return "\n".join((f"# {title}\n", "Made by `make docs` from the code; do not edit.\n", *parts))


def number(value: float, digits: int = 4) -> str:
    """``value`` with at most ``digits`` significant digits; empty where it is missing."""
    return f"{value:.{digits}g}" if math.isfinite(value) else ""


def code(text: str) -> str:
    """``text`` as code; empty text stays empty."""
    return f"`{text}`" if text else ""


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", r"\|")
