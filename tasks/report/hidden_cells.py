"""What the page does not show, and why: a table for an output checker beside the other tables of the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from tasks.report.bin_claims import BY_BIN
from tasks.report.quality_claims import BY_RULE

_SMALL = "small cell"
_COVERS = "would give a small cell back"
_TOGETHER = "what can be worked out: at least this range, if it may be small"
Row = tuple[str, str, str, str]


def hidden_on_page(values: Mapping[str, Any]) -> pd.DataFrame:
    """Columns ``table``, ``cell``, ``shown`` (what stands in its place) and ``why``; the first row is about all counts.

    Args:
        values: of the page's template.
    """
    minimum = values["minimum"]
    every = f"in multiples of {minimum}" if values["rounded"] else "exact"
    why = f"a count under {minimum}, or a difference of two, would show" if values["rounded"] else ""
    rows = [("all", "counts of studies and people", every, why), *_of_flow(values["flow"])]
    rows += [
        ("Table 1", f"{row['phenotype']}, {row['group']}", row["n"], _reason(row["n"]))
        for row in values["distributions"]
        if row["suppressed"]
    ]
    rows += [
        ("quality", row["code"], row["flagged"], _reason(row["flagged"])) for row in values["quality"] if row["hidden"]
    ]
    rows += [
        ("left before analysis", f"{row['counted']}: {row['step']}", row["n"], _reason(row["n"]))
        for row in values["left_before_analysis"]
        if not row["n"][0].isdigit()
    ]
    if values["perfusion"]:
        parts = {**{row["title"]: row["n"] for row in values["perfusion"]["rows"]}}
        parts |= {name: values["perfusion"][name] for name in ("n", "measured", "limited")}
        rows += [("perfusion", name, n, _reason(n)) for name, n in parts.items() if not n[0].isdigit()]
    return pd.DataFrame(rows, columns=["table", "cell", "shown", "why"])


def told_beside(found: pd.DataFrame) -> pd.DataFrame:
    """What the page and the tables together leave of each hidden cell, in the columns of :func:`hidden_on_page`.

    Args:
        found: of :func:`.page_claims.safe_counts`.
    """
    names = ["exposure", "population", "group_by", "group", "cell"]
    rows = [
        ("page and tables together", ", ".join(str(row[name]) for name in names if row[name]), _range(row), _TOGETHER)
        for row in found.to_dict("records")
        if row["determined"] or row["group_by"] not in (BY_BIN, BY_RULE)  # else of nearly every bin that is drawn
    ]
    return pd.DataFrame(rows, columns=["table", "cell", "shown", "why"])


def _range(row: Mapping[Any, Any]) -> str:
    known = math.isfinite(row["low"])
    return f"{row['low']:.6g} to {row['high']:.6g}" if known else "not worked out: what is published contradicts itself"


def _of_flow(flow: Mapping[str, Any]) -> Iterator[Row]:
    for step in flow["steps"]:
        for kind in step["left"]:
            place = f"{step['title']}: {kind['title']}"
            if not kind["text"][0].isdigit():
                yield "cohort flow", place, kind["text"], _reason(kind["text"])
            for reason in kind["reasons"]:
                if reason["hidden"]:
                    yield "cohort flow", f"{place}, {reason['sentence']}", reason["text"], _reason(reason["text"])


def _reason(text: str) -> str:
    return _SMALL if text.startswith("<") else _COVERS
