"""Every CSV is written by the one function in which no cell can start a formula."""

import ast
import io
from pathlib import Path

import pandas as pd
import pytest

from tasks.state.csv_text import csv_text

ROOT = Path(__file__).parents[2]
WRITER = "tasks/state/csv_text.py"
LAYERS = ("cmr_models", "tasks", "flows", "benchmarks")
OTHER_WRITERS = {"to_csv", "to_excel", "to_html", "to_clipboard", "writer", "DictWriter", "savetxt", "write_csv"}


def writers(source: str) -> list[str]:
    """Names of other writers of tables that a source takes from anywhere."""
    found = []
    nodes = list(ast.walk(ast.parse(source)))
    has_csv = any(isinstance(node, ast.Import) and "csv" in {alias.name for alias in node.names} for node in nodes)
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in OTHER_WRITERS and (has_csv or node.attr != "writer"):
            found.append(node.attr)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("csv", "numpy", "pyarrow"):
            found += [alias.name for alias in node.names if alias.name in OTHER_WRITERS]
    return found


def test_no_table_is_written_past_the_guard() -> None:
    paths = [path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")]
    assert len(paths) > 300
    found = {str(path.relative_to(ROOT)): writers(path.read_text()) for path in paths}
    assert {path: names for path, names in found.items() if names} == {WRITER: ["to_csv"]}


@pytest.mark.parametrize(
    "source",
    ["t.to_csv(p)", "import csv\ncsv.writer(f)", "from csv import DictWriter", "import csv as c\nc.DictWriter(f, [])"],
)
def test_the_look_finds_what_it_looks_for(source: str) -> None:
    assert len(writers(source)) == 1


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠"])
def test_no_cell_and_no_heading_starts_a_formula(start: str) -> None:
    formula = f"{start}HYPERLINK(1)"
    kinds = {"object": object, "text": "string", "category": "category"}
    table = pd.DataFrame({name: pd.Series([formula, "a"]).astype(kind) for name, kind in kinds.items()})
    table[formula] = [-1.5, 2.0]
    lines = csv_text(table)
    read = pd.read_csv(io.StringIO(lines), dtype=str, keep_default_na=False)
    if start not in "\r\n":
        assert list(read.columns) == [*kinds, f"'{formula}"]
        assert read.iloc[0].tolist() == [f"'{formula}"] * 3 + ["-1.5"]  # numbers stay numbers
    assert not any(cell.startswith(start) for cell in (*read.columns, *read.iloc[0, :3]))


def test_a_summary_of_groups_that_a_user_named_is_guarded() -> None:
    """The case that was found: a vendor called ``=HYPERLINK(1)`` in an evaluation."""
    assert csv_text(pd.DataFrame({"vendor": ["=HYPERLINK(1)"], "n": [7]})) == "vendor,n\n'=HYPERLINK(1),7\n"
